"""Curves and waveforms in locked memory: values at even distances, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from .errors import lock_or_warn
from .region_flags import UNLOCKED

Interpolation: TypeAlias = Literal["nearest", "linear", "cubic"]
Allocate: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


class Axis(TypedDict, total=False):
    """Where a table's values lie, and what lies between them: the keywords of `LookupTable`."""

    start: SupportsFloat | SupportsIndex
    stop: SupportsFloat | SupportsIndex
    periodic: bool
    interpolation: Interpolation


_CODES = {"nearest": 0, "linear": 1, "cubic": 2}


class LookupTable(_native.Table):
    """A function of one variable, given by its values at even distances, in locked memory.

    Memory is mapped, locked, filled and made read-only (`mprotect`) by the constructor. Then
    ``table(x, out)`` and `sweep` read it: no page fault, no system call, and the GIL is kept.

    ``table(x, out=None)`` takes real numbers of any dtype, shape and strides, and gives the table's
    dtype and the shape of `x`, for a table with channels one axis more. With `out`, an array of
    just that dtype and shape, nothing is allocated, unless `x` is float16 or of the other byte
    order, or no array, or overlaps `out` other than element by element; the result is right then,
    too. `out` is returned. Complex numbers and objects: TypeError; another shape, or a read-only
    `out`: ValueError.

    Parameters
    ----------
    values : array_like
        Real numbers, ``(n,)`` or ``(n, channels)``, at least one. float32 and float16 make a table
        of float32; all other dtypes, up to 64 bits, one of float64.
    start, stop : float
        Where ``values[0]`` and ``values[n-1]`` lie; in a periodic table ``values[0]`` lies at
        `stop` again. `stop` may be below `start`.
    periodic : bool
        Outside of the axis the values repeat; else the first and the last one go on.
    interpolation : {"nearest", "linear", "cubic"}
        What lies between two values; cubic is Catmull-Rom.
    on_error : {"raise", "warn"}
        Where the lock is refused ``"warn"`` gives a LockWarning and a table that is resident, but
        not locked.

    Attributes
    ----------
    values : ndarray
        The locked memory, in a new read-only view, which keeps it alive. A write past NumPy's
        check is a crash (SIGSEGV).
    dtype : dtype
        float32 or float64: of the values, and of what comes out.
    size : int
        Points: n.
    channels : int or None
        None where the values are 1-D.
    start, stop, periodic, interpolation
        As above.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped.
    MemoryError
        The memory was refused.
    TypeError
        The values are no real numbers, or of more than 64 bits.
    ValueError
        No values, or more than two axes; an axis of no length, or too wide or too narrow for
        float64; an unknown interpolation.

    See Also
    --------
    Pool.table : in memory that was set aside before.
    mprotect(2)

    Notes
    -----
    With v the values, n of them, the position p is computed in float64 and the rest in the table's
    dtype. Every operation is rounded, none is fused, so that the same input gives the same bits
    whatever the size of a block, the thread or the CPU::

        p = (x - start) * (steps / (stop - start))    steps = n - 1; periodic: n; at least 1
        p = min(max(p, 0), n - 1)                     unless periodic
        i = floor(p), f = p - i                       f rounded to the dtype

        nearest    v[floor(p + 0.5)]
        linear     v[i] + f*(v[i+1] - v[i])
        cubic      b + (0.5*f)*((c - a) + f*((((2*a - 5*b) + 4*c) - d) + f*((3*(b - c) + d) - a)))
                   of a, b, c, d = v[i-1], v[i], v[i+1], v[i+2]

    Indices beyond the ends repeat the end, or wrap. NaN gives NaN, always with the same bits;
    infinity gives an end, or periodic NaN.

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> curve = la.LookupTable([0.0, 10.0, 0.0], start=-1, stop=1)
    >>> curve([-2.0, -0.5, 0.25])
    array([0. , 5. , 7.5])
    >>> x, out = np.linspace(-1, 1, 256), np.empty(256)
    >>> curve(x, out=out) is out
    True
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        values: ArrayLike,
        *,
        start: SupportsFloat | SupportsIndex = 0.0,
        stop: SupportsFloat | SupportsIndex = 1.0,
        periodic: bool = False,
        interpolation: Interpolation = "linear",
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            return lock_or_warn(
                on_error,
                lambda locked: _native.empty(shape, dtype, "C", 0 if locked else UNLOCKED),
            )

        return cls._place(
            allocate, values, start=start, stop=stop, periodic=periodic, interpolation=interpolation
        )

    @classmethod
    def _place(
        cls,
        allocate: Allocate,
        values: ArrayLike,
        *,
        start: SupportsFloat | SupportsIndex = 0.0,
        stop: SupportsFloat | SupportsIndex = 1.0,
        periodic: bool = False,
        interpolation: Interpolation = "linear",
    ) -> Self:
        """Make a table in memory from `allocate`, which is called when nothing else can fail."""
        points = _points(values)
        periodic = bool(periodic)
        start, stop = _axis(start, stop, len(points) if periodic else len(points) - 1)
        if not isinstance(interpolation, str) or interpolation not in _CODES:
            raise ValueError(f"interpolation must be 'nearest', 'linear' or 'cubic', not {interpolation!r}")
        storage = allocate(points.shape, points.dtype)
        storage[...] = points
        _native.protect(storage)
        return super().__new__(cls, storage, start, stop, periodic, _CODES[interpolation])

    def __repr__(self) -> str:
        shape = f"{self.size}" if self.channels is None else f"{self.size} x {self.channels}"
        periodic = ", periodic" if self.periodic else ""
        return (
            f"<{type(self).__name__} of {shape} {self.dtype} values, {self.interpolation}{periodic}, "
            f"from {self.start} to {self.stop}>"
        )


def _points(values: ArrayLike) -> NDArray[Any]:
    """Check the values, and return them in the table's dtype."""
    points = np.asarray(values)
    kind = points.dtype
    if kind.kind not in "biuf" or kind.itemsize > 8:
        raise TypeError(
            f"values must be real numbers of at most 64 bits, not {kind}: a table holds float32 or float64"
        )
    if points.ndim not in (1, 2):
        raise ValueError(f"values must have the shape (points,) or (points, channels), not {points.shape}")
    if points.size == 0:
        raise ValueError(f"values must hold at least one point, and their shape is {points.shape}")
    single = kind.kind == "f" and kind.itemsize <= 4
    return points.astype(np.float32 if single else np.float64, copy=False)


def _axis(
    start: SupportsFloat | SupportsIndex, stop: SupportsFloat | SupportsIndex, steps: int
) -> tuple[float, float]:
    """Check the axis, on which the values lie `steps` steps apart."""
    start, stop = _finite(start, "start"), _finite(stop, "stop")
    span = stop - start
    if span == 0:
        raise ValueError(f"start and stop must differ, and both are {start!r}")
    if not (math.isfinite(span) and math.isfinite(steps / span)):
        raise ValueError(f"{start!r} to {stop!r} is too wide or too narrow for {steps} steps")
    return start, stop


def _finite(value: SupportsFloat | SupportsIndex, name: str) -> float:
    try:
        finite = math.isfinite(value)  # which, unlike float(), takes no text
    except TypeError:
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}") from None
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{name} must be finite in float64, not {value!r:.40}")
    return float(value)
