"""Waiting: right to the frame and to the millisecond, woken at once and only then, open to signals."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from peers import context_switches, forked
from programs import beside_busy_thread, makes_no_system_call

pytestmark = pytest.mark.locks(1 << 20)


def block(frames: int) -> np.ndarray:
    return np.ones(frames, "f4")


def timed(do: Callable[[], object]) -> tuple[object, float]:
    start = time.monotonic()
    return do(), time.monotonic() - start


def later(seconds: float, do: Callable[..., object], *arguments: object) -> threading.Timer:
    timer = threading.Timer(seconds, do, arguments)
    timer.start()
    return timer


def test_what_is_there_is_not_waited_for() -> None:
    rb = la.RingBuffer(100)
    assert rb.wait_read(0) is True
    assert rb.wait_write(0) is True
    assert rb.wait_write(100) is True
    rb.write(block(60))
    assert rb.wait_read(60) is True
    assert rb.wait_write(40, timeout=0) is True
    assert rb.wait_read(61, timeout=0) is False
    assert rb.wait_write(41, 0) is False


@pytest.mark.parametrize("timeout", [0, 0.001, 0.03, 0.12])
def test_timeouts(timeout: float) -> None:
    rb = la.RingBuffer(100)
    rb.write(block(100))
    for wait in (lambda: rb.wait_write(1, timeout), lambda: la.RingBuffer(5).wait_read(1, timeout)):
        trials = [timed(wait) for _ in range(3)]
        assert [arrived for arrived, _ in trials] == [False] * 3
        assert min(seconds for _, seconds in trials) >= timeout
        assert min(seconds for _, seconds in trials) < timeout + 0.01


@pytest.mark.parametrize("timeout", [-1, -1e-9, float("nan"), float("-inf")])
def test_timeouts_that_are_none(timeout: float) -> None:
    rb = la.RingBuffer(100)
    for wait in (rb.wait_read, rb.wait_write):
        with pytest.raises(ValueError, match="timeout"):
            wait(1, timeout)


def test_arguments() -> None:
    rb = la.RingBuffer(100)
    for wait in (rb.wait_read, rb.wait_write):
        with pytest.raises(ValueError, match="room for 100 frames"):
            wait(101, 0)
        with pytest.raises(ValueError, match="not -1"):
            wait(-1, 0)
        with pytest.raises(TypeError):
            wait(1.5, 0)
        with pytest.raises(TypeError):
            wait(1, "soon")
    assert rb.wait_write(1, float("inf"))
    assert rb.wait_write(np.int64(1), np.float32(0.5))


def test_closed() -> None:
    rb = la.RingBuffer(100)
    rb.write(block(10))
    rb.close()
    assert rb.wait_read(10) is True, "they are there"
    answer, seconds = timed(lambda: (rb.wait_read(11), rb.wait_write(1)))
    assert answer == (False, False)
    assert seconds < 0.01


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_close_wakes_a_sleeper(side: str) -> None:
    def trial() -> float:
        rb = la.RingBuffer(10)
        rb.write(block(5))
        closing = later(0.012, rb.close)  # long before the sleeper would look by itself
        answer, seconds = timed(lambda: (rb.wait_read if side == "reader" else rb.wait_write)(6))
        closing.join()
        assert answer is False
        return seconds - 0.012

    assert min(trial() for _ in range(5)) < 0.005


def test_blocks() -> None:
    rb = la.RingBuffer(100)
    sent = np.arange(1000, dtype="f4")

    def write() -> None:
        for piece in np.array_split(sent, 37):
            assert rb.wait_write(len(piece), 10)
            rb.write(piece)
        rb.close()

    writer = threading.Thread(target=write)
    writer.start()
    got = list(rb.blocks(64))
    writer.join()
    assert [len(each) for each in got] == [64] * 15 + [40]
    assert np.array_equal(np.concatenate(got), sent)
    assert list(rb.blocks(1)) == []
    for n in (0, 101, -1):
        with pytest.raises(ValueError, match="between 1 and the capacity"):
            rb.blocks(n)


def test_only_enough_wakes() -> None:
    """Frames that come one by one wake a sleeper once: woken by each, it would sleep 60 times."""

    def slept(n: int) -> int:
        rb = la.RingBuffer(100)

        def write() -> None:
            for _ in range(60 // n):
                time.sleep(0.0005)
                rb.write(block(n))

        with forked(write):
            before = context_switches()
            assert rb.wait_read(60, 10)
            return context_switches() - before

    # At first it sleeps a millisecond at a time, until the writer has told that it has seen it; and
    # every 20 ms it looks at signals.
    assert min(slept(1) for _ in range(3)) < 20

    rb = la.RingBuffer(100)

    def write_slowly() -> None:
        for _ in range(60):
            time.sleep(0.0005)
            rb.write(block(1))

    with forked(write_slowly):
        before = context_switches()
        for n in range(1, 61):
            assert rb.wait_read(n, 10)
        assert context_switches() - before > 40, "the control waits for each"


def test_the_gil_is_given_up() -> None:
    rb = la.RingBuffer(10)
    turns = [0]

    def count() -> None:
        while not rb.closed:
            turns[0] += 1

    counting = threading.Thread(target=count)
    counting.start()
    before = turns[0]
    rb.wait_read(1, 0.1)
    assert turns[0] - before > 10_000
    rb.close()
    counting.join()


def test_who_waits_for_a_writer_that_is_not_there_yet_sleeps() -> None:
    rb = la.RingBuffer(100)
    before = context_switches()
    assert not rb.wait_read(1, 1.0)
    assert context_switches() - before < 150  # a slice of 20 ms each, and a few short sleeps first


WAITS = """
rb = la.RingBuffer(1000)
one = np.ones(64, "f4")
def use(count):
    for _ in range(count):
        assert rb.wait_write(64)
        rb.write(one)
        assert rb.wait_read(64)
        rb.read_into(one)
"""


@pytest.mark.parametrize(
    ("do", "finishes"),
    [("use(100_000)", True), ("use(10); rb.wait_read(1, 0.001)", False)],
    ids=["there", "not"],
)
def test_no_system_call_for_what_is_there(do: str, finishes: bool) -> None:
    assert makes_no_system_call(WAITS, do) == finishes


def test_the_gil_is_kept_for_what_is_there() -> None:
    setup = "rb = la.RingBuffer(1000); rb.write(np.ones(500, 'f4'))"
    do, waits = "[rb.wait_read(500) for _ in range(1000)]", "rb.wait_read(501, 0.001)"
    there, control = beside_busy_thread(setup, 0.3, do, waits)
    assert there < 0.050
    assert control > 0.15, "whoever gives the GIL up waits for the busy thread's interval"


def test_signals_that_raise_nothing() -> None:
    rb, signals = la.RingBuffer(10), []
    old = signal.signal(signal.SIGALRM, lambda *_: signals.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        answer, seconds = timed(lambda: rb.wait_read(1, 0.3))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert answer is False
    assert 0.3 <= seconds < 0.35
    assert len(signals) > 20


@pytest.mark.parametrize("when", ["at once", "asleep"])
def test_interrupted_from_the_keyboard(when: str) -> None:
    """At once: the signal comes when the GIL has just been given up, and the sleep has not begun."""
    chance = random.Random(1)
    rb = la.RingBuffer(10)
    sent = 0.0

    def send() -> None:
        nonlocal sent
        if when == "asleep":
            time.sleep(chance.uniform(0.001, 0.03))
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    def trial() -> float:
        begun = threading.Event()
        sending = threading.Thread(target=lambda: (begun.wait(), send()))
        sending.start()
        arrived = None
        try:
            begun.set()
            arrived = rb.wait_read(1, 5)
        except KeyboardInterrupt:
            late = time.monotonic() - sent
        sending.join()
        assert arrived is None, "the signal was slept over"
        return late

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert max(trial() for _ in range(20)) < 0.05
    finally:
        signal.signal(signal.SIGINT, old)
    assert rb.write(block(10)) == 10
    assert rb.wait_read(10)
    assert len(rb.read(10)) == 10


def bounce(come: la.RingBuffer, go: la.RingBuffer, turns: int, seed: int, first: bool) -> None:
    """Turns of ping-pong, each of one to seven frames that come in pieces."""
    chance = random.Random(seed)
    for turn in range(turns):
        frames = chance.randint(1, 7)
        for to_go in (True, False) if first else (False, True):
            if to_go:
                cut = turn % (frames + 1)
                go.write(block(cut))
                go.write(block(frames - cut))
            else:
                assert come.wait_read(frames, 10)
                assert len(come.read(frames)) == frames


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_no_wake_up_is_lost(where: str) -> None:
    """A lost wake-up is made good after 20 ms at the latest: many would make the whole too slow."""
    turns = 10_000 if where == "processes" else 3_000
    there, back = la.RingBuffer(7), la.RingBuffer(7)
    start = time.monotonic()
    if where == "processes":
        with forked(lambda: bounce(there, back, turns, 1, False)):
            bounce(back, there, turns, 1, True)
    else:
        other = threading.Thread(target=bounce, args=(there, back, turns, 1, False))
        other.start()
        bounce(back, there, turns, 1, True)
        other.join()
    seconds = time.monotonic() - start
    print(f"{seconds / turns * 1e6:.1f} us a turn")
    assert seconds / turns < 0.0005


def test_blocks_are_of_a_whole_number_of_frames() -> None:
    for n in (1.5, None, "3"):
        with pytest.raises(TypeError):
            la.RingBuffer(10).blocks(n)
