"""Taking arrays from a pool and keeping them, against np.empty."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from timing import Batch, Line

import lockedarray as la


def keeping(count: int, nbytes: int, source: Callable[[], Callable[..., Any]]) -> Batch:
    """Fill a list with arrays; what they come from is made before, and dropped after the clock is read."""

    def batch() -> float:
        empty = source()
        kept = [None] * count
        begin = time.perf_counter_ns()
        for i in range(count):
            kept[i] = empty(nbytes, "u1")
        return (time.perf_counter_ns() - begin) / count

    return batch


def lines(quick: bool) -> Iterator[Line]:
    for name, nbytes, count in (("64 B", 64, 2000), ("4 KiB", 4096, 2000), ("1 MiB", 1 << 20, 60)):
        count = count // 10 if quick else count
        whole = count * max(nbytes, 4096)
        yield Line(
            f"pool.empty, {name}, kept",
            keeping(count, nbytes, lambda whole=whole: la.Pool(whole).empty),  # type: ignore[misc]
            keeping(count, nbytes, lambda: np.empty),
            "np.empty, kept",
            3.0,
        )
