"""After a fork, with the child alive: no fault on what is ours, and under lock_all none in a Python loop."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from forks import child_alive, told_by_child
from smaps import PAGE, address, vm_lck

PAGES = 256
FORKS = 4


def python_loop(rounds: int = 20000) -> float:
    """What an interpreter does all the time: numbers, lists, strings, dictionaries."""
    total, words = 0.0, {}
    for i in range(rounds):
        total += i * 0.5
        words[i % 64] = [i, str(i)]
    return total


def faults_of(do: Callable[[], object]) -> int:
    with la.page_faults() as faults:
        do()
    return faults.total


def after_forks(count: Callable[[], int]) -> int:
    """Count with a child alive, up to FORKS times, until there is no fault.

    The kernel moves a page now and then, also a locked one; what a fork costs is there each time.
    """
    for _ in range(FORKS):
        with child_alive():
            faults = count()
        if faults == 0:
            break
    return faults


FILL = r"""
#define _GNU_SOURCE
#include <string.h>
#include <sys/resource.h>

static long faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

long fill(void *memory, size_t nbytes)
{
    long before = faults();
    memset(memory, 2, nbytes);
    return faults() - before;
}
"""


@pytest.fixture(scope="module")
def fill_faults(tmp_path_factory: pytest.TempPathFactory) -> Callable[[np.ndarray], int]:
    """A loop of C that writes to every page, and says how many faults that took."""
    directory = tmp_path_factory.mktemp("fill")
    (directory / "fill.c").write_text(FILL)
    library = directory / "fill.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", directory / "fill.c", "-o", library], check=True)
    fill = ctypes.CDLL(str(library)).fill
    fill.argtypes = ctypes.c_void_p, ctypes.c_size_t
    fill.restype = ctypes.c_long
    return lambda memory: fill(address(memory), memory.nbytes)


def held(kind: str) -> tuple[object, np.ndarray]:
    """Memory of PAGES pages, and what keeps it locked."""
    if kind == "lock":
        plain = np.ones(PAGES * PAGE, "u1")
        return la.lock(plain), plain
    if kind == "array":
        return None, la.ones(PAGES * PAGE, "u1")
    if kind == "pool":
        return None, la.Pool(PAGES * PAGE).ones(PAGES * PAGE, "u1")
    if kind == "heap":
        return None, la.Heap(2 * PAGES * PAGE).ones(PAGES * PAGE, "u1")
    ring = la.RingBuffer(PAGES * PAGE, dtype="u1")
    return ring, ring.write_window(PAGES * PAGE)


@pytest.mark.locks(8 << 20)
@pytest.mark.parametrize("kind", ["array", "lock", "pool", "heap", "ring"])
def test_a_loop_in_c_takes_no_fault_on_what_is_ours(
    kind: str, fill_faults: Callable[[np.ndarray], int]
) -> None:
    holder, memory = held(kind)
    control, small = np.ones(PAGES * PAGE, "u1"), la.ones(8, "u1")
    for a in memory, control, small:
        fill_faults(a)

    def ours() -> int:
        fill_faults(small)  # the call's own pages fault once after a fork too
        taken = fill_faults(memory)
        assert fill_faults(control) >= PAGES - 1
        return taken

    assert after_forks(ours) == 0
    if isinstance(holder, la.MemoryLock):
        holder.release()


@pytest.mark.locks(8 << 20)
def test_a_loop_in_numba_takes_no_fault_on_what_is_ours() -> None:
    numba = pytest.importorskip("numba", reason="needs Numba: pip install 'lockedarray[numba]'")

    @numba.njit(nogil=True)  # type: ignore[misc]
    def fill(a: np.ndarray) -> None:
        for i in range(0, a.size, 512):
            a[i] += 1

    def faults(a: np.ndarray) -> int:
        return faults_of(lambda: fill(a))

    ours, control, small = la.ones(PAGES * PAGE, "u1"), np.ones(PAGES * PAGE, "u1"), la.ones(8, "u1")
    locked = np.ones(PAGES * PAGE, "u1")
    lock = la.lock(locked)
    for a in ours, locked, control, small:
        faults(a)

    def taken() -> int:
        while faults(small):  # the interpreter's own pages fault once after a fork too
            pass
        counted = faults(ours) + faults(locked)
        assert faults(control) >= PAGES - 1
        return counted

    assert after_forks(taken) == 0
    lock.release()


@pytest.mark.no_limit
def test_a_python_loop_takes_none_under_lock_all() -> None:
    for _ in range(3):
        python_loop()
    with child_alive():
        assert faults_of(python_loop) > 10  # the control
    with la.lock_all():
        assert after_forks(lambda: faults_of(python_loop)) == 0


@pytest.mark.no_limit
def test_only_what_was_there_is_brought_in_after_a_fork() -> None:
    """Under on_fault the repair takes back pages that were used, and does not use others."""
    untouched = np.frombuffer(mmap.mmap(-1, 1024 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), "u1")
    untouched[: 16 * PAGE] = 1
    with la.lock_all(on_fault=True):
        before = la.residency(untouched).sum()

        def used() -> int:
            assert la.residency(untouched).sum() == before < 64
            return faults_of(lambda: untouched[: 16 * PAGE].fill(2))

        assert after_forks(used) == 0


PROCESSES = """
    import multiprocessing, subprocess, sys, time
    import lockedarray as la
    from test_fork_repair import faults_of, python_loop

    if __name__ == "__main__":
        everything = la.lock_all() if {locked} else None
        for _ in range(3):
            faults_of(python_loop)
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        if "{start}" == "subprocess":
            child = subprocess.Popen(command)
        elif "{start}" == "preexec_fn":
            child = subprocess.Popen(command, preexec_fn=lambda: None)
        else:
            child = multiprocessing.get_context("{start}").Process(target=time.sleep, args=(60,))
            child.start()
        print(faults_of(python_loop))
        child.terminate()
        getattr(child, "join", getattr(child, "wait", None))()
"""


@pytest.mark.no_limit
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn", "subprocess", "preexec_fn"])
def test_every_way_to_start_a_process(start: str, tmp_path: os.PathLike[str]) -> None:
    def measured(locked: bool) -> int:
        program = os.path.join(tmp_path, "program.py")
        with open(program, "w") as file:
            file.write(textwrap.dedent(PROCESSES.format(start=start, locked=locked)))
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
        }
        command = [sys.executable, program]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return int(ran.stdout)

    assert any(measured(True) == 0 for _ in range(FORKS))
    if start in ("fork", "preexec_fn"):  # the others do not copy this process
        assert measured(False) > 10


@pytest.mark.no_limit
def test_a_child_is_not_locked_until_it_says_so() -> None:
    array = la.zeros(4 * PAGE, "u1")
    with la.lock_all() as everything:
        assert everything.active
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert vm_lck() == 0
                assert not everything.active
                assert not la.is_locked(array)
                mapped = np.ones(1 << 20, "u1")
                assert vm_lck() == 0
                assert la.relock() >= 4 * PAGE
                assert everything.active
                assert la.is_locked(array)
                assert la.is_locked(mapped)
                everything.end()
                assert la.is_locked(array)
                assert not la.is_locked(mapped)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert everything.active
    assert la.is_locked(array)


@pytest.mark.no_limit
def test_a_child_brings_back_what_all_levels_asked() -> None:
    mapped = np.ones(1 << 20, "u1")

    def found() -> list[object]:
        before = vm_lck()
        lock = la.lock(mapped)
        lock.release()  # nothing is in force here that would keep it
        released = vm_lck()
        la.relock()
        return [before, released, la.is_locked(mapped)]

    with la.lock_all(future=False), la.lock_all(current=False):
        assert told_by_child(found) == [0, 0, True]


@pytest.mark.no_limit
def test_a_child_forked_while_another_thread_is_in_lock_all() -> None:
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            with la.lock_all(on_fault=True):
                pass

    def entered() -> bool:
        with la.lock_all(on_fault=True) as own:
            return own.active

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(told_by_child(entered) for _ in range(30))
    finally:
        done.set()
        thread.join()


@pytest.mark.no_limit
def test_a_child_relocks_beside_stacks_that_are_no_more() -> None:
    """A thread's stack is not the child's business, where the C library may have reused its memory."""
    done = threading.Event()
    threads = [la.start_thread(done.wait) for _ in range(3)]
    array = la.zeros(PAGE, "u1")

    def relocked() -> int:
        return la.relock()

    assert told_by_child(relocked) == vm_lck() - 3 * (256 << 10)
    done.set()
    for thread in threads:
        thread.join()
    assert la.is_locked(array)


@pytest.mark.no_limit
def test_a_child_that_leaves_an_inherited_block_changes_nothing() -> None:
    array = la.zeros(4 * PAGE, "u1")
    child = None
    with la.lock_all():
        child = os.fork()
    if child == 0:
        status = 1
        try:
            assert vm_lck() == 0
            with la.lock_all() as own:
                assert own.active
                assert la.is_locked(array)
            # The child's own end unlocks what it never locked by itself.
            assert not own.active
            assert la.relock() >= 4 * PAGE
            assert la.is_locked(array)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert la.is_locked(array)
