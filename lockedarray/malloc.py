"""What the C library's allocator keeps: the work memory that NumPy's data allocator has no say in."""

from __future__ import annotations

from . import _native


def tune_malloc() -> bool:
    """Keep what `free` gets in the process, so that `malloc` hands out memory which does not fault again.

    A Heap serves arrays. What lies under them asks `malloc`: the work memory of FFTs and of LAPACK,
    the scratch of stable sorts. Above 128 KiB glibc maps fresh pages for such a request (above up to
    32 MiB, once it has learnt), and gives back what is free at the end of its heap: a page fault a
    page, every time. After this call all stays, and a second call of the same function on the same
    sizes faults no more; in threads other than the first one this holds up to some 32 MiB. What was
    freed stays with the process, and is not locked.

    Holds for the whole process and cannot be undone. No system call; keeps the GIL.

    Returns
    -------
    bool
        False where the C library has no such settings (musl): nothing has changed then.

    See Also
    --------
    Heap
    mallopt(3): M_MMAP_MAX = 0, M_TRIM_THRESHOLD = -1

    Examples
    --------
    >>> import lockedarray as la
    >>> la.tune_malloc() in (True, False)
    True
    """
    return _native.lib.os_tune_malloc()
