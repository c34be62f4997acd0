"""How heaps begin and how they end: limits, the last array, the interpreter's exit."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from smaps import PAGE, address, vm_lck

MIB = 1 << 20

pytestmark = pytest.mark.locks(4 * MIB)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"nbytes": 0}, ValueError, "nbytes must be at least 1, not 0"),
        ({"nbytes": 1.5}, TypeError, "integer"),
        (
            {"nbytes": 10, "overflow": "spill"},
            ValueError,
            "overflow must be 'raise' or 'system', not 'spill'",
        ),
        ({"nbytes": 10, "on_error": "x"}, ValueError, "on_error must be"),
        ({"nbytes": 2**60}, MemoryError, "."),
        ({"nbytes": 2**70}, OverflowError, "."),
        ({}, TypeError, "nbytes"),
    ],
)
def test_wrong_heaps(arguments: dict[str, object], error: type, sentence: str) -> None:
    before = vm_lck()
    with pytest.raises(error, match=sentence):
        la.Heap(**arguments)
    assert vm_lck() == before


@pytest.mark.locks(13 * MIB)
def test_huge() -> None:
    heap = la.Heap(6 * MIB, huge=True)
    array = heap.ones(6 * MIB, "u1")
    assert la.is_locked(array)
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    if "[never]" in enabled:
        pytest.skip(f"needs transparent huge pages: {enabled}")
    smaps = b"/proc/self/smaps"
    start = address(array) // PAGE * PAGE
    assert la._native.lib.residency_huge_by_smaps(smaps, start - 8 * PAGE, 8 * MIB) >= 4 * MIB
    plain = la.Heap(6 * MIB).ones(6 * MIB, "u1")
    start = address(plain) // PAGE * PAGE
    if "[always]" not in enabled:
        assert la._native.lib.residency_huge_by_smaps(smaps, start - 8 * PAGE, 8 * MIB) == 0


REFUSED = """
import resource, warnings
import lockedarray as la
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
try:
    la.Heap(1 << 20)
except la.LockError as error:
    print(error.errno, error.requested, "set_memlock_limit" in str(error) or error.fix)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    heap = la.Heap(1 << 20, on_error="warn")
print([w.category.__name__ for w in caught], heap.locked, repr(heap)[-11:])
a = heap.ones(1000)
print(heap.owns(a), la.is_locked(a), bool(la.residency(a).all()), la.locked_bytes())
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        la.Heap(1 << 20, on_error="warn")
    except la.LockWarning:
        print("nothing made", la.locked_bytes())
"""


def test_refused_by_the_limit() -> None:
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-P", "-c", REFUSED]
    ran = subprocess.run(command, capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    assert re.match(rf"{errno.ENOMEM} {MIB + 4 * PAGE} ", lines[0]), ran.stderr
    assert lines[1] == "['LockWarning'] False not locked>"
    assert lines[2] == "True False True 0"
    assert lines[3] == "nothing made 0"


@pytest.mark.parametrize("below", [0, PAGE, 3 * PAGE])
def test_refused_for_the_books_alone(below: int) -> None:
    """What was asked for would fit under the limit, and a few pages of books do not."""
    program = f"""
import resource
import lockedarray as la
resource.setrlimit(resource.RLIMIT_MEMLOCK, ({MIB}, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))
try:
    la.Heap({MIB - below})
except la.LockError as error:
    print(error)
"""
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    said = subprocess.check_output([*drop, sys.executable, "-P", "-c", program], text=True)
    assert "it is more than may be locked" in said
    assert f"({MIB - below + 4 * PAGE:,} bytes)" in said


def test_arrays_outlive_the_heap() -> None:
    before = vm_lck()
    heap = la.Heap(MIB)
    with heap.activate():
        kept = np.arange(1000)[::2]
    del heap
    gc.collect()
    assert vm_lck() > before
    assert la.is_locked(kept)
    np.testing.assert_array_equal(kept, np.arange(0, 1000, 2))
    thread = threading.Thread(target=kept.base.resize, args=(2000,), kwargs={"refcheck": False})
    thread.start()
    thread.join()
    del kept, thread
    assert vm_lck() == before


def test_the_last_array_may_die_in_any_thread() -> None:
    before = vm_lck()
    holder = [la.Heap(MIB).ones(1000)]
    assert vm_lck() > before
    thread = threading.Thread(target=holder.clear)
    thread.start()
    thread.join()
    assert vm_lck() == before


def test_a_cycle_with_its_own_array_is_collected() -> None:
    class Holder:
        pass

    before = vm_lck()
    holder = Holder()
    holder.me, holder.heap = holder, la.Heap(MIB)
    holder.array = holder.heap.ones(10)
    del holder
    gc.collect()
    assert vm_lck() == before


EXIT = """
import threading, time
import numpy as np, lockedarray as la
heap = la.Heap(1 << 20)
{do}
print("end", flush=True)
"""


@pytest.mark.parametrize(
    "do",
    [
        "heap.activate(); kept = np.ones(1000)",
        "heap.activate(); del heap; import sys; sys.kept = np.ones(10); np.kept = np.ones(10)",
        "cycle = [np.ones(3)]; heap.activate(); cycle.append(np.ones(5)); cycle.append(cycle)",
        "heap.activate().__enter__(); import atexit; atexit.register(lambda: np.ones(1000) + 1)",
        "def loop():\n"
        "    heap.activate()\n"
        "    while True: np.ones(1000) + np.ones(1000)\n"
        "threading.Thread(target=loop, daemon=True).start(); time.sleep(0.2)",
    ],
    ids=["active", "array in a module", "cycle", "atexit", "daemon thread"],
)
def test_interpreter_exit(do: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-X", "dev", "-c", EXIT.format(do=do)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "end\n", "")


def test_a_heap_does_not_travel(heap: la.Heap) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot pickle a Heap: its memory belongs to this process"):
            pickle.dumps(heap, protocol)


@pytest.mark.parametrize("make", [la.Heap, lambda n: la.Heap(n, overflow="system")])
def test_making_many_leaves_nothing(make: Callable[[int], la.Heap]) -> None:
    before = vm_lck()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(100):
            heap = make(MIB)
            with heap.activate():
                np.ones(1000) * 2
        del heap
    assert vm_lck() == before
