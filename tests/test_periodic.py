"""A loop with a clock."""

from __future__ import annotations

import signal
import threading
import time
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la
from lockedarray._native import lib
from smaps import vm_lck

pytestmark = pytest.mark.locks(1 << 20)


@given(st.integers(0, 2**60), st.floats(1e-9, 86400), st.integers(1, 2**30), st.integers(-(10**12), 10**15))
def test_the_grid(t0: int, seconds: float, k: int, ahead: int) -> None:
    def deadline(k: int) -> int:
        return min(t0 + round(k * seconds * 1e9), 2**63 - 1)

    assert lib.deadline_at(t0, seconds, k) == deadline(k)
    now = min(max(deadline(k) + ahead, 0), 2**62)
    following = lib.deadline_next(t0, seconds, k, now)
    assert following >= k
    assert deadline(following) >= now
    assert following == k or deadline(following - 1) < now


@pytest.mark.parametrize("period", [Fraction(64, 48000), Fraction(64, 44100), Fraction(1, 3)], ids=str)
def test_the_grid_is_exact_after_a_million_deadlines(period: Fraction) -> None:
    t0, million = 1_234_567_890_123, 1_000_000
    for k in (*range(0, million, 997), *range(million, million + 1000)):
        exact = t0 + k * period * 1_000_000_000
        assert abs(lib.deadline_at(t0, float(period), k) - exact) < 1  # ns, and 1 us is what is promised
    added = t0 + million * round(period * 1_000_000_000)
    assert abs(added - t0 - million * period * 1_000_000_000) > 1000, "the control, a sum of periods"


def test_a_loop_that_slept_goes_on_with_the_old_grid() -> None:
    """10 ms are 7.5 periods. A machine that is busy makes them longer: three attempts."""
    period = 64 / 48000
    for _ in range(3):
        ticks = la.Periodic(period)
        deadlines = list(islice(ticks, 5))
        missed = ticks.missed
        time.sleep(0.010)
        deadlines += islice(ticks, 5)
        assert ticks.t0 is not None
        counts = [round((deadline - ticks.t0) / 1e9 / period) for deadline in deadlines]
        assert [ticks.t0 + round(k * period * 1e9) for k in counts] == deadlines
        assert counts[-1] - len(counts) == ticks.missed
        if 6 <= ticks.missed - missed <= 8:
            return
    pytest.fail(f"{ticks.missed - missed} missed")


def test_deadlines_and_latencies() -> None:
    ticks = la.Periodic(0.002, history=4)
    assert (ticks.t0, ticks.wakeups, len(ticks.latencies)) == (None, 0, 0)
    deadlines = list(islice(ticks, 10))
    assert ticks.t0 is not None
    assert all((deadline - ticks.t0) % 2_000_000 == 0 for deadline in deadlines)
    assert time.monotonic_ns() >= deadlines[-1]
    assert (ticks.wakeups, len(ticks.latencies)) == (10, 4)
    assert (ticks.latencies >= 0).all()
    time.sleep(0.0111)
    missed = ticks.missed
    following = next(ticks)
    assert ticks.missed >= missed + 4
    assert (following - deadlines[-1]) // 2_000_000 == ticks.missed - missed + 1


def test_a_signal_ends_the_wait_only_if_it_raises() -> None:
    calls = []
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(time.monotonic_ns()))
    try:
        ticks = la.Periodic(0.1)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        deadline = next(ticks)
        assert len(calls) == 1
        assert time.monotonic_ns() >= deadline
        assert calls[0] < deadline
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            next(ticks)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_the_gil_is_given_up() -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(time.monotonic_ns()))
    ticks = la.Periodic(0.05)
    thread.start()
    deadline = next(ticks)
    thread.join()
    assert seen[0] < deadline


def test_the_history_is_locked_and_given_back() -> None:
    start = vm_lck()
    ticks = la.Periodic(0.001, history=1000)
    assert vm_lck() == start + 8192
    del ticks
    assert vm_lck() == start
    assert la.Periodic(0.001, history=0).latencies.shape == (0,)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 86401, 1e-10])
def test_bad_periods(seconds: float) -> None:
    start = vm_lck()
    with pytest.raises(ValueError, match="seconds"):
        la.Periodic(seconds)
    with pytest.raises(ValueError, match="history"):
        la.Periodic(1, history=-1)
    with pytest.raises(TypeError):
        la.Periodic("x")
    assert vm_lck() == start
