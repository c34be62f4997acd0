"""lock_all under a limit: what is refused, what force brings, and what the end can still keep."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
NAMESPACE = ["unshare", "--user", "--map-root-user"]

BEGIN = """
import mmap, os, resource
import numpy as np
import lockedarray as la
from smaps import vm_lck, PAGE, address, locked_pages
def mapped():
    # whether a page that is mapped now is locked
    page = np.frombuffer(mmap.mmap(-1, PAGE), 'u1')
    return locked_pages(address(page), PAGE)[0]
def refused(**options):
    try:
        la.lock_all(**options)
    except la.LockError as error:
        assert vm_lck() == 0, vm_lck()
        assert not mapped()
        return error
    raise AssertionError('not refused')
"""


def run(program: str, kib: int | str, before: list[str] = ORDINARY) -> str:
    """What a program says under a limit of so many KiB, soft and hard."""
    shell = f'ulimit -l {kib} && exec "$@"'
    command = ["bash", "-c", shell, "-", *before, sys.executable, "-W", "error", "-c", BEGIN + program]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    }
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(params=["ordinary user", "root of a namespace"])
def before(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "ordinary user":
        return ORDINARY
    if subprocess.run([*NAMESPACE, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("needs user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)")
    return NAMESPACE


def can_have(kib: int) -> None:
    """Skip where the hard limit is lower already."""
    if subprocess.run(["bash", "-c", f"ulimit -l {kib}"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip(f"needs a hard limit of {kib} KiB on locked memory")


@pytest.mark.parametrize("kib", [0, 64, 8192])
def test_future_is_refused_under_a_limit(kib: int, before: list[str]) -> None:
    can_have(kib)
    said = run("error = refused(); print(error, error.__notes__)", kib, before)
    assert "whatever the process maps later would fail beyond the limit" in said
    assert f"RLIMIT_MEMLOCK is {['0 bytes', '64 KiB', '8 MiB'][[0, 64, 8192].index(kib)]}" in said
    assert "To raise the limit" in said
    assert "force=True" in said


@pytest.mark.parametrize("kib", [0, 64, 8192])
def test_current_is_refused_by_the_kernel(kib: int, before: list[str]) -> None:
    can_have(kib)
    said = run("print(refused(future=False))", kib, before)
    assert ("may lock nothing" if kib == 0 else "more than may be locked") in said
    assert "To raise the limit" in said


def test_what_force_brings_is_what_the_refusal_says() -> None:
    can_have(8192)
    program = """
with la.lock_all(current=False, force=True):
    assert mapped()
    try:
        np.ones(10 << 20, 'u1')
    except MemoryError:
        print('allocation', end=' ')
    try:
        la.zeros(10 << 20, 'u1')
    except la.LockError as error:
        print('lock_all' in str(error))
"""
    assert run(program, 8192) == "allocation True\n"


def test_its_end_under_a_limit_keeps_what_is_held() -> None:
    """mlockall refuses to end the future alone there: everything is unlocked and the held locked again."""
    can_have(8192)
    program = """
array, other = la.zeros(5 * PAGE, 'u1'), np.ones(4 * PAGE, 'u1')
lock = la.lock(other)
held = vm_lck()
with la.lock_all(current=False, force=True):
    late = la.zeros(PAGE, 'u1')
    plain = np.frombuffer(mmap.mmap(-1, PAGE), 'u1')
assert la.is_locked(array) and la.is_locked(other) and la.is_locked(late) and not la.is_locked(plain)
assert vm_lck() == held + PAGE, (vm_lck(), held)
lock.release()
assert not la.is_locked(other)
"""
    run(program, 8192)


def test_an_end_that_cannot_lock_again_says_what_is_lost() -> None:
    can_have(8192)
    program = """
small, large = la.zeros(PAGE, 'u1'), la.zeros(100 * PAGE, 'u1')
everything = la.lock_all(current=False, force=True)
hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
resource.setrlimit(resource.RLIMIT_MEMLOCK, (10 * PAGE, hard))
try:
    everything.end()
except la.LockError as error:
    print(error)
    assert error.requested == 100 * PAGE
assert la.is_locked(small) and la.region(small).locked
assert not la.is_locked(large) and not la.region(large).locked
assert vm_lck() == PAGE, vm_lck()
try:
    la.relock()
except la.LockError as error:
    assert error.requested == 100 * PAGE
assert vm_lck() == PAGE
resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
assert la.relock() == 100 * PAGE
assert la.is_locked(large) and la.region(large).locked and vm_lck() == 101 * PAGE
del small, large
assert vm_lck() == 0
"""
    said = run(program, 8192)
    assert "at the end of lock_all the region that was to stay locked (the lowest at 0x" in said
    assert "then call lockedarray.relock()" in said


def test_a_refused_one_leaves_releases_as_they_were() -> None:
    can_have(8192)
    run(
        "refused()\nrefused(future=False)\nla.lock(np.ones(5 * PAGE, 'u1')).release()\nassert vm_lck() == 0",
        8192,
    )


def test_what_is_lost_at_the_end_is_lost_as_a_whole() -> None:
    """A hole in it makes mlock fail with the part before the hole locked."""
    can_have(8192)
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long
libc.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
start = libc.mmap(None, 8 * PAGE, 3, 0x22, -1, 0)
memory = np.frombuffer((ctypes.c_uint8 * (8 * PAGE)).from_address(start), 'u1')
lock = la.lock(memory)
everything = la.lock_all(current=False, force=True)
assert libc.munmap(start + 5 * PAGE, PAGE) == 0
try:
    everything.end()
except la.LockError as error:
    assert error.requested == 8 * PAGE
else:
    raise AssertionError('not told')
assert vm_lck() == 0, vm_lck()
lock.release()
"""
    run(program, 8192)


def test_a_refused_relock_leaves_nothing_of_lock_all() -> None:
    can_have(8192)
    program = """
small, large = [la.zeros(PAGE, 'u1') for _ in range(30)], la.zeros(100 * PAGE, 'u1')
everything = la.lock_all(current=False, force=True)
child = os.fork()
if child == 0:
    try:
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (50 * PAGE, hard))
        try:
            la.relock()
        except la.LockError:
            pass
        else:
            raise AssertionError('not refused')
        assert vm_lck() == 0 and not everything.active and not mapped()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
everything.end()
assert vm_lck() == 130 * PAGE
"""
    run(program, 8192)


def test_relock_in_a_child_is_all_or_nothing() -> None:
    can_have(8192)
    program = """
import warnings
small, large = [la.zeros(PAGE, 'u1') for _ in range(30)], la.zeros(100 * PAGE, 'u1')
child = os.fork()
if child == 0:
    try:
        own = la.zeros(2 * PAGE, 'u1')
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (50 * PAGE, hard))
        try:
            la.relock()
        except la.LockError as error:
            print(error.requested == 100 * PAGE, end=' ', flush=True)
        assert vm_lck() == 2 * PAGE and la.is_locked(own) and not any(map(la.is_locked, small))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            assert la.relock(on_error='warn') == 0
        assert caught[0].category is la.LockWarning and vm_lck() == 2 * PAGE
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
        assert la.relock() == 130 * PAGE and vm_lck() == 132 * PAGE
        assert all(map(la.is_locked, small)) and la.is_locked(large) and la.region(large).locked
        assert la.relock() == 0
        del large
        assert vm_lck() == 32 * PAGE
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert all(map(la.is_locked, small)) and la.is_locked(large)
"""
    assert run(program, 8192) == "True "
