"""The ring buffer: a stream between one writer and one reader, threads or processes, without locks."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, Self, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _native
from .errors import RingCorrupted, lock_or_warn
from .region_flags import UNLOCKED
from .ring_async import AsyncWaits
from .travel import Travels, described, write_dtype


class RingBuffer(_native.Ring, AsyncWaits, Travels):
    """A ring of frames in locked, mirrored memory: one writer, one reader, no locks.

    All `capacity` frames are usable, and a window on them is one contiguous piece wherever it
    starts: the same memory is mapped twice in a row. Nothing waits but `wait_read`, `wait_write`
    and `blocks`. Writing and reading keep the GIL, take no page fault, and make no system call,
    but for one wake-up when the other side sleeps in a wait. Two writers, or two readers, cannot
    crash it, but mix their frames: each side belongs to one thread.

    It travels to another process as an argument of a `multiprocessing.Process`, through
    multiprocessing's connections and queues, by fork, and by its descriptor (`fileno`, `attach`);
    there its memory is mapped, locked and prefaulted anew. The process that writes is the writer,
    the one that reads the reader, until another does, and then again: by turns, not at once. A side
    whose process exits or is killed without `close`, or drops its RingBuffer, counts as closed
    within 100 ms: waits notice it, and so do `closed`, `eof` and a transfer that gets less than it
    wanted, which ask the kernel once in 50 ms. So a successor becomes the side before the one
    before it goes; any call of that side will do, ``wait_write(0)`` or ``wait_read(0)`` too.
    Before anybody has written, the writer may be whoever has the ring; likewise the reader. So a
    process that dies before it ever had the ring, or used an inherited one, is not missed.

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
    eventfd : bool
        Make two eventfds as well, for `arm_read`, `arm_write` and the asynchronous waits.

    Attributes
    ----------
    capacity, channels, dtype
        As above.
    nbytes : int
        Bytes of memory, in whole pages. It is mapped twice: VmLck and the limit count 2 * nbytes.
    locked : bool
        Whether its pages are locked, in this process: not so after ``on_error="warn"``, nor in a forked
        child.
    read_available, write_available : int
        Frames that can be read and written at this moment.
    frames_written, frames_read : int
        Frames since the ring was made.
    overruns, frames_lost : int
        Calls of ``write(..., drop=True)`` that lost frames, and how many.
    underruns, frames_missed : int
        Calls of ``read_into(..., fill=x)`` that had to fill, and how many frames.
    closed, eof : bool
        Whether either side called `close` or died; and whether everything has been read after that.
    peer_alive : bool
        Whether the other side lives: this process's own threads do. A system call.
    address : int
        Of ``struct la_ring``, for C, C++, Cython and Numba: see ``lockedarray/ring.h`` in the
        directory that `get_include` names. Keep the ring as long as somebody has it.
    eventfds : tuple of int, or None
        What tells the reader, and what tells the writer.

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

    As a context manager it is closed at the end, for both sides:

    >>> with la.RingBuffer(100) as rb:
    ...     _ = rb.write(np.zeros(10, "float32"))
    >>> rb.closed, len(rb.read(100))
    (True, 10)
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        capacity: SupportsIndex,
        channels: SupportsIndex | None = None,
        dtype: DTypeLike = "float32",
        *,
        on_error: Literal["raise", "warn"] = "raise",
        eventfd: bool = False,
    ) -> Self:
        item = np.dtype(dtype)
        make = partial(super().__new__, cls, capacity, channels, item, write_dtype(item), None)
        events: Literal[True] | None = True if eventfd else None
        return lock_or_warn(on_error, lambda locked: make(0 if locked else UNLOCKED, -1, events))

    @classmethod
    def _in_pool(
        cls, pool: _native.Pool, capacity: SupportsIndex, channels: SupportsIndex | None, dtype: DTypeLike
    ) -> Self:
        """Make a ring of a pool's memory."""
        item = np.dtype(dtype)
        return super().__new__(cls, capacity, channels, item, write_dtype(item), pool, 0, -1, None)

    @classmethod
    def attach(
        cls,
        fd: int,
        *,
        on_error: Literal["raise", "warn"] = "raise",
        eventfds: tuple[int, int] | None = None,
    ) -> Self:
        """Return the ring that a descriptor leads to: the other side of one in another process.

        Maps, locks and prefaults its memory here, system calls without the GIL. Nothing that the
        header says is believed: size and seals are the kernel's word, and indices are checked
        whenever they are read.

        Parameters
        ----------
        fd : int
            What `fileno` gave there. It is not kept: close it.
        on_error : {"raise", "warn"}
            What a refused lock means.
        eventfds : tuple of int, optional
            The other's `eventfds`, as they arrived here; they are not kept either.

        Raises
        ------
        ValueError
            It is not the descriptor of a ring, and why.
        LockError, MemoryError, OSError
            As the constructor; and where ``/proc`` is missing.

        Examples
        --------
        >>> import lockedarray as la, numpy as np
        >>> writer = la.RingBuffer(100)
        >>> reader = la.RingBuffer.attach(writer.fileno())
        >>> writer.write(np.arange(3, dtype="float32"))
        3
        >>> reader.read(10).tolist()
        [0.0, 1.0, 2.0]
        """
        fd = operator.index(fd)
        capacity, channels, item, text = described(_native.ring_describe(fd))
        events = None
        if eventfds is not None:
            try:
                reader, writer = map(operator.index, eventfds)
            except (TypeError, ValueError):
                raise TypeError(
                    f"eventfds must be two descriptors, as RingBuffer.eventfds: {eventfds!r}"
                ) from None
            events = reader, writer
        make = partial(super().__new__, cls, capacity, channels, item, text, None)
        return lock_or_warn(on_error, lambda locked: make(0 if locked else UNLOCKED, fd, events))

    def blocks(self, n: SupportsIndex) -> Iterator[NDArray[Any]]:
        """Yield block after block of `n` frames, waiting for each, until the ring is closed.

        The last may be shorter. Each is a new ordinary array. For the reading thread.

        Raises
        ------
        ValueError
            `n` is below 1, or more than the capacity.

        Examples
        --------
        >>> import lockedarray as la, numpy as np
        >>> rb = la.RingBuffer(100)
        >>> _ = rb.write(np.zeros(100, "float32"))
        >>> rb.close()
        >>> [len(block) for block in rb.blocks(64)]
        [64, 36]
        """
        frames = operator.index(n)
        if not 1 <= frames <= self.capacity:
            raise ValueError(f"n must be between 1 and the capacity, {self.capacity}, not {frames}")
        return self._blocks(frames)

    def _blocks(self, n: int) -> Iterator[NDArray[Any]]:
        while self.wait_read(n):
            yield self.read(n)
        if len(rest := self.read(n)):
            yield rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the ring, for both sides."""
        self.close()

    def __repr__(self) -> str:
        channels = "" if self.channels is None else f" of {self.channels} channels"
        closed = ", closed" if self.closed else ""
        try:
            held = f"{self.read_available} of {self.capacity} frames"
        except RingCorrupted:
            held = f"corrupted, {self.capacity} frames"
        return f"<RingBuffer, {held}{channels}, {self.dtype}{closed}>"
