"""Curves and waveforms in locked memory: values at even distances, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _native
from .arrays import empty

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

    Memory is taken, locked, filled and made read-only by the constructor; a call reads it.
    """

    __slots__ = ()

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
            return empty(shape, dtype, on_error=on_error)

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
        if interpolation not in _CODES:
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
    if not (math.isfinite(start) and math.isfinite(stop)):
        raise ValueError(f"start and stop must be finite, not {start!r} and {stop!r}")
    start, stop = float(start), float(stop)
    span = stop - start
    if span == 0:
        raise ValueError(f"start and stop must differ, and both are {start!r}")
    if not (math.isfinite(span) and math.isfinite(steps / span)):
        raise ValueError(f"{start!r} to {stop!r} is too wide or too narrow for {steps} steps")
    return start, stop
