"""RLIMIT_MEMLOCK read and set, in a process that has no capability to go past it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

import lockedarray as la
from smaps import vm_lck

WITHOUT = ["setpriv", "--bounding-set=-ipc_lock,-sys_resource"] if os.geteuid() == 0 else []

PROGRAM = """
import resource
import pytest
import lockedarray as la
from resource import RLIM_INFINITY as UNLIMITED
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 1 << 20))
assert la.memlock_limit() == (65536, 1 << 20)
la.set_memlock_limit(8192)
assert la.memlock_limit() == (8192, 1 << 20)
la.set_memlock_limit(1 << 20)
held = la.zeros(1 << 20, 'u1')
la.set_memlock_limit(0)
assert held.base.locked and la.is_locked(held) and la.locked_bytes() == 1 << 20
la.set_memlock_limit(0, 1 << 19)
for soft, hard, error, says in [
    (1 << 20, None, ValueError, 'to raise both, give hard too'),
    (UNLIMITED, None, ValueError, 'hard limit'),
    (4, 2, ValueError, 'hard limit'),
    (-2, None, ValueError, 'soft'),
    (0, 1 << 63, ValueError, 'hard'),
    (0, 1 << 20, PermissionError, 'from 512 KiB to 1 MiB'),
    (UNLIMITED, UNLIMITED, PermissionError, 'CAP_SYS_RESOURCE'),
    (0.5, None, TypeError, 'float'),
]:
    with pytest.raises(error, match=says):
        la.set_memlock_limit(soft, hard)
    assert la.memlock_limit() == (0, 1 << 19)
"""


@pytest.mark.locks(1 << 20)
def test_read_and_set() -> None:
    program = [sys.executable, "-P", "-c", PROGRAM]
    limited = ["sh", "-c", 'ulimit -l 1024 && exec "$@"', "sh", *WITHOUT, *program]
    subprocess.run(limited, check=True)


def test_unlimited_goes_in_and_out() -> None:
    unlimited = resource.RLIM_INFINITY
    before = la.memlock_limit()
    try:
        la.set_memlock_limit(unlimited, unlimited)
    except PermissionError:
        pytest.skip("needs a hard limit of 'unlimited' on locked memory, or CAP_SYS_RESOURCE")
    try:
        assert la.memlock_limit() == (unlimited, unlimited)
        la.set_memlock_limit(1 << 20)
        assert la.memlock_limit() == (1 << 20, unlimited)
    finally:
        la.set_memlock_limit(*before)
    assert la.memlock_limit() == before


def test_locked_bytes_is_the_kernels() -> None:
    assert la.locked_bytes() == vm_lck()
