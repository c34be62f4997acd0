"""Arrays with something in them, for whatever gives empty ones: pools and heaps."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .arrays import AnyOrder, Order


class Source(Protocol):
    """What gives memory."""

    def empty(self, shape: Any, dtype: Any = ..., order: Any = ...) -> NDArray[Any]: ...
    def _empty_like(self, prototype: NDArray[Any], order: Any, /) -> NDArray[Any]: ...


class Filling:
    """NumPy's ways to fill a new array; where it lies, what it costs and what is raised, `empty` tells."""

    __slots__ = ()

    def ones(self: Source, shape: Any, dtype: DTypeLike | None = None, order: Order = "C") -> NDArray[Any]:
        """Return ones in this memory: as `numpy.ones`. See `empty`.

        Examples
        --------
        >>> import lockedarray as la
        >>> la.Heap(1 << 16).ones(3).tolist()
        [1.0, 1.0, 1.0]
        """
        array = self.empty(shape, dtype, order)
        np.copyto(array, 1, casting="unsafe")
        return array

    def full(
        self: Source, shape: Any, fill_value: ArrayLike, dtype: DTypeLike | None = None, order: Order = "C"
    ) -> NDArray[Any]:
        """Return an array full of `fill_value` in this memory: as `numpy.full`. See `empty`.

        Examples
        --------
        >>> import lockedarray as la
        >>> la.Pool(1 << 16).full(2, 7).tolist()
        [7, 7]
        """
        if dtype is None:
            fill_value = np.asarray(fill_value)
            dtype = fill_value.dtype
        array = self.empty(shape, dtype, order)
        np.copyto(array, fill_value, casting="unsafe")
        return array

    def array(
        self: Source, object: ArrayLike, dtype: DTypeLike | None = None, order: AnyOrder = "K"
    ) -> NDArray[Any]:
        """Return a copy of these values in this memory: as `numpy.array`. See `empty`.

        What is no array becomes one first, wherever NumPy allocates at present.

        Examples
        --------
        >>> import lockedarray as la
        >>> la.Pool(1 << 16).array([1, 2], "float32")
        array([1., 2.], dtype=float32)
        """
        source = np.array(object, dtype, copy=None, order=order)
        array = self._empty_like(source, order)
        np.copyto(array, source)
        return array
