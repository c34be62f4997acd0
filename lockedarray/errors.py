"""Every exception and warning, and the sentence that each one says."""

from __future__ import annotations

import errno as codes
import math
import os
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from . import fixes, limits, place
from .room import check_room as check_room
from .sizes import spoken

T = TypeVar("T")


class LockError(OSError, MemoryError):
    """The kernel refused to lock memory; of what was asked for nothing stays locked or mapped.

    Attributes
    ----------
    errno : int
        ENOMEM, EAGAIN or EPERM.
    requested : int
        Bytes that were to be locked.
    locked : int
        Bytes that the process had locked already (-1: could not be read).
    soft, hard : int
        RLIMIT_MEMLOCK in bytes; `resource.RLIM_INFINITY` where there is no limit.
    fix : str
        What to change, in the place where this process runs.

    See Also
    --------
    set_memlock_limit
    mlock(2), limits.conf(5), systemd.exec(5)

    Examples
    --------
    >>> import lockedarray as la
    >>> try:
    ...     notes = la.zeros(48000)
    ... except la.LockError as error:
    ...     print(error.fix)
    """

    def __init__(
        self,
        errno: int,
        requested: int,
        locked: int,
        soft: int,
        hard: int,
        reason: str,
        fix: str,
    ) -> None:
        sentence = f"cannot lock {spoken(requested) if requested else 'memory'}: {reason}. {fix}."
        super().__init__(errno, sentence)
        self.requested, self.locked, self.soft, self.hard = requested, locked, soft, hard
        self.reason, self.fix = reason, fix

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(
        self,
    ) -> tuple[type[LockError], tuple[int | None, int, int, int, int, str, str]]:
        figures = self.requested, self.locked, self.soft, self.hard
        return type(self), (self.errno, *figures, self.reason, self.fix)


class LockWarning(RuntimeWarning):
    """Memory is resident but not locked, or locked and of little use: the sentence says which."""


class PoolExhausted(MemoryError):
    """A pool has less left than what was asked of it.

    Attributes
    ----------
    requested, available, capacity : int
        Bytes.
    """

    def __init__(self, requested: int, available: int, capacity: int) -> None:
        super().__init__(requested, available, capacity)
        self.requested, self.available, self.capacity = requested, available, capacity

    def __str__(self) -> str:
        return (
            f"the pool cannot give {spoken(self.requested)}: "
            f"{spoken(self.available)} are left of {spoken(self.capacity)}"
        )


class PageFaultError(AssertionError):
    """Page faults were taken where there should have been none.

    Attributes
    ----------
    minor, major : int
        How many.
    source : str
        What counted them, as `page_faults` names it.
    """

    def __init__(self, minor: int, major: int, source: str) -> None:
        super().__init__(minor, major, source)
        self.minor, self.major, self.source = minor, major, source

    def __str__(self) -> str:
        usual = (
            "Minor faults come from memory used for the first time (an array that NumPy made: "
            "use out= or a Heap; a deeper stack: prefault_stack; the allocator: tune_malloc), from "
            "a fork, or from the kernel moving pages; major ones from memory that is not locked"
        )
        if self.source == "rusage":
            usual += "; this source also counts the pages that a lock or a mapping brings in"
        return f"{self.minor} minor and {self.major} major page faults ({self.source}). {usual}."


class RingCorrupted(RuntimeError):
    """The shared header of a ring says what cannot be: someone else has written to it."""


# The funnel: every failed system call of the package becomes an exception here.

_LOCKING = frozenset({"mlock", "mlock2", "mlockall"})
_MAPPING = frozenset({"mmap", "mremap"})


def refused(call: str, errno: int, nbytes: int) -> Exception:
    """Return the exception for a system call that failed.

    Parameters
    ----------
    call : str
        The call's name: "mlock", "mmap", "memfd_create", ...
    errno : int
        Positive.
    nbytes : int
        What it was asked for; 0 where that means nothing.
    """
    if call in _LOCKING and errno in (codes.ENOMEM, codes.EPERM, codes.EAGAIN):
        return lock_refused(errno, nbytes, all_at_once=call == "mlockall")
    if call in _MAPPING and errno == codes.EAGAIN:
        return lock_refused(errno, nbytes, "whatever this process maps is locked (lock_all), and ")
    subject = f"{call} of {spoken(nbytes)}" if nbytes else call
    if errno != codes.ENOMEM:
        return OSError(errno, f"{subject}: {os.strerror(errno)}")
    mappings = _mappings()
    cause = mappings.sentence if mappings.full else os.strerror(errno)
    if call in _MAPPING:
        return MemoryError(f"{subject}: {cause}{_address_space()}")
    return OSError(errno, f"{subject}: {cause}")


def lock_refused(errno: int, nbytes: int, preface: str = "", all_at_once: bool = False) -> LockError:
    """Return the LockError for so many bytes: which limit stands in the way, and its fix here.

    They come on top of what is locked, unless they are all that is mapped.
    """
    soft, hard = limits.memlock_limit()
    locked = limits.locked_or_unknown()
    reason, fix = _explain(errno, nbytes, 0 if all_at_once else locked, soft, hard)
    return LockError(errno, nbytes, locked, soft, hard, preface + reason, fix)


def future_refused() -> LockError:
    """Return the LockError for a lock_all(future=True) under a limit, which would end the process later."""
    soft, hard = limits.memlock_limit()
    locked = limits.locked_or_unknown()
    reason = (
        "whatever the process maps later would fail beyond the limit, an allocation or the start of a "
        f"thread: RLIMIT_MEMLOCK is {spoken(soft)} (hard limit {spoken(hard)})"
    )
    error = LockError(codes.EAGAIN, 0, locked, soft, hard, reason, _fix(math.inf, hard))
    error.add_note(
        "lock_all(future=False) locks only what is mapped now; force=True takes what comes of the limit"
    )
    return error


def still_unlocked(errno: int, holds: int, nbytes: int, lowest: int) -> LockError:
    """Return the LockError for memory that the end of a lock_all left unlocked."""
    error = lock_refused(errno, nbytes)
    which = "region that was" if holds == 1 else f"{holds} regions that were"
    preface = (
        f"at the end of lock_all the {which} to stay locked (the lowest at {lowest:#x}) could not be "
        "locked again and may now be paged out; "
    )
    fix = f"{error.fix}, then call lockedarray.relock()"
    return LockError(errno, nbytes, error.locked, error.soft, error.hard, preface + error.reason, fix)


def _explain(errno: int, nbytes: int, locked: int, soft: int, hard: int) -> tuple[str, str]:
    """Tell from the figures why memory could not be locked: ENOMEM alone may mean three things."""
    needed = max(locked, 0) + nbytes
    figures = f"RLIMIT_MEMLOCK is {spoken(soft)} (hard limit {spoken(hard)})"
    if limits.limit_counts():
        if soft == 0:
            return f"this process may lock nothing, {figures}", _fix(needed, hard)
        if needed > soft or errno == codes.EPERM:
            already = f"with {spoken(locked)} locked already, " if locked > 0 else ""
            return f"{already}it is more than may be locked, {figures}", _fix(needed, hard)
    mappings = _mappings()
    if mappings.full:
        return (
            mappings.sentence,
            "To raise vm.max_map_count, run 'sudo sysctl vm.max_map_count=262144'; or release arrays",
        )
    if errno == codes.EPERM:
        return f"this process may not, though {figures}", "A security module may forbid it"
    if errno == codes.EAGAIN:
        return (
            f"the kernel has no memory for all of its pages, though {figures}",
            "Free memory, or raise the memory limit of the control group",
        )
    return (
        f"some of it is not mapped or not accessible, though {figures}",
        "Lock only memory that is mapped and can be read, and of a file only what exists",
    )


def _fix(needed: float, hard: int) -> str:
    """Return how the limit is raised to so many bytes: up to the hard limit anyone may."""
    if needed > (math.inf if hard == resource.RLIM_INFINITY else hard):
        return f"To raise the limit, {place.find().fix}"
    return f"To raise the soft limit, {fixes.soft_limit('memlock', hard)}"


class _Mappings(NamedTuple):
    made: int
    most: int

    @property
    def full(self) -> bool:
        # A call that is refused would have made one or two more; they may be gone again by now.
        return self.made >= self.most - 2

    @property
    def sentence(self) -> str:
        return f"the process has {self.made:,} mappings, and vm.max_map_count allows {self.most:,}"


def _mappings() -> _Mappings:
    """Count the process's mappings; none, where /proc cannot be read."""
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        with open("/proc/self/maps", "rb") as maps:
            return _Mappings(sum(1 for _ in maps), most)
    except OSError:
        return _Mappings(0, 2**31)


def _address_space() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if soft == resource.RLIM_INFINITY else f" (RLIMIT_AS is {spoken(soft)})"


def heap_full(requested: int, capacity: int, in_use: int, largest_free: int, overflow: bool) -> MemoryError:
    """Return the MemoryError for memory that a heap had no room for, nor the system under `overflow`."""
    left = capacity - in_use
    way_out = 'Make the heap larger, drop arrays, or let the system help out: Heap(..., overflow="system")'
    if overflow:
        way_out = "The system was asked too, and has not so much to give"
    pieces = " in pieces (its map() shows where)" if left >= requested else ""
    return MemoryError(
        f"the heap of {spoken(capacity)} cannot give {spoken(requested)}: {spoken(left)} were free{pieces}, "
        f"the largest free block had {spoken(largest_free)}. {way_out}"
    )


def check_policy(on_error: str) -> None:
    """Raise a ValueError for what is no policy."""
    if on_error not in ("raise", "warn"):
        raise ValueError(f"on_error must be 'raise' or 'warn', not {on_error!r}")


def lock_or_warn(on_error: str, make: Callable[[bool], T]) -> T:
    """Make something locked, or under ``on_error="warn"`` unlocked, with a LockWarning.

    Parameters
    ----------
    on_error : {"raise", "warn"}
        What a refused lock means.
    make : callable
        ``make(locked)`` builds the object, or raises and leaves nothing.

    Raises
    ------
    ValueError
        Another `on_error`; nothing has been made then.
    LockError
        The lock was refused under ``"raise"``.
    """
    check_policy(on_error)
    try:
        return make(True)
    except LockError as error:
        if on_error == "raise":
            raise
        # First the warning: where warnings are errors, nothing is made that would be lost.
        warn_caller(f"not locked, only resident: {error}")
    return make(False)


def warn_caller(sentence: str) -> None:
    """Give a LockWarning that names the line outside of this package which led here."""
    level, frame = 1, sys._getframe()
    while (
        frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == __package__
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, LockWarning, level)
