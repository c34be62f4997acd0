"""What a refusal says and leaves: in processes that may lock little, whoever runs the tests."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import subprocess
import sys

import pytest

import lockedarray as la
from lockedarray import errors

WITHOUT = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []

# Every way to ask for locked memory; each more than 64 KiB and less than 8 MiB.
MAKERS = """
import gc, mmap, pickle, resource, sys, tempfile, warnings
import numpy as np
import lockedarray as la
def of_a_file(**options):
    with tempfile.NamedTemporaryFile(suffix='.npy') as file:
        np.save(file.name, np.ones(50_000))
        return la.load(file.name, **options)
makers = {
    'empty': lambda **options: la.empty(50_000, **options),
    'zeros': lambda **options: la.zeros(50_000, **options),
    'ones': lambda **options: la.ones(50_000, **options),
    'full': lambda **options: la.full(50_000, 7, **options),
    'array': lambda **options: la.array(np.ones(50_000), **options),
    'empty_like': lambda **options: la.empty_like(np.ones(50_000), **options),
    'zeros_like': lambda **options: la.zeros_like(np.ones(50_000), **options),
    'ones_like': lambda **options: la.ones_like(np.ones(50_000), **options),
    'full_like': lambda **options: la.full_like(np.ones(50_000), 7, **options),
    'load': of_a_file,
    'guard': lambda **options: la.zeros(50_000, guard=True, **options),
    'huge': lambda **options: la.zeros(50_000, huge=True, **options),
    'share': lambda **options: la.zeros(50_000, fork='share', **options),
    'Pool': lambda **options: la.Pool(400_000, **options),
    'RingBuffer': lambda **options: la.RingBuffer(50_000, **options),
    'LookupTable': lambda **options: la.LookupTable(np.ones(50_000), **options),
    'Periodic': lambda **options: la.Periodic(0.001, **options),
    'lock': lambda **options: la.lock(mmap.mmap(-1, 400_000), **options),
}
def books():
    gc.collect()
    maps = open('/proc/self/maps').read().splitlines()
    ours = [line for line in maps if line.endswith('lockedarray') or 'memfd' in line]
    locked = open('/proc/self/status').read().split('VmLck:')[1].split()[0]
    flags = sum('VmFlags:' in line and ' lo' in line for line in open('/proc/self/smaps'))
    return locked, flags, ours, len(maps)
"""

REFUSED = (
    MAKERS
    + """
limit = int(sys.argv[1])
for name, make in makers.items():
    try:  # imports and caches first
        make()
    except la.LockError:
        pass
    before = books()
    try:
        made = make()
    except la.LockError as error:
        assert (error.soft, error.hard) == (limit, limit), error
        assert error.locked == 0 and error.requested >= 400_000, error
        assert error.errno in (1, 11, 12) and isinstance(error, MemoryError)
        sentence = str(error)
        reason = 'RLIMIT_MEMLOCK is 64 KiB (hard limit 64 KiB)' if limit else 'may lock nothing'
        assert reason in sentence
        assert error.fix and error.fix in sentence
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), copy.fix, copy.requested) == (sentence, error.fix, error.requested)
    else:
        raise SystemExit(f'{name} locked more than the limit')
    after = books()
    assert after[:3] == before[:3] and abs(after[3] - before[3]) <= 1, (name, before, after)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        made = make(on_error='warn')
    [warning] = [each for each in caught if each.category is la.LockWarning]
    assert warning.filename == '<string>', (name, warning.filename)
    assert 'not locked, only resident' in str(warning.message)
    assert books()[:2] == ('0', 0), name
    if isinstance(made, np.ndarray):
        assert not la.is_locked(made) and la.residency(made).all() and not la.region(made).locked
        made += 1
    del made, caught, warning
    after = books()
    assert after[:3] == before[:3] and abs(after[3] - before[3]) <= 1, (name, before, after)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            make(on_error='warn')
        except la.LockWarning:
            pass
        else:
            raise SystemExit(f'{name} made something though the warning was an error')
    after = books()
    assert after[:3] == before[:3] and abs(after[3] - before[3]) <= 1, (name, before, after)
"""
)

RAISED = (
    MAKERS
    + """
la.zeros(1)
soft, hard = 65536, 8 << 20
resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
held = la.zeros(4096, 'u1')
for name, make in makers.items():
    try:
        make()
    except la.LockError as error:
        assert (error.soft, error.hard, error.locked) == (soft, hard, 4096)
        assert 'with 4 KiB locked already' in str(error), error
        assert 'lockedarray.set_memlock_limit(8388608)' in error.fix, error
        assert 'ulimit -S -l 8192' in error.fix, error
    else:
        raise SystemExit(name)
la.set_memlock_limit(hard)  # what the fix says
for name, make in makers.items():
    made = make()
    assert la.locked_bytes() >= 4096 + 400_000, name
    if name == 'lock':
        made.release()
    del made
    gc.collect()
    assert la.locked_bytes() == 4096, name
"""
)


def run_limited(program: str, kib: int, *arguments: str) -> None:
    command = ["sh", "-c", f'ulimit -l {kib} && exec "$@"', "sh", *WITHOUT]
    subprocess.run([*command, sys.executable, "-P", "-c", program, *arguments], check=True)


@pytest.mark.parametrize("kib", [0, 64])
def test_every_refusal_has_its_figures_and_leaves_nothing(kib: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard != resource.RLIM_INFINITY and hard < kib << 10:
        pytest.skip(f"needs a limit of {kib} KiB")
    run_limited(REFUSED, kib, str(kib << 10))


@pytest.mark.locks(8 << 20)
def test_the_fix_is_one() -> None:
    run_limited(RAISED, 8192)


CROWDED = """
import ctypes, mmap
import numpy as np
import lockedarray as la
most = int(open('/proc/sys/vm/max_map_count').read())
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
pages = mmap.mmap(-1, 4096 * 2 * most)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
spare = [np.frombuffer(mmap.mmap(-1, 3 * 4096), 'u1')[4096:8192] for _ in range(10)]
la.zeros(1)
for page in range(0, 2 * most, 2):  # every second page by itself: a mapping more, or two
    if libc.mprotect(ctypes.c_void_p(start + page * 4096), 4096, 0) != 0:
        break
else:
    raise SystemExit('there is no end to mappings here')
def sentence(make):
    kept = []
    try:
        for number in range(10):
            kept.append(make(number))
    except MemoryError as error:
        return str(error)
    finally:
        while kept:
            thing = kept.pop()
            if isinstance(thing, la.MemoryLock):
                thing.release()
makers = [
    lambda number: la.zeros(4096, guard=True),
    lambda number: la.lock(spare[number]),
    lambda number: la.RingBuffer(10),
    lambda number: la.Pool(1 << 14).ring(10),
]
for make in makers:
    said = sentence(make)
    assert said and f'vm.max_map_count allows {most:,}' in said, said
    assert la.locked_bytes() == 0
"""


@pytest.mark.locks(1 << 20)
def test_too_many_mappings_are_named() -> None:
    subprocess.run([sys.executable, "-P", "-c", CROWDED], check=True)


@pytest.mark.locks(64 << 10)
@pytest.mark.parametrize(
    ("call", "number", "nbytes", "kind", "says"),
    [
        ("mlock", errno.ENOMEM, 4096, la.LockError, "cannot lock 4 KiB"),
        ("mlock", errno.EPERM, 4096, la.LockError, "cannot lock 4 KiB"),
        ("mlock", errno.EAGAIN, 4096, la.LockError, "control group"),
        ("mlockall", errno.ENOMEM, 0, la.LockError, "cannot lock memory"),
        ("mmap", errno.EAGAIN, 4096, la.LockError, "lock_all"),
        ("mmap", errno.ENOMEM, 4096, MemoryError, "mmap of 4 KiB: Cannot allocate memory"),
        ("mlock", errno.EINVAL, 4096, OSError, "mlock of 4 KiB: Invalid argument"),
        ("munlock", errno.ENOMEM, 4096, OSError, "munlock of 4 KiB"),
        ("memfd_create", errno.EMFILE, 0, OSError, "memfd_create: Too many open files"),
    ],
)
def test_one_funnel(call: str, number: int, nbytes: int, kind: type[Exception], says: str) -> None:
    error = errors.refused(call, number, nbytes)
    assert type(error) is kind
    assert says in str(error)
    if isinstance(error, OSError):
        assert error.errno == number


def test_what_the_others_say() -> None:
    exhausted = la.PoolExhausted(8192, 4096, 1 << 20)
    assert isinstance(exhausted, MemoryError)
    assert str(exhausted) == "the pool cannot give 8 KiB: 4 KiB are left of 1 MiB"
    faults = la.PageFaultError(3, 1, "rusage")
    assert "3 minor and 1 major page faults (rusage)" in str(faults)
    assert "a lock or a mapping brings in" in str(faults)
    for error in (exhausted, faults):
        copy = pickle.loads(pickle.dumps(error))
        assert (str(copy), vars(copy)) == (str(error), vars(error))
