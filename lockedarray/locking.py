"""Locks on memory that exists already."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from . import _native
from .errors import check_policy, lock_or_warn, warn_caller
from .extent import Extent, extent
from .mappings import mappings

if TYPE_CHECKING:
    from typing_extensions import Buffer


class MemoryLock:
    """The lock that `lock` returns. It holds the object, and releases its pages once.

    Attributes
    ----------
    active : bool
        Whether pages are locked by it: not after `release`, and not where ``on_error="warn"``
        had to do without.
    nbytes : int
        Bytes of the whole pages.
    """

    __slots__ = ("__weakref__", "_lock", "_pages")

    def __init__(self, pages: Extent, lock: _native.Lock) -> None:
        self._pages: Extent | None = pages
        self._lock = lock

    @property
    def active(self) -> bool:
        """Whether pages are locked by it."""
        return self._lock.active

    @property
    def nbytes(self) -> int:
        """Bytes of the whole pages; 0 after the release."""
        return 0 if self._pages is None else self._pages.nbytes

    def release(self) -> None:
        """Unlock every page that no other lock covers, and let go of the object.

        Again: nothing happens. A system call, without the GIL.

        Raises
        ------
        OSError
            The kernel refused, for a process can have too many mappings to split one more. The
            lock is then still active over what is left, and can be released later.
        """
        self._lock.release()
        self._pages = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        # Absent where __init__ never ran. The native lock releases the pages in any case.
        lock = getattr(self, "_lock", None)
        if lock is not None and lock.active:
            warnings.warn(f"{self!r} was dropped without release", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = f"{self.nbytes} bytes" if self.active else "not active"
        return f"<MemoryLock, {state}>"


def lock(a: NDArray[Any] | Buffer, *, on_error: Literal["raise", "warn"] = "raise") -> MemoryLock:
    """Lock the memory of `a`: afterwards every page of it is resident, and stays so.

    Locks nest and overlap: a page is unlocked when the last lock that covers it is gone. The pages
    run from the lowest to the highest byte of `a`, gaps of a strided view included; what else lies
    on them is locked with it. Reads ``/proc/self/maps`` and makes a system call without the GIL,
    20 us and more; allocates.

    Parameters
    ----------
    a : array or buffer
        Memory maps and read-only ones too. An empty one locks nothing.
    on_error : {"raise", "warn"}
        Where the lock is refused ``"warn"`` gives a LockWarning and a MemoryLock that is not
        active; the pages are then only brought in.

    Returns
    -------
    MemoryLock
        A context manager. Dropped without release it unlocks too, with a ResourceWarning.

    Raises
    ------
    LockError
        The kernel refused; nothing of `a` is locked by this call then.
    TypeError
        `a` is neither an array nor has it a buffer.

    Warns
    -----
    LockWarning
        `a` is a writable shared mapping of a file: its pages fault again after each write-back.

    See Also
    --------
    is_locked, load
    mlock(2)

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> table = np.sin(np.linspace(0, 6.28, 4096))
    >>> with la.lock(table):
    ...     la.is_locked(table)
    True
    """
    check_policy(on_error)
    pages = extent(a)
    repair = False
    for mapping in mappings(pages) if pages.nbytes else ():
        repair |= mapping.is_private and mapping.is_writable
        if mapping.is_written_back:
            warn_caller(
                f"{mapping.path} is mapped shared and writable: its locked pages fault again after each "
                'write-back. Map it with mode="c" (np.load(path, mmap_mode="c")), or read it into locked '
                "memory with lockedarray.load",
            )

    def make(locked: bool) -> MemoryLock:
        return MemoryLock(pages, _native.Lock(pages.start, pages.nbytes, repair, locked))

    return lock_or_warn(on_error, make)


def region(a: object) -> _native.Region | None:
    """Return the Region that `a` lies in, or None where it lies in none.

    Memory that is not from this library has none, nor has an array of a `Heap`: ask `Heap.owns`.
    Follows the chain of `base`; no system call.

    Parameters
    ----------
    a : object
        An array, a memoryview, or a Region itself.

    Examples
    --------
    >>> import lockedarray as la
    >>> la.region(la.zeros(1000)[::2]).locked
    True
    """
    while True:
        if isinstance(a, np.ndarray):
            a = a.base
        elif isinstance(a, memoryview):
            a = a.obj
        else:
            return a if isinstance(a, _native.Region) else None
