"""Every exception and warning, and the sentence that each one says."""

from __future__ import annotations

import errno as codes
import os
import resource
from pathlib import Path


class LockError(OSError, MemoryError):
    """The kernel refused to lock memory; nothing stays locked or mapped of what was asked.

    Attributes
    ----------
    requested, locked, soft, hard : int
        Bytes: what was asked for, what the process had locked, and RLIMIT_MEMLOCK.
    fix : str
        What to change.
    """

    def __init__(self, errno: int, requested: int, locked: int, soft: int, hard: int) -> None:
        self.requested, self.locked, self.soft, self.hard = requested, locked, soft, hard
        self.fix = (
            "raise it with a line such as '@audio - memlock unlimited' in /etc/security/limits.d "
            "and log in again (LimitMEMLOCK= in a systemd unit, --ulimit memlock=-1 for a container)"
        )
        super().__init__(
            errno,
            f"cannot lock {requested} bytes: {locked} bytes are locked and RLIMIT_MEMLOCK is {_limit(soft)} "
            f"(hard limit {_limit(hard)}); {self.fix}",
        )

    def __reduce__(self) -> tuple[type[LockError], tuple[int | None, int, int, int, int]]:
        return type(self), (self.errno, self.requested, self.locked, self.soft, self.hard)


class LockWarning(RuntimeWarning):
    """Memory is resident but not locked, as on_error="warn" allows."""


class PoolExhausted(MemoryError):
    """More was asked of a pool than it has left."""


class RingCorrupted(RuntimeError):
    """The shared header of a ring says what cannot be."""


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else f"{value} bytes"


def _locked_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmLck:", 1)[1].split(None, 1)[0]) * 1024


def refused(call: str, errno: int, nbytes: int) -> Exception:
    """Turn a failed system call into an exception: the one place where errno becomes Python's."""
    limit_hit = call == "mlock" and errno in (codes.ENOMEM, codes.EAGAIN, codes.EPERM)
    if limit_hit or (call == "mmap" and errno == codes.EAGAIN):
        return LockError(errno, nbytes, _locked_bytes(), *resource.getrlimit(resource.RLIMIT_MEMLOCK))
    if errno == codes.ENOMEM:
        return MemoryError(f"cannot map {nbytes} bytes: {call} failed, {os.strerror(errno)}")
    return OSError(errno, f"{call} of {nbytes} bytes: {os.strerror(errno)}")


def check_room(nbytes: int) -> None:
    """Hold a large request against MemAvailable: better an error than the OOM killer."""
    meminfo = Path("/proc/meminfo").read_text()
    available = int(meminfo.split("MemAvailable:", 1)[1].split(None, 1)[0]) * 1024
    if nbytes > available:
        raise MemoryError(f"cannot lock {nbytes} bytes: the machine has {available} bytes available")
