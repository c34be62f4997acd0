"""la.empty, made and dropped, against the bare system calls; and whether live arrays make it slower."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from plain_c import lock_and_unmap
from timing import Batch, Line, statement

import lockedarray as la


def create_and_drop(nbytes: int, count: int) -> Batch:
    return statement(f"empty({nbytes}, 'u1')", count, empty=la.empty)


def beside(live: int, count: int) -> Batch:
    """Create and drop while so many other arrays live."""
    batch = create_and_drop(4096, count)

    def beside_them() -> float:
        others = [la.empty(4096, "u1") for _ in range(live)]
        ns = batch()
        del others
        return ns

    return beside_them


def lines(quick: bool) -> Iterator[Line]:
    count = 100 if quick else 300
    yield Line(
        "empty, 1 MiB: create and drop",
        create_and_drop(1 << 20, count // 10),
        lock_and_unmap(1 << 20, count // 10),
        "mmap + mlock + munmap in C",
        1.10,
    )
    yield Line(
        "empty, 4 KiB: create and drop",
        create_and_drop(4096, count),
        lock_and_unmap(4096, count),
        "the same, and an ndarray",
        1.4,
        statement("empty(4096, 'u1')", count, empty=np.empty),
    )
    yield Line(
        "empty, 4 KiB, 10,000 arrays live",
        beside(1000 if quick else 10_000, 4 * count),
        beside(10, 4 * count),
        "with 10 live",
        1.2,
    )
