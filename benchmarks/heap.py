"""NumPy in a heap against NumPy's own allocator: making arrays, and an expression with temporaries."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
from timing import Batch, Line, statement

import lockedarray as la

SIZES = (
    ("64 B", 64, 1.20),
    ("1 KiB", 1024, 1.10),
    ("4 KiB", 4096, 1.05),
    ("64 KiB", 65536, 1.05),
    ("1 MiB", 1 << 20, 1.05),
)
BOUNDS = {4096: 1 / 1.2, 262144: 1 / 2.3}  # of a*b + c*d; of other sizes 1.05

# In a process of its own: what malloc has learnt from larger requests stays out of it. The first calls warm
# it up; of the others the mean, for without a heap every second one faults.
PROGRAM = """
import sys, time
import numpy as np, lockedarray as la
elements, warm, calls, heap, into = map(int, sys.argv[1:])
if heap:
    la.Heap(heap).activate()
a, b, c, d, y, z = (np.full(elements, k, "float32") for k in range(6))
def with_temporaries():
    return a*b + c*d
def into_arrays():
    np.multiply(a, b, out=y)
    np.multiply(c, d, out=z)
    return np.add(y, z, out=y)
run = into_arrays if into else with_temporaries
for _ in range(warm):
    kept = run()
begin = time.perf_counter_ns()
for _ in range(calls):
    kept = run()
print((time.perf_counter_ns() - begin) / calls)
"""


def active(heap: la.Heap, batch: Batch) -> Batch:
    """Return a batch that runs with the heap active."""

    def run() -> float:
        with heap.activate():
            return batch()

    return run


def expression(elements: int, calls: int, heap: int = 0, *, warm: int = 3, into: bool = False) -> Batch:
    """Return a batch for a*b + c*d in a cold process: in a heap of so many bytes, or into given arrays."""
    arguments = [str(int(argument)) for argument in (elements, warm, calls, heap, into)]
    command = [sys.executable, "-P", "-c", PROGRAM, *arguments]
    return lambda: float(subprocess.check_output(command))


def lines(quick: bool) -> Iterator[Line]:
    heap = la.Heap(32 << 20)
    number = 2000 if quick else 20000
    for name, nbytes, bound in SIZES:

        def making(empty: Callable[..., object], n: int = nbytes) -> Batch:
            return statement("empty(n, dtype)", number, empty=empty, n=n, dtype=np.dtype("u1"))

        numpys, ours = making(np.empty), making(heap.empty)
        yield Line(f"np.empty in a heap, {name}", active(heap, making(np.empty)), numpys, "np.empty", bound)
        yield Line(f"heap.empty, {name}", ours, numpys, "np.empty", 1.1)
    for elements in (1 << k for k in range(10, 25, 2)):
        calls = max(9, min(2001, (1 << 25) // elements)) // (8 if quick else 1) | 1
        ours = expression(elements, calls, elements * 40 + (1 << 20))
        what = f"a*b + c*d, {elements:,} float32"
        yield Line(what, ours, expression(elements, calls), "NumPy's", BOUNDS.get(elements, 1.05))
        yield Line("  the same", ours, expression(elements, calls, into=True), "out=, no temporaries", None)
    first, theirs = (expression(1 << 18, 1, heap, warm=0) for heap in (12 << 20, 0))
    yield Line("a*b + c*d, 262,144 float32, the first call", first, theirs, "NumPy's", None)
