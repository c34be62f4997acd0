"""The NumPy family, in locked memory: NumPy's signatures first, then what a region can be asked to be."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _native
from .errors import lock_or_warn
from .locking import region
from .region_flags import UNLOCKED, region_flags

Order = Literal["C", "F"] | None
AnyOrder = Literal["K", "A", "C", "F"] | None


class Options(TypedDict, total=False):
    """The keywords that every function here takes; `empty` explains them."""

    device: Literal["cpu"] | None
    guard: bool
    huge: bool
    fork: Literal["copy", "share"]
    on_error: Literal["raise", "warn"]


def _new(options: Options, call: Any, *arguments: Any) -> NDArray[Any]:
    """Make an array by a native call that takes the flags last."""
    options = options.copy()
    device = options.pop("device", None)
    if device not in (None, "cpu"):
        raise ValueError(f'Device not understood. Only "cpu" is allowed, but received: {device}')
    on_error = options.pop("on_error", "raise")
    flags = region_flags(**options)  # type: ignore[misc]  # without device; and it refuses what it does not know
    if on_error == "raise":
        return call(*arguments, flags)  # type: ignore[no-any-return]
    return lock_or_warn(
        on_error,
        lambda locked: call(*arguments, flags if locked else flags | UNLOCKED),
    )


@_native.direct
def empty(
    shape: Any, dtype: DTypeLike | None = None, order: Order = "C", **options: Unpack[Options]
) -> NDArray[Any]:
    """Return a new array in locked, prefaulted memory: as `numpy.empty`, but all zeros.

    Maps and locks whole pages, system calls without the GIL: about 10 us for a page, 0.4 ms for
    1 MiB, 30 ms for 64 MiB. Released when the last view dies.

    Parameters
    ----------
    shape, dtype, order
        As `numpy.empty` takes them. Dtypes that hold references (object, StringDType) are refused:
        what they refer to would not be locked.
    device : {None, "cpu"}
        NumPy's; it changes nothing.
    guard : bool
        Inaccessible pages on both sides: the data ends at a page's end instead of beginning at a
        page's start, and one byte beyond is a crash instead of damage.
    huge : bool
        Pages of 2 MiB where they can be had: faster to make, and up to 1.5 times faster in random
        access. ``la.region(a).huge_bytes`` tells what came of it.
    fork : {"copy", "share"}
        What a forked child sees: a copy of its own, or the same memory. It is not locked there.
    on_error : {"raise", "warn"}
        Where the lock is refused ``"warn"`` gives a LockWarning and an array that is resident, but
        not locked.

    Returns
    -------
    ndarray
        Its data starts on a page, unless it has a guard; its base is a `Region`.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped. The sentence tells the limit and the fix.
    MemoryError
        The memory was refused, or more than 64 MiB would not fit in what the machine has left.
    TypeError, ValueError
        As `numpy.empty`.

    See Also
    --------
    Pool.empty : without a system call.
    mmap(2), mlock(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> block = la.empty((2, 512), "float32")
    >>> la.is_locked(block)
    True
    """
    return _new(options, _native.empty, shape, dtype, order)


def zeros(
    shape: Any, dtype: DTypeLike | None = None, order: Order = "C", **options: Unpack[Options]
) -> NDArray[Any]:
    """Return a new array of zeros in locked memory: as `numpy.zeros`.

    Fresh pages are zero, so that this costs what `empty` costs, which also tells the options, the
    errors and the system calls.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.zeros(3).tolist()
    [0.0, 0.0, 0.0]
    """
    return empty(shape, dtype, order, **options)


def ones(
    shape: Any, dtype: DTypeLike | None = None, order: Order = "C", **options: Unpack[Options]
) -> NDArray[Any]:
    """Return a new array of ones in locked memory: as `numpy.ones`; options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.ones(3, "int16").tolist()
    [1, 1, 1]
    """
    array = _new(options, _native.empty, shape, dtype, order)
    np.copyto(array, 1, casting="unsafe")
    return array


def full(
    shape: Any,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    order: Order = "C",
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return a new array full of `fill_value` in locked memory: as `numpy.full`.

    Options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.full((2, 2), 7).tolist()
    [[7, 7], [7, 7]]
    """
    if dtype is None:
        fill_value = np.asarray(fill_value)
        dtype = fill_value.dtype
    array = _new(options, _native.empty, shape, dtype, order)
    np.copyto(array, fill_value, casting="unsafe")
    return array


def _new_like(
    options: Options,
    prototype: ArrayLike,
    dtype: DTypeLike | None,
    order: AnyOrder,
    subok: bool,
    shape: Any,
) -> NDArray[Any]:
    model = np.asanyarray(prototype)
    return _new(options, _native.empty_like, model, dtype, order, subok, shape)


def empty_like(
    prototype: ArrayLike,
    /,
    dtype: DTypeLike | None = None,
    order: AnyOrder = "K",
    subok: bool = True,
    shape: Any = None,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return a new array like `prototype` in locked memory: as `numpy.empty_like`, but all zeros.

    Options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> la.empty_like(np.ones((2, 3), "int8", order="F")).strides
    (1, 2)
    """
    return _new_like(options, prototype, dtype, order, subok, shape)


def zeros_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: AnyOrder = "K",
    subok: bool = True,
    shape: Any = None,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return zeros like `a` in locked memory: as `numpy.zeros_like`; options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.zeros_like([1.5, 2.5]).tolist()
    [0.0, 0.0]
    """
    return _new_like(options, a, dtype, order, subok, shape)


def ones_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    order: AnyOrder = "K",
    subok: bool = True,
    shape: Any = None,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return ones like `a` in locked memory: as `numpy.ones_like`; options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.ones_like([1.5, 2.5], dtype=int).tolist()
    [1, 1]
    """
    array = _new_like(options, a, dtype, order, subok, shape)
    np.copyto(array, 1, casting="unsafe")
    return array


def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    order: AnyOrder = "K",
    subok: bool = True,
    shape: Any = None,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return an array like `a`, full of `fill_value`, in locked memory: as `numpy.full_like`.

    Options and errors of `empty`.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.full_like([1, 2], 7).tolist()
    [7, 7]
    """
    array = _new_like(options, a, dtype, order, subok, shape)
    np.copyto(array, fill_value, casting="unsafe")
    return array


def array(
    object: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    copy: bool | None = True,
    order: AnyOrder = "K",
    subok: bool = False,
    ndmin: int = 0,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Return an array of these values in locked memory: as `numpy.array`; options of `empty`.

    Parameters
    ----------
    copy : bool or None
        True: a new array. None: a new one, unless the result is `object`'s memory and that is from
        this library already; the options then change nothing. False: a ValueError instead of a new
        one.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.array([1, 2, 3], "float32")
    array([1., 2., 3.], dtype=float32)
    """
    if copy is True:
        source = np.array(object, dtype, copy=None, order=order, subok=subok, ndmin=ndmin)
    else:
        source = np.array(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin)
        if region(source) is not None:
            return source
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array in locked memory.")
    locked = _new_like(options, source, None, order, subok, None)
    np.copyto(locked, source)
    return locked
