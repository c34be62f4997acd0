"""The ring buffer: a stream between one writing and one reading thread, without locks."""

from __future__ import annotations

from typing import Literal, Self, SupportsIndex

from numpy.typing import DTypeLike

from . import _native
from .errors import lock_or_warn
from .region_flags import UNLOCKED


class RingBuffer(_native.Ring):
    """A ring of frames in locked, mirrored memory: one writer, one reader, no locks, no waiting.

    All `capacity` frames are usable, and a window on them is one contiguous piece wherever it
    starts: the same memory is mapped twice in a row. Writing and reading keep the GIL, make no
    system call and take no page fault. Two writers, or two readers, cannot crash it, but mix their
    frames: each side belongs to one thread.

    Parameters
    ----------
    capacity : int
        Frames, at least 1. Rounding to pages is inside and shows in `nbytes`.
    channels : int, optional
        Items of a frame. Without it blocks are 1-D.
    dtype : data-type
        Of an item; structured ones too, but none that holds references.
    on_error : {"raise", "warn"}
        What a refused lock means.

    Attributes
    ----------
    capacity, channels, dtype
        As above.
    nbytes : int
        Bytes of memory, in whole pages. It is mapped twice: VmLck and the limit count 2 * nbytes.
    read_available, write_available : int
        Frames that can be read and written at this moment.
    frames_written, frames_read : int
        Frames since the ring was made.
    overruns, frames_lost : int
        Calls of ``write(..., drop=True)`` that lost frames, and how many.
    underruns, frames_missed : int
        Calls of ``read_into(..., fill=x)`` that had to fill, and how many frames.
    closed, eof : bool
        Whether either side called `close`; and whether everything has been read after that.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped.
    MemoryError
        The memory was refused.
    TypeError
        The dtype holds references, is an array, or has no bytes.
    ValueError
        A capacity or a number of channels below 1, or too large to be addressed.

    See Also
    --------
    Pool.ring
    Lamport, "Specifying concurrent program modules", 1983: one writer and one reader need no lock.

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> rb = la.RingBuffer(1000, channels=2)
    >>> rb.write(np.ones((64, 2), "float32"))
    64
    >>> out = np.empty((64, 2), "float32")
    >>> rb.read_into(out)
    64
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        capacity: SupportsIndex,
        channels: SupportsIndex | None = None,
        dtype: DTypeLike = "float32",
        *,
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        make = super().__new__
        return lock_or_warn(
            on_error,
            lambda locked: make(cls, capacity, channels, dtype, None, 0 if locked else UNLOCKED),
        )

    @classmethod
    def _in_pool(
        cls, pool: _native.Pool, capacity: SupportsIndex, channels: SupportsIndex | None, dtype: DTypeLike
    ) -> Self:
        """Make a ring of a pool's memory."""
        return super().__new__(cls, capacity, channels, dtype, pool, 0)

    def __repr__(self) -> str:
        channels = "" if self.channels is None else f" of {self.channels} channels"
        return (
            f"<RingBuffer, {self.read_available} of {self.capacity} frames{channels}, {self.dtype}"
            f"{', closed' if self.closed else ''}>"
        )
