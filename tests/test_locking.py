"""Locks on memory that exists already: they nest, overlap, and are gone when the last one is."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import lockedarray as la
from smaps import PAGE, locked_pages, vm_lck

pytestmark = pytest.mark.locks(4 << 20)

ARENA = 32


class Arena:
    """Pages of ordinary memory that nobody else uses."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, ARENA * PAGE)
        self.bytes = np.frombuffer(self.memory, "u1")
        self.start = self.bytes.ctypes.data


class LockMachine(RuleBasedStateMachine):
    """Locks on parts of an arena, taken and released in any order and way, against a count for each page."""

    locks = Bundle("locks")

    def __init__(self) -> None:
        super().__init__()
        gc.collect(0)
        self.before = vm_lck()
        self.arena = Arena()
        self.counts = [0] * ARENA
        self.entries: list[list] = []
        self.steps = 0

    @rule(
        target=locks,
        first=st.integers(0, ARENA * PAGE - 1),
        length=st.integers(1, 9 * PAGE),
        stride=st.sampled_from([1, 3, 4096, -1, -5000]),
    )
    def lock(self, first: int, length: int, stride: int) -> list[object]:
        part = self.arena.bytes[first : first + length][::stride]
        low, high = np.lib.array_utils.byte_bounds(part)
        pages = range((low - self.arena.start) // PAGE, -(-(high - self.arena.start) // PAGE))
        for page in pages:
            self.counts[page] += 1
        entry = [la.lock(part), pages]
        self.entries.append(entry)
        return entry

    @rule(lock=consumes(locks), how=st.sampled_from(["release", "drop", "thread", "cycle", "with"]))
    def unlock(self, lock: list, how: str) -> None:
        held, pages = lock
        lock.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if how == "release":
                held.release()
                held.release()
                assert not held.active
            elif how == "with":
                with held:
                    assert held.active
            elif how == "thread":
                thread = threading.Thread(target=held.release)
                thread.start()
                thread.join()
            elif how == "cycle":
                cycle = [held]
                cycle.append(cycle)
                del cycle
            del held
            if how == "cycle":
                gc.collect(0)
        for page in pages:
            self.counts[page] -= 1

    @rule()
    def refused(self) -> None:
        hole = mmap.mmap(-1, 4 * PAGE)
        view = np.frombuffer(hole, "u1")
        address = view.ctypes.data
        assert ctypes.CDLL(None).munmap(ctypes.c_void_p(address + 2 * PAGE), PAGE) == 0
        with pytest.raises(la.LockError):
            la.lock(view)
        fill = (
            mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
        )  # MAP_FIXED: the hole goes before the mapping does
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
        assert libc.mmap(address + 2 * PAGE, PAGE, 3, fill, -1, 0) == address + 2 * PAGE

    @invariant()
    def pages(self) -> None:
        expected = [count > 0 for count in self.counts]
        assert vm_lck() - self.before == sum(expected) * PAGE
        self.steps += 1
        if self.steps % 5 == 0:
            assert locked_pages(self.arena.start, ARENA * PAGE) == expected
            for page, locked in enumerate(expected):
                assert la.is_locked(self.arena.bytes[page * PAGE :][:1]) == locked

    def teardown(self) -> None:
        for entry in self.entries:
            if entry:
                entry[0].release()
        assert vm_lck() == self.before


LockMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestLockMachine = LockMachine.TestCase


def test_two_arrays_on_one_page() -> None:
    page = Arena().bytes
    a, b = page[:100], page[200:300]
    first, second = la.lock(a), la.lock(b)
    first.release()
    assert la.is_locked(a)
    second.release()
    assert not la.is_locked(a)


def test_a_lock_on_our_own_array() -> None:
    start = vm_lck()
    array = la.zeros(4 * PAGE, "u1")
    lock = la.lock(array[PAGE : 2 * PAGE])
    lock.release()
    assert la.is_locked(array)
    lock = la.lock(array[PAGE : 2 * PAGE])
    del array
    gc.collect()
    assert vm_lck() == start + 4 * PAGE, "the lock holds the array"
    lock.release()
    assert vm_lck() == start


def test_dropped_without_release() -> None:
    start = vm_lck()
    array = Arena().bytes
    lock = la.lock(array)
    with pytest.warns(ResourceWarning, match="without release"):
        del lock
    assert vm_lck() == start


def test_is_locked_is_the_kernels_word() -> None:
    array = la.zeros(4 * PAGE, "u1")
    ordinary = Arena().bytes
    lock = la.lock(ordinary)
    for memory in (array, ordinary):
        assert la.is_locked(memory)
        libc = ctypes.CDLL(None)
        assert libc.munlock(ctypes.c_void_p(memory.ctypes.data + PAGE), ctypes.c_size_t(PAGE)) == 0
        assert not la.is_locked(memory)
        assert la.is_locked(memory[:PAGE])
    lock.release()
    assert la.is_locked(np.empty(0))


def test_other_buffers() -> None:
    growing = bytearray(3 * PAGE)
    with la.lock(growing):
        assert la.is_locked(growing)
        with pytest.raises(BufferError):
            growing.extend(bytes(1))
    growing.extend(bytes(1))
    with la.lock(bytes(PAGE)), la.lock(np.empty(0)) as nothing:
        assert nothing.active
    with pytest.raises(TypeError):
        la.lock(3)
    with pytest.raises(ValueError, match="on_error"):
        la.lock(growing, on_error="maybe")


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_memory_maps(tmp_path: Path, mode: str) -> None:
    start = vm_lck()
    path = Path("/var/tmp") / f"lockedarray_test_{os.getpid()}.npy"
    np.save(path, np.ones(8 * PAGE, "u1"))
    try:
        mapped = np.load(path, mmap_mode=mode)
        if mode == "r+":
            with pytest.raises(la.LockWarning, match=r'mode="c".*load'):
                la.lock(mapped)
            assert vm_lck() == start, "the warning is an error here: nothing is locked"
        else:
            with la.lock(mapped):
                assert la.is_locked(mapped)
            assert not la.is_locked(mapped)
    finally:
        path.unlink()
    assert vm_lck() == start


def test_a_childs_release_is_its_own() -> None:
    array = Arena().bytes
    lock = la.lock(array)
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert all(locked_pages(array.ctypes.data, ARENA * PAGE))
    lock.release()


def test_region() -> None:
    array = la.zeros((4, 5))
    assert la.region(array[::2].T) is array.base
    assert la.region(memoryview(array)) is array.base
    assert la.region(np.frombuffer(array.base, "u1")) is array.base
    assert la.region(np.zeros(3)) is None
    assert la.region("text") is None
