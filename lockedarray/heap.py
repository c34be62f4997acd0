"""A heap: locked memory in which NumPy allocates its own arrays, temporaries too."""

from __future__ import annotations

import operator
from typing import Literal, NoReturn, Self, SupportsIndex

from . import _native
from .activation import Activation
from .errors import lock_or_warn
from .filling import Filling
from .region_flags import UNLOCKED, region_flags
from .sizes import positive, spoken


class Heap(_native.Heap, Filling):
    """Locked memory for all that NumPy allocates, so that unchanged programs take no page fault for arrays.

    ``y = a*b + c*d`` makes three arrays, and a loop cannot pass ``out=`` everywhere. With
    ``heap.activate()`` NumPy takes them from here: memory that was mapped, locked and prefaulted
    by the constructor, in constant time, with no system call unless two threads meet in it. What
    dies is used again, and stays locked. Any thread may make and drop arrays, with the GIL or without.

    The heap lives as long as its last array: also one that a module keeps for itself (import and
    try what you use before the heap is active). To give it back takes 0.15 ms a MiB, in the thread
    that drops the last. A forked child inherits a heap that works, in memory of its own that is not
    locked there (`locked` tells).

    Parameters
    ----------
    nbytes : int
        At least 1. An array of so many bytes fits into the fresh heap; each array takes a header
        of 16 bytes besides, and whole units of 64. Up to 16 KiB more are locked for the books.
    huge : bool
        Pages of 2 MiB where they can be had.
    overflow : {"raise", "system"}
        What happens when the heap is full: a MemoryError, or ordinary memory, which `overflows`
        counts: it can fault, and is not locked.
    on_error : {"raise", "warn"}
        Where the lock is refused ``"warn"`` gives a LockWarning and a heap that is resident, but
        not locked.

    Attributes
    ----------
    capacity, in_use, peak : int
        Bytes: of the heap, taken now, and the most that were taken at once.
    largest_free : int
        Bytes of the largest array that can be made now.
    allocations, failures, overflows : int
        How many times memory was taken, could not be had, and was the system's instead.
    locked : bool
        Whether the memory was locked, in this process. `is_locked` of an array asks the kernel.

    Raises
    ------
    LockError
        The lock was refused; nothing stays mapped.
    MemoryError
        The memory was refused.

    Notes
    -----
    The blocks are kept by TLSF [1]_ behind a mutex that inherits priority. Blocks up to 2 MiB that
    come back lie ready, 64 at most, until a request needs the memory or `in_use` is asked for.

    Not NumPy's data, so not in the heap: the arrays' own headers, Python's objects and bytes (in
    which `pickle.loads` leaves an array), buffers of casting ufuncs, scratch of stable sorts, the
    work memory of FFTs and LAPACK. `tune_malloc` keeps the last two from faulting.

    References
    ----------
    .. [1] M. Masmano, I. Ripoll, A. Crespo, J. Real, "TLSF: a new dynamic memory allocator for
       real-time systems", ECRTS 2004. NEP 49 is what lets NumPy's allocator be replaced.

    See Also
    --------
    Pool : arrays that you name, whose pages go back to the system.
    tune_malloc

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> heap = la.Heap(1 << 20)
    >>> a = np.ones(1000)
    >>> with heap.activate():
    ...     y = a * 2 + a
    >>> heap.owns(y), la.is_locked(y)
    (True, True)
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        nbytes: SupportsIndex,
        *,
        huge: bool = False,
        overflow: Literal["raise", "system"] = "raise",
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        size = positive(nbytes)
        if overflow not in ("raise", "system"):
            raise ValueError(f"overflow must be 'raise' or 'system', not {overflow!r}")
        flags = region_flags(huge=huge)
        helps = overflow == "system"

        make = super().__new__
        return lock_or_warn(
            on_error, lambda locked: make(cls, size, flags if locked else flags | UNLOCKED, helps)
        )

    def activate(self) -> Activation[Self]:
        """Let NumPy allocate in this heap from now on, in the present context; undone by ``with``.

        A context is a thread's, or an asyncio task's. Threads begin without: call this in each. In a
        pool of threads ``ThreadPoolExecutor(initializer=heap.activate)`` does it for all.
        `asyncio.to_thread` and tasks take the context of who starts them along.

        Where NumPy's MemoryError leaves the ``with`` block and the heap was full, a note on it
        tells the heap's figures. Elsewhere NumPy's own sentence has none of them: `repr` and
        `map` show them.

        Returns
        -------
        Activation
            A context manager that gives the heap, and puts back what was before; so does its
            ``end()``. Dropped, it changes nothing: the heap stays active in this context.

        Notes
        -----
        A generator shares the context of who runs it: one that yields inside the ``with`` block
        leaves the heap active for its caller. End the block before ``yield``.

        See Also
        --------
        contextvars, NEP 49

        Examples
        --------
        >>> import lockedarray as la, numpy as np
        >>> with la.Heap(1 << 20).activate() as heap:
        ...     y = np.arange(5) * 2
        >>> heap.owns(y)
        True

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(initializer=heap.activate) as threads:
        ...     heap.owns(threads.submit(np.ones, 5).result())
        True
        """
        return Activation(self)

    def map(self, columns: int = 64, rows: int = 8) -> str:
        """Return a picture of the heap: ``#`` for memory in use, ``.`` for free, ``+`` for both.

        Below it stands what one needs to read it by. Takes a time that grows with the number of
        arrays, while other threads wait for the heap; the GIL is free meanwhile.

        Parameters
        ----------
        columns, rows : int
            The picture's size in characters.

        Examples
        --------
        >>> import lockedarray as la
        >>> heap = la.Heap(1 << 20)
        >>> kept = heap.empty(1 << 19, "u1")
        >>> print(heap.map(16, 1).splitlines()[0])
        #######+........
        """
        columns, rows = operator.index(columns), operator.index(rows)
        if columns < 1 or rows < 1:
            raise ValueError(f"a picture has at least 1 column and 1 row, not {columns} and {rows}")
        width = -(-self.capacity // (columns * rows))
        used = self._occupancy(width)
        last = self.capacity - (len(used) - 1) * width
        sizes = [width] * (len(used) - 1) + [last]
        picture = "".join(
            "." if not part else "#" if part == size else "+" for part, size in zip(used, sizes, strict=True)
        )
        lines = [picture[at : at + columns] for at in range(0, len(picture), columns)]
        lines.append(
            f"each character is {width:,} bytes; {spoken(self.in_use)} of {spoken(self.capacity)} in use, "
            f"the largest free block has {spoken(self.largest_free)}"
        )
        return "\n".join(lines)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "cannot pickle a Heap: its memory belongs to this process. Pickle arrays, or make another"
        )

    def __repr__(self) -> str:
        parts = [
            f"{self.in_use:,} of {self.capacity:,} bytes in use",
            f"largest free block {self.largest_free:,}",
            *([f"{self.failures:,} refused"] if self.failures else []),
            *([f"{self.overflows:,} from the system"] if self.overflows else []),
            *([] if self.locked else ["not locked"]),
        ]
        return f"<Heap, {', '.join(parts)}>"
