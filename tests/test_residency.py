"""The kernel's word: which pages are in memory."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from smaps import PAGE

pytestmark = pytest.mark.locks(1 << 20)


def test_lock_two_skip_two() -> None:
    pages = np.frombuffer(mmap.mmap(-1, 16 * PAGE), "u1").reshape(16, PAGE)
    assert la.residency_map(pages) == "." * 16
    locks = [la.lock(pages[i : i + 2]) for i in range(0, 16, 4)]
    assert la.residency_map(pages) == "**..**..**..**.."
    assert la.residency(pages).tolist() == [True, True, False, False] * 4
    for lock in locks:
        lock.release()


def test_edges() -> None:
    assert la.residency(np.empty(0)).shape == (0,)
    assert la.residency_map(b"") == ""
    for ask in (la.residency, la.residency_map, la.is_locked):
        with pytest.raises(TypeError):
            ask(3)
    array = la.zeros(PAGE + 1, "u1")
    assert la.residency(array[::-1]).shape == (2,)
    assert la.residency(array[PAGE - 1 : PAGE + 1]).all()


OF_ANOTHER = """
import lockedarray as la, numpy as np, os, sys
if os.geteuid() == 0:
    try:
        os.setgid(65534); os.setuid(65534)
    except OSError:
        sys.exit(3)
try:
    la.residency(np.memmap(sys.argv[1], mode="r"))
except PermissionError as error:
    print(error.filename)
"""


def test_a_file_that_mincore_lies_about(tmp_path: Path) -> None:
    path = "/etc/passwd"  # whose reader neither owns it nor may write to it
    command = [sys.executable, "-P", "-c", OF_ANOTHER, path]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if ran.returncode == 3:
        pytest.skip("needs an ordinary user, or to become one (CAP_SETUID)")
    assert (ran.returncode, ran.stdout.strip()) == (0, path)
    own = tmp_path / "own"
    own.write_bytes(bytes(4 * PAGE))
    assert la.residency(np.memmap(own, mode="r")).shape == (4,)


@pytest.mark.locks(16 << 20)
def test_huge_pages() -> None:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("needs transparent huge pages (madvise or always)")
    array = la.zeros(8 << 20, "u1", huge=True)
    assert array.ctypes.data % (2 << 20) == 0
    assert la.is_locked(array)
    assert 0 <= la.region(array).huge_bytes <= 8 << 20
    assert la.region(la.zeros(1000)).huge_bytes == 0
    if la.region(array).huge_bytes == 0:
        pytest.skip("needs free huge pages")
    assert la.region(array).huge_bytes % (2 << 20) == 0
