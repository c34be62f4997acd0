"""What a real-time thread relies on: no fault, no system call, no wait for the GIL, whole frames."""

from __future__ import annotations

import mmap
import os
import resource
import signal
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from programs import beside_busy_thread, makes_no_system_call
from smaps import PAGE, locked_pages, vm_lck

pytestmark = pytest.mark.locks(7 << 20)


def minor_faults(do: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    do()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def use_fresh_memory() -> None:
    np.frombuffer(mmap.mmap(-1, 256 * PAGE), "u1")[::PAGE] = 1


def ring_pages(rb: la.RingBuffer) -> tuple[int, int]:
    """Address and bytes of all that a ring has mapped: two pages before the data, and that twice."""
    region = la.region(rb.read_window(1))
    return region.address - 2 * PAGE, 2 * rb.nbytes


def test_both_halves_are_locked() -> None:
    start = vm_lck()
    rb = la.RingBuffer(3 * PAGE // 4)
    assert vm_lck() - start == 2 * rb.nbytes == 2 * 4 * PAGE
    assert all(locked_pages(*ring_pages(rb)))
    del rb
    assert vm_lck() == start


# The interpreter's own memory faults now and then, after a fork above all; the ring's never does. So the
# fewest of a few trials are the ring's.


def test_a_new_ring_does_not_fault() -> None:
    block = np.ones((100_000, 2), "f4")
    out = np.ones_like(block)

    def trial() -> int:
        rb = la.RingBuffer(100_000, 2)

        def use() -> None:
            rb.write(block)
            rb.read_into(out)
            rb.write_window(100_000).fill(1)  # across the seam by now

        return minor_faults(use)

    assert min(trial() for _ in range(5)) == 0
    assert min(minor_faults(use_fresh_memory) for _ in range(5)) >= 256, "the control must fault"


def test_ten_thousand_operations_without_a_fault() -> None:
    rb = la.RingBuffer(1000, 2)
    block, out = np.ones((64, 2), "f4"), np.empty((64, 2), "f4")

    def use() -> None:
        for _ in range(2500):
            rb.write(block)
            rb.read_into(out, fill=0.0)
            rb.commit(len(rb.write_window(64)))
            rb.consume(len(rb.read_window(64)))

    def faults(do: Callable[[], object]) -> int:
        with la.page_faults() as counted:
            do()
        return counted.total

    use()
    assert min(faults(use) for _ in range(5)) == 0
    assert min(faults(use_fresh_memory) for _ in range(5)) >= 256, "the control must fault"


PAIRS = """
rb = la.RingBuffer(1000, 2)
block, out = np.ones((64, 2), 'f4'), np.empty((64, 2), 'f4')
def use(count):
    for _ in range(count):
        rb.write(block)
        rb.read_into(out)
"""


@pytest.mark.parametrize(("do", "finishes"), [("use(1_000_000)", True), ("use(10); os.getppid()", False)])
def test_a_million_pairs_make_no_system_call(do: str, finishes: bool) -> None:
    assert makes_no_system_call(PAIRS, do) == finishes


def test_the_gil_is_kept() -> None:
    pairs, control = beside_busy_thread(PAIRS, 1.0, "use(1000)", "time.sleep(0.01)")
    assert pairs < 0.050
    assert control > 0.5, "whoever gives the GIL up waits for the busy thread's interval"


FRAMES = 30_000
ROUNDS = 300


def fill_again_and_again(rb: la.RingBuffer) -> None:
    """Write the ring full each time that it is empty, with numbers that go on."""
    block = np.empty((FRAMES, 2), "i8")
    for turn in range(ROUNDS):
        block[...] = np.arange(turn * FRAMES, (turn + 1) * FRAMES)[:, None]
        while rb.read_available:
            pass
        rb.write(block)


def test_the_index_follows_the_frames() -> None:
    """Writer and reader at the same time, in two processes: the GIL would serialise two threads."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    rb = la.RingBuffer(FRAMES, 2, "i8")
    child = os.fork()
    if child == 0:
        try:
            fill_again_and_again(rb)
        finally:
            rb.close()
            os._exit(0)
    read = 0
    try:
        while not rb.eof:
            window = rb.read_window(FRAMES)
            if not len(window):
                continue
            # The last frame first: the writer copies it when all others are there.
            assert window[-1].tolist() == [read + len(window) - 1] * 2, "published before it was copied"
            assert (window == np.arange(read, read + len(window))[:, None]).all()
            read += len(window)
            rb.consume(len(window))
    finally:
        os.kill(child, signal.SIGKILL)  # which else would wait for ever for a ring that is empty
        os.waitpid(child, 0)
    assert read == ROUNDS * FRAMES


def faults_beside_a_child(settle: Callable[[], object], use: Callable[[], object]) -> int:
    """Fork, and count the faults of the parent's next use while the child lives, which drops all that it has.

    The interpreter's own pages fault, too: `settle` is to use everything but the memory in question.
    """
    gone, inherited = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(inherited)
        del settle, use
        os.read(gone, 1)
        os._exit(0)
    try:
        for _ in range(20):
            minor_faults(settle)
        return minor_faults(use)
    finally:
        os.close(inherited)
        os.close(gone)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("of", ["its own", "a pool's", "a shared pool's"])
def test_a_child_leaves_the_parents_ring_alone(of: str) -> None:
    pool = la.Pool(1 << 20, fork="share" if of == "a shared pool's" else "copy")
    rb = la.RingBuffer(10_000, 2) if of == "its own" else pool.ring(10_000, 2)
    block = la.ones((4000, 2), "f4")
    out = la.ones((4000, 2), "f4")
    control = np.ones((1024, PAGE), "u1")[:, 0]
    spare = la.RingBuffer(10_000, 2)

    ring = spare

    def use() -> None:
        ring.write(block)
        ring.read_into(out)

    def settle() -> None:
        nonlocal ring
        ring = spare
        use()
        ring = rb
        assert not rb.closed
        list(numbers)

    start = vm_lck()
    numbers = [rb.write(block), rb.read_into(out)]  # the ring keeps these ints of Python's
    rb.write(block)
    assert min(faults_beside_a_child(settle, use) for _ in range(10)) == 0
    assert min(faults_beside_a_child(settle, lambda: control.fill(2)) for _ in range(3)) > 900, "the control"
    assert vm_lck() == start
    assert all(locked_pages(*ring_pages(rb)))
    assert (out == 1).all()
    assert rb.read_available == 4000
