"""What /proc/self/maps says about the pages of an array."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from lockedarray.extent import extent
from lockedarray.mappings import absent_bytes, mapped_bytes, mappings
from smaps import PAGE

pytestmark = pytest.mark.locks(64 << 10)


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    path = tmp_path / "a name with spaces\nand a line break (deleted)"
    path.write_bytes(bytes(3 * PAGE))
    return path


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_file(on_disk: Path, mode: str) -> None:
    mapped = np.memmap(on_disk, "u1", mode)
    [mapping] = mappings(extent(mapped))
    assert (mapping.start, mapping.end) == (mapped.ctypes.data, mapped.ctypes.data + 3 * PAGE)
    assert mapping.path == str(on_disk)
    assert mapping.is_file
    assert mapping.is_writable == (mode != "r")
    assert mapping.is_private == (mode == "c")
    assert mapping.is_written_back == (mode == "r+" and on_a_disk(on_disk))


def on_a_disk(path: Path) -> bool:
    """Whether the tests' directory has a disk: the tests' own reading."""
    device = path.stat().st_dev
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        major, minor = map(int, line.split()[2].split(":"))
        if (major << 8 | minor) == device:
            return line.split(" - ")[1].split()[0] != "tmpfs"
    return True


def test_shared_memory_is_no_file() -> None:
    for pages in (mmap.mmap(-1, PAGE), la.zeros(PAGE, "u1", fork="share")):
        [mapping] = mappings(extent(pages))
        assert not mapping.is_private
        assert not mapping.is_file
        assert not mapping.is_written_back


def test_only_those_that_hold_some_of_the_pages() -> None:
    pages = mmap.mmap(-1, 5 * PAGE)
    array = np.frombuffer(pages, "u1")
    for part in (array, array[PAGE : PAGE + 1], array[4 * PAGE :]):
        [mapping] = mappings(extent(part))
        assert mapping.start <= part.ctypes.data < mapping.end
    guarded = la.zeros(1, guard=True)
    [mapping] = mappings(extent(guarded))
    assert mapping.end - mapping.start == PAGE


def test_a_lock_that_write_back_undoes_is_told(on_disk: Path) -> None:
    if not on_a_disk(on_disk):
        pytest.skip("needs a temporary directory on a disk, not in tmpfs")
    with pytest.warns(la.LockWarning, match="write-back") as told, la.lock(np.memmap(on_disk, "u1", "r+")):
        pass
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("r", "c"):
            la.lock(np.memmap(on_disk, "u1", mode)).release()
        with pytest.raises(la.LockWarning):
            la.lock(np.memmap(on_disk, "u1", "r+"))
    assert la.locked_bytes() == 0


def test_what_is_mapped_and_what_of_it_is_absent() -> None:
    size = 64 << 20
    before, absent = mapped_bytes(), absent_bytes()
    private = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    slack = 4 << 20  # what else this process maps and touches meanwhile
    assert abs(mapped_bytes() - before - size) < slack
    assert abs(absent_bytes() - absent - size) < slack
    np.frombuffer(private, "u1")[: size // 2].fill(1)
    assert abs(absent_bytes() - absent - size // 2) < slack
    private.close()
    closed = mmap.mmap(-1, size, prot=0, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert abs(absent_bytes() - absent) < slack  # what cannot be accessed is not brought in
    closed.close()
