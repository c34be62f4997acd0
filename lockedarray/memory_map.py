"""What of a process is mapped, resident and locked, as /proc/PID/smaps tells it."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_PROC = Path("/proc")
_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")


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
        status = dict(re.findall(r"^(\w+):\s*(.*)$", (proc / "status").read_text(errors="replace"), re.M))
        smaps = (proc / "smaps").read_text(errors="surrogateescape")
        limits = (proc / "limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid} here") from None
    except PermissionError:
        raise PermissionError(
            errno.EACCES,
            f"the mappings of process {pid} may not be read: that takes the right to trace it, "
            "which its own user has, and root with CAP_SYS_PTRACE",
        ) from None
    if "VmRSS" not in status:  # such a process may be read by anyone, and has nothing to read
        ended = status.get("State", "").startswith(("Z", "X"))
        what = "has ended" if ended else "is a thread of the kernel's"
        raise ValueError(f"process {pid} ({status['Name']}) {what}: it has no memory of its own")
    soft, hard = _memlock(limits)
    return MemoryMap(
        pid,
        status["Name"],
        tuple(_rows(smaps.splitlines())),
        _bytes(status["VmLck"]),
        _bytes(status["VmRSS"]),
        soft,
        hard,
    )


def merged(rows: Iterable[Row]) -> list[Row]:
    """Return one row a name, the most resident first."""
    by_name: dict[str, Row] = {}
    for row in rows:
        by_name[row.name] = by_name[row.name] + row if row.name in by_name else row
    return sorted(by_name.values(), key=lambda row: (-row.resident, -row.size, row.name))


def _rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield the mappings of smaps; VmFlags ends each."""
    row = Row("", 0, 0, "", 0, 0, 0, 0, 0)
    for line in lines:
        key, _, value = line.partition(":")
        if found := _HEADER.fullmatch(line):
            start, end = int(found[1], 16), int(found[2], 16)
            # The kernel writes a line break in a name as \012.
            name = found[4].replace("\\012", "\n") or "[anonymous]"
            row = Row(name, start, end, found[3], 1, end - start, 0, 0, 0)
        elif key == "Rss":
            row = replace(row, resident=_bytes(value))
        elif key == "VmFlags":
            # Not what Locked: says, which is a share: half of a page that two mappings have.
            if "lo" in value.split():
                row = replace(row, locked=row.size, resident_locked=row.resident)
            yield row


def _bytes(kilobytes: str) -> int:
    return int(kilobytes.split()[0]) * 1024


def _memlock(limits: str) -> tuple[int, int]:
    found = re.search(r"^Max locked memory\s+(\S+)\s+(\S+)", limits, re.M)
    if found is None:
        raise OSError(errno.ENODATA, "/proc/PID/limits has no locked memory")
    soft, hard = (resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in found.groups())
    return soft, hard
