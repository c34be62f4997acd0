"""Which pages hold the bytes of an object."""

from __future__ import annotations

import ctypes
import mmap
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la
from lockedarray.extent import extent
from smaps import PAGE

ARENA = np.zeros(20 * PAGE, "u1")
ITEMS = ["u1", "f8", "V7", "c16"]


@given(st.sampled_from(ITEMS), st.lists(st.slices(60), min_size=1, max_size=3), st.data())
def test_every_byte_and_no_page_more(dtype: str, parts: list[slice], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 5 * PAGE))
    whole = ARENA[first : first + 60 ** len(parts) % 60_000 // 16 * 16]
    items = whole[: len(whole) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
    side = int(len(items) ** (1 / len(parts)))
    view = items[: side ** len(parts)].reshape((side,) * len(parts))[tuple(parts)]
    positions = (
        np.indices(view.shape).reshape(view.ndim, -1).T @ np.array(view.strides, "i8")
        if view.size
        else np.empty(0, "i8")
    )
    addresses = view.ctypes.data + positions
    touched = {
        byte // PAGE for address in addresses.tolist() for byte in (address, address + view.itemsize - 1)
    }
    for holder in (view, memoryview(view)) if dtype != "V7" else (view,):
        found = extent(holder)
        assert found.nbytes % PAGE == found.start % PAGE == 0
        assert found.pages == (max(touched) - min(touched) + 1 if touched else 0)
        if touched:
            assert found.start == min(touched) * PAGE


def test_what_has_no_pages() -> None:
    for empty in (np.empty(0), np.empty((3, 0, 2)), np.empty(3, "V0"), b"", bytearray(), memoryview(b"")):
        assert extent(empty).nbytes == 0
        assert la.is_locked(empty)
        assert la.residency(empty).shape == (0,)
        assert la.residency_map(empty) == ""


def test_any_buffer() -> None:
    scalar = np.array(3.0)
    date = np.array(["2000-01-01"], "M8[D]")  # which no buffer can show
    for holder in (scalar, date, b"abc", bytearray(b"abc"), array("d", [1, 2]), (ctypes.c_int * 3)(1, 2, 3)):
        assert extent(holder).pages in (1, 2)
    assert extent(mmap.mmap(-1, 3 * PAGE)).pages == 3
    for other in (3, "text", None, [1, 2], object()):
        with pytest.raises(TypeError):
            extent(other)


def test_the_holder_keeps_the_bytes_where_they_are() -> None:
    text = bytearray(100)
    held = extent(text)
    with pytest.raises(BufferError):
        text.extend(b"more")
    del held
    text.extend(b"more")
