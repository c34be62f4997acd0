"""A large request is held against what memory is left, before the OOM killer is."""

from __future__ import annotations

from pathlib import Path

import pytest

import lockedarray as la
from lockedarray.room import LARGE, check_room
from smaps import mappings, vm_lck

MIB = 1 << 20
GIB = 1 << 30

MEMORY = "MemTotal: 16777216 kB\nMemFree: 1024 kB\nMemAvailable: 8388608 kB\n"
UNIFIED = {
    "proc/meminfo": MEMORY,
    "proc/self/cgroup": "0::/slice/box\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/slice/box/memory.current": f"{600 * MIB}\n",
    "sys/fs/cgroup/slice/box/memory.max": "max\n",
    "sys/fs/cgroup/slice/box/memory.stat": f"anon 1\ninactive_file {100 * MIB}\nactive_file {50 * MIB}\n",
    "sys/fs/cgroup/slice/memory.current": f"{600 * MIB}\n",
    "sys/fs/cgroup/slice/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/slice/memory.stat": f"inactive_file {100 * MIB}\nslab_reclaimable {50 * MIB}\n",
}
LEGACY = {
    "proc/meminfo": MEMORY,
    "proc/self/cgroup": "5:cpu,memory:/docker/0123\n0::/\n",
    # The container sees its own part of the tree only.
    "proc/self/mountinfo": "31 20 0:27 /docker/0123 /sys/fs/cgroup/me\\040mory rw - cgroup cgroup memory\n",
    "sys/fs/cgroup/me mory/memory.usage_in_bytes": f"{100 * MIB}\n",
    "sys/fs/cgroup/me mory/memory.limit_in_bytes": f"{512 * MIB}\n",
}


def root_with(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "left", "says"),
    [
        ({"proc/meminfo": MEMORY}, 8 * GIB, "8 GiB of memory are available on this machine (MemAvailable)"),
        (UNIFIED, GIB - 450 * MIB, "memory.max"),  # of the group above; page cache counts as free
        ({**UNIFIED, "sys/fs/cgroup/slice/box/memory.high": f"{550 * MIB}\n"}, 100 * MIB, "memory.high"),
        (LEGACY, 412 * MIB, "may have 512 MiB of memory (memory.limit_in_bytes)"),
    ],
    ids=["machine", "cgroup2", "cgroup2 high", "cgroup1"],
)
def test_bounds(tmp_path: Path, files: dict[str, str], left: int, says: str) -> None:
    root = root_with(tmp_path, files)
    check_room(left, root)
    with pytest.raises(MemoryError) as refused:
        check_room(left + 1, root)
    assert says in str(refused.value)
    assert not isinstance(refused.value, la.LockError)


def test_small_requests_are_not_looked_at(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"proc/meminfo": "MemAvailable: 0 kB\n"})
    check_room(LARGE, root)
    with pytest.raises(MemoryError, match="0 bytes"):
        check_room(LARGE + 1, root)


def test_where_nothing_can_be_read_nothing_is_refused(tmp_path: Path) -> None:
    check_room(1 << 60, tmp_path / "not there")


@pytest.mark.parametrize(
    "make",
    [
        lambda: la.empty(1 << 46, "u1"),
        lambda: la.Pool(1 << 46),
        lambda: la.RingBuffer(1 << 44),
        lambda: la.Pool(1 << 20).zeros(1 << 46, "u1"),
    ],
    ids=["empty", "Pool", "RingBuffer", "taken from a pool"],
)
@pytest.mark.locks(1 << 20)
def test_more_than_there_is_leaves_nothing(make: object) -> None:
    start, before = vm_lck(), mappings()
    with pytest.raises(MemoryError, match=r"TiB"):
        make()
    assert vm_lck() == start
    assert abs(mappings() - before) <= 1  # the interpreter's own heap may grow meanwhile
