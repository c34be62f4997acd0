"""What the C library keeps: the work memory of an FFT and of LAPACK faults, until malloc is tuned."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import threading
import numpy as np, lockedarray as la
heap = la.Heap(8 << 20)
if {tuned}:
    print(la.tune_malloc())
counts = []
def count():
    with heap.activate():
        x, m = np.ones(65536), np.random.default_rng(1).random((300, 300))
        kept = {do}
        for _ in range(5):
            del kept
            with la.page_faults() as faults:
                kept = {do}
            counts.append(faults.total)
{how}
print(max(counts))
"""
HERE = "count()"
THREAD = "thread = threading.Thread(target=count); thread.start(); thread.join()"

pytestmark = pytest.mark.locks(9 << 20)


def output(tuned: bool, do: str, how: str) -> list[str]:
    # A process for each: the settings cannot be undone.
    command = [sys.executable, "-P", "-c", PROGRAM.format(tuned=tuned, do=do, how=how)]
    # One thread of BLAS: only the faults of the thread that counts are seen.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.check_output(command, env=environment, text=True, timeout=60).split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(
    ("do", "how"),
    [("np.fft.rfft(x)", HERE), ("np.linalg.svd(m)", HERE), ("np.fft.rfft(x)", THREAD)],
    ids=["fft", "svd", "fft in a thread"],
)
def test_work_memory_faults_once(do: str, how: str) -> None:
    assert int(*output(False, do, how)) > 50, "the control"
    assert output(True, do, how) == ["True", "0"]


@pytest.mark.skipif(platform.libc_ver()[0] == "glibc", reason="needs another C library than glibc, as musl")
def test_elsewhere_it_says_no() -> None:
    assert output(True, "np.ones(3)", HERE)[0] == "False"
