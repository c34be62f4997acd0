"""Heaps: what is asked of them by name, what they tell of themselves, and when they end."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lockedarray as la
from smaps import PAGE, locked_pages, vm_lck

MIB = 1 << 20

pytestmark = pytest.mark.locks(4 * MIB)


def address(a: np.ndarray) -> int:
    return int(a.__array_interface__["data"][0])


@pytest.fixture
def heap() -> la.Heap:
    return la.Heap(MIB)


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


# Full


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


# Making and ending


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"nbytes": 0}, ValueError, "nbytes must be at least 1, not 0"),
        ({"nbytes": 1.5}, TypeError, "integer"),
        (
            {"nbytes": 10, "overflow": "spill"},
            ValueError,
            "overflow must be 'raise' or 'system', not 'spill'",
        ),
        ({"nbytes": 10, "on_error": "x"}, ValueError, "on_error must be"),
        ({"nbytes": 2**60}, MemoryError, "."),
        ({"nbytes": 2**70}, OverflowError, "."),
        ({}, TypeError, "nbytes"),
    ],
)
def test_wrong_heaps(arguments: dict[str, object], error: type, sentence: str) -> None:
    before = vm_lck()
    with pytest.raises(error, match=sentence):
        la.Heap(**arguments)
    assert vm_lck() == before


def test_huge() -> None:
    heap = la.Heap(6 * MIB, huge=True)
    array = heap.ones(6 * MIB, "u1")
    assert la.is_locked(array)
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    if "[never]" in enabled:
        pytest.skip(f"needs transparent huge pages: {enabled}")
    smaps = b"/proc/self/smaps"
    start = address(array) // PAGE * PAGE
    assert la._native.lib.residency_huge_by_smaps(smaps, start - 8 * PAGE, 8 * MIB) >= 4 * MIB
    plain = la.Heap(6 * MIB).ones(6 * MIB, "u1")
    start = address(plain) // PAGE * PAGE
    if "[always]" not in enabled:
        assert la._native.lib.residency_huge_by_smaps(smaps, start - 8 * PAGE, 8 * MIB) == 0


REFUSED = """
import resource, warnings
import lockedarray as la
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
try:
    la.Heap(1 << 20)
except la.LockError as error:
    print(error.errno, error.requested, "set_memlock_limit" in str(error) or error.fix)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    heap = la.Heap(1 << 20, on_error="warn")
print([w.category.__name__ for w in caught], heap.locked, repr(heap)[-11:])
a = heap.ones(1000)
print(heap.owns(a), la.is_locked(a), bool(la.residency(a).all()), la.locked_bytes())
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        la.Heap(1 << 20, on_error="warn")
    except la.LockWarning:
        print("nothing made", la.locked_bytes())
"""


def test_refused_by_the_limit() -> None:
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-P", "-c", REFUSED]
    ran = subprocess.run(command, capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert re.match(rf"{errno.ENOMEM} {MIB + 4 * PAGE} ", lines[0]), ran.stderr
    assert lines[1] == "['LockWarning'] False not locked>"
    assert lines[2] == "True False True 0"
    assert lines[3] == "nothing made 0"


@pytest.mark.parametrize("below", [0, PAGE, 3 * PAGE])
def test_refused_for_the_books_alone(below: int) -> None:
    """What was asked for would fit under the limit, and a few pages of books do not."""
    program = f"""
import resource
import lockedarray as la
resource.setrlimit(resource.RLIMIT_MEMLOCK, ({MIB}, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
try:
    la.Heap({MIB - below})
except la.LockError as error:
    print(error)
"""
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    said = subprocess.check_output([*drop, sys.executable, "-P", "-c", program], text=True)
    assert "it is more than may be locked" in said
    assert f"({MIB - below + 4 * PAGE:,} bytes)" in said


def test_arrays_outlive_the_heap() -> None:
    before = vm_lck()
    heap = la.Heap(MIB)
    with heap.activate():
        kept = np.arange(1000)[::2]
    del heap
    gc.collect()
    assert vm_lck() > before
    assert la.is_locked(kept)
    np.testing.assert_array_equal(kept, np.arange(0, 1000, 2))
    thread = threading.Thread(target=kept.base.resize, args=(2000,), kwargs={"refcheck": False})
    thread.start()
    thread.join()
    del kept, thread
    assert vm_lck() == before


def test_the_last_array_may_die_in_any_thread() -> None:
    before = vm_lck()
    holder = [la.Heap(MIB).ones(1000)]
    assert vm_lck() > before
    thread = threading.Thread(target=holder.clear)
    thread.start()
    thread.join()
    assert vm_lck() == before


def test_a_cycle_with_its_own_array_is_collected() -> None:
    class Holder:
        pass

    before = vm_lck()
    holder = Holder()
    holder.me, holder.heap = holder, la.Heap(MIB)
    holder.array = holder.heap.ones(10)
    del holder
    gc.collect()
    assert vm_lck() == before


EXIT = """
import threading, time
import numpy as np, lockedarray as la
heap = la.Heap(1 << 20)
{do}
print("end", flush=True)
"""


@pytest.mark.parametrize(
    "do",
    [
        "heap.activate(); kept = np.ones(1000)",
        "heap.activate(); del heap; import sys; sys.kept = np.ones(10); np.kept = np.ones(10)",
        "cycle = [np.ones(3)]; heap.activate(); cycle.append(np.ones(5)); cycle.append(cycle)",
        "heap.activate().__enter__(); import atexit; atexit.register(lambda: np.ones(1000) + 1)",
        "def loop():\n"
        "    heap.activate()\n"
        "    while True: np.ones(1000) + np.ones(1000)\n"
        "threading.Thread(target=loop, daemon=True).start(); time.sleep(0.2)",
    ],
    ids=["active", "array in a module", "cycle", "atexit", "daemon thread"],
)
def test_interpreter_exit(do: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-X", "dev", "-c", EXIT.format(do=do)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "end\n", "")


def test_a_heap_does_not_travel(heap: la.Heap) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot pickle a Heap: its memory belongs to this process"):
            pickle.dumps(heap, protocol)


@pytest.mark.parametrize("make", [la.Heap, lambda n: la.Heap(n, overflow="system")])
def test_making_many_leaves_nothing(make: Callable[[int], la.Heap]) -> None:
    before = vm_lck()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(100):
            heap = make(MIB)
            with heap.activate():
                np.ones(1000) * 2
        del heap
    assert vm_lck() == before
