"""The history buffer: the newest frames of one writer, for any number of readers, without locks."""

from __future__ import annotations

from functools import partial
from typing import Literal, Self, SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from . import _native
from .errors import RingCorrupted, lock_or_warn
from .region_flags import UNLOCKED
from .travel import Travels, described, write_dtype


class HistoryBuffer(_native.History, Travels):
    """The newest frames in locked memory: one writer that is never full, any number of readers.

    The writer never waits for anybody: it forgets. Frames are numbered from 0 on, so that a reader
    that comes late sees exactly what it missed. Readers leave no trace: `read_into` copies, and
    checks afterwards that the writer did not come by; `latest` lends the memory itself. Every call
    keeps the GIL, takes no page fault and makes no system call.

    With ``frames=1`` it holds the newest value, whole, whatever its size: parameters, a state, a
    structured dtype of one record.

    It travels to another process as an argument of a `multiprocessing.Process`, through
    multiprocessing's connections and queues, by fork, and by its descriptor (`fileno`, `attach`);
    there its memory is mapped, locked and prefaulted anew (a forked child's is not locked).
    Another process may take the writing over, one after the other; two that write at once cannot
    crash anybody, but mix their frames, and may get RingCorrupted.

    Parameters
    ----------
    frames : int
        That a reader can ask for at once, at least 1.
    channels : int, optional
        Items of a frame. Without it blocks are 1-D.
    dtype : data-type
        Of an item; structured ones too, but none that holds references.
    on_error : {"raise", "warn"}
        What a refused lock means.

    Attributes
    ----------
    frames, channels, dtype
        As above.
    memory_frames : int
        Frames that the memory holds, at least twice `frames` and at least 4.
    frames_written : int
        Frames since the history was made.
    oldest : int
        The number of the oldest frame that is whole, in everything that was read before.
    nbytes : int
        Bytes of memory, in whole pages. It is mapped twice: VmLck and the limit count 2 * nbytes.
    locked : bool
        Whether its pages are locked, in this process: not so after ``on_error="warn"``, nor in a forked
        child.
    address : int
        Of ``struct la_history``, for C, C++, Cython and Numba: see ``lockedarray/history.h`` in the
        directory that `get_include` names. Keep the history as long as somebody has it.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped.
    MemoryError
        The memory was refused.
    TypeError
        The dtype holds references, is an array, or has no bytes.
    ValueError
        A number of frames or channels below 1, or too large to be addressed.

    See Also
    --------
    RingBuffer : loses nothing, and can be full.
    Boehm, "Can seqlocks get along with programming language memory models?", 2012.

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> hb = la.HistoryBuffer(48000, channels=2)
    >>> hb.write(np.ones((64, 2), "float32"))
    >>> hb.latest(100).mean(axis=0).tolist()
    [0.6399999856948853, 0.6399999856948853]
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        frames: SupportsIndex,
        channels: SupportsIndex | None = None,
        dtype: DTypeLike = "float32",
        *,
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        item = np.dtype(dtype)
        make = partial(super().__new__, cls, frames, channels, item, write_dtype(item))
        return lock_or_warn(on_error, lambda locked: make(0 if locked else UNLOCKED, -1))

    @classmethod
    def attach(cls, fd: int, *, on_error: Literal["raise", "warn"] = "raise") -> Self:
        """Return the history that a descriptor leads to: of another process, mostly.

        Maps, locks and prefaults its memory here, system calls without the GIL. Nothing that the
        header says is believed: size and seals are the kernel's word, and indices are checked
        whenever they are read.

        Parameters
        ----------
        fd : int
            What `fileno` gave there. It is not kept: close it.
        on_error : {"raise", "warn"}
            What a refused lock means.

        Raises
        ------
        ValueError
            It is not the descriptor of a history, and why.
        LockError, MemoryError, OSError
            As the constructor; and where ``/proc`` is missing.

        Examples
        --------
        >>> import lockedarray as la, numpy as np
        >>> writer = la.HistoryBuffer(100)
        >>> reader = la.HistoryBuffer.attach(writer.fileno())
        >>> writer.write(np.arange(3, dtype="float32"))
        >>> reader.latest(3).tolist()
        [0.0, 1.0, 2.0]
        """
        frames, channels, item, text = described(_native.history_describe(fd))
        make = partial(super().__new__, cls, frames, channels, item, text)
        return lock_or_warn(on_error, lambda locked: make(0 if locked else UNLOCKED, fd))

    def __repr__(self) -> str:
        channels = "" if self.channels is None else f" of {self.channels} channels"
        try:
            held = f"the newest {self.frames} of {self.frames_written} frames"
        except RingCorrupted:
            held = f"corrupted, {self.frames} frames"
        return f"<HistoryBuffer, {held}{channels}, {self.dtype}>"
