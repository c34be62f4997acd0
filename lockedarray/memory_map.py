"""What of a process is mapped, resident and locked, as /proc/PID/smaps tells it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .proc_text import MappingUse, limit, mapping_uses, status_bytes

_PROC = Path("/proc")


@dataclass(frozen=True)
class Row:
    """A mapping, or several that go by the same name.

    Attributes
    ----------
    name : str
        The file's path, or what the kernel calls it in brackets; "[anonymous]" where it has no name.
    start, end : int
        Addresses: of the first mapping's first byte, and past the last one's last.
    permissions : str
        As "rw-p"; "" where several mappings differ.
    mappings : int
        How many.
    size, resident, locked, resident_locked : int
        Bytes: mapped, in memory, under a lock, and both. What is under a lock is all in memory,
        unless it is inaccessible or was locked "on fault".
    """

    name: str
    start: int
    end: int
    permissions: str
    mappings: int
    size: int
    resident: int
    locked: int
    resident_locked: int

    def __add__(self, other: Row) -> Row:
        """Return both as one."""
        return replace(
            self,
            start=min(self.start, other.start),
            end=max(self.end, other.end),
            permissions=self.permissions if self.permissions == other.permissions else "",
            mappings=self.mappings + other.mappings,
            size=self.size + other.size,
            resident=self.resident + other.resident,
            locked=self.locked + other.locked,
            resident_locked=self.resident_locked + other.resident_locked,
        )


@dataclass(frozen=True)
class MemoryMap:
    """A process's mappings by address, and the kernel's own totals.

    Attributes
    ----------
    pid : int
    command : str
        The process's name.
    rows : tuple of Row
    locked, resident : int
        VmLck and VmRSS, in bytes.
    soft, hard : int
        RLIMIT_MEMLOCK of the process; `resource.RLIM_INFINITY` where there is no limit.
    """

    pid: int
    command: str
    rows: tuple[Row, ...]
    locked: int
    resident: int
    soft: int
    hard: int


def read(pid: int) -> MemoryMap:
    """Read the mappings of a process: about 1 ms, more with many mappings.

    Raises
    ------
    ProcessLookupError
        There is no such process.
    PermissionError
        It belongs to somebody else.
    ValueError
        It has no memory: a thread of the kernel's, or one that has ended.

    Examples
    --------
    >>> import os
    >>> ours = read(os.getpid())
    >>> sum(row.locked for row in ours.rows) == ours.locked
    True
    """
    proc = _PROC / str(pid)
    try:
        status = (proc / "status").read_text(errors="replace")
        smaps = (proc / "smaps").read_text(errors="surrogateescape")
        limits = (proc / "limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        where = "here" if (_PROC / "self").exists() else "to be seen: /proc is not mounted"
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid} {where}") from None
    except PermissionError:
        raise PermissionError(
            errno.EACCES,
            f"the mappings of process {pid} may not be read: that takes the right to trace it, "
            "which its own user has, and root with CAP_SYS_PTRACE",
        ) from None
    words = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    if "VmRSS" not in words:  # such a process may be read by anyone, and has nothing to read
        ended = words.get("State", "").startswith(("Z", "X"))
        what = "has ended" if ended else "is a thread of the kernel's"
        raise ValueError(f"process {pid} ({words['Name']}) {what}: it has no memory of its own")
    return MemoryMap(
        pid,
        words["Name"],
        tuple(map(_row, mapping_uses(smaps.splitlines()))),
        status_bytes(status, "VmLck"),
        status_bytes(status, "VmRSS"),
        *limit(limits, "Max locked memory"),
    )


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return one row a name: what is most under a lock first, then what is most resident."""
    by_name: dict[str, Row] = {}
    for row in rows:
        by_name[row.name] = by_name[row.name] + row if row.name in by_name else row
    return sorted(by_name.values(), key=lambda row: (-row.locked, -row.resident, -row.size, row.name))


def _row(use: MappingUse) -> Row:
    size = use.end - use.start
    # Not what Locked: says, which is a share: half of a page that two mappings have.
    locked = "lo" in use.flags
    return Row(
        use.name or "[anonymous]",
        use.start,
        use.end,
        use.permissions,
        1,
        size,
        use.resident,
        size if locked else 0,
        use.resident if locked else 0,
    )
