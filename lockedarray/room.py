"""Whether there is memory for a large request: better an error than the OOM killer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .place import ROOT, control_groups
from .sizes import spoken

LARGE = 64 << 20
"""Up to so many bytes nothing is looked at: it would cost more than the lock."""


class Bound(NamedTuple):
    """Something that ends, and what is left of it in bytes."""

    left: int
    sentence: str


def check_room(nbytes: int, root: Path = ROOT) -> None:
    """Raise a MemoryError where so much locked memory would call the OOM killer.

    A request up to 64 MiB passes unseen. A larger one is held against MemAvailable and against the
    limits of the process's control group and of all above it. Page cache that the kernel would
    drop counts as free, swap does not count: locked pages cannot go there, and what would have to
    make room for them may not either. Reads a few files; allocates.

    Parameters
    ----------
    nbytes : int
        Bytes of physical memory: a mirrored ring's count once.

    Raises
    ------
    MemoryError
        With the figures.
    """
    if nbytes <= LARGE:
        return
    for bound in bounds(root):
        if nbytes > bound.left:
            raise MemoryError(
                f"cannot lock {spoken(nbytes)}: {bound.sentence}; "
                "the kernel would stall or end processes to make room"
            )


def bounds(root: Path) -> Iterator[Bound]:
    meminfo = _fields(root / "proc/meminfo")
    if "MemAvailable" in meminfo:
        left = meminfo["MemAvailable"] * 1024
        yield Bound(left, f"{spoken(left)} of memory are available on this machine (MemAvailable)")
    for directory in _control_group(root, "cgroup2"):
        usage = _used(directory, "memory.current", "")
        for name in ("memory.max", "memory.high"):
            yield from _cgroup_bound(directory, name, usage)
    for directory in _control_group(root, "cgroup"):
        usage = _used(directory, "memory.usage_in_bytes", "total_")
        yield from _cgroup_bound(directory, "memory.limit_in_bytes", usage)


def _cgroup_bound(directory: Path, name: str, used: int) -> Iterator[Bound]:
    limit = _number(directory / name)
    if limit is not None:
        left = max(0, limit - used)
        yield Bound(
            left,
            f"the control group {directory} may have {spoken(limit)} of memory ({name}), "
            f"and {spoken(left)} are left of it",
        )


def _used(directory: Path, usage: str, prefix: str) -> int:
    """Return what a control group uses and the kernel would not give up for a new request."""
    stat = _fields(directory / "memory.stat")
    names = ("inactive_file", "active_file", "slab_reclaimable")
    return (_number(directory / usage) or 0) - sum(stat.get(prefix + name, 0) for name in names)


def _control_group(root: Path, kind: str) -> Iterator[Path]:
    """Yield the directories that bound this process's memory, from its own up to the highest."""
    path = control_groups(root).get("" if kind == "cgroup2" else "memory")
    mount = _mount(root, kind)
    if path is None or mount is None:
        return
    mounted, point = mount
    # In a container the mount may show a part of the tree only, or the path one outside of it.
    inside = PurePosixPath(path)
    parts = inside.relative_to(mounted).parts if inside.is_relative_to(mounted) else ()
    if ".." in parts:
        parts = ()
    for count in range(len(parts), -1, -1):
        yield point.joinpath(*parts[:count])


def _mount(root: Path, kind: str) -> tuple[PurePosixPath, Path] | None:
    """Return which part of the hierarchy is mounted, and where."""
    for line in _lines(root / "proc/self/mountinfo"):
        mounted, point = line.split()[3:5]
        filesystem, _, options = line.split(" - ", 1)[1].split(" ", 2)
        if filesystem == kind and (kind == "cgroup2" or "memory" in options.split(",")):
            return PurePosixPath(_unescape(mounted)), root / _unescape(point).lstrip("/")
    return None


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)


def _lines(path: Path) -> list[str]:
    """Read a file that need not be there."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _fields(path: Path) -> dict[str, int]:
    """Read lines such as ``MemFree: 12 kB`` or ``inactive_file 12``."""
    rows = (line.replace(":", " ").split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    """Read a file that holds one number, or the word "max"."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdecimal() else None
