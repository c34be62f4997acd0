"""A writer in one process, readers in others: whole records, numbers that never go back, exact gaps."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import lockedarray as la
from programs import makes_no_system_call
from smaps import PAGE, vm_lck

pytestmark = [
    pytest.mark.locks(1 << 20),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"),
]
SECONDS = 2.0


def records(first: int, count: int, words: int = 8) -> np.ndarray:
    """Records whose words all say which it is, counted from 1: before the first are zeros."""
    return np.repeat(np.arange(first + 1, first + count + 1, dtype="u8"), words).reshape(count, words)


def whole(block: np.ndarray, first: int) -> bool:
    """Whether each record has one number in all its words, and it is its own."""
    numbers = np.maximum(np.arange(first + 1, first + len(block) + 1), 0).astype("u8")
    return bool((block == numbers[:, None]).all())


@contextmanager
def writing(hb: la.HistoryBuffer, count: int = 7) -> Iterator[None]:
    """A forked process writes records at full speed, until it is killed."""
    child = os.fork()
    if child == 0:
        block = records(hb.frames_written, count, hb.channels)
        while True:
            hb.write(block)
            block += np.uint64(count)
    try:
        while hb.frames_written == 0:
            time.sleep(0.001)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def watch(hb: la.HistoryBuffer, results: object, pause: float, seconds: float) -> None:
    """Read the newest, and everything from where the last read ended; count what is wrong or lost."""
    out = np.empty((min(hb.frames, 16), hb.channels), "u8")
    torn = back = reads = got = lost = late = 0
    begin = following = hb.frames_written
    newest = -1
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            first = hb.read_into(out)
            torn += not whole(out, first)
            back += first < newest
            newest = first
            if hb.frames_written >= following + len(out):
                first = hb.read_into(out, at=following)
                torn += not whole(out, first)
                back += first < following
                lost += first - following
                got += len(out)
                following = first + len(out)
        except TimeoutError:
            late += 1
        reads += 1
        if pause:
            time.sleep(pause)
    exact = got + lost == following - begin
    results.put((torn, back, reads, lost, exact, late, vm_lck()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_three_readers_of_a_writer_at_full_speed(method: str) -> None:
    hb = la.HistoryBuffer(1000, 8, "u8")
    context = multiprocessing.get_context(method)
    results = context.Queue()
    with writing(hb):
        readers = [
            context.Process(target=watch, args=(hb, results, pause, SECONDS)) for pause in (0, 0, 0.02)
        ]
        for reader in readers:
            reader.start()
        seen = [results.get(timeout=30) for _ in readers]
        for reader in readers:
            reader.join()
            assert reader.exitcode == 0
    for torn, back, reads, _lost, exact, late, locked in seen:
        assert (torn, back, exact) == (0, 0, True)
        assert reads > 20
        assert late < reads / 2
        assert method == "fork" or locked >= 2 * hb.nbytes, "a spawned process locks its own mapping"
    assert max(lost for *_, lost, _exact, _late, _locked in seen) > 0, "the slow one"


def test_without_the_check_records_are_torn() -> None:
    """The control: the newest of four frames of a page each, read in place while it is written."""
    hb = la.HistoryBuffer(1, PAGE // 8, "u8")
    out = np.empty((1, PAGE // 8), "u8")
    torn = caught = 0
    with writing(hb, 1):
        until = time.monotonic() + 20
        while time.monotonic() < until and not (torn and caught > 1000):
            view = hb.latest(1)[0]
            torn += len({int(view[k]) for k in range(0, len(view), 8)}) > 1  # word by word
            try:
                first = hb.read_into(out)
            except TimeoutError:
                continue
            assert whole(out, first)
            caught += 1
    assert torn, "a view of it is overtaken now and then"
    assert caught > 1000


def test_a_view_is_known_to_be_whole_by_the_oldest() -> None:
    hb = la.HistoryBuffer(4, PAGE // 8, "u8")
    good = 0
    with writing(hb, 1):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            before = hb.frames_written
            seen = hb.latest(4).copy()
            if hb.oldest <= max(before - 4, 0):
                good += 1
                assert (seen[:, :1] == seen).all()
                assert int(seen[0, 0]) >= before - 3
    assert good


def test_who_never_keeps_up_is_told() -> None:
    """The bound on tries: the indices run away from each, as if a faster writer came by."""
    hb = la.HistoryBuffer(64, PAGE // 8, "u8")
    hb.write(records(0, 64, PAGE // 8))
    begun = ctypes.c_uint64.from_address(hb.address + PAGE + 136)
    begun.value += 16  # a writer that stopped in the middle: the newest are whole all the same
    out = np.empty((64, PAGE // 8), "u8")
    assert hb.read_into(out) == 0
    begun.value -= 16
    child = os.fork()
    if child == 0:
        written = ctypes.c_uint64.from_address(hb.address + PAGE + 128)
        while True:  # nothing but indices
            begun.value += 16
            written.value += 16
    try:
        late = 0
        until = time.monotonic() + 20
        while not late and time.monotonic() < until:
            try:
                hb.read_into(out)
            except TimeoutError as error:
                late += "16 tries" in str(error)
        assert late
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_writers_one_after_the_other() -> None:
    hb = la.HistoryBuffer(100, 8, "u8")
    for turn in range(5):
        hb.write(records(20 * turn, 10))
        child = os.fork()
        if child == 0:
            hb.write(records(20 * turn + 10, 10))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert hb.frames_written == 100
    assert whole(hb.latest(100), 0)


def test_a_writer_killed_at_any_moment_leaves_whole_records() -> None:
    hb = la.HistoryBuffer(50, 8, "u8")
    out = np.empty((50, 8), "u8")
    for turn in range(30):
        with writing(hb, 29):
            time.sleep(0.001 * (turn % 5))
        first = hb.read_into(out)
        assert first == hb.frames_written - 50
        assert whole(out, first)
        first = hb.read_into(out, at=0)
        assert first == hb.oldest
        assert whole(out, first)


STRANGER = """
import socket, sys, numpy as np, lockedarray as la
_, fds, _, _ = socket.recv_fds(socket.socket(fileno=int(sys.argv[1])), 1, 1)
hb = la.HistoryBuffer.attach(fds[0])
print(hb.frames_written, hb.latest(3).tolist(), la.is_locked(hb.latest(3)))
hb.write(np.full(1, 7, 'i2'))
"""


def test_an_unrelated_program_attaches() -> None:
    hb = la.HistoryBuffer(10, dtype="i2")
    hb.write(np.arange(5, dtype="i2"))
    here, there = socket.socketpair()
    with here, there:
        socket.send_fds(here, [b"x"], [hb.fileno()])
        ran = subprocess.run(
            [sys.executable, "-c", STRANGER, str(there.fileno())],
            pass_fds=[there.fileno()],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ran.stdout == "5 [2, 3, 4] True\n", ran.stderr
    assert hb.latest(3).tolist() == [3, 4, 7]


def test_through_a_connection() -> None:
    hb = la.HistoryBuffer(10, 2, [("a", "i2"), ("b", "f8")])
    here, there = multiprocessing.Pipe()
    with here, there:
        here.send(hb)
        other = there.recv()
    descriptors = len(os.listdir("/proc/self/fd"))
    assert (other.frames, other.channels, other.dtype) == (10, 2, hb.dtype)
    block = np.ones((3, 2), hb.dtype)
    hb.write(block)
    np.testing.assert_array_equal(other.latest(3), block)
    del other
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1


CALLS = """
hb = la.HistoryBuffer(1000, 2)
block, out = np.ones((64, 2), 'f4'), np.empty((64, 2), 'f4')
def use(count):
    for _ in range(count):
        hb.write(block)
        hb.read_into(out)
        hb.read_into(out, at=0)
        hb.latest(64)
"""


@pytest.mark.parametrize(("do", "finishes"), [("use(100_000)", True), ("use(10); os.getppid()", False)])
def test_no_call_makes_a_system_call(do: str, finishes: bool) -> None:
    assert makes_no_system_call(CALLS, do) == finishes
