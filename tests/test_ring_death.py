"""A side that dies without a word: the other is told within 100 ms, and loses nothing that was sent.

LOCKEDARRAY_TESTS=full kills 200 times instead of 40.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from peers import FULL, Program, end, fork, forked, nothing_left, reap, until

pytestmark = [pytest.mark.locks(4 << 20), pytest.mark.usefixtures(nothing_left.__name__)]

NOTICED = 0.1  # seconds, as the documentation promises
KILLS = 200 if FULL else 40
CAPACITY = 3000


def numbers(first: int, count: int) -> np.ndarray:
    """What is sent: frame k is no small number, so that stale and foreign bytes show."""
    return np.arange(first, first + count, dtype="u8") * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)


def send(rb: la.RingBuffer, chance: random.Random) -> None:
    """Write numbers in blocks of random sizes until the ring is closed."""
    sent = 0
    while rb.wait_write(n := chance.randint(1, 700)):
        try:
            sent += rb.write(numbers(sent, n))
        except BrokenPipeError:
            return


def receive(rb: la.RingBuffer, chance: random.Random, first: int = 0) -> int:
    """Read until nothing more can come; return how many frames that were, each of them right."""
    got = first
    while True:
        more = rb.wait_read(chance.randint(1, 700))
        block = rb.read(rb.capacity if not more else chance.randint(1, 700))
        assert np.array_equal(block, numbers(got, len(block)))
        got += len(block)
        if not more and not len(block):
            return got


class Killing:
    """Kills a process at a random moment after now, and knows when, and whether bytes moved till then."""

    def __init__(self, child: int, rb: la.RingBuffer, seconds: float) -> None:
        self.child, self.rb, self.seconds = child, rb, seconds
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        time.sleep(self.seconds)
        before = self.rb.frames_written + self.rb.frames_read
        time.sleep(0.005)
        self.moving = self.rb.frames_written + self.rb.frames_read > before
        self.at = time.monotonic()
        os.kill(self.child, signal.SIGKILL)

    def done(self) -> None:
        self.thread.join()
        assert reap(self.child) == -signal.SIGKILL


def theirs(rb: la.RingBuffer, attached: bool) -> la.RingBuffer:
    """The child's ring: the one that it inherited, or another mapping, as an unrelated program has."""
    return la.RingBuffer.attach(rb.fileno()) if attached else rb


def kill_the_writer(chance: random.Random, attached: bool) -> tuple[float, bool]:
    rb = la.RingBuffer(CAPACITY, dtype="u8")
    seed = chance.random()
    child = fork(lambda: send(theirs(rb, attached), random.Random(seed)))
    assert rb.wait_read(1, 10)
    killing = Killing(child, rb, chance.uniform(0, 0.02))
    got = receive(rb, chance)
    late = time.monotonic()
    killing.done()
    assert got == rb.frames_written
    assert (rb.eof, rb.closed, rb.peer_alive) == (True, True, False)
    return late - killing.at, killing.moving


def kill_the_reader(chance: random.Random, attached: bool) -> tuple[float, bool]:
    rb = la.RingBuffer(CAPACITY, dtype="u8")
    seed = chance.random()
    child = fork(lambda: receive(theirs(rb, attached), random.Random(seed)))
    rb.write(numbers(0, 700))
    until(lambda: rb.frames_read)
    killing = Killing(child, rb, chance.uniform(0, 0.02))
    sent = 700
    while rb.wait_write(n := chance.randint(1, 700)):
        try:
            sent += rb.write(numbers(sent, n))
        except BrokenPipeError:
            break
    late = time.monotonic()
    killing.done()
    with pytest.raises(BrokenPipeError):
        rb.write(numbers(0, 1))
    assert (rb.closed, rb.peer_alive) == (True, False)
    # It is the reader now, and finds what the dead one had not given back.
    assert receive(rb, chance, rb.frames_read) == sent == rb.frames_written
    assert rb.eof
    return late - killing.at, killing.moving


def test_kill_at_random_moments() -> None:
    """LOCKEDARRAY_TESTS=full: 200 times, as the requirement has it."""
    seed = random.randrange(1 << 32)
    print("seed", seed)  # pytest shows it if the test fails
    chance = random.Random(seed)
    noticed, moving = [], 0
    for k in range(KILLS):
        kill = (kill_the_writer, kill_the_reader)[k % 2]
        late, moved = kill(chance, attached=k % 4 > 1)
        noticed.append(late)
        moving += moved
    print(f"noticed after {max(noticed) * 1e3:.0f} ms at the latest; {moving} of {KILLS} while bytes moved")
    assert max(noticed) < NOTICED
    assert moving >= 0.75 * KILLS


def sleep_for_ever() -> None:
    while True:
        time.sleep(60)


LEAVINGS: dict[str, Callable[[la.RingBuffer], object]] = {
    "exit": lambda rb: os._exit(0),
    "exec": lambda rb: os.execvp("sleep", ["sleep", "60"]),
    "dropped": lambda rb: None,  # `leave` drops it, and lives on
    "killed": lambda rb: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda rb: (
        signal.signal(signal.SIGSEGV, signal.SIG_DFL),
        os.kill(os.getpid(), signal.SIGSEGV),
    ),
}


@pytest.mark.parametrize("how", LEAVINGS)
@pytest.mark.parametrize("side", ["writer", "reader"])
def test_leaving_without_close(how: str, side: str) -> None:
    rb = la.RingBuffer(100, dtype="u8")
    rb.write(numbers(0, 2 if side == "reader" else 1))  # of which the reader leaves one
    told, tell = os.pipe()

    def leave() -> None:
        nonlocal rb
        if side == "writer":
            rb.write(numbers(1, 99))
        else:
            rb.read(1)
        os.write(tell, b"g")
        LEAVINGS[how](rb)
        del rb
        sleep_for_ever()

    with forked(leave):
        os.read(told, 1)
        start = time.monotonic()
        if side == "writer":
            assert np.array_equal(rb.read(100), numbers(0, 100))
            assert not rb.wait_read(1, 5)
            assert rb.eof
        else:
            assert not rb.wait_write(100, 5)
            with pytest.raises(BrokenPipeError):
                rb.write(numbers(0, 1))
        assert time.monotonic() - start < NOTICED
    os.close(told)
    os.close(tell)


@pytest.mark.parametrize("look", ["closed", "eof", "write", "read"])
def test_noticed_without_a_wait(look: str) -> None:
    rb = la.RingBuffer(100, dtype="u8")
    full = numbers(0, 100)
    if look == "write":
        rb.write(full)
        child = fork(lambda: (rb.read(1), sleep_for_ever()))
        until(lambda: rb.frames_read)
        rb.write(full)
    else:
        child = fork(lambda: (rb.write(full), sleep_for_ever()))
        until(lambda: rb.frames_written)
        rb.read(100)

    def ended() -> bool:
        if look == "write":
            try:
                rb.write(full)
            except BrokenPipeError:
                return True
            return False
        if look == "read":
            return len(rb.read(1)) == 0 and la.RingBuffer.closed.__get__(rb)
        return getattr(rb, look)

    assert not ended()
    end(child)
    assert until(ended) < NOTICED


def test_a_stopped_peer_is_alive() -> None:
    rb = la.RingBuffer(1000, dtype="u8")
    with forked(lambda: send(rb, random.Random(1))) as child:
        assert rb.wait_read(1, 5)
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        got = len(rb.read(1000))
        start = time.monotonic()
        assert not rb.wait_read(1, 0.3)
        assert 0.3 <= time.monotonic() - start < 0.4
        assert (rb.closed, rb.eof, rb.peer_alive) == (False, False, True)
        os.kill(child, signal.SIGCONT)
        assert rb.wait_read(300, 5)
        assert np.array_equal(rb.read(300), numbers(got, 300))


def test_dead_before_the_first_frame() -> None:
    rb = la.RingBuffer(100)
    with Program("rb = receive(); peer.send(b'a'); peer.recv(1)") as program:
        program.give(rb.fileno())
        assert program.hear() == b"a"
        assert not rb.wait_read(1, 0.2)
        assert not rb.closed, "it may still write"
        program.process.kill()
        start = time.monotonic()
        assert not rb.wait_read(1, 5)
        assert time.monotonic() - start < NOTICED
        assert rb.eof


def test_a_ring_that_nobody_else_has_waits_for_a_thread() -> None:
    rb = la.RingBuffer(100)
    assert not rb.wait_read(1, 0.2)
    assert not rb.closed
    late = threading.Timer(0.15, rb.write, [np.ones(1, "f4")])
    late.start()
    assert rb.wait_read(1, 5)
    late.join()


@pytest.mark.parametrize("passer", ["stays", "drops"])
def test_who_only_passes_it_on_is_no_side(passer: str) -> None:
    """Whoever makes the ring and gives it to both sides can go when it likes; nor does its staying count."""
    writer_of = """
rb = receive()
rb.write(np.arange(5, dtype="f4"))
peer.send(b"w")
peer.recv(1)
rb.write(np.arange(5, 7, dtype="f4"))
peer.send(b"w")
peer.recv(1)
"""
    middle_of = """
rb = la.RingBuffer(100)
socket.send_fds(peer, [b"r"], [rb.fileno()])
peer.recv(1)
if {drops}:
    del rb
peer.send(b"d")
peer.recv(1)
"""
    with Program(middle_of.format(drops=passer == "drops")) as middle, Program(writer_of) as writer:
        _, fds, _, _ = socket.recv_fds(middle.socket, 1, 1)
        rb = la.RingBuffer.attach(fds[0])
        writer.give(fds[0])
        os.close(fds[0])
        assert rb.wait_read(5, 10)
        writer.hear()
        middle.say()
        assert middle.hear() == b"d"
        assert rb.read(100).tolist() == [0, 1, 2, 3, 4]
        assert not rb.wait_read(1, 0.15)
        assert not rb.closed, "the writer lives"
        writer.say()
        assert rb.wait_read(2, 5)
        assert rb.read(100).tolist() == [5, 6]
        writer.hear()
        writer.process.kill()
        start = time.monotonic()
        assert not rb.wait_read(1, 5)
        assert time.monotonic() - start < NOTICED


def test_a_bystanding_child_keeps_nobody_alive() -> None:
    """The writer has forked a child that never uses the ring: it inherited the writer's open file."""
    with Program(
        """
rb = receive()
child = os.fork()
if child == 0:
    peer.recv(1)
    os._exit(0)
rb.write(np.ones(5, "f4"))
peer.send(b"w")
time.sleep(60)
"""
    ) as program:
        rb = la.RingBuffer(100)
        program.give(rb.fileno())
        assert program.hear() == b"w"
        assert len(rb.read(5)) == 5
        program.process.kill()
        start = time.monotonic()
        assert not rb.wait_read(1, 5)
        assert time.monotonic() - start < NOTICED
        assert rb.eof


def test_a_childs_death_is_not_the_parents() -> None:
    rb = la.RingBuffer(100)
    rb.write(np.ones(1, "f4"))
    with forked(sleep_for_ever) as child:
        end_of_child = threading.Timer(0.05, os.kill, [child, signal.SIGKILL])
        end_of_child.start()
        rb.read(1)
        assert not rb.wait_read(1, 0.3)
        end_of_child.join()
    assert not rb.closed
    assert rb.peer_alive


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("dies", ["writer", "reader"])
def test_whoever_is_no_side_sees_a_side_die(dies: str, attached: bool) -> None:
    """As one that starts both processes does; what nobody has become yet, it may become itself."""
    rb = la.RingBuffer(CAPACITY, dtype="u8")

    def side() -> None:
        mine = theirs(rb, attached)
        mine.write(numbers(0, 5)) if dies == "writer" else mine.read(0)
        time.sleep(60)

    assert not rb.closed
    child = fork(side)
    time.sleep(0.3)
    assert not rb.closed
    os.kill(child, signal.SIGKILL)
    died = time.monotonic()
    reap(child)
    until(lambda: rb.closed)
    assert time.monotonic() - died < 0.1
    assert rb.eof == (dies == "reader")
