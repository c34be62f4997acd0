"""The measured loops of `lockedarray jitter`: what they count, and that they do not disturb themselves."""

from __future__ import annotations

import mmap
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import lockedarray as la
from lockedarray.jitter.load import Load, Nothing, Voice
from lockedarray.jitter.loop import Loop
from lockedarray.jitter.options import Options

PERIODS = 100


class Faulting:
    """A load that touches memory for the first time."""

    def __init__(self) -> None:
        self.memory = np.frombuffer(mmap.mmap(-1, 4000 * mmap.PAGESIZE), "u1")
        self.next = 0

    def run(self) -> None:
        self.memory[self.next] = 1
        self.next += mmap.PAGESIZE


class Late:
    """A load that takes three periods and a half."""

    def run(self) -> None:
        time.sleep(0.0035)


def ran(load: Load | Faulting | Late | None, settings: Options | None = None, ready: bool = False) -> Loop:
    """Return a loop that has run in a thread for 100 periods; None is the load that it has by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", la.LockWarning)
        loop = Loop(settings or Options(), 0, PERIODS / 1000, ready, threading.Barrier(1))
    if load is not None:
        loop.load = load  # type: ignore[assignment]
    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join()
    assert loop.error is None
    return loop


@pytest.mark.parametrize("synth", [None, 64])
def test_the_loop_itself_does_not_fault(synth: int | None) -> None:
    # The kernel moves pages now and then, and Python's own heap grows: one trial of a few has to do.
    assert any(ran(None, Options(synth=synth)).tally().faults == 0 for _ in range(5))
    assert ran(Faulting()).tally().faults >= PERIODS / 2, "the control must fault"


def test_every_period_is_a_wake_up_or_missed() -> None:
    on_time, late = ran(Nothing()).tally(), ran(Late()).tally()
    for tally in on_time, late:
        assert PERIODS - 1 <= tally.wakeups + tally.missed <= PERIODS + 10
        assert len(tally.kept) == tally.wakeups
        assert tally.sources < {"perf", "perf-user", "rusage"}
    assert late.missed >= PERIODS / 2
    assert late.wakeups <= PERIODS / 3, "four periods each"
    assert on_time.missed < late.missed


def test_a_latency_holds_what_the_thread_waited_for() -> None:
    quick = ran(Nothing()).tally().figures()
    busy = threading.Event()

    def hold_the_interpreter() -> None:
        while not busy.is_set():
            sum(range(100))

    before = sys.getswitchinterval()
    thread = threading.Thread(target=hold_the_interpreter)
    try:
        sys.setswitchinterval(0.02)
        thread.start()
        held = ran(Nothing()).tally().figures()
    finally:
        busy.set()
        thread.join()
        sys.setswitchinterval(before)
    assert quick is not None
    assert held is not None
    assert held["p50"] > 10_000, "the GIL comes after 20 ms, and shows"
    assert held["p50"] > 4 * quick["p50"]


ALLOCATIONS = """
import threading, tracemalloc
from lockedarray.jitter.loop import Loop
from lockedarray.jitter.options import Options
loop = Loop(Options(interval_us=100.0, synth=64), 0, 0.1, False, threading.Barrier(1))
def peak(do):
    do()
    tracemalloc.start()
    do()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most
run, voice, kept = (lambda: loop._beat(loop._trial, 0.05)), loop.load.run, []
print(peak(run))
def hoard():
    voice()
    kept.append(bytes(64))
loop.load.run = hoard
print(peak(run))
"""


def test_the_loop_does_not_allocate() -> None:
    done = subprocess.run([sys.executable, "-c", ALLOCATIONS], capture_output=True, text=True, timeout=50)
    quiet, control = map(int, done.stdout.split())
    assert quiet < 2000  # a few numbers
    assert control > 10_000, "the control allocates"


@pytest.mark.locks(64 << 10)
def test_both_voices_sound_alike() -> None:
    locked, plain = Voice(64, True), Voice(64, False)
    for _ in range(3):
        locked.run()
        plain.run()
        assert locked.block.tobytes() == plain.block.tobytes()
    assert np.ptp(locked.block) > 0.5
    for part in "block", "gain":
        assert la.is_locked(getattr(locked, part))
        assert not la.is_locked(getattr(plain, part))
    for table in "wave", "shape":
        assert la.is_locked(getattr(locked, table).values)
        assert not la.is_locked(getattr(plain, table).values)


def test_one_that_fails_lets_the_others_go() -> None:
    class Broken:
        def run(self) -> None:
            raise MemoryError("no load")

    warm = threading.Barrier(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", la.LockWarning)
        loops = [Loop(Options(threads=2), index, 0.1, False, warm) for index in range(2)]
    loops[0].load = Broken()  # type: ignore[assignment]
    threads = [threading.Thread(target=loop.run) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert isinstance(loops[0].error, MemoryError)
    assert loops[1].error is None
    assert loops[1].tally().wakeups == 0
