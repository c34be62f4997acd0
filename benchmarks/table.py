"""A block through a lookup table, against np.interp."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from timing import Line, statement

import lockedarray as la


def lines(quick: bool) -> Iterator[Line]:
    points = np.linspace(0.0, 1.0, 1024)
    values = np.tanh(4 * points - 2)
    x = np.random.default_rng(1).random(256)
    for dtype in ("float32", "float64"):
        table = la.LookupTable(values.astype(dtype))
        block, out = x.astype(dtype), np.empty(256, dtype)
        number = 300 if quick else 3000
        yield Line(
            f"table, linear, 256 samples of {dtype}",
            statement("table(x, out)", number, table=table, x=block, out=out),
            statement(
                "interp(x, xp, fp)", number, interp=np.interp, x=block, xp=points, fp=values.astype(dtype)
            ),
            "np.interp",
            0.2,
        )
