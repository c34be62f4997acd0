"""What a real-time thread relies on: no fault, no system call, no wait for the GIL, and frames that are whole."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from smaps import PAGE, locked_pages, vm_lck

import lockedarray as la


def minor_faults(do: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    do()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def ring_pages(rb: la.RingBuffer) -> tuple[int, int]:
    """Address and bytes of all that a ring has mapped: two pages of its own before the data, and that twice."""
    region = la.region(rb.read_window(1))
    return region.address - 2 * PAGE, 2 * rb.nbytes


def test_both_halves_are_locked() -> None:
    start = vm_lck()
    rb = la.RingBuffer(3 * PAGE // 4)
    assert vm_lck() - start == 2 * rb.nbytes == 2 * 4 * PAGE
    assert all(locked_pages(*ring_pages(rb)))
    del rb
    assert vm_lck() == start


def test_a_new_ring_does_not_fault() -> None:
    rb = la.RingBuffer(100_000, 2)
    block = np.ones((100_000, 2), "f4")
    out = np.ones_like(block)
    spare = np.empty_like(block)

    def use() -> None:
        rb.write(block)
        rb.read_into(out)

    assert minor_faults(use) == 0
    assert minor_faults(lambda: spare.fill(0)) > 100, "the control must fault"
    assert minor_faults(lambda: rb.write_window(100_000).fill(1)) == 0


def test_ten_thousand_operations_without_a_fault() -> None:
    rb = la.RingBuffer(1000, 2)
    block, out = np.ones((64, 2), "f4"), np.empty((64, 2), "f4")

    def use() -> None:
        for _ in range(2500):
            rb.write(block)
            rb.read_into(out, fill=0.0)
            rb.commit(len(rb.write_window(64)))
            rb.consume(len(rb.read_window(64)))

    def use_fresh_memory() -> None:
        for _ in range(100):
            np.empty(1 << 20, "u1").fill(1)

    use()
    with la.no_page_faults():
        use()
    with pytest.raises(la.PageFaultError), la.no_page_faults():
        use_fresh_memory()


STRICT = """
import ctypes, gc, os
import numpy as np, lockedarray as la
rb = la.RingBuffer(1000, 2)
block, out = np.ones((64, 2), 'f4'), np.empty((64, 2), 'f4')
def use(count):
    for _ in range(count):
        rb.write(block)
        rb.read_into(out)
gc.disable()
use(1000)
prctl = ctypes.CDLL(None).prctl
prctl(22, 1)  # PR_SET_SECCOMP, SECCOMP_MODE_STRICT: read, write and exit are left
{do}
os.write(1, b'done')
"""


@pytest.mark.parametrize(("do", "finishes"), [("use(1_000_000)", True), ("use(10); os.getppid()", False)])
def test_a_million_pairs_make_no_system_call(do: str, finishes: bool) -> None:
    program = STRICT.format(do=do)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, env=environment)
    assert ran.returncode < 0  # Python's own exit is more than strict mode allows
    assert ran.stdout == (b"done" if finishes else b"")


BUSY = """
import sys, threading, time
import numpy as np, lockedarray as la
rb = la.RingBuffer(1000, 2)
block, out = np.ones((64, 2), 'f4'), np.empty((64, 2), 'f4')
done = False
def busy():
    while not done:
        pass
def pairs():
    for _ in range(1000):
        rb.write(block)
        rb.read_into(out)
sys.setswitchinterval(1.0)
thread = threading.Thread(target=busy)
thread.start()
def timed(do):
    time.sleep(0)  # comes back with a whole interval of its own
    start = time.perf_counter()
    do()
    return time.perf_counter() - start
print(timed(pairs), timed(lambda: time.sleep(0)))
done = True
thread.join()
"""


def test_the_gil_is_kept() -> None:
    ran = subprocess.run([sys.executable, "-P", "-c", BUSY], stdout=subprocess.PIPE, check=True, text=True)
    pairs, control = map(float, ran.stdout.split())
    assert pairs < 0.050
    assert control > 0.5, "whoever gives the GIL up waits for the busy thread's interval"


def write_numbers(rb: la.RingBuffer, total: int) -> None:
    block = np.empty((4096, 2), "i8")
    for first in range(0, total, len(block)):
        block[...] = np.arange(first, first + len(block))[:, None]
        written = 0
        while written < len(block):
            written += rb.write(block[written:])


def test_the_index_follows_the_frames() -> None:
    """Writer and reader at the same time, in two processes: the GIL would serialise two threads."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    rb = la.RingBuffer(8192, 2, "i8")
    total = 3_000_000
    child = os.fork()
    if child == 0:
        try:
            write_numbers(rb, total)
        finally:
            rb.close()
            os._exit(0)
    out = np.empty((3000, 2), "i8")
    read = 0
    while not rb.eof:
        got = rb.read_into(out)
        expected = np.arange(read, read + got)
        assert (out[:got, 0] == expected).all(), "stale frames"
        assert (out[:got, 1] == expected).all(), "stale frames"
        read += got
    os.waitpid(child, 0)
    assert read >= total


@pytest.mark.parametrize("source", [la.RingBuffer, la.Pool(1 << 20).ring, la.Pool(1 << 20, fork="share").ring])
def test_a_child_leaves_the_parents_ring_alone(source: Callable[..., la.RingBuffer]) -> None:
    rb = source(10_000, 2)
    block = np.ones((4000, 2), "f4")
    control = np.ones(1024 * PAGE, "u1")
    out = np.ones((4000, 2), "f4")
    rb.write(block)
    rb.read_into(out)
    rb.write(block)
    locked = vm_lck()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        del rb
        os.read(read, 1)
        os._exit(0)
    try:
        pages = control[::PAGE]
        assert minor_faults(lambda: pages.__setitem__(..., 2)) > 900, "the control must fault"
        # So do the pages of the interpreter and of NumPy, until everything but the ring's memory has been used.
        for _ in range(50):
            with pytest.raises(TypeError):
                rb.write(pages)
            with pytest.raises(TypeError):
                rb.read_into(pages)
            out.fill(block[0, 0])
        assert minor_faults(lambda: (rb.write(block), rb.read_into(out))) == 0
        assert vm_lck() == locked
        assert all(locked_pages(*ring_pages(rb)))
        assert (out == 1).all()
    finally:
        os.write(write, b"x")
        assert os.waitpid(child, 0)[1] == 0
        os.close(read)
        os.close(write)
    assert rb.read_available == 4000
    assert vm_lck() == locked
