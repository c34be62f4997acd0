"""Rings between processes: every way there, and every frame in order whatever stops meanwhile."""

from __future__ import annotations

import copy
import multiprocessing as mp
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import resource_sharer, resource_tracker
from multiprocessing.forkserver import _forkserver
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la
from peers import Program, check_nothing_left, fork, holdings, nothing_left, reap
from smaps import PAGE, locked_pages
from test_ring_death import numbers

pytestmark = pytest.mark.locks(4 << 20)

RECORD = np.dtype([("at", "<u4"), ("value", "<f8"), ("name", "S3")])  # of 15 bytes
METHODS = ["spawn", "forkserver", "fork"]


class Named(la.RingBuffer):
    """A subclass travels as what it is."""

    __slots__ = ()


def records(first: int, count: int) -> np.ndarray:
    block = np.zeros((count, 2), RECORD)
    block["at"] = np.arange(first, first + count)[:, None]
    block["value"], block["name"] = block["at"] * 0.5, b"abc"
    return block


def describe(rb: la.RingBuffer) -> tuple[Any, ...]:
    return type(rb).__name__, rb.capacity, rb.channels, rb.dtype, rb.nbytes, rb.eventfds is not None


def lies_locked(rb: la.RingBuffer) -> bool:
    region = la.region(rb.read_window(1))
    return all(locked_pages(region.address - 2 * PAGE, 2 * rb.nbytes))


def echo(come: la.RingBuffer, go: la.RingBuffer, told: Any) -> None:
    """In the other process: tell what arrived, and send every frame back."""
    window = come.read_window(1)
    told.send((describe(come), la.is_locked(window) and lies_locked(come)))
    while come.wait_read(1, 20):
        block = come.read(come.capacity)
        assert go.wait_write(len(block), 20)
        go.write(block)
    go.close()


def echo_what_comes(connection: Any, told: Any) -> None:
    echo(connection.recv(), connection.recv(), told)


def echo_from_queue(queue: Any, told: Any) -> None:
    echo(queue.get(), queue.get(), told)


@pytest.fixture
def no_helpers_left() -> Any:
    """Descriptors and /dev/shm as before, once multiprocessing's own helpers have been sent home."""
    before = holdings()
    yield
    resource_sharer.stop(5)
    _forkserver._stop()
    resource_tracker._resource_tracker._stop()
    check_nothing_left(before)


def rings() -> tuple[Named, Named]:
    return Named(50, 2, RECORD, eventfd=True), Named(50, 2, RECORD)


def converse(come: la.RingBuffer, go: la.RingBuffer, told: Any, locked: bool) -> None:
    """Here: what the other process tells must be what was sent, and 200 frames must come back."""
    assert told.poll(30)
    assert told.recv() == (("Named", 50, 2, RECORD, go.nbytes, True), locked)
    for first in range(0, 200, 20):
        assert go.wait_write(20, 20)
        assert go.write(records(first, 20)) == 20
        assert come.wait_read(20, 20)
        assert np.array_equal(come.read(20), records(first, 20))
    go.close()
    assert not come.wait_read(1, 20)
    assert come.eof


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures(no_helpers_left.__name__)
def test_as_an_argument(method: str) -> None:
    context = mp.get_context(method)
    there, back = rings()
    hears, told = context.Pipe(duplex=False)
    process = context.Process(target=echo, args=(there, back, told))
    process.start()
    converse(back, there, hears, locked=method != "fork")  # a fork's memory is not, as Python's own
    process.join(20)
    assert process.exitcode == 0
    process.close()
    hears.close()
    told.close()


@pytest.mark.parametrize("way", ["Pipe", "Queue"])
@pytest.mark.usefixtures(no_helpers_left.__name__)
def test_through_a_connection(way: str) -> None:
    context = mp.get_context("spawn")
    there, back = rings()
    hears, told = context.Pipe(duplex=False)
    if way == "Pipe":
        theirs, ours = context.Pipe(duplex=False)
        process = context.Process(target=echo_what_comes, args=(theirs, told))
        send = ours.send
    else:
        ours = theirs = context.Queue()
        process = context.Process(target=echo_from_queue, args=(theirs, told))
        send = ours.put
    process.start()
    send(there)
    send(back)
    converse(back, there, hears, locked=True)
    process.join(20)
    assert process.exitcode == 0
    process.close()
    for each in {hears, told, ours, theirs}:
        each.close()
    if way == "Queue":
        ours.join_thread()


def test_from_a_pool() -> None:
    pool = la.Pool(1 << 20)
    rb = pool.ring(100, 2)
    with Program("rb = receive()\nrb.write(np.full((5, 2), 3, 'f4'))\npeer.send(b'w')") as program:
        program.give(rb.fileno())
        assert program.hear() == b"w"
    assert rb.read(100).tolist() == [[3, 3]] * 5


@pytest.mark.parametrize("do", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda do: do.__name__)
def test_pickle_names_the_way_out(do: Any) -> None:
    for rb in rings():
        with pytest.raises(TypeError, match=r"multiprocessing.*fileno\(\).*attach"):
            do(rb)


@pytest.mark.usefixtures(nothing_left.__name__)
def test_an_unrelated_program() -> None:
    text = """
rb = receive()
window = rb.read_window(1)
assert la.is_locked(window)
peer.send(b"l")
for block in rb.blocks(10):
    assert block.dtype == np.dtype([("at", "<u4"), ("value", "<f8"), ("name", "S3")]), block.dtype
    peer.send(block["at"][:, 1].astype("u1").tobytes())
peer.send(b"e")
"""
    rb = la.RingBuffer(50, 2, RECORD)
    with Program(text) as program:
        program.give(rb.fileno())
        assert program.hear() == b"l"
        for first in range(0, 200, 10):
            assert rb.wait_write(10, 10)
            rb.write(records(first, 10))
        rb.close()
        assert program.hear(200) == bytes(range(200))
        assert program.hear() == b"e"
        assert program.process.wait(20) == 0


@pytest.mark.usefixtures(nothing_left.__name__)
def test_a_window_outlives_the_ring_and_the_writer() -> None:
    rb = la.RingBuffer(1000, dtype="u8")
    assert reap(fork(partial(rb.write, numbers(0, 1000)))) == 0
    window = rb.read_window(1000)
    del rb
    assert np.array_equal(window, numbers(0, 1000))
    assert la.is_locked(window)


# Order and content

FRAMES = 10_000_000


def some(chance: random.Random) -> int:
    return chance.randint(1, chance.choice((3, 100, 2000)))


def write_all(rb: la.RingBuffer, seed: int) -> None:
    chance, sent = random.Random(seed), 0
    while sent < FRAMES:
        n = min(some(chance), FRAMES - sent)
        if chance.random() < 0.5:
            assert rb.wait_write(n)
            sent += rb.write(numbers(sent, n))
        else:
            assert rb.wait_write(1)
            window = rb.write_window(n)
            window[:] = numbers(sent, len(window))
            rb.commit(len(window))
            sent += len(window)
    rb.close()


def read_all(rb: la.RingBuffer, seed: int) -> None:
    chance, got = random.Random(seed), 0
    while rb.wait_read(n := some(chance)) or rb.read_available:
        if chance.random() < 0.5:
            block = rb.read(n)
            assert np.array_equal(block, numbers(got, len(block)))
            got += len(block)
        else:
            window = rb.read_window(n)
            assert np.array_equal(window, numbers(got, len(window)))
            got += len(window)
            rb.consume(len(window))
    assert got == FRAMES
    assert rb.eof


@pytest.mark.usefixtures(nothing_left.__name__)
def test_both_sides_stopped_and_continued_at_random() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    rb = la.RingBuffer(4001, dtype="u8")  # room for what both wait for at most
    children = [fork(lambda: write_all(rb, seed)), fork(lambda: read_all(rb, seed + 1))]
    stops = 0
    ended: dict[int, int] = {}
    deadline = time.monotonic() + 120
    while len(ended) < 2:
        assert time.monotonic() < deadline
        for child in children:
            if child not in ended and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                ended[child] = reap(child)
        living = [child for child in children if child not in ended]
        stopped = [child for child in living if chance.random() < 0.6]
        for child in stopped:
            os.kill(child, signal.SIGSTOP)
            stops += 1
        time.sleep(chance.uniform(0, 0.01))
        for child in stopped:
            os.kill(child, signal.SIGCONT)
        time.sleep(chance.uniform(0, 0.005))
    print(f"{FRAMES} frames, {stops} stops")
    assert set(ended.values()) == {0}
    assert rb.frames_read == rb.frames_written == FRAMES
    assert stops >= 20


def test_a_child_has_neither_the_parents_windows_nor_its_place() -> None:
    rb = la.RingBuffer(100)
    rb.write_window(10)
    inherited, go = os.pipe()

    def child() -> None:
        os.read(inherited, 1)
        with pytest.raises(ValueError, match="has 0 frames"):
            rb.commit(10)
        rb.write(np.ones(1, "f4"))

    process = fork(child)
    rb.commit(10)
    rb.write(np.ones(50, "f4"))
    os.write(go, b"g")
    assert reap(process) == 0
    assert rb.frames_written == 61
    os.close(inherited)
    os.close(go)


def test_what_was_handed_out_stays_open_in_a_child() -> None:
    low = [os.open("/dev/null", os.O_RDONLY) for _ in range(6)]
    rb = la.RingBuffer(100)
    number = rb.fileno()
    for fd in low:
        os.close(fd)  # a descriptor that is opened anew gets a lower number

    def child() -> None:
        assert rb.fileno() == number
        assert la.RingBuffer.attach(number).capacity == 100

    assert reap(fork(child)) == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 40)), max_size=60))
def test_a_side_goes_to_another_and_comes_back(turns: list[tuple[int, bool, int]]) -> None:
    """Three rings attached in one process differ as those of three do: each has its own indices."""
    rings = [la.RingBuffer(50, dtype="u4")]
    rings += [la.RingBuffer.attach(rings[0].fileno()) for _ in range(2)]
    written = read = 0
    for which, writes, frames in turns:
        if writes:
            block = np.arange(written, written + frames, dtype="u4")
            taken = rings[which].write(block)
            assert taken == min(frames, 50 - (written - read))
            written += taken
        else:
            block = rings[which].read(frames)
            assert len(block) == min(frames, written - read)
            assert np.array_equal(block, np.arange(read, read + len(block)))
            read += len(block)


def test_a_window_does_not_outlive_the_side() -> None:
    rb = la.RingBuffer(50)
    other = la.RingBuffer.attach(rb.fileno())
    rb.write_window(10)[:] = 1
    other.write(np.full(5, 2, "f4"))
    with pytest.raises(ValueError, match="write_window has ended: another process has become the writer"):
        rb.commit(10)
    assert rb.read(50).tolist() == [2] * 5


WITHOUT_DESCRIPTORS = """
import os, resource, sys
import numpy as np, lockedarray as la
rb = la.RingBuffer(100, dtype="u4")
pipes = [(*os.pipe(), *os.pipe()) for _ in range(2)]
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
def write_when_told(ask, _, __, tell):
    while number := os.read(ask, 1):
        rb.write(np.full(7, number[0], "u4"))
        os.write(tell, number)
for pipe in pipes:
    if os.fork() == 0:
        try:
            write_when_told(*pipe)
        finally:
            os._exit(1)
expected = []
for number in range(1, 9):
    _, tell, ask, _ = pipes[number % 3 % 2]
    os.write(tell, bytes([number]))
    os.read(ask, 1)
    expected += [number] * 7
print(rb.read(100).tolist() == expected)
sys.stdout.flush(); os.killpg(0, 9)
"""


def test_children_that_cannot_open_the_file_again_take_turns_too() -> None:
    """They have no number of their own, and are told apart from nobody: they catch up before each call."""
    command = [sys.executable, "-P", "-c", WITHOUT_DESCRIPTORS]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=30, start_new_session=True)
    assert ran.stdout == "True\n"
