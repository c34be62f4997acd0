"""NumPy in a heap against NumPy's own allocator: making arrays, and an expression with temporaries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
from timing import Batch, Line, statement

import lockedarray as la

SIZES = (("64 B", 64, 1.20), ("1 KiB", 1024, 1.10), ("4 KiB", 4096, 1.05), ("64 KiB", 65536, 1.05))
EMPTY = "empty(n, dtype)"

# A process of its own: what malloc has learnt from larger requests stays out of it. The first calls warm it up.
EXPRESSION = """
import sys, time
import numpy as np, lockedarray as la
elements, calls, heap = map(int, sys.argv[1:])
if heap:
    la.Heap(heap).activate()
a, b, c, d = (np.full(elements, k, "float32") for k in range(4))
times = []
for _ in range(calls + 3):
    begin = time.perf_counter_ns()
    y = a*b + c*d
    times.append(time.perf_counter_ns() - begin)
print(sorted(times[3:])[calls // 2])
"""


def active(heap: la.Heap, batch: Batch) -> Batch:
    """Return a batch that runs with the heap active."""

    def run() -> float:
        with heap.activate():
            return batch()

    return run


def expression(elements: int, calls: int, heap: int) -> Batch:
    """Return a batch that runs a*b + c*d in a cold process; the median of its calls."""
    arguments = [str(argument) for argument in (elements, calls, heap)]
    command = [sys.executable, "-P", "-c", EXPRESSION, *arguments]

    return lambda: float(subprocess.check_output(command))


def lines(quick: bool) -> Iterator[Line]:
    heap = la.Heap(32 << 20)
    number = 2000 if quick else 20000
    for name, nbytes, bound in (*SIZES, ("1 MiB", 1 << 20, 1.05)):

        def making(empty: Callable[..., object], n: int = nbytes) -> Batch:
            return statement(EMPTY, number, empty=empty, n=n, dtype=np.dtype("u1"))

        yield Line(
            f"np.empty in a heap, {name}", active(heap, making(np.empty)), making(np.empty), "np.empty", bound
        )
        yield Line(f"heap.empty, {name}", making(heap.empty), making(np.empty), "np.empty", 1.1)
    for elements, bound in ((1024, 1.05), (4096, 1 / 1.2), (16384, 1.05), (65536, 1.05), (262144, 1 / 2.3),
                            (1 << 20, 1.05), (1 << 22, 1.05), (1 << 24, 1.05)):  # fmt: skip
        calls = max(9, min(2001, (1 << 25) // elements)) // (8 if quick else 1) | 1
        room = 4 * elements * 8 + (1 << 20)
        yield Line(
            f"a*b + c*d, {elements:,} float32, cold",
            expression(elements, calls, room),
            expression(elements, calls, 0),
            "NumPy's allocator",
            bound,
        )
