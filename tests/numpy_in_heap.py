"""One session of NumPy's own tests, in a heap or without: a pytest plugin that writes down what came of each.

    python -P tests/numpy_in_heap.py RESULT HEAP_BYTES OVERFLOW PYTEST_ARGUMENT...

`numpy_suite.py` starts it for each package, both ways, and compares. HEAP_BYTES of 0 leaves NumPy to itself.
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
# It asserts that a new thread has the default allocator, and so its threads are left as they are.
OWN_THREADS = "test_mem_policy.py::test_thread_locality"


class Session:
    """Keeps the outcome of each test, and sees that it begins in the heap."""

    def __init__(self, heap: la.Heap | None) -> None:
        self.heap = heap
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.outside: list[str] = []
        self.terminal = os.fdopen(os.dup(2), "w")  # pytest takes the other for itself
        self.told = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.heap is not None and not self.heap.owns(np.empty(1)):
            self.outside.append(item.nodeid)  # what ran before it has ended the activation
        if time.monotonic() - self.told > EVERY:
            self.told = time.monotonic()
            print(f"  {len(self.outcomes):6} tests, now {item.nodeid[:90]}", file=self.terminal, flush=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            self.note(report, "xfailed" if report.skipped else "xpassed")
        elif report.when == "call" or report.skipped:
            self.note(report, report.outcome)
        elif report.failed:
            self.note(report, "error")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.note(report, "skipped" if report.skipped else "error")

    def note(self, report: pytest.TestReport | pytest.CollectReport, outcome: str) -> None:
        self.outcomes[report.nodeid] = outcome
        if isinstance(report.longrepr, tuple):
            self.reasons[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")
        elif crash := getattr(report.longrepr, "reprcrash", None):
            self.reasons[report.nodeid] = crash.message.partition("\n")[0]


def activate_in_threads(heap: la.Heap) -> None:
    """Let each thread begin in the heap: of itself it begins in an empty context."""
    run = threading.Thread.run

    def run_in_heap(self: threading.Thread) -> None:
        if OWN_THREADS not in os.environ.get("PYTEST_CURRENT_TEST", ""):
            heap.activate()
        run(self)

    threading.Thread.run = run_in_heap  # type: ignore[method-assign]


def live_arrays() -> Iterator[np.ndarray[Any, Any]]:
    """Every array that can be reached. The collector does not know arrays, but most of who refers to them."""
    seen: set[int] = set()
    found: list[Any] = gc.get_objects()
    while found:
        item = found.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        found.extend(gc.get_referents(item))
        if issubclass(type(item), (np.ndarray, np.generic)):
            found.append(item.base)
        if issubclass(type(item), np.ndarray):
            yield item
            found.append(getattr(item, "__dict__", None))
            if item.dtype == object:
                found.extend(np.asarray(item).flat)


def block_bytes(array: np.ndarray[Any, Any]) -> int:
    """What an array takes of a heap: see `Heap`."""
    return -(-(max(array.nbytes, 1) + 16) // 64) * 64


def at_the_end(heap: la.Heap) -> dict[str, Any]:
    """The heap's figures, and how many of its bytes belong to no array that is alive.

    Arrays that modules and their caches hold stay in use for good. A leak is what is in use and has no owner:
    a block that the heap lost, or an array that nobody refers to and that yet was not freed.
    """
    gc.collect()
    in_use = heap.in_use
    live = [array for array in live_arrays() if array.flags.owndata and heap.owns(array)]
    try:
        heap.check()
        damage = ""
    except RuntimeError as error:
        damage = str(error)
    names = ("allocations", "peak", "overflows", "failures")
    return {name: getattr(heap, name) for name in names} | {
        "in_use": in_use,
        "live": len(live),
        "leaked": in_use - sum(map(block_bytes, live)),
        "damage": damage,
    }


def main() -> None:
    result, nbytes, overflow, *arguments = sys.argv[1:]
    heap = None
    if int(nbytes) > 0:
        heap = la.Heap(int(nbytes), overflow=overflow)  # type: ignore[arg-type]
        heap.activate()
        activate_in_threads(heap)
    session = Session(heap)
    start = time.monotonic()
    status = pytest.main(arguments, plugins=[session])
    figures = {
        "status": int(status),
        "seconds": time.monotonic() - start,
        "outcomes": session.outcomes,
        "reasons": session.reasons,
        "outside": session.outside,
        "heap": None if heap is None else at_the_end(heap),
    }
    Path(result).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
