"""A block through the ring, against one copy of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing import Line, statement

import lockedarray as la


def lines(quick: bool) -> Iterator[Line]:
    for frames, bound in ((64, 0.5), (256, 0.5), (1024, 0.8)):
        rb = la.RingBuffer(4 * frames, 2)
        src, dst = np.ones((frames, 2), "f4"), np.zeros((frames, 2), "f4")
        number = 1000 if quick else 10_000
        yield Line(
            f"ring write + read_into, {frames} stereo frames",
            statement("rb.write(src); rb.read_into(dst)", number, rb=rb, src=src, dst=dst),
            statement("dst[:] = src", number, src=src, dst=dst),
            "dst[:] = src",
            bound,
        )
