"""Arrays that NumPy made in a heap are as safe as any, whatever NumPy does with their memory."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la

pytestmark = pytest.mark.locks(4 << 20)


@pytest.fixture(scope="module")
def active() -> Iterator[la.Heap]:
    """A heap for all these tests; in the end it is sound, and nothing of theirs is left in it."""
    heap = la.Heap(3 << 20)
    yield heap
    heap.check()
    assert heap.in_use < 500, "some small arrays that NumPy keeps for itself, as np.ma does"


@pytest.fixture
def heap(active: la.Heap) -> Iterator[la.Heap]:
    with active.activate():
        yield active
    active.check()


def is_safe(heap: la.Heap, a: np.ndarray) -> bool:
    return heap.owns(a) and la.is_locked(a)


def test_each_way_to_make_an_array(heap: la.Heap) -> None:
    a = np.arange(12.0).reshape(3, 4)
    for made in (
        *(np.empty(3), np.zeros((2, 3)), np.ones(3, "f4"), np.full(3, 7), np.array([1, 2]), np.arange(5)),
        *(np.eye(3), np.linspace(0, 1, 9), np.empty(0), np.array(5.0), np.empty_like(a), np.zeros_like(a)),
        *(a + 1, a.T @ a, a.copy(), a.astype("f4"), np.concatenate([a, a]), np.where(a > 3, a, 0)),
        *(a[a > 3], a[[0, 2]], np.sort(a), a.sum(0), np.pad(a, 2), np.unique(a), np.cumsum(a)),
        *(np.fft.rfft(a), np.linalg.inv(np.eye(3) * 2), np.random.default_rng(1).normal(size=9)),
        *(np.frombuffer(bytearray(80)).copy(), np.array(["a", "bc"]), np.array([b"a"] * 9)),
        *(np.array([object()] * 9), np.array(["a"] * 9, "T"), np.arange("2026-01", "2026-05", dtype="M8[D]")),
    ):
        assert is_safe(heap, made if made.base is None else made.base), made


def test_resize(heap: la.Heap) -> None:
    a = np.arange(100)
    for size in (101, 1000, 10, 0, 5, 100_000, 3):
        before = a.copy()
        a.resize(size, refcheck=False)
        assert is_safe(heap, a) or size == 0
        kept = min(size, len(before))
        np.testing.assert_array_equal(a[:kept], before[:kept])
        assert not a[kept:].any()


def test_growth_in_place() -> None:
    heap = la.Heap(1 << 20)
    a = heap.ones(1000, "u1")
    where = a.__array_interface__["data"]
    a.resize(50_000, refcheck=False)
    assert a.__array_interface__["data"] == where, "the memory behind it was free"
    a.resize(500, refcheck=False)
    assert a.__array_interface__["data"] == where
    behind = heap.ones(10, "u1")
    a.resize(500_000, refcheck=False)
    assert a.__array_interface__["data"] != where
    assert a[:500].all()
    assert behind.all()


def test_a_resize_that_fails_leaves_the_array(heap: la.Heap) -> None:
    a = np.arange(1000)
    failures = heap.failures
    with pytest.raises(MemoryError):
        a.resize(1 << 20, refcheck=False)
    assert heap.failures == failures + 1
    np.testing.assert_array_equal(a, np.arange(1000))


def test_files(heap: la.Heap, tmp_path: Path) -> None:
    a = np.linspace(0, 1, 5000)
    text = tmp_path / "text"
    a.tofile(text, sep=" ")
    np.testing.assert_allclose(np.fromfile(text, sep=" "), a)  # grows by realloc, without the GIL
    assert is_safe(heap, np.fromfile(text, sep=" "))
    a.tofile(tmp_path / "raw")
    assert is_safe(heap, np.fromfile(tmp_path / "raw"))
    assert is_safe(heap, np.fromstring(text.read_text(), sep=" "))
    assert is_safe(heap, np.fromiter(iter(range(5000)), "f4"))
    file = io.BytesIO()
    np.savez(file, a=a)
    file.seek(0)
    assert is_safe(heap, np.load(file)["a"])
    np.testing.assert_array_equal(np.loadtxt(io.StringIO("1 2\n3 4")), [[1, 2], [3, 4]])


def test_pickles_and_copies(heap: la.Heap) -> None:
    a = np.arange(1000)
    for other in (copy.copy(a), copy.deepcopy(a)):
        np.testing.assert_array_equal(other, a)
        assert is_safe(heap, other)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        unpickled = pickle.loads(pickle.dumps(a, protocol))
        np.testing.assert_array_equal(unpickled, a)
        assert is_safe(heap, unpickled.copy())  # itself it may lie in the bytes that it was read from
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(a, 5, buffer_callback=buffers.append)
    shared = pickle.loads(data, buffers=buffers)
    assert np.shares_memory(shared, a)
    assert la.is_locked(shared)


def test_memory_views_keep_it(heap: la.Heap) -> None:
    view = memoryview(np.arange(1000, dtype="i4"))[::2]
    other = np.asarray(view)
    np.ones(1000) * 2
    assert list(view[:3]) == [0, 2, 4]
    assert other[-1] == 998
    assert la.is_locked(view)


class Tagged(np.ndarray):
    """A subclass with something of its own."""

    tag = "none"

    def __array_finalize__(self, other: object) -> None:
        self.tag = getattr(other, "tag", "none")


def test_subclasses(heap: la.Heap) -> None:
    a = np.arange(10.0).view(Tagged)
    a.tag = "mine"
    b = a * 2 + a
    assert (type(b), b.tag) == (Tagged, "mine")
    assert is_safe(heap, b)
    c = Tagged((3, 4))
    assert is_safe(heap, c)


def test_masked(heap: la.Heap) -> None:
    a = np.ma.masked_greater(np.arange(100.0), 50)
    b = a * 2 + 1
    assert is_safe(heap, b.data)
    assert is_safe(heap, b.mask)
    assert b.sum() == (np.arange(51) * 2.0 + 1).sum()


def test_structured(heap: la.Heap) -> None:
    a = np.zeros(50, [("t", "f8"), ("xy", "f4", (2,)), ("name", "U7")])
    a["t"] = np.arange(50)[::-1]
    a["name"] = "frame"
    b = np.sort(a, order="t")
    assert is_safe(heap, b)
    assert la.is_locked(b["xy"])
    assert b["t"][0] == 0
    assert is_safe(heap, b.view(np.recarray).copy())


def test_objects_and_strings_are_let_go(heap: la.Heap) -> None:
    class Counted:
        alive = 0

        def __init__(self) -> None:
            Counted.alive += 1

        def __del__(self) -> None:
            Counted.alive -= 1

    a = np.array([Counted() for _ in range(10)])
    b = np.concatenate([a, a])
    assert is_safe(heap, b)
    del a, b
    assert Counted.alive == 0
    words = np.array(["long enough to be kept elsewhere" * 9] * 9, "T")
    assert words.copy()[3] == words[3]


def test_absurd_sizes(heap: la.Heap) -> None:
    failures = heap.failures
    for shape in ((2**40,), (2**20, 2**20), (2**62,)):
        with pytest.raises((MemoryError, ValueError)):
            np.zeros(shape, "u1")
        with pytest.raises((MemoryError, ValueError)):
            np.empty(shape, "u1")
    assert heap.failures == failures + 6
    heap.check()


def test_no_bytes(heap: la.Heap) -> None:
    before = heap.in_use
    kept = [np.empty(0), np.zeros((3, 0)), np.empty((), "V0"), np.array([], "S"), np.ones(5)[5:]]
    assert all(heap.owns(a) for a in kept)
    assert heap.in_use == before + 64 * len(kept)
    del kept
    assert heap.in_use == before


def test_handlers_are_told_apart(heap: la.Heap) -> None:
    name = np._core.multiarray.get_handler_name
    assert name(np.empty(3)) == "lockedarray.Heap"
    assert name(heap.empty(3)) == "lockedarray.Heap"
    assert name() == "lockedarray.Heap"


def test_what_was_made_before_stays_where_it_was() -> None:
    a = np.arange(1000)
    heap = la.Heap(1 << 20)
    with heap.activate():
        a.resize(100_000, refcheck=False)
        assert not heap.owns(a)
        b = np.arange(1000)
    b.resize(50_000, refcheck=False)
    assert heap.owns(b)
    del b
    assert heap.in_use == 0
