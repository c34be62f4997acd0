"""Heaps: what is asked of them by name, and what they tell of themselves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lockedarray as la
from smaps import PAGE, address, locked_pages, vm_lck

MIB = 1 << 20

pytestmark = pytest.mark.locks(4 * MIB)


# Arrays


@given(
    shape=st.integers(0, 100) | hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    dtype=hnp.scalar_dtypes() | st.sampled_from(["S", "U3", "f4,u1", [("x", "i2", (3,))]]),
    order=st.sampled_from(["C", "F"]),
)
def test_arrays_are_as_numpys(shape: object, dtype: object, order: str) -> None:
    heap = la.Heap(MIB)
    for ours, theirs in ((heap.empty, np.empty), (heap.zeros, np.zeros)):
        made, model = ours(shape, dtype, order), theirs(shape, dtype, order)
        assert (made.shape, made.dtype, made.strides) == (model.shape, model.dtype, model.strides)
        assert str(made.flags) == str(model.flags)
        assert made.base is None
        assert heap.owns(made)
        assert address(made) % 64 == 0
    assert not any(made.tobytes())


def test_ones_full_and_array(heap: la.Heap) -> None:
    model = np.arange(6, dtype="i2").reshape(2, 3)
    for made, wanted in (
        (heap.ones((2, 3), "i2", "F"), np.ones((2, 3), "i2", "F")),
        (heap.ones(2), np.ones(2)),
        (heap.full(3, 7), np.full(3, 7)),
        (heap.full((2, 2), [1.5, 2.5], "f4"), np.full((2, 2), [1.5, 2.5], "f4")),
        (heap.array(model.T), np.array(model.T)),
        (heap.array([1, 2], "c8"), np.array([1, 2], "c8")),
    ):
        assert heap.owns(made)
        assert (made.dtype, made.flags.fnc) == (wanted.dtype, wanted.flags.fnc)
        np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("order", ["K", "A", "C", "F"])
def test_array_keeps_any_layout(heap: la.Heap, order: str) -> None:
    model = np.arange(24, dtype="i4").reshape(2, 3, 4).transpose(1, 0, 2)
    for source in (model, model[:, ::-1], model[1], np.asfortranarray(model)):
        assert heap.array(source, order=order).strides == np.array(source, order=order).strides
        np.testing.assert_array_equal(heap.array(source, order=order), source)


def test_keywords_and_defaults(heap: la.Heap) -> None:
    assert heap.empty(3).dtype == np.float64
    assert heap.zeros(shape=(2, 3), dtype="u1", order="F").flags.f_contiguous


def test_zeros_are_zero_where_something_was(heap: la.Heap) -> None:
    for _ in range(3):
        heap.full(1000, 7)
        assert not heap.zeros(1000, "i8").any()


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((), TypeError, "missing required argument: 'shape'"),
        ((3, "f4", "C", 1), TypeError, "at most 3 positional"),
        ((-1,), ValueError, "negative dimensions"),
        ((3, object), TypeError, "holds references"),
        ((3, np.dtypes.StringDType()), TypeError, "holds references"),
        ((3, "f4", "K"), ValueError, "order"),
        ((2**62, "f8"), ValueError, "too big"),
        (("x",), TypeError, "."),
        (((1,) * 65,), ValueError, "maximum supported dimension for an ndarray is 64, found 65"),
        (((0,) * 200,), ValueError, "found 200"),
        ((3, "no such dtype"), TypeError, "not understood"),
    ],
)
def test_wrong_arguments(heap: la.Heap, arguments: tuple, error: type, sentence: str) -> None:
    for make in (heap.empty, heap.zeros):
        for _ in range(5):
            with pytest.raises(error, match=sentence):
                make(*arguments)
    with pytest.raises(TypeError, match="unexpected keyword argument 'like'"):
        heap.empty(3, like=None)
    assert heap.in_use == heap.failures == 0


def test_owns(heap: la.Heap) -> None:
    a = heap.empty((10, 10))
    for inside in (a, a[3:, ::-2], a.T, memoryview(a), np.frombuffer(a, "u1"), heap.empty(0), a[5:5]):
        assert heap.owns(inside)
    for outside in (np.empty(10), la.zeros(10), la.Heap(MIB).empty(10), b"bytes"):
        assert not heap.owns(outside)
    with pytest.raises(TypeError):
        heap.owns(3)


# What it tells


def test_the_memory_is_locked_by_the_kernels_word() -> None:
    before = vm_lck()
    heap = la.Heap(MIB)
    assert heap.locked
    assert vm_lck() - before - heap.capacity <= 4 * PAGE
    a = heap.empty(MIB, "u1")
    start = address(a) // PAGE * PAGE
    assert all(locked_pages(start, MIB + PAGE))
    assert la.is_locked(a)
    assert la.residency(a).all()
    assert not la.is_locked(np.ones(MIB, "u1"))
    del a, heap
    assert vm_lck() == before


@pytest.mark.parametrize("nbytes", [1, PAGE - 64, PAGE - 63, PAGE, MIB - 1, MIB])
def test_all_that_was_asked_for_fits_into_one_array(nbytes: int) -> None:
    heap = la.Heap(nbytes)
    assert heap.capacity % PAGE == 0
    assert nbytes < heap.capacity <= nbytes + PAGE + 64
    heap.empty(nbytes, "u1")
    largest = heap.largest_free
    assert nbytes <= largest < heap.capacity
    whole = heap.empty(largest, "u1")
    whole[:] = 1
    assert heap.in_use == heap.capacity == heap.peak
    assert heap.largest_free == 0
    with pytest.raises(MemoryError):
        heap.empty(0)
    heap.check()


def test_figures_follow_each_array(heap: la.Heap) -> None:
    assert (heap.in_use, heap.peak, heap.allocations, heap.failures, heap.overflows) == (0,) * 5
    a = heap.empty(48, "u1")
    assert heap.in_use == 64
    b = heap.empty(49, "u1")
    assert heap.in_use == 64 + 128
    del a
    assert (heap.in_use, heap.peak) == (128, 192)
    del b
    assert (heap.in_use, heap.peak, heap.allocations) == (0, 192, 2)
    assert heap.largest_free == heap.capacity - 16


def test_the_peak_does_not_count_what_lies_ready(heap: la.Heap) -> None:
    for size in (1000, 2000, 3000):
        heap.empty(size, "u1")
    a = heap.empty(4000, "u1")
    assert heap.peak == heap.in_use == 4032
    del a


def test_memory_that_comes_back_merges_at_once(heap: la.Heap) -> None:
    for size in (100, 3000, 5000, 70000):
        arrays = [heap.empty(size, "u1") for _ in range(heap.capacity // (size + 80))]
        del arrays[::2]
        assert heap.largest_free < heap.capacity // 2
        arrays.clear()
        assert heap.largest_free == heap.capacity - 16
        heap.check()


def test_what_lies_ready_is_found_where_nothing_else_is(heap: la.Heap) -> None:
    del [heap.empty(1000, "u1") for _ in range(heap.capacity // 1024)][:]
    whole = heap.empty(MIB, "u1")
    assert heap.owns(whole)


def test_repr_and_map(heap: la.Heap) -> None:
    kept = [heap.empty(MIB // 4, "u1") for _ in range(3)]
    del kept[1]
    for columns, rows in ((60, 7), (7, 1), (1, 1), (1000, 100)):
        picture = "".join(heap.map(columns, rows).splitlines()[:-1])
        assert len(picture) <= columns * rows
        whole = la.Heap(MIB)
        full = whole.empty(whole.largest_free, "u1")
        assert set("".join(whole.map(columns, rows).splitlines()[:-1])) == {"#"}
        del full
    picture = heap.map(32, 2).splitlines()
    assert re.fullmatch(r"#{15}\+", picture[0][:16])
    assert re.fullmatch(r"\+?\.+\+?", picture[0][16:32])
    assert re.fullmatch(r"[#+]{16,18}\.+", picture[1])
    assert "in use, the largest free block has" in picture[2]
    assert len(heap.map(1, 1).splitlines()) == 2
    assert repr(heap).startswith(
        f"<Heap, {heap.in_use:,} of {heap.capacity:,} bytes in use, largest free block"
    )
    with pytest.raises(ValueError, match="at least 1 column"):
        heap.map(0)


DAMAGE = """
import ctypes, sys
import numpy as np, lockedarray as la
heap = la.Heap(1 << 20)
a, b = heap.empty(1000, "u1"), heap.empty(1000, "u1")
heap.check()
ctypes.memset(a.ctypes.data, 255, {beyond})
try:
    heap.check()
except RuntimeError as error:
    print(error)
sys.stdout.flush()
{do}
heap.in_use
print("went on")
"""


@pytest.mark.parametrize(
    ("beyond", "do"),
    [
        (1024 - 16 + 24, "del b"),
        (1024 - 16 + 24, "b.resize(5000, refcheck=False)"),
        (2048 - 16 + 64, "heap.empty(5000)"),
        (2048 - 16 + 64, "del a, b"),
        (2048 - 16 + 64, "b.resize(5000, refcheck=False)"),
        (1024 - 16 + 24, "heap.map()"),
        (2048 - 16 + 64, "heap.largest_free"),
        (1024 - 16, ""),
    ],
    ids=["give", "resize", "take", "give before free", "resize into free", "map", "figures", "control"],
)
def test_damage_is_found(beyond: int, do: str) -> None:
    """In a process of its own: that ends with a sentence, and not in somebody else's memory."""
    program = DAMAGE.format(beyond=beyond, do=do)
    ran = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)
    damaged = do != ""
    assert ("the heap is damaged, a block" in ran.stdout) == damaged
    assert ("went on" in ran.stdout) != damaged
    assert ("wrote beyond the end of an array" in ran.stderr) == damaged, ran.stderr
    assert ran.returncode == (-signal.SIGABRT if damaged else 0)


def test_damage_of_what_lies_ready_is_found() -> None:
    program = """
import ctypes
import numpy as np, lockedarray as la
heap = la.Heap(1 << 20)
kept, dropped = heap.empty(1000, "u1"), heap.empty(1000, "u1")
address = dropped.ctypes.data
del dropped
ctypes.memset(address - 8, 1, 8)
try:
    heap.check()
except RuntimeError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert "the heap is damaged, a block's size cannot be" in ran.stdout
