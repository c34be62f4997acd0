"""RLIMIT_MEMLOCK, the limit on locked memory, and how much is locked."""

from __future__ import annotations

import errno
import math
import operator
import resource
from pathlib import Path

from . import place
from ._native import lib
from .proc_text import status_bytes
from .sizes import spoken

_LARGEST = 2**63 - 1


def memlock_limit() -> tuple[int, int]:
    """Return the soft and the hard limit on locked memory.

    The soft limit is the one that counts, unless the process has CAP_IPC_LOCK; it can be raised up
    to the hard one. One system call.

    Returns
    -------
    soft, hard : int
        Bytes; `resource.RLIM_INFINITY` where there is no limit.

    See Also
    --------
    set_memlock_limit, locked_bytes
    getrlimit(2), RLIMIT_MEMLOCK

    Examples
    --------
    >>> import lockedarray as la
    >>> soft, hard = la.memlock_limit()
    """
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)


def set_memlock_limit(soft: int, hard: int | None = None) -> None:
    """Set the limit on locked memory for this process and what it starts from now on.

    What is locked already stays locked, also under a lower limit. One system call.

    Parameters
    ----------
    soft : int
        Bytes, or `resource.RLIM_INFINITY`: at most the hard limit.
    hard : int, optional
        Bytes, or `resource.RLIM_INFINITY`; by default it stays as it is. Whoever lowers it cannot
        raise it again without CAP_SYS_RESOURCE.

    Raises
    ------
    ValueError
        A number below zero or too large for the kernel, or a soft limit above the hard one.
    PermissionError
        The hard limit cannot be raised from here; the sentence says how it can be.

    See Also
    --------
    memlock_limit
    setrlimit(2), RLIMIT_MEMLOCK

    Examples
    --------
    >>> import lockedarray as la
    >>> soft, hard = la.memlock_limit()
    >>> la.set_memlock_limit(hard)
    """
    before = memlock_limit()[1]
    soft = _checked("soft", soft)
    hard = before if hard is None else _checked("hard", hard)
    if _height(soft) > _height(hard):
        raise ValueError(
            f"the soft limit ({spoken(soft)}) cannot be above the hard limit ({spoken(hard)}); "
            "to raise both, give hard too"
        )
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    except (ValueError, OSError) as error:  # resource makes a ValueError of EPERM
        raise PermissionError(
            errno.EPERM,
            f"cannot raise the hard limit on locked memory from {spoken(before)} to "
            f"{spoken(hard)}: that takes CAP_SYS_RESOURCE. Instead, {place.find().fix}",
        ) from error


def locked_bytes() -> int:
    """Return how much memory this process has locked: VmLck, in bytes.

    Mappings count in whole pages and each for itself: a mirrored ring counts twice. Reads
    ``/proc/self/status``, 20 us; allocates.

    See Also
    --------
    memlock_limit
    proc_pid_status(5)

    Examples
    --------
    >>> import lockedarray as la
    >>> la.locked_bytes() % 1024
    0
    """
    return status_bytes(Path("/proc/self/status").read_text(errors="replace"), "VmLck")


def locked_or_unknown() -> int:
    """Return `locked_bytes`, or -1 where /proc cannot be read."""
    try:
        return locked_bytes()
    except (OSError, ValueError):
        return -1


def limit_counts() -> bool:
    """Return whether RLIMIT_MEMLOCK limits this process: it is finite, and no capability lifts it."""
    return memlock_limit()[0] != resource.RLIM_INFINITY and not memlock_lifted()


def memlock_lifted() -> bool:
    """Return whether a capability (CAP_IPC_LOCK) lifts the limit on locked memory.

    It is tried, on address space that is given back at once: in a user namespace the capability is
    there and does not count. True where there is no limit to be tried against.
    """
    soft = memlock_limit()[0]
    if soft == resource.RLIM_INFINITY:
        return True
    # A refusal counts when it is repeated: another thread's lock_all may have come in between.
    beyond = max(lib.os_lock_beyond(soft) for _ in range(3))
    # No address space of that size, or none left: no lock of ours will meet the limit there.
    return beyond == 1 if beyond >= 0 else place.capable(place.CAP_IPC_LOCK)


def _checked(name: str, value: int) -> int:
    value = operator.index(value)
    if value != resource.RLIM_INFINITY and not 0 <= value <= _LARGEST:
        raise ValueError(f"{name} must be bytes from 0 to {_LARGEST}, or resource.RLIM_INFINITY, not {value}")
    return value


def _height(limit: int) -> float:
    """Return a limit as a number that compares."""
    return math.inf if limit == resource.RLIM_INFINITY else limit
