"""Files, read into locked memory."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .arrays import Options, Order, empty

_MAGIC = b"\x93NUMPY"


class _Content(NamedTuple):
    """What lies in a file, and where."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Order
    offset: int


def load(
    path: str | os.PathLike[str],
    dtype: DTypeLike | None = None,
    shape: Any = None,
    order: Order = "C",
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return the array that a file holds, in locked memory.

    Read by the system straight into the array's pages: a file that is mapped instead faults, and
    its pages can go again.

    Parameters
    ----------
    path : path-like
        An .npy file, or with `dtype` a raw one.
    dtype : data-type, optional
        Of the items of a raw file, which has no header.
    shape : int or tuple of int, optional
        Of a raw file; without it all the items that it holds, 1-D. A longer file is read as far.
    order : {"C", "F"}
        Of a raw file.
    **options
        As `empty` takes them.

    Raises
    ------
    ValueError
        The file is not what it should be, or holds less: the sentence tells the figures.
    OSError
        It cannot be read.
    LockError, MemoryError
        As `empty`.

    See Also
    --------
    numpy.load, numpy.fromfile

    Examples
    --------
    >>> import lockedarray as la, numpy as np, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file.name, np.arange(3))
    ...     la.load(file.name)
    array([0, 1, 2])
    """
    path = os.fspath(path)
    if dtype is not None:
        content = _raw(path, np.dtype(dtype), shape, order)
    elif shape is not None:
        raise ValueError("a raw file needs its dtype with the shape; an .npy file needs neither")
    else:
        content = _header(path)
    array = empty(content.shape, content.dtype, content.order, **options)
    _read(path, content.offset, array)
    return array


def _raw(path: str, dtype: np.dtype[Any], shape: Any, order: Order) -> _Content:
    if dtype.itemsize == 0:
        raise ValueError(f"dtype {dtype!r} has no size: say how many bytes an item has")
    if shape is None:
        items, rest = divmod(os.path.getsize(path), dtype.itemsize)
        if rest:
            raise ValueError(
                f"{path} holds {os.path.getsize(path):,} bytes, which are no whole number of items of "
                f"{dtype} ({dtype.itemsize} bytes)"
            )
        shape = (items,)
    return _Content(shape, dtype, order, 0)


def _header(path: str) -> _Content:
    with open(path, "rb") as file:
        beginning = file.read(len(_MAGIC))
    if beginning != _MAGIC:
        raise ValueError(
            f"{path} is not an .npy file: it begins with {beginning!r}; a raw file needs its dtype, and "
            "perhaps a shape"
        )
    # NumPy checks the header and the length; of the mapping nothing is read.
    mapped = np.load(path, mmap_mode="r")
    order: Order = "F" if mapped.flags.fnc else "C"
    return _Content(mapped.shape, mapped.dtype, order, mapped.offset)


def _read(path: str, offset: int, array: NDArray[Any]) -> None:
    """Fill an array that is contiguous, in either order, from a file."""
    flat = array.reshape(-1, order="A").view(np.uint8) if array.nbytes else np.empty(0, np.uint8)
    done = 0
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while done < len(flat):
            count = file.readinto(flat.data[done:])
            if not count:
                raise ValueError(
                    f"{path} holds {offset + done:,} bytes, and {offset + len(flat):,} are needed for the "
                    f"shape {array.shape} of {array.dtype}"
                )
            done += count
