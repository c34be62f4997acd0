"""The NumPy family, in locked memory."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _native
from .errors import LockError, LockWarning

_GUARD, _HUGE, _SHARED, _UNLOCKED = 1, 2, 4, 8
_FORK = {"copy": 0, "share": _SHARED}


def empty(
    shape: Any,
    dtype: DTypeLike = float,
    order: Literal["C", "F"] = "C",
    *,
    device: Literal["cpu"] | None = None,
    guard: bool = False,
    huge: bool = False,
    fork: Literal["copy", "share"] = "copy",
    on_error: Literal["raise", "warn"] = "raise",
) -> NDArray[Any]:
    """Return a new array in locked, prefaulted memory; as `numpy.empty`, and all zeros.

    Maps and locks pages (system calls, without the GIL).

    Raises
    ------
    LockError
        The lock was refused; with ``on_error="warn"`` a LockWarning instead, and resident memory.
    MemoryError
        The memory was refused.
    TypeError
        The dtype holds references to objects.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.empty((2, 3), "float32").shape
    (2, 3)
    """
    if device not in (None, "cpu"):
        raise ValueError(f'Device not understood. Only "cpu" is allowed, but received: {device}')
    if fork not in _FORK:
        raise ValueError(f"fork must be 'copy' or 'share', not {fork!r}")
    if on_error not in ("raise", "warn"):
        raise ValueError(f"on_error must be 'raise' or 'warn', not {on_error!r}")
    flags = _GUARD * bool(guard) | _HUGE * bool(huge) | _FORK[fork]
    try:
        return _native.empty(shape, dtype, order, flags)
    except LockError as error:
        if on_error == "raise":
            raise
        warnings.warn(f"resident, but not locked: {error}", LockWarning, stacklevel=2)
    return _native.empty(shape, dtype, order, flags | _UNLOCKED)


def zeros(
    shape: Any, dtype: DTypeLike = float, order: Literal["C", "F"] = "C", **options: Any
) -> NDArray[Any]:
    """Return a new array of zeros in locked memory; see `empty`."""
    return empty(shape, dtype, order, **options)


def ones(
    shape: Any, dtype: DTypeLike = None, order: Literal["C", "F"] = "C", **options: Any
) -> NDArray[Any]:
    """Return a new array of ones in locked memory; see `empty`."""
    return full(shape, 1, float if dtype is None else dtype, order, **options)


def full(
    shape: Any, fill_value: ArrayLike, dtype: DTypeLike = None, order: Literal["C", "F"] = "C", **options: Any
) -> NDArray[Any]:
    """Return a new array filled with `fill_value` in locked memory; see `empty`."""
    array = empty(shape, np.asarray(fill_value).dtype if dtype is None else dtype, order, **options)
    np.copyto(array, fill_value, casting="unsafe")
    return array
