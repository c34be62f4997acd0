"""Which pages hold the bytes of an object."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._native import buffer_address

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Extent(NamedTuple):
    """The whole pages from the lowest to the highest byte of an object.

    Attributes
    ----------
    start, nbytes : int
        Address of the first page, and bytes: a multiple of the page, 0 for an empty object.
    holder : numpy.ndarray or memoryview
        While this lives the bytes stay where they are: a bytearray cannot be resized, a mmap not
        be closed.
    """

    start: int
    nbytes: int
    holder: NDArray[Any] | memoryview

    @property
    def pages(self) -> int:
        """How many pages these are."""
        return self.nbytes // mmap.PAGESIZE


def extent(a: NDArray[Any] | Buffer) -> Extent:
    """Return the pages of any array or buffer, gaps of a strided view included.

    Of an array of objects these are the pages of its references. No system call; allocates.

    Raises
    ------
    TypeError
        The object is neither an array nor has it a buffer.
    """
    holder = a if isinstance(a, np.ndarray) else memoryview(a)
    low, high = _bounds(holder)
    start = low - low % mmap.PAGESIZE
    nbytes = 0 if low == high else high - start + -high % mmap.PAGESIZE
    return Extent(start, nbytes, holder)


def _bounds(holder: NDArray[Any] | memoryview) -> tuple[int, int]:
    """Return the addresses of the lowest byte and of the one after the highest."""
    if isinstance(holder, np.ndarray):  # also of dtypes that no buffer can show, as dates
        low, high = np.lib.array_utils.byte_bounds(holder)
        return (low, high) if holder.size and holder.itemsize else (low, low)
    if holder.suboffsets:
        raise TypeError("the parts of this buffer lie anywhere: it has suboffsets")
    low = high = buffer_address(holder)
    if holder.nbytes == 0:
        return low, low
    for length, stride in zip(holder.shape or (), holder.strides or (), strict=True):
        reach = (length - 1) * stride
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + holder.itemsize
