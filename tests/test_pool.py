"""Pools: set aside once, handed out without the kernel, given back page by page."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import lockedarray as la
from smaps import PAGE, locked_pages, mappings, vm_lck

pytestmark = pytest.mark.locks(4 << 20)


def pages(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE


class PoolMachine(RuleBasedStateMachine):
    """Arrays, rings, tables and views of two pools, dropped in any order, against a model and VmLck."""

    objects = Bundle("objects")
    pools = st.integers(0, 1)

    def __init__(self) -> None:
        super().__init__()
        gc.collect()
        self.start = vm_lck()
        self.pools_ = [la.Pool(24 * PAGE), la.Pool(24 * PAGE, fork="share")]
        self.left, self.used, self.back = [24 * PAGE] * 2, [0, 0], [0, 0]
        self.peak = [0, 0]
        self.closed = [False, False]
        self.owners: dict[int, tuple[int, int, int]] = {}  # memory -> pool, bytes, views
        self.count = 0

    def take(self, which: int, asked: int, call: Callable[[], object]) -> object:
        """Expect what the model says of a call that takes so many bytes, in whole pages."""
        nbytes = pages(asked)
        if self.closed[which]:
            with pytest.raises(ValueError, match="closed"):
                call()
            return None
        if nbytes > self.left[which]:
            with pytest.raises(la.PoolExhausted) as error:
                call()
            assert (error.value.requested, error.value.capacity) == (asked, 24 * PAGE)
            assert error.value.available == self.left[which]
            return None
        thing = call()
        self.left[which] -= nbytes
        self.used[which] += nbytes
        self.peak[which] = max(self.peak[which], self.used[which])
        self.count += 1
        self.owners[self.count] = (which, nbytes, 1)
        return thing

    @rule(target=objects, which=pools, length=st.integers(0, 3 * PAGE))
    def array(self, which: int, length: int) -> object:
        taken = self.take(which, length, lambda: self.pools_[which].zeros(length, "u1"))
        if taken is not None:
            assert not taken.any(), "fresh pages are zero"
            taken[...] = 7
        return [taken, self.count]

    @rule(target=objects, which=pools, capacity=st.integers(1, 2 * PAGE))
    def ring(self, which: int, capacity: int) -> object:
        nbytes = 2 * (PAGE + pages(capacity))
        ring = self.take(which, nbytes, lambda: self.pools_[which].ring(capacity, dtype="u1"))
        if ring is not None:
            assert ring.write(np.full(capacity + 1, 9, "u1")) == capacity
            assert (ring.read_window(capacity) == 9).all()
        return [ring, self.count]

    @rule(target=objects, which=pools, points=st.integers(1, PAGE // 4))
    def table(self, which: int, points: int) -> object:
        table = self.take(which, 8 * points, lambda: self.pools_[which].table(np.arange(points)))
        return [table, self.count]

    @rule(target=objects, thing=objects)
    def view(self, thing: list) -> object:
        held, owner = thing
        if held is None or owner not in self.owners:
            return [None, 0]
        which, nbytes, views = self.owners[owner]
        self.owners[owner] = (which, nbytes, views + 1)
        if isinstance(held, la.LookupTable):
            return [held.values, owner]
        if isinstance(held, la.RingBuffer):
            return [held.read_window(3), owner]
        return [held[::-1], owner]

    @rule(thing=consumes(objects), how=st.sampled_from(["here", "in a thread", "in a cycle"]))
    def drop(self, thing: list, how: str) -> None:
        held, owner = thing
        del held
        if owner not in self.owners or thing[0] is None:
            return
        which, nbytes, views = self.owners.pop(owner)
        if how == "in a thread":
            dropper = threading.Thread(target=thing.clear)
            dropper.start()
            dropper.join()
        elif how == "in a cycle":
            cycle = [thing[0]]
            cycle.append(cycle)
            thing.clear()
            del cycle
            gc.collect(0)
        else:
            thing.clear()
        if views > 1:
            self.owners[owner] = (which, nbytes, views - 1)
        else:
            self.used[which] -= nbytes
            self.back[which] += nbytes

    @rule(which=pools)
    def close(self, which: int) -> None:
        if self.count < 6:
            return
        self.pools_[which].close()
        self.back[which] += self.left[which]
        self.left[which] = 0
        self.closed[which] = True

    @invariant()
    def figures(self) -> None:
        for which, pool in enumerate(self.pools_):
            found = (pool.capacity, pool.available, pool.in_use, pool.returned, pool.peak, pool.unreturned)
            expected = (24 * PAGE, self.left[which], self.used[which], self.back[which], self.peak[which], 0)
            assert found[:4] == expected[:4]
            assert found[5] == 0
            assert pool.closed == self.closed[which]
        assert vm_lck() - self.start == sum(self.left) + sum(self.used)

    def teardown(self) -> None:
        self.pools_.clear()
        self.bundles.clear()


PoolMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPoolMachine = PoolMachine.TestCase


@given(
    st.lists(st.integers(0, 9), max_size=3),
    st.sampled_from(["f4", "c16", "S", ">u2", "V7"]),
    st.sampled_from("CF"),
)
def test_arrays_are_numpys(shape: list[int], dtype: str, order: str) -> None:
    pool = la.Pool(1 << 20)
    array, model = pool.empty(shape, dtype, order), np.empty(shape, dtype, order)
    assert (array.shape, array.dtype, array.strides) == (model.shape, model.dtype, model.strides)
    assert array.ctypes.data % PAGE == 0 or array.nbytes == 0
    assert pool.in_use == pages(array.nbytes) == la.region(array).mapped_bytes


def test_every_way_to_take() -> None:
    pool = la.Pool(1 << 20)
    assert pool.ones(3).dtype == np.ones(3).dtype
    assert pool.full((2, 2), 7).tolist() == [[7, 7], [7, 7]]
    assert pool.full(2, 1.5, "u1").tolist() == [1, 1]
    assert pool.array([1, 2, 3], "f4").tolist() == [1, 2, 3]
    fortran = pool.array(np.ones((2, 3), order="F"))
    assert fortran.flags.f_contiguous
    assert pool.array(np.ones((2, 3)), order="F").flags.f_contiguous
    with pytest.raises(la.PoolExhausted, match="of 1 MiB"):
        pool.empty(1 << 20, "u1")
    assert la.is_locked(fortran)


def test_taking_neither_faults_nor_calls_the_kernel() -> None:
    program = """
import ctypes, gc, os, sys
import numpy as np, lockedarray as la
prctl = ctypes.CDLL(None).prctl
gc.disable()
def take(pool):
    return [pool.zeros(100, 'f4') for _ in range(100)]
def count_faults():
    pool = la.Pool(400 << 10)
    with la.page_faults() as faults:
        for array in take(pool):
            array[:] = 1
    return faults.total
for _ in range(3):  # the interpreter's own memory is there afterwards
    count_faults()
assert count_faults() == 0
pool = la.Pool(400 << 10)
prctl(22, 1)  # seccomp: read, write and exit
kept = take({pool})
os.write(1, b'done')
"""
    # Strict mode kills a thread, and NumPy's others would keep the process.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    for pool, finishes in (("pool", True), ("la.Pool(400 << 10)", False)):
        code = program.replace("{pool}", pool)
        ran = subprocess.run(
            [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, env=environment, timeout=60
        )
        assert ran.stdout == (b"done" if finishes else b"")


@pytest.mark.locks(160 << 20)
def test_forty_thousand_arrays() -> None:
    start = vm_lck()
    pool = la.Pool(40_000 * PAGE)
    arrays = [pool.empty(1) for _ in range(40_000)]
    assert (pool.available, vm_lck() - start) == (0, 40_000 * PAGE)
    del arrays[::2]
    assert vm_lck() - start == pool.in_use == 20_000 * PAGE
    assert all(la.is_locked(array) for array in arrays[::100])
    arrays.clear()
    assert (pool.in_use, pool.returned, pool.unreturned) == (0, 40_000 * PAGE, 0)
    assert vm_lck() == start


@pytest.mark.locks(8 << 20)
def test_a_refused_release_is_counted_and_tried_again() -> None:
    program = """
import ctypes, mmap, sys
sys.path.insert(0, sys.argv[1])
from smaps import PAGE, mappings, vm_lck
import lockedarray as la
libc = ctypes.CDLL(None, use_errno=True)
most = int(open('/proc/sys/vm/max_map_count').read())
pool = la.Pool(2000 * PAGE)
arrays = [pool.empty(1) for _ in range(2000)]
filler = mmap.mmap(-1, 2 * most * PAGE, flags=mmap.MAP_PRIVATE | 0x4000)
at = ctypes.addressof(ctypes.c_char.from_buffer(filler))
# Every other page becomes a mapping of its own, until there is room for some five hundred more.
pairs = (most - mappings() - 500) // 2
for pair in range(pairs):
    assert libc.mprotect(ctypes.c_void_p(at + (2 * pair + 1) * PAGE), PAGE, 0) == 0
assert most - 600 < mappings() < most - 400, mappings()
del arrays[::2]
assert 0 < pool.unreturned < 1000 * PAGE, pool.unreturned
assert vm_lck() == 1000 * PAGE + pool.unreturned, (vm_lck(), pool.unreturned)
assert pool.in_use == 1000 * PAGE + pool.unreturned
assert pool.in_use + pool.returned + pool.available == pool.capacity
assert libc.mprotect(ctypes.c_void_p(at), 2 * pairs * PAGE, 3) == 0
del arrays[:1]  # any release tries the refused ones again
assert pool.unreturned == 0
assert vm_lck() == pool.in_use == 999 * PAGE
arrays.clear()
assert vm_lck() == 0
print('done')
"""
    here = os.path.dirname(__file__)
    ran = subprocess.run([sys.executable, "-P", "-c", program, here], stdout=subprocess.PIPE, text=True)
    assert ran.stdout == "done\n"


@pytest.mark.parametrize("fork", ["copy", "share"])
def test_a_forked_child(fork: str) -> None:
    pool = la.Pool(64 * PAGE, fork=fork)
    array = pool.zeros(16 * PAGE, "u1")
    table = pool.table(np.arange(100.0))
    start, address = vm_lck(), array.ctypes.data
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with pytest.raises(ValueError, match="parent"):
                pool.empty(1)
            with pytest.raises(ValueError, match="parent"):
                pool.ring(10)
            array[0] = 42
            assert not la.is_locked(array)
            assert vm_lck() == 0
            own = la.Pool(4 * PAGE)
            mine = own.empty(1)
            del array, table, pool, mine, own
            assert vm_lck() == 0
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert array[0] == (42 if fork == "share" else 0)
    assert vm_lck() == start
    assert all(locked_pages(address, 16 * PAGE))
    assert table(np.array([0.5])) == 49.5
    pool.empty(1)


def test_closing() -> None:
    start, before = vm_lck(), mappings()
    with la.Pool(64 * PAGE) as pool:
        array = pool.ones(PAGE, "u1")
    pool.close()
    assert (pool.closed, pool.available, pool.in_use) == (True, 0, PAGE)
    for call in (pool.empty, pool.ring, lambda n: pool.table([n])):
        with pytest.raises(ValueError, match="closed"):
            call(1)
    assert vm_lck() - start == PAGE
    assert array.sum() == PAGE
    del array
    assert vm_lck() == start
    assert pool.returned == pool.capacity
    assert mappings() == before


def test_arrays_outlive_the_pool() -> None:
    start = vm_lck()
    array = la.Pool(64 * PAGE).ones(PAGE, "u1")
    ring = la.Pool(64 * PAGE).ring(100)
    gc.collect()
    assert vm_lck() - start == PAGE + 4 * PAGE
    assert array.sum() == PAGE
    assert ring.write(np.ones(100, "f4")) == 100
    del array, ring
    assert vm_lck() == start


def test_a_pool_that_is_only_resident() -> None:
    program = """
import warnings, lockedarray as la, resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    pool = la.Pool(1 << 20, on_error='warn')
assert [w.category for w in caught] == [la.LockWarning] and caught[0].filename == '<string>'
ring, array, table = pool.ring(1000), pool.ones(5), pool.table([1.0])
assert not la.is_locked(array) and not la.region(ring.read_window(1)).locked
assert table([0.3]) == 1
block = array.astype('f4')
def use():
    with la.page_faults() as faults:
        pool.zeros(5)[:] = 1
        ring.write(block)
    return faults.total
use()
assert use() == 0
"""
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    subprocess.run([*drop, sys.executable, "-P", "-c", program], check=True)


def test_bad_pools_and_bad_takes_change_nothing() -> None:
    start = vm_lck()
    for error, arguments in [
        (ValueError, (0,)),
        (ValueError, (-1,)),
        (TypeError, (1.5,)),
        (TypeError, ("1",)),
    ]:
        with pytest.raises(error):
            la.Pool(*arguments)
    for options in ({"fork": "x"}, {"on_error": "x"}):
        with pytest.raises(ValueError, match="x"):
            la.Pool(1, **options)
    with pytest.raises(MemoryError):
        la.Pool(2**50)
    with pytest.raises((OverflowError, MemoryError, ValueError)):
        la.Pool(2**70)
    pool = la.Pool(16 * PAGE)
    for error, call in [
        (ValueError, lambda: pool.empty(-1)),
        (ValueError, lambda: pool.empty((2**40, 2**40))),
        (la.PoolExhausted, lambda: pool.empty(2**62, "u1")),
        (TypeError, lambda: pool.empty(3, object)),
        (TypeError, lambda: pool.empty(3, "nonsense")),
        (ValueError, lambda: pool.empty(3, order="K")),
        (ValueError, lambda: pool.ring(0)),
        (la.PoolExhausted, lambda: pool.ring(8 * PAGE)),
        (TypeError, lambda: pool.ring(1, dtype=object)),
        (TypeError, lambda: pool.table(["x"])),
        (ValueError, lambda: pool.table([])),
        (TypeError, lambda: pool.array(object())),
    ]:
        with pytest.raises(error):
            call()
        assert (pool.in_use, pool.available, pool.returned) == (0, 16 * PAGE, 0)
        assert vm_lck() == start + 16 * PAGE
