"""What the kernel writes about a process into /proc/PID/status, limits and smaps, taken from the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from resource import RLIM_INFINITY
from typing import NamedTuple

_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")


class MappingUse(NamedTuple):
    """A mapping of smaps, sizes in bytes.

    Attributes
    ----------
    start, end : int
        Addresses.
    permissions : str
        As "rw-p".
    name : str
        The file's path, or what the kernel calls it in brackets; "" where it has no name.
    resident : int
        What of it is in memory.
    flags : frozenset of str
        VmFlags, two letters each: "lo" is locked, "io" a device's memory.
    """

    start: int
    end: int
    permissions: str
    name: str
    resident: int
    flags: frozenset[str]


def status_bytes(status: str, key: str) -> int:
    """Return a size of /proc/PID/status, as VmLck; ValueError where there is none."""
    found = re.search(rf"^{key}:\s*(\d{{1,16}}) kB$", status, re.ASCII | re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc/PID/status has no {key}")
    return int(found[1]) * 1024


def limit(limits: str, name: str) -> tuple[int, int]:
    """Return a soft and a hard limit by its name in /proc/PID/limits; ValueError where there is none."""
    row = rf"^{name}\s+(\d+|unlimited)\s+(\d+|unlimited)\b"
    found = re.search(row, limits, re.ASCII | re.MULTILINE)
    if found is None:
        raise ValueError(f"/proc/PID/limits has no {name!r}")
    soft, hard = (RLIM_INFINITY if value == "unlimited" else int(value) for value in found.groups())
    return soft, hard


def mapping_uses(smaps: Iterable[str]) -> Iterator[MappingUse]:
    """Yield the mappings of the lines of smaps; VmFlags ends each."""
    start = end = resident = 0
    permissions = name = ""
    for line in smaps:
        key, _, value = line.partition(":")
        if found := _HEADER.fullmatch(line):
            start, end, permissions = int(found[1], 16), int(found[2], 16), found[3]
            name = found[4].replace("\\012", "\n")  # as the kernel writes a line break
        elif key == "Rss":
            resident = int(value.split()[0]) * 1024
        elif key == "VmFlags":
            yield MappingUse(start, end, permissions, name, resident, frozenset(value.split()))
