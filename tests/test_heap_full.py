"""A heap that is full: whose MemoryError it is and what it says, and the system's help."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

import lockedarray as la
from smaps import PAGE

MIB = 1 << 20

pytestmark = pytest.mark.locks(4 * MIB)


def test_full_by_name(heap: la.Heap) -> None:
    a, b, c = (heap.empty(340_000, "u1") for _ in range(3))
    del b
    with pytest.raises(MemoryError) as error:
        heap.empty(500_000, "u1")
    sentence = str(error.value)
    for part in (
        "the heap of 1.0 MiB (1,052,672 bytes) cannot give 488.3 KiB (500,000 bytes)",
        f"({heap.capacity - heap.in_use:,} bytes) were free",
        f"the largest free block had 332.0 KiB ({heap.largest_free:,} bytes)",
        'overflow="system"',
    ):
        assert part in sentence
    assert (heap.failures, heap.allocations) == (1, 3)
    assert heap.owns(heap.empty(340_000, "u1"))
    del a, c


def test_free_in_pieces_is_said(heap: la.Heap) -> None:
    kept = [heap.empty(100_000, "u1") for _ in range(10)]
    del kept[::2]
    with pytest.raises(MemoryError, match=r"were free in pieces \(its map\(\) shows where\)"):
        heap.empty(300_000, "u1")


def test_full_within_numpy(heap: la.Heap) -> None:
    """NumPy raises its own MemoryError; the note tells of the heap."""
    a = np.ones(500_000, "u1")
    with pytest.raises(MemoryError, match=r"cannot give 1\.4 MiB") as error, heap.activate():
        np.concatenate([a, a, a])
    assert "Unable to allocate" in str(error.value)
    assert len(error.value.__notes__) == 1
    assert (heap.failures, heap.in_use) == (1, 0)


def test_the_note_stands_there_once(heap: la.Heap) -> None:
    with pytest.raises(MemoryError) as error, heap.activate(), heap.activate():
        np.empty(2 * MIB, "u1")
    assert len(error.value.__notes__) == 1


def test_a_memory_error_of_somebody_else_gets_no_note(heap: la.Heap) -> None:
    def work() -> None:
        with suppress(MemoryError):
            np.empty(2 * MIB, "u1")
        raise MemoryError("mine")

    with pytest.raises(MemoryError) as error, heap.activate():
        work()
    assert heap.failures == 1
    assert not hasattr(error.value, "__notes__")


def test_refused_by_the_system_too() -> None:
    heap = la.Heap(PAGE, overflow="system")
    with pytest.raises(MemoryError, match="The system was asked too, and has not so much to give"):
        heap.empty(1 << 46, "u1")
    assert (heap.failures, heap.overflows) == (1, 0)
    assert "1 refused" in repr(heap)


def test_overflow_to_the_system() -> None:
    heap = la.Heap(MIB, overflow="system")
    a = np.ones(MIB, "u1")
    with heap.activate():
        first, second = a + a, a + a
        third = np.zeros(MIB, "u1")
    assert [heap.owns(x) for x in (first, second, third)] == [True, False, False]
    assert (heap.overflows, heap.failures, heap.allocations) == (2, 0, 1)
    assert (second == 2).all()
    assert not third.any()
    assert not la.is_locked(second)
    fourth = heap.full(MIB, 3, "u1")
    assert not heap.owns(fourth)
    assert heap.overflows == 3
    del first, second
    assert heap.owns(heap.empty(MIB, "u1"))


def test_arrays_of_the_system_grow_and_shrink() -> None:
    heap = la.Heap(PAGE, overflow="system")
    with heap.activate():
        a = np.arange(10_000)
    assert not heap.owns(a)
    a.resize(20_000, refcheck=False)
    a.resize(100, refcheck=False)
    np.testing.assert_array_equal(a, np.arange(100))
