"""The whole process in memory: everything that is mapped, and everything that will be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Self

from ._native import ffi, lib
from .errors import (
    check_policy,
    check_room,
    future_refused,
    refused,
    still_unlocked,
    warn_caller,
)
from .limits import limit_counts, locked_or_unknown
from .mappings import absent_bytes, mapped_bytes

if TYPE_CHECKING:
    from ._native import _RefusedRelock


_NONE = -1  # the turn of what has not begun, or has ended


class LockAll:
    """What `lock_all` returns: in force from that call on, until `end`, the end of ``with``, or `unlock_all`.

    Attributes
    ----------
    current, future, on_fault : bool
        What was asked.
    locked : int
        Bytes that the call locked: VmLck after it, less VmLck before; -1 where /proc cannot be read.
    seconds : float
        How long the call took.
    active : bool
        Whether it is in force, in this process: a forked child inherits no lock.
    """

    def __init__(self, current: bool, future: bool, on_fault: bool) -> None:
        self.current, self.future, self.on_fault = current, future, on_fault
        self.locked = 0
        self.seconds = 0.0
        # C writes it: an exception that comes in between (a Ctrl-C) does not lose it.
        self._turn = ffi.new("int64_t *", _NONE)

    def _begin(self, force: bool = False) -> None:
        if self.future and not force and limit_counts():
            raise future_refused()
        if lib.lock_all_brings_in(self.current, self.on_fault):
            check_room(absent_bytes())
        before, began = locked_or_unknown(), time.monotonic()
        if (error := lib.lock_all_enter(self.current, self.future, self.on_fault, self._turn)) < 0:
            raise refused("mlockall", -error, mapped_bytes())
        self.seconds = time.monotonic() - began
        after = locked_or_unknown()
        self.locked = -1 if -1 in (before, after) else max(after - before, 0)

    @property
    def active(self) -> bool:
        """Whether it is in force in this process."""
        return lib.lock_all_holds(self._turn[0])

    def end(self) -> None:
        """Undo it, once; the last of several unlocks what no array, ring, heap or lock holds.

        System calls, without the GIL: some 30 us for each MiB that is unlocked.

        Raises
        ------
        LockError
            The kernel did not lock again all that is to stay locked; the sentence says what is not.
            See `lock_all`.
        """
        result = ffi.new("struct refused_relock *")
        lib.lock_all_leave(self._turn, result)
        _check_relocked(result)

    def __enter__(self) -> Self:
        if self._turn[0] == _NONE:
            raise RuntimeError("this lock_all has ended: call lock_all() again")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __repr__(self) -> str:
        kinds = ("current", self.current), ("future", self.future), ("on_fault", self.on_fault)
        asked = ", ".join(name for name, wanted in kinds if wanted)
        state = "" if self.active else ", not active"
        return f"<lock_all {asked}: {self.locked:,} bytes locked in {self.seconds * 1e3:.1f} ms{state}>"


def lock_all(
    current: bool = True, future: bool = True, on_fault: bool = False, force: bool = False
) -> LockAll:
    """Lock all memory of the process: what is mapped now, and what will be mapped.

    The interpreter, its modules, every heap and stack: then a Python loop takes no fault for memory
    either. In force when the call returns. It nests: the last `end` (or ``with``) undoes it, or
    `unlock_all` at once, and every live array, ring, heap and `lock` is then still locked, without
    an unlocked moment where the kernel allows. What an inner call asked stays until the last one
    has ended. While it is in force a released lock unlocks nothing. Locks that other libraries
    made with mlock by themselves end with it.

    System calls without the GIL, 0.2 to 0.3 ms for each MiB that has to be brought in; reads
    ``/proc/self/smaps``; allocates. Afterwards every new mapping is brought in and locked as it is
    made, thread stacks included: 8 MiB for each thread, if no smaller one is asked for
    (`start_thread`). The main thread's stack still faults where it grows: `prefault_stack`.

    Parameters
    ----------
    current : bool
        Lock what is mapped now.
    future : bool
        Lock what will be mapped.
    on_fault : bool
        Lock pages only as they are first used, instead of bringing in all of them at once; of several
        levels it holds if all of them ask for it.
    force : bool
        Take `future` under a limit too: whatever the process maps beyond it then fails, an
        allocation with MemoryError or worse, a new thread with RuntimeError.

    Returns
    -------
    LockAll
        A context manager, with ``.locked`` (bytes), ``.seconds`` and ``.active``.

    Raises
    ------
    ValueError
        Neither `current` nor `future`.
    LockError
        The kernel refused, or `future` was asked under a limit (RLIMIT_MEMLOCK, without a
        CAP_IPC_LOCK that lifts it, which is tried). Nothing has changed then. On the last end: not
        all that was to stay locked could be locked again, which can happen under a limit (after
        `force`), and where the process has too many mappings; the sentence says what is not.
        `relock` tries it again.
    MemoryError
        Bringing in all of it would take more memory than there is.

    See Also
    --------
    unlock_all, relock, realtime, prefault_stack, tune_malloc
    mlockall(2)

    Notes
    -----
    A fork makes every private page copy-on-write, also a locked one. The forking thread has all of
    them back when fork returns to it (Linux 5.14 and newer); other threads that write meanwhile
    take a fault for each page. The child inherits no lock: `relock`.

    Examples
    --------
    >>> import lockedarray as la
    >>> with la.lock_all(future=False, on_fault=True) as everything:
    ...     everything.active
    True
    >>> everything.active
    False
    """
    if not current and not future:
        raise ValueError("lock_all needs current=True, future=True or both")
    entered = LockAll(bool(current), bool(future), bool(on_fault))
    try:
        entered._begin(force)
    except BaseException:
        entered.end()
        raise
    return entered


def unlock_all() -> None:
    """Undo every `lock_all` at once; without one nothing happens.

    What arrays, rings, heaps and locks hold stays locked. Costs and errors are those of
    `LockAll.end`.

    Raises
    ------
    LockError
        Not all that is to stay locked could be locked again.

    See Also
    --------
    lock_all
    munlockall(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> notes = la.zeros(1000)
    >>> everything = la.lock_all(future=False, on_fault=True)
    >>> la.unlock_all()
    >>> la.is_locked(notes), everything.active
    (True, False)
    """
    result = ffi.new("struct refused_relock *")
    lib.lock_all_leave_all(result)
    _check_relocked(result)


def relock(*, on_error: Literal["raise", "warn"] = "raise") -> int:
    """Lock all memory of this library again: in a forked child, which inherits no lock.

    Arrays, pools, rings, heaps and locks that were locked, and the whole process if `lock_all` was
    in force. Elsewhere there is nothing to do, unless the end of a `lock_all` could not lock all
    again. All or nothing. System calls without the GIL: in a child whose parent still lives each
    page is copied, 0.4 to 0.6 ms a MiB. No array can be released meanwhile.

    Parameters
    ----------
    on_error : {"raise", "warn"}
        What a refused lock means: with ``"warn"`` a LockWarning, and nothing is locked.

    Returns
    -------
    int
        Bytes that are locked again, each hold's for itself; without those of `lock_all`.

    Raises
    ------
    LockError
        The kernel refused; nothing has been locked then.
    MemoryError
        `lock_all` was in force, and bringing in all of it would take more memory than there is.

    See Also
    --------
    lock_all
    fork(2), mlock(2)

    Examples
    --------
    >>> import lockedarray as la, os
    >>> notes = la.zeros(1000)
    >>> if (child := os.fork()) == 0:
    ...     done = not la.is_locked(notes) and la.relock() >= 8000 and la.is_locked(notes)
    ...     os._exit(0 if done else 1)
    >>> os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    0
    """
    check_policy(on_error)
    if lib.lock_all_brings_in(False, True):
        check_room(absent_bytes())
    result = ffi.new("struct refused_relock *")
    relocked = lib.lock_all_again(result)
    if relocked >= 0:
        return relocked
    if result.holds:
        error = refused("mlock", -relocked, result.bytes)
    else:
        error = refused("mlockall", -relocked, mapped_bytes())
    if on_error == "raise":
        raise error
    warn_caller(f"not locked again, only resident: {error}")
    return 0


def _check_relocked(result: _RefusedRelock) -> None:
    if result.holds:
        raise still_unlocked(-result.error, result.holds, result.bytes, result.lowest)
