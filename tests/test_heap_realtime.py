"""What a loop in NumPy relies on: no page fault and no system call for arrays; and fork."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from programs import makes_no_system_call

SIZES = [256, 4096, 65536, 1 << 18, 1 << 20, 1 << 22, 1 << 24]
LARGE = 1 << 18  # from here on NumPy's own allocator faults


def sized(size: int) -> object:
    return pytest.param(size, marks=pytest.mark.locks(size * 4 * 9 + (1 << 20)), id=f"{size}")


def faults(make: Callable[[], object]) -> int:
    """Page faults of a call after a first one; the fewest of a few, for the interpreter has its own."""
    make()
    fewest = 1 << 30
    for _ in range(4):
        with la.page_faults() as counted:
            kept = make()
        fewest = min(fewest, counted.total)
        del kept
    return fewest


@pytest.mark.parametrize("size", [sized(size) for size in SIZES])
def test_temporaries_do_not_fault(size: int) -> None:
    heap = la.Heap(size * 4 * 8)
    with heap.activate():
        inputs = [np.full(size, k, "f4") for k in range(4)]
        assert faults(lambda: inputs[0] * inputs[1] + inputs[2] * inputs[3]) == 0
    inputs.clear()
    assert heap.in_use == 0


def control(size: int) -> int:
    a, b, c, d = (np.full(size, k, "f4") for k in range(4))
    faulted = 0
    for _ in range(4):  # every other one, once malloc has learnt
        with la.page_faults() as counted:
            y = a * b + c * d
        faulted = max(faulted, counted.total)
    del y
    return faulted


@pytest.mark.locks(0)
@pytest.mark.parametrize("size", [LARGE, 1 << 20])
def test_without_a_heap_they_do(size: int) -> None:
    # In a process of its own: what other tests have taught malloc does not count there.
    program = f"import test_heap_realtime as t; print(t.control({size}))"
    ran = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(__file__)
    )
    assert int(ran.stdout) > 100


OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], object]] = {
    "sort": lambda a, index, mask: np.sort(a),
    "argsort": lambda a, index, mask: np.argsort(a),
    "partition": lambda a, index, mask: np.partition(a, len(a) // 2),
    "sum": lambda a, index, mask: a.sum(),
    "mean and deviation": lambda a, index, mask: (a.mean(), a.std()),
    "extremes": lambda a, index, mask: (a.max(), a.argmin()),
    "running sum": lambda a, index, mask: np.cumsum(a),
    "convolve": lambda a, index, mask: np.convolve(a, a[:16]),
    "fancy indexing": lambda a, index, mask: a[index],
    "masking": lambda a, index, mask: a[mask],
    "where": lambda a, index, mask: np.where(mask, a, 0),
    "concatenate": lambda a, index, mask: np.concatenate([a, a]),
    "comparison": lambda a, index, mask: (a > 0) & mask,
    "assignment by index": lambda a, index, mask: a.__setitem__(index, a),
    "functions": lambda a, index, mask: np.tanh(a) * np.sqrt(np.abs(a)),
    "copies": lambda a, index, mask: (a.copy(), a[::-1] + 0, a.astype("f8")),
}


@pytest.mark.parametrize("size", [sized(size) for size in (256, 65536, 1 << 20)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_do_not_fault(name: str, size: int) -> None:
    do = OPERATIONS[name]
    heap = la.Heap(size * 4 * 8 + (1 << 18))
    with heap.activate():
        random = np.random.default_rng(1)
        a = random.standard_normal(size, dtype="f4")
        index, mask = random.permutation(size), a > 0
        assert faults(lambda: do(a, index, mask)) == 0


@pytest.mark.locks(2 << 20)
def test_the_fresh_heap_does_not_fault() -> None:
    heap = la.Heap(1 << 20)
    with heap.activate(), la.page_faults() as counted:
        a = np.full(200_000, 1, "f4")
        b = np.full(20_000, 1, "f4")
    assert counted.total <= 3, "more than the interpreter's own"
    del a, b


SETUP = """
heap = la.Heap(1 << 22)
a = np.ones(40_000, "f4")
heap.activate()
def use(count):
    for size in range(0, count * 40, 100):
        kept = [a[:size] * 2 + a[:size], np.empty(3 * size), np.zeros(size)]
        kept[1].resize(5 * size, refcheck=False)
        kept.append(heap.empty(size))
        kept = None
"""


@pytest.mark.locks(5 << 20)
def test_no_system_call() -> None:
    assert makes_no_system_call(SETUP, "use(900)")
    assert not makes_no_system_call(SETUP, "la.zeros(5000)"), "the control"


# Fork


def in_child(body: Callable[[], bool]) -> bool:
    """Whether a forked child found it so."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        good = False
        try:
            good = body()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.locks(3 << 20)
def test_a_child_has_a_heap_of_its_own() -> None:
    heap = la.Heap(1 << 20)
    with heap.activate():
        kept, temporary = np.arange(1000), np.arange(5000)
        in_use = heap.in_use

        def child() -> bool:
            made = kept * 2
            kept[:] = 7
            unlocked = not la.is_locked(kept) and not la.is_locked(made) and not heap.locked
            nonlocal temporary
            del temporary
            heap.check()
            return heap.owns(made) and unlocked and heap.in_use < in_use and made[-1] == 1998

        assert in_child(child)
        assert kept[-1] == 999
        assert la.is_locked(kept)
        assert heap.in_use == in_use
        heap.check()
    assert heap.locked


@pytest.mark.locks(3 << 20)
def test_the_parent_does_not_fault_after_a_fork() -> None:
    heap = la.Heap(1 << 20)
    with heap.activate():
        a = np.ones(100_000, "f4")
        a *= 2
        pid = os.fork()
        if pid == 0:
            signal.pause()
        a += 1  # the interpreter's own pages
        with la.page_faults() as counted:
            a *= 3
            b = a * a
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert counted.total < 20, "98 pages for each array, where they are not repaired"
    del b


@pytest.mark.locks(3 << 20)
def test_fork_while_other_threads_allocate() -> None:
    heap = la.Heap(1 << 21)
    done = threading.Event()

    def busy() -> None:
        heap.activate()
        while not done.is_set():
            np.ones(40_000) * 2, np.ones(300)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with heap.activate():

            def child() -> bool:
                for size in range(1, 40_000, 1000):
                    np.ones(size) * 2
                heap.check()
                return True

            for _ in range(30):
                assert in_child(child)
                time.sleep(0.001)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    heap.check()
    assert heap.in_use == 0


@pytest.mark.locks(3 << 20)
def test_a_child_ends_without_the_parents_memory() -> None:
    heap = la.Heap(1 << 20)
    array = heap.ones(1000)
    holder = [heap, array]
    del heap

    def child() -> bool:
        nonlocal array
        del array
        holder.clear()
        gc.collect()
        return True

    assert in_child(child)
    assert array.all()
    assert la.is_locked(array)
