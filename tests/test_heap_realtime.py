"""What a loop in NumPy relies on: no page fault and no system call for arrays; and fork."""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from programs import makes_no_system_call

HERE = Path(__file__).parent
LIBC = platform.libc_ver()[0]

SIZES = [256, 4096, 65536, 1 << 18, 1 << 20, 1 << 22, 1 << 24]
FAULTS_WITHOUT = 65536  # from so many elements on, where malloc is told to map what is larger than 64 KiB


OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], object]] = {
    "sort": lambda a, index, mask: np.sort(a),
    "argsort": lambda a, index, mask: np.argsort(a),
    "partition": lambda a, index, mask: np.partition(a, len(a) // 2),
    "mean and deviation": lambda a, index, mask: (a.mean(), a.std()),
    "running sum": lambda a, index, mask: np.cumsum(a),
    "convolve": lambda a, index, mask: np.convolve(a, a[:16]),
    "fancy indexing": lambda a, index, mask: a[index],
    "masking": lambda a, index, mask: a[mask],
    "where": lambda a, index, mask: np.where(mask, a, 0),
    "concatenate": lambda a, index, mask: np.concatenate([a, a]),
    "functions": lambda a, index, mask: np.tanh(a) * np.sqrt(np.abs(a)),
    "copies": lambda a, index, mask: (a.copy(), a[::-1] + 0, a.astype("f8")),
    "temporaries": lambda a, index, mask: a * a + a * 3,
}
WITHOUT_TEMPORARIES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], object]] = {
    "sum": lambda a, index, mask: a.sum(),
    "extremes": lambda a, index, mask: (a.max(), a.argmin()),
    "assignment by index": lambda a, index, mask: a.__setitem__(index, a),
}


def count(size: int) -> dict[str, tuple[int, int, int]]:
    """For each operation the page faults without a heap and in one, and what the heap was asked for.

    Of a call after a first one: without, the most of a few; in the heap the fewest, for the interpreter's
    own memory faults now and then. Without, malloc gives back what is free before each call: what it maps
    anew and what it finds in its own heap otherwise depends on what was freed there before.
    """
    heap = la.Heap(size * 4 * 9 + (1 << 18))
    random = np.random.default_rng(1)
    inputs = random.standard_normal(size, dtype="f4"), random.permutation(size), random.random(size) > 0.5
    counts = {}
    for name, do in (OPERATIONS | WITHOUT_TEMPORARIES).items():
        plain = max(faults(do, inputs, give_back))
        before = heap.allocations
        with heap.activate():
            counts[name] = plain, min(faults(do, inputs)), heap.allocations - before
    heap.check()
    assert heap.in_use == 0
    return counts


def give_back() -> None:
    if LIBC == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def faults(
    do: Callable[..., object], inputs: tuple[np.ndarray, ...], before: Callable[[], None] = lambda: None
) -> list[int]:
    do(*inputs)
    counts = []
    for _ in range(4):
        before()
        with la.page_faults() as counted:
            kept = do(*inputs)
        counts.append(counted.total)
        del kept
    return counts


def said_in_child(program: str) -> str:
    """What a program prints in a process in which malloc learns nothing, and maps anew what is large."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    return subprocess.check_output([sys.executable, "-c", program], env=environment, cwd=HERE, text=True)


@functools.cache
def counts(size: int) -> dict[str, tuple[int, int, int]]:
    """`count` in a process of its own."""
    return json.loads(
        said_in_child(f"import json, test_heap_realtime as t; print(json.dumps(t.count({size})))")
    )


def sized(size: int) -> object:
    return pytest.param(size, marks=pytest.mark.locks(size * 4 * 9 + (1 << 19)), id=f"{size}")


@pytest.mark.parametrize("size", [sized(size) for size in (256, 65536, 1 << 20)])
@pytest.mark.parametrize("name", OPERATIONS | WITHOUT_TEMPORARIES)
def test_operations_do_not_fault(name: str, size: int) -> None:
    without, within, allocations = counts(size)[name]
    assert within == 0
    if name in OPERATIONS:
        assert allocations > 0
        assert without > 10 or size < FAULTS_WITHOUT or LIBC != "glibc", "the control"


@pytest.mark.parametrize("size", [sized(size) for size in SIZES])
def test_temporaries_do_not_fault(size: int) -> None:
    program = f"""
import numpy as np, lockedarray as la, test_heap_realtime as t
heap = la.Heap({size * 4 * 8})
def do(a, b, c, d):
    return a*b + c*d
inputs = [np.full({size}, k, "f4") for k in range(4)]
without = max(t.faults(do, inputs, t.give_back))
with heap.activate():
    inputs = [np.full({size}, k, "f4") for k in range(4)]
    print(without, min(t.faults(do, inputs)), heap.owns(do(*inputs)))
"""
    without, within, owned = said_in_child(program).split()
    assert (within, owned) == ("0", "True")
    assert int(without) > 10 or size < FAULTS_WITHOUT or LIBC != "glibc", "the control"


SETUP = """
heap = la.Heap(1 << 22)
a = np.ones(100_000, "f4")
{how}
def use(count):
    for size in range(count % 1000, 100_000, 5000):
        kept = [a[:size] * 2 + a[:size], np.empty(2 * size), np.zeros(size // 2)]
        kept[2].resize(size, refcheck=False)
        kept.append(heap.empty(size // 2))
        kept = None
"""


@pytest.mark.locks(5 << 20)
def test_no_system_call() -> None:
    assert makes_no_system_call(SETUP.format(how="heap.activate()"), "use(900)")
    assert not makes_no_system_call(SETUP.format(how=""), "use(900)"), "the control"


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
