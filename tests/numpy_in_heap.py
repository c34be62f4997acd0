"""One session of NumPy's tests: a process that runs them all in a heap, or in none, and writes down what came.

    python -P tests/numpy_in_heap.py RESULT HEAP_BYTES PYTEST_ARGUMENT...

`numpy_suite.py` starts it, twice for each package, and compares. HEAP_BYTES of 0 leaves NumPy its own allocator.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockedarray as la

EVERY = 30.0  # seconds between two lines of progress
# It asserts that a new thread has the default allocator: its threads are left as they are.
OWN_THREADS = "test_thread_locality"


class Session:
    """A pytest plugin that keeps the outcome of each test, and tells how far it is."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")  # pytest captures the other
        self.told = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = str(report.outcome)
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        elif report.failed and report.when != "call":
            outcome = "error"
        elif report.passed and report.when != "call":
            return
        if report.nodeid in self.outcomes and outcome == "skipped":
            return
        self.outcomes[report.nodeid] = outcome
        self.reasons[report.nodeid] = reason(report)
        if time.monotonic() - self.told > EVERY:
            self.told = time.monotonic()
            print(
                f"    {len(self.outcomes):6} tests, now {report.nodeid[:80]}", file=self.terminal, flush=True
            )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.outcomes[report.nodeid] = "error" if report.failed else "skipped"
            self.reasons[report.nodeid] = reason(report)


def reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return "" if report.passed else str(report.longrepr).splitlines()[-1]


def activate_in_threads(heap: la.Heap) -> None:
    """Have each thread begin in the heap: of itself it begins in an empty context."""
    run = threading.Thread.run

    def run_in_heap(self: threading.Thread) -> None:
        if OWN_THREADS not in os.environ.get("PYTEST_CURRENT_TEST", ""):
            heap.activate()
        run(self)

    threading.Thread.run = run_in_heap  # type: ignore[method-assign]


def live_arrays() -> Iterator[np.ndarray[Any, Any]]:
    """All arrays that Python's objects lead to. The collector knows no arrays, but who refers to them."""
    seen: set[int] = set()
    found: list[Any] = gc.get_objects()
    while found:
        item = found.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray):
            yield item
            found.append(item.base)
            if item.dtype.hasobject and item.dtype.names is None:
                found.extend(item.flat)
        elif isinstance(item, np.generic):
            found.append(item.base)
        else:
            found.extend(gc.get_referents(item))


def figures(heap: la.Heap) -> dict[str, Any]:
    """What the heap says of itself at the end."""
    gc.collect()
    in_use = heap.in_use
    owned = [a for a in live_arrays() if a.flags.owndata and heap.owns(a)]
    held = sum(-(-(max(a.nbytes, 1) + 16) // 64) * 64 for a in owned)
    try:
        heap.check()
        wrong = ""
    except RuntimeError as error:
        wrong = str(error)
    names = ("allocations", "peak", "overflows", "failures")
    return {"in_use": in_use, "held": held, "arrays": len(owned), "wrong": wrong} | {
        name: getattr(heap, name) for name in names
    }


def main() -> None:
    result, size, *arguments = sys.argv[1:]
    session = Session()
    heap = la.Heap(int(size), overflow="system") if int(size) else None
    if heap is not None:
        heap.activate()
        activate_in_threads(heap)
    start = time.monotonic()
    status = pytest.main(arguments, plugins=[session])
    if heap is not None and not heap.owns(np.empty(1)):
        sys.exit("the heap was not active any more at the end")
    Path(result).write_text(
        json.dumps(
            {
                "status": int(status),
                "seconds": time.monotonic() - start,
                "outcomes": session.outcomes,
                "reasons": session.reasons,
                "heap": figures(heap) if heap is not None else None,
            }
        )
    )


if __name__ == "__main__":
    main()
