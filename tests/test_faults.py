"""Counting page faults."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading

import numpy as np
import pytest

import lockedarray as la
from smaps import PAGE


def fault(pages: int) -> None:
    np.frombuffer(mmap.mmap(-1, pages * PAGE), "u1")[::PAGE] = 1


def fault_and_fail() -> None:
    fault(50)
    raise ZeroDivisionError


def test_faults_are_seen_and_kept() -> None:
    fault(10)
    with la.page_faults() as faults:
        fault(100)
        assert faults.minor >= 100
    assert 100 <= faults.total < 120
    before = faults.total
    fault(100)
    assert faults.total == before
    assert faults.source in ("perf", "perf-user", "rusage")
    assert la.page_faults().total == 0


def test_none_is_none() -> None:
    counts = []
    for _ in range(5):
        with la.page_faults() as faults:
            pass
        counts.append(faults.total)
    assert min(counts) == 0
    with pytest.raises(la.PageFaultError, match="minor") as error, la.no_page_faults():
        fault(50)
    assert error.value.minor >= 50
    with pytest.raises(ZeroDivisionError), la.no_page_faults():
        fault_and_fail()  # the block's own error goes first


def test_one_thread_only() -> None:
    with la.page_faults() as faults:
        thread = threading.Thread(target=fault, args=(1000,))
        thread.start()
        thread.join()
    assert faults.total < 500
    again = la.page_faults()
    with again, pytest.raises(RuntimeError, match="entered already"), again:
        pass


def test_without_perf() -> None:
    code = """
import resource, mmap, lockedarray as la
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # no descriptor is left for perf
with la.page_faults() as faults:
    memory = mmap.mmap(-1, 409600)
    for page in range(100):
        memory[page * 4096] = 1
assert faults.source == "rusage" and faults.minor >= 100, faults
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
