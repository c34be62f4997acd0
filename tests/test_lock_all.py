"""The whole process locked, counted, and undone without an unlocked moment."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lockedarray as la
from lockedarray import _native
from lockedarray._native import lib
from lockedarray.region_flags import UNLOCKED
from smaps import PAGE, address, locked_pages, unlocked_mappings, vm_lck
from userfaults import waiting

pytestmark = pytest.mark.no_limit

MiB = 1 << 20
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
MAP_NORESERVE = 0x4000  # which the mmap module names from Python 3.13 on


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    before = vm_lck()
    yield
    la.unlock_all()
    gc.collect()
    assert vm_lck() == before


def is_locked(a: np.ndarray) -> bool:
    """By smaps: every page that a touches."""
    start = address(a) // PAGE * PAGE
    end = -(-(address(a) + a.nbytes) // PAGE) * PAGE
    return all(locked_pages(start, end - start))


def test_current_locks_what_is_mapped_and_nothing_later() -> None:
    mapped = np.ones(MiB, "u1")
    assert unlocked_mappings()
    before = vm_lck()
    with la.lock_all(future=False) as everything:
        assert everything.locked == vm_lck() - before
        assert not unlocked_mappings()
        assert everything.active
        later = mmap.mmap(-1, MiB)
        assert not is_locked(np.frombuffer(later, "u1"))
        assert is_locked(mapped)
    assert not everything.active
    assert not is_locked(mapped)


def test_future_locks_what_is_mapped_later_and_brings_it_in() -> None:
    with la.lock_all():
        later = np.frombuffer(mmap.mmap(-1, MiB), "u1")
        assert is_locked(later)
        assert la.residency(later).all()
    assert not is_locked(later)
    assert not is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))


def test_future_alone_leaves_what_is_mapped() -> None:
    mapped = np.frombuffer(mmap.mmap(-1, MiB), "u1")
    with la.lock_all(current=False) as everything:
        assert not is_locked(mapped)
        assert is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))
        assert everything.locked < 64 * MiB
    assert not is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))


@pytest.mark.parametrize("on_fault", [False, True])
def test_on_fault_brings_nothing_in(on_fault: bool) -> None:
    now = np.frombuffer(mmap.mmap(-1, MiB), "u1")
    with la.lock_all(on_fault=on_fault):
        later = np.frombuffer(mmap.mmap(-1, MiB), "u1")
        for pages in now, later:
            assert la.residency(pages).all() != on_fault
            assert all(locked_pages(address(pages), MiB))


def test_it_nests() -> None:
    mapped = np.ones(MiB, "u1")
    outer = la.lock_all(future=False, on_fault=True)
    with la.lock_all(current=False, future=True) as inner:
        assert is_locked(mapped)  # MCL_FUTURE alone would have been enough to keep it
        assert is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))
    assert outer.active
    assert is_locked(mapped)
    inner.end()  # again: nothing
    assert is_locked(mapped)
    outer.end()
    assert not is_locked(mapped)


def test_an_inner_level_drops_nothing_of_an_outer_one() -> None:
    with la.lock_all():
        with la.lock_all(future=False):
            assert is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))
        assert is_locked(np.frombuffer(mmap.mmap(-1, MiB), "u1"))


def test_room_is_looked_at_for_what_all_levels_bring_in() -> None:
    """The outer one locks what is used, the inner one what is yet to be mapped: together all that is."""
    flags = PRIVATE | MAP_NORESERVE
    huge = mmap.mmap(-1, 1 << 40, flags=flags)
    with la.lock_all(on_fault=True), pytest.raises(MemoryError, match="available"):
        la.lock_all(current=False)
    huge.close()


def test_what_has_ended_is_not_entered() -> None:
    everything = la.lock_all(on_fault=True)
    everything.end()
    with pytest.raises(RuntimeError, match="has ended"), everything:
        raise AssertionError("entered")


def test_unlock_all_ends_every_level_and_later_ends_do_nothing() -> None:
    mapped = np.ones(MiB, "u1")
    la.unlock_all()  # without any
    first, second = la.lock_all(), la.lock_all()
    la.unlock_all()
    assert not is_locked(mapped)
    assert not first.active
    third = la.lock_all()
    first.end()
    second.end()
    assert third.active
    assert is_locked(mapped)
    third.end()
    assert not is_locked(mapped)


HOLDERS: dict[str, Callable[[], tuple[object, np.ndarray]]] = {
    "array": lambda: (None, la.zeros(10 * PAGE, "u1")),
    "guarded array": lambda: (None, la.zeros(10 * PAGE + 5, "u1", guard=True)),
    "pool's array": lambda: (pool := la.Pool(16 * PAGE), pool.zeros(3 * PAGE, "u1")),
    "pool's ring": lambda: (ring := la.Pool(64 * PAGE).ring(4 * PAGE, dtype="u1"), ring.write_window(10)),
    "ring": lambda: (ring := la.RingBuffer(4 * PAGE, dtype="u1"), ring.write_window(10)),
    "history": lambda: (hb := la.HistoryBuffer(4 * PAGE, dtype="u1"), hb.latest(10)),
    "table": lambda: (table := la.LookupTable(np.zeros(5000)), table.values),
    "heap": lambda: (heap := la.Heap(MiB), heap.zeros(3 * PAGE, "u1")),
    "lock": lambda: (la.lock(a := np.ones(5 * PAGE, "u1")), a),
}


@pytest.mark.parametrize("make_while_it_is_in_force", [False, True])
@pytest.mark.parametrize("kind", HOLDERS)
def test_what_is_held_stays_locked(kind: str, make_while_it_is_in_force: bool) -> None:
    early = vm_lck()
    if make_while_it_is_in_force:
        with la.lock_all():
            holder, memory = HOLDERS[kind]()
    else:
        holder, memory = HOLDERS[kind]()
        with la.lock_all():
            assert is_locked(memory)
    assert is_locked(memory)
    assert la.is_locked(memory)
    plain_heap = np.ones(MiB, "u1")
    assert not is_locked(plain_heap)
    held = vm_lck() - early
    assert 0 < held < 2 * MiB  # its own pages, and no others
    if isinstance(holder, la.MemoryLock):
        holder.release()


def test_a_released_lock_unlocks_nothing_while_it_is_in_force() -> None:
    page = np.frombuffer(mmap.mmap(-1, 4 * PAGE), "u1")
    lock = la.lock(page)
    with la.lock_all():
        lock.release()
        assert is_locked(page)
    assert not is_locked(page)


def test_an_array_that_was_never_locked_is_unlocked_again() -> None:
    """A region resident only, as on_error="warn" leaves it, is no reason to keep its pages locked."""
    resident = _native.empty(4 * PAGE, "u1", "C", UNLOCKED)
    with la.lock_all():
        assert is_locked(resident)
    assert not is_locked(resident)


def moments_unlocked(memory: np.ndarray, leave: Callable[[], None], times: int) -> int:
    """How often a thread beside found the memory not locked, while everything was locked and left."""
    done = threading.Event()
    seen = 0

    def watch() -> None:
        nonlocal seen
        start, nbytes = address(memory), memory.nbytes
        while not done.is_set():
            for _ in range(200):
                seen += lib.residency_locked(start, nbytes) != 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(times):
            la.lock_all(on_fault=True)
            leave()
    finally:
        done.set()
        watcher.join()
    return seen


def test_no_live_page_is_unlocked_for_a_moment() -> None:
    memory = la.zeros(4 * PAGE, "u1")
    assert moments_unlocked(memory, la.unlock_all, 30) == 0

    def by_the_kernel_alone() -> None:
        ctypes.CDLL(None).munlockall()
        time.sleep(0.002)
        la.unlock_all()
        with la.lock(memory):
            pass

    lock = la.lock(memory)  # so that the control leaves it as it was
    assert moments_unlocked(memory, by_the_kernel_alone, 10) > 0
    lock.release()


def test_arrays_come_and_go_in_threads_meanwhile() -> None:
    done = threading.Event()
    failures = []

    def work() -> None:
        mapped = np.frombuffer(mmap.mmap(-1, 8 * PAGE), "u1")
        while not done.is_set():
            array = la.zeros(3 * PAGE, "u1")
            lock = la.lock(mapped[PAGE : 6 * PAGE])
            other = la.lock(mapped[: 3 * PAGE])
            if not (la.is_locked(array) and la.is_locked(mapped[: 6 * PAGE])):
                failures.append("not locked")
            lock.release()
            if not la.is_locked(mapped[: 3 * PAGE]):
                failures.append("unlocked by the other's release")
            other.release()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            with la.lock_all(on_fault=True), la.lock_all(future=False, on_fault=True):
                pass
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.parametrize("mark", ["begin", "end"])
def test_a_mark_on_fault_keeps_no_page_absent(mark: str) -> None:
    """mlock marks pages and then brings them in: who marks pages on fault in between has to wait."""
    array = np.frombuffer(mmap.mmap(-1, 16 * PAGE, flags=PRIVATE), "u1")
    everything = la.lock_all(current=False) if mark == "end" else None
    with ThreadPoolExecutor(2) as threads:
        with waiting(array) as somebody_waits:
            locking = threads.submit(la.lock, array)
            somebody_waits()
            marking = threads.submit(everything.end if everything else lambda: la.lock_all(on_fault=True))
            with contextlib.suppress(TimeoutError):
                marking.result(timeout=0.3)
        with locking.result():
            marking.result()
            assert la.is_locked(array)


def test_no_array_is_left_absent() -> None:
    """The same with all there is, and by chance."""
    until = time.monotonic() + 4
    absent = 0

    def come_and_go() -> None:
        while time.monotonic() < until:
            with la.lock_all(on_fault=True):
                pass

    def make() -> None:
        nonlocal absent
        while time.monotonic() < until:
            absent += not la.is_locked(la.zeros(64 * PAGE, "u1"))

    threads = [threading.Thread(target=do) for do in (come_and_go, make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert absent == 0


def test_more_than_there_is_is_refused_before_it_is_tried() -> None:
    before = vm_lck()
    flags = PRIVATE | MAP_NORESERVE
    huge = mmap.mmap(-1, 1 << 40, flags=flags)
    with pytest.raises(MemoryError, match="available"):
        la.lock_all()
    assert vm_lck() == before
    with la.lock_all(on_fault=True):
        assert vm_lck() > 1 << 40
    assert vm_lck() == before
    huge.close()


def test_neither_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="current=True, future=True"):
        la.lock_all(False, False)


def test_it_says_what_it_locked_and_what_it_cost() -> None:
    with la.lock_all() as everything:
        assert everything.locked > MiB
        assert 0 < everything.seconds < 60
        assert f"current, future: {everything.locked:,} bytes locked in" in repr(everything)
    assert "not active" in repr(everything)
