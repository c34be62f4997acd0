"""A pool: memory that is set aside before the loop, and handed out without a system call."""

from __future__ import annotations

from typing import Any, Literal, Self, SupportsIndex, Unpack

from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _native
from .arrays import Order
from .errors import lock_or_warn
from .filling import Filling
from .region_flags import UNLOCKED, region_flags
from .ring import RingBuffer
from .sizes import positive
from .table import Axis, LookupTable


class Pool(_native.Pool, Filling):
    """Locked memory, set aside at once, from which arrays, rings and tables are taken.

    All of it is mapped, locked and prefaulted by the constructor. Taking an array then makes no
    page fault and no system call, and cannot fail on the limit. Each takes whole pages, never one
    twice: when its last view dies its pages are unlocked and go back to the system, not to the
    pool. A forked child can use what was taken, but takes nothing from an inherited pool.

    Parameters
    ----------
    nbytes : int
        At least 1; rounded up to whole pages.
    huge : bool
        Pages of 2 MiB where they can be had.
    fork : {"copy", "share"}
        What a forked child sees of arrays and tables; rings are always shared.
    on_error : {"raise", "warn"}
        Where the lock is refused ``"warn"`` gives a LockWarning and a pool that is resident, but
        not locked.

    Attributes
    ----------
    capacity, in_use, available, returned : int
        Bytes; capacity == in_use + available + returned, always.
    peak : int
        The most bytes that were in use at once.
    unreturned : int
        Bytes of `in_use` that nobody uses any more, but that the kernel refused to take back (it
        can: a mapping split too often). They stay locked and are offered again at each release.
    closed : bool
        Whether `close` was called.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped.
    MemoryError
        The memory was refused.

    See Also
    --------
    empty : an array of its own.
    mlock(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> with la.Pool(1 << 20) as pool:
    ...     delay = pool.zeros((2, 4800), "float32")
    ...     sine = pool.table([0, 1, 0, -1], periodic=True)
    >>> la.is_locked(delay)
    True
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        nbytes: SupportsIndex,
        *,
        huge: bool = False,
        fork: Literal["copy", "share"] = "copy",
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        size = positive(nbytes)
        flags = region_flags(huge=huge, fork=fork)

        make = super().__new__
        return lock_or_warn(on_error, lambda locked: make(cls, size, flags if locked else flags | UNLOCKED))

    def empty(self, shape: Any, dtype: DTypeLike | None = float, order: Order = "C") -> NDArray[Any]:
        """Return an array of the pool's memory: as `numpy.empty`, but all zeros.

        No system call, no page fault; keeps the GIL. The same for `zeros`, and for `ones`, `full`
        and `array` but for what NumPy does to fill them.

        Raises
        ------
        PoolExhausted
            More than is left; the pool is as before.
        ValueError
            The pool is closed, or was inherited from the parent process.
        TypeError, ValueError
            As `numpy.empty`; dtypes that hold references are refused.

        Examples
        --------
        >>> import lockedarray as la
        >>> pool = la.Pool(1 << 16)
        >>> pool.empty((2, 512), "float32").shape
        (2, 512)
        """
        return self._take(shape, dtype, order)

    def zeros(self, shape: Any, dtype: DTypeLike = float, order: Order = "C") -> NDArray[Any]:
        """Return zeros in the pool's memory: as `numpy.zeros`. See `empty`."""
        return self._take(shape, dtype, order)

    def ring(
        self,
        capacity: SupportsIndex,
        channels: SupportsIndex | None = None,
        dtype: DTypeLike = "float32",
    ) -> RingBuffer:
        """Return a RingBuffer in place of twice its bytes of the pool's pages.

        The locked total stays as it is. System calls without the GIL, some 20 us and more.

        Raises
        ------
        PoolExhausted
            ``2 * nbytes`` of the ring are more than is left.
        TypeError, ValueError
            As `RingBuffer`; and as `empty`.
        LockError, OSError, MemoryError
            The kernel refused to replace the pages. They are the pool's again, or returned.

        Examples
        --------
        >>> import lockedarray as la
        >>> pool = la.Pool(1 << 16)
        >>> ring = pool.ring(512, channels=2)
        >>> pool.in_use == 2 * ring.nbytes
        True
        """
        return RingBuffer._in_pool(self, capacity, channels, dtype)

    def table(self, values: ArrayLike, **axis: Unpack[Axis]) -> LookupTable:
        """Return a LookupTable in the pool's memory; one system call makes it read-only.

        Parameters
        ----------
        values, **axis
            As `LookupTable` takes them.

        Raises
        ------
        PoolExhausted
            More than is left.
        TypeError, ValueError
            As `LookupTable`; and as `empty`.

        Examples
        --------
        >>> import lockedarray as la, numpy as np
        >>> pool = la.Pool(1 << 16)
        >>> pool.table([0.0, 1.0])(np.array([0.25]))
        array([0.25])
        """
        return LookupTable._place(self.empty, values, **axis)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<Pool, {self.in_use:,} of {self.capacity:,} bytes in use, {self.available:,} available, "
            f"{self.returned:,} returned{', closed' if self.closed else ''}>"
        )
