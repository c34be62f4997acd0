"""What is mapped where, as /proc/self/maps tells it."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .extent import Extent
from .proc_text import mapping_uses

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ (\S+) \d+ *(.*)")
# Shared memory without a file of its own: it has no disk behind it, and anyone may write to it.
_NAMELESS = ("/memfd:", "/dev/zero", "/anon_hugepage", "/SYSV")
# File systems that live in memory: they have nothing to write back to.
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"})


class Mapping(NamedTuple):
    """A line of /proc/self/maps.

    Attributes
    ----------
    start, end : int
        Addresses.
    permissions : str
        As "rw-p": private, or "rw-s": shared.
    device : str
        Major and minor number of the file system, in hexadecimal.
    path : str
        Of the file; "" or a name in brackets where there is none.
    """

    start: int
    end: int
    permissions: str
    device: str
    path: str

    @property
    def is_file(self) -> bool:
        """Whether a named file is mapped."""
        return self.path.startswith("/") and not self.path.startswith(_NAMELESS)

    @property
    def is_writable(self) -> bool:
        """Whether memory can be written to."""
        return self.permissions[1] == "w"

    @property
    def is_private(self) -> bool:
        """Whether writes stay in this process."""
        return self.permissions[3] == "p"

    @property
    def is_written_back(self) -> bool:
        """Whether writes go to a disk: such pages fault again after each write-back."""
        shared_file = self.is_file and self.is_writable and not self.is_private
        return shared_file and _file_system(self.device) not in _IN_MEMORY


def mappings(pages: Extent) -> Iterator[Mapping]:
    """Yield the mappings that hold some of these pages, by address."""
    with open("/proc/self/maps", errors="surrogateescape") as maps:
        for line in maps:
            found = _LINE.match(line)
            if found is None or int(found[2], 16) <= pages.start:
                continue
            mapping = Mapping(
                int(found[1], 16), int(found[2], 16), found[3], found[4], found[5].replace("\\012", "\n")
            )
            if mapping.start >= pages.start + pages.nbytes:
                return
            yield mapping


def mapped_bytes() -> int:
    """Return how much address space is mapped, as mlockall counts it; 0 where /proc cannot be read."""
    try:
        pages = Path("/proc/self/statm").read_text().split(" ", 1)[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def absent_bytes() -> int:
    """Return how much mlockall has to bring in: what can be accessed and is not resident.

    0 where /proc cannot be read, and with it MemAvailable cannot either.
    """
    try:
        smaps = Path("/proc/self/smaps").read_text(errors="surrogateescape")
    except OSError:
        return 0
    return sum(
        use.end - use.start - use.resident
        for use in mapping_uses(smaps.splitlines())
        if use.permissions[:2] != "--" and "io" not in use.flags
    )


def _file_system(device: str) -> str:
    """Return the kind of file system behind a device number; "" where it is not mounted here."""
    major, minor = (int(number, 16) for number in device.split(":"))
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        if line.split(" ", 3)[2] == f"{major}:{minor}":
            return line.split(" - ", 1)[1].split(" ", 1)[0]
    return ""
