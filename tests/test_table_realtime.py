"""What a real-time thread relies on: a table is locked and read-only, and a call only reads it."""

from __future__ import annotations

import gc
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from programs import makes_no_system_call
from smaps import PAGE, locked_pages, vm_lck

pytestmark = pytest.mark.locks(1 << 20)


def run(program: str, *, ordinary: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program that imports the installed package; an ordinary user has no CAP_IPC_LOCK."""
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if ordinary and os.geteuid() == 0 else []
    return subprocess.run(
        [*drop, sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("of", ["its own", "a pool's"])
def test_locked_and_released(of: str) -> None:
    pool = la.Pool(16 * PAGE)
    start = vm_lck()
    make = la.LookupTable if of == "its own" else pool.table
    table = make(np.arange(3 * PAGE / 8))
    values = table.values
    address = values.ctypes.data
    assert address % PAGE == 0
    assert all(locked_pages(address, 3 * PAGE))
    assert la.is_locked(values)
    assert la.region(values).locked
    assert vm_lck() - start == (3 * PAGE if of == "its own" else 0)
    if of != "its own":
        assert pool.in_use == 3 * PAGE
    del table
    gc.collect()
    assert la.is_locked(values), "the values keep their memory"
    assert values[-1] == 3 * PAGE / 8 - 1
    before = vm_lck()
    del values
    assert before - vm_lck() == 3 * PAGE
    assert not any(locked_pages(address, 3 * PAGE))


@pytest.mark.parametrize("of", ["its own", "a pool's"])
def test_read_only(of: str) -> None:
    pool = la.Pool(16 * PAGE)
    table = (la.LookupTable if of == "its own" else pool.table)([1.0, 2, 3])
    values, region = table.values, la.region(table.values)
    for view in (values, values[1:], np.frombuffer(region, "f8"), np.asarray(memoryview(region))):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    with pytest.raises(ValueError, match="out is read-only"):
        table(values, out=values)
    with pytest.raises(ValueError, match="out is read-only"):
        table.sweep(values, 0, 0.5)
    assert table.values.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("array", "survives"),
    [
        ("la.LookupTable([1.0, 2.0]).values", False),
        ("la.Pool(1 << 16).table([1.0, 2.0]).values", False),
        ("la.array([1.0, 2.0])", True),
    ],
)
def test_a_write_past_numpy_is_a_crash(array: str, survives: bool) -> None:
    program = f"import ctypes, lockedarray as la; array = {array}; ctypes.memset(array.ctypes.data, 0, 8)"
    assert run(program).returncode == (0 if survives else -signal.SIGSEGV)


# The interpreter's own memory faults now and then, a table's never does. So the fewest of a few trials are
# the table's.


def faults(do: Callable[[], object]) -> int:
    with la.page_faults() as counted:
        do()
    return counted.total


def use_fresh_memory() -> None:
    np.frombuffer(mmap.mmap(-1, 64 * PAGE), "u1")[::PAGE] = 1


def test_a_new_table_does_not_fault() -> None:
    values = np.ones(64 * PAGE // 8)
    x = np.linspace(0, 1, 512)
    out = np.empty_like(x)

    def trial(lookup: Callable[[], Callable[..., object]]) -> int:
        table = lookup()
        return faults(lambda: table(x, out))

    def copied() -> Callable[..., object]:
        memory = mmap.mmap(-1, values.nbytes)
        return lambda x, out: np.take(
            np.frombuffer(memory, "f8"), (x * (len(values) - 1)).astype(int), out=out
        )

    assert min(trial(lambda: la.LookupTable(values)) for _ in range(5)) == 0
    assert min(trial(copied) for _ in range(5)) >= 64, "the control must fault"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_ten_thousand_calls_without_a_fault(dtype: str) -> None:
    x = np.linspace(-1, 2, 256).astype("f4")
    out, both = np.empty(256, dtype), np.empty((256, 2), dtype)
    linear = la.LookupTable(np.ones(1000, dtype))
    nearest = la.LookupTable(np.ones(1000, dtype), periodic=True, interpolation="nearest")
    cubic = la.LookupTable(np.ones((1000, 2), dtype), periodic=True, interpolation="cubic")

    def use() -> None:
        for _ in range(2000):
            linear(x, out)
            nearest(x, out=out)
            cubic(x, both)
            position = linear.sweep(out, 0.3, 1e-4)
            cubic.sweep(both[::-1], position, x)

    use()
    assert min(faults(use) for _ in range(5)) == 0
    assert min(faults(use_fresh_memory) for _ in range(5)) >= 64, "the control must fault"


CALLS = """
table = la.LookupTable(np.ones(1000, 'f4'), periodic=True)
x, out = np.linspace(-1, 2, 64), np.empty(64, 'f4')
def use(count):
    for _ in range(count):
        table(x, out)
        table.sweep(out, 0.5, 0.01)
        table.sweep(out, 0.5, x)
"""


@pytest.mark.parametrize(("do", "finishes"), [("use(100_000)", True), ("use(10); os.getppid()", False)])
def test_no_system_call(do: str, finishes: bool) -> None:
    assert makes_no_system_call(CALLS, do) == finishes


def test_with_out_nothing_is_allocated() -> None:
    program = """
import gc, tracemalloc, numpy as np, lockedarray as la
table = la.LookupTable(np.ones(1000, 'f4'), periodic=True)
x, out = np.linspace(-1, 2, 5000), np.empty(5000, 'f4')
def peak(do):
    do()
    gc.collect()
    tracemalloc.start()
    do()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most
for do in (lambda: table(x, out), lambda: table(x[::-1], out[::-1]), lambda: table.sweep(out, 0, x)):
    assert peak(do) < 1000, peak(do)
assert peak(lambda: table(x)) > 5000 * 4, 'the control allocates'
assert peak(lambda: table(x.astype('f2'), out)) > 5000 * 8
"""
    ran = run(program)
    assert ran.returncode == 0, ran.stderr


def test_an_ordinary_user_who_may_lock_nothing() -> None:
    program = """
import resource, warnings, lockedarray as la
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
def mappings():
    return open('/proc/self/maps').read().count('\\n')
before = mappings()
try:
    la.LookupTable([1.0, 2.0])
except la.LockError as error:
    assert (error.soft, error.hard, error.locked) == (0, 0, 0), error
    assert error.requested == 16 and 'RLIMIT_MEMLOCK is 0' in str(error), error
else:
    raise SystemExit('locked')
assert mappings() == before
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    table = la.LookupTable([1.0, 2.0], on_error='warn')
assert [(w.category, w.filename) for w in caught] == [(la.LockWarning, '<string>')], caught
assert table(0.5) == 1.5 and not la.is_locked(table.values) and la.locked_bytes() == 0
assert not table.values.flags.writeable
warnings.simplefilter('error')
del table
before = mappings()
try:
    la.LookupTable([1.0, 2.0], on_error='warn')
except la.LockWarning:
    pass
else:
    raise SystemExit('no warning')
assert mappings() == before, 'no half-made table stays'
"""
    ran = run(program, ordinary=True)
    assert ran.returncode == 0, ran.stderr
