"""Control of the command that runs NumPy's tests in a heap: it notices what must not be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).with_name("numpy_suite.py")
pytestmark = pytest.mark.locks(6 << 20)

FAULTS = {
    "nothing": ("assert np.ones(3).sum() == 3", "as without the heap"),
    "a test fails in the heap": ("assert not in_heap()", "passed without, failed with the heap"),
    "a reference too many": (
        "pythonapi.Py_IncRef(py_object(np.ones(100)))",
        "832 bytes in use belong to no array",
    ),
    "beyond the end": (
        "KEPT.extend([np.empty(6000), np.empty(6000)])\n"
        "    if in_heap(): memset(KEPT[0].ctypes.data + 48048, 1, 8)",
        "the heap is damaged",
    ),
    "another allocator left behind": ("la.Heap(1 << 20).activate()", "1 tests began outside"),
    "a crash": ("if in_heap(): os.abort()", "the process died with the heap"),
}
TESTS = """
import os
from ctypes import memset, py_object, pythonapi
import numpy as np
import lockedarray as la
from numpy._core.multiarray import get_handler_name

KEPT = []

def in_heap():
    return get_handler_name() != "default_allocator"

def test_fault():
    {}

def test_after():
    pass
"""


@pytest.mark.full
@pytest.mark.parametrize("fault", FAULTS)
def test_numpy_suite_notices(fault: str, tmp_path: Path) -> None:
    line, said = FAULTS[fault]
    package = tmp_path / "faulty"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "test_faulty.py").write_text(TESTS.format(line))
    command = [sys.executable, str(SUITE), "--part", "ci", "--heap", "0.003", "faulty"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert said in ran.stdout
    assert ran.returncode == (fault != "nothing")
