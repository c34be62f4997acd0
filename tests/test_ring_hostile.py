"""A shared header that lies: right data or RingCorrupted, never a signal, a hang or foreign memory."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import select
import socket
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest

import lockedarray as la
from peers import FULL, Program, forked, nothing_left
from smaps import PAGE, mappings

pytestmark = pytest.mark.locks(4 << 20)

# The header, as ring.h has it.
INDICES = {256, 260, 384, 388}  # 4-byte words of `written` and `read`: among them any frames may look new
CLOSED = 128
FIXED = struct.Struct(
    "<QIIQQQIIIIQ"
)  # magic, version, page, capacity, data, frame, item, channels, text, -, attached
MAGIC, VERSION, TEXT = 0x676E69726B636F6C, 1, 1024

F_ADD_SEALS, SEALS = 1033, 0x2 | 0x4  # SHRINK, GROW

PEER = """
import faulthandler
faulthandler.dump_traceback_later(60, exit=True)
rb = receive()
pool = la.Pool(1 << 20)
SIGN = np.uint64(0x5A5A5A5A << 32)
sent = got = 0
block, out = np.empty(40, "u8"), np.empty(50, "u8")
def look(data, exact):
    "What was ever written bears the sign; memory that nobody has written is zero."
    global got
    if exact:
        assert np.array_equal(data, SIGN + np.arange(got, got + len(data), dtype="u8")), (got, data)
    else:
        assert (((data >> 32) == SIGN >> 32) | (data == 0)).all(), data
    got += len(data)
def step(k, exact):
    global sent
    if k % 8 == 0:
        block[:] = SIGN + np.arange(sent, sent + 40, dtype="u8")
        sent += rb.write(block)
    elif k % 8 == 1:
        look(out[:rb.read_into(out)], exact)
    elif k % 8 == 2:
        window = rb.write_window(30)
        window[:] = SIGN + np.arange(sent, sent + len(window), dtype="u8")
        rb.commit(len(window))
        sent += len(window)
    elif k % 8 == 3:
        window = rb.read_window(25)
        data = window.copy()
        rb.consume(len(window))
        look(data, exact)
    elif k % 8 == 4:
        rb.wait_read(60, 0.0002)
    elif k % 8 == 5:
        rb.wait_write(90, 0.0002)
    elif k % 8 == 6:
        look(rb.read(10), exact)
    else:
        assert 0 <= rb.read_available <= 100 and 0 <= rb.write_available <= 100
        rb.closed, rb.eof, rb.peer_alive, rb.frames_lost, rb.frames_written, repr(rb)
while order := peer.recv(1):
    refused = 0
    for k in range(48):
        try:
            step(k, order == b"e")
        except (la.RingCorrupted, BrokenPipeError):
            refused += 1
        except ValueError as error:  # the header said that another process is this side now
            assert "has ended: another process" in str(error) or "has 0 frames" in str(error)
            refused += 1
    peer.send(bytes([refused]))
"""


def lies(chance: random.Random, nbytes: int) -> bytes:
    """A value for a word: extreme, near to what may stand there, or any."""
    top = (1 << 8 * nbytes) - 1
    value = chance.choice(
        (0, 1, 2, 3, 99, 100, 101, 4096, top, top - 1, top >> 1, (top >> 1) + 1, chance.randint(0, top))
    )
    return value.to_bytes(nbytes, "little")


@pytest.mark.usefixtures(nothing_left.__name__)
def test_every_word_under_a_living_peer() -> None:
    """LOCKEDARRAY_TESTS=full: each word of the page; else those that are named, and some of the others.

    After each word both sides mend their indices by going on; only `closed` stays, and is put back here.
    """
    rb = la.RingBuffer(100, dtype="u8")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    refused: dict[int, int] = {}
    words = [(at, size) for size in (4, 8) for at in range(0, PAGE if FULL else 1088, size)]
    words += [] if FULL else [(at, 8) for at in range(1088, PAGE, 128)]
    touched = {at for at, size in words if {at, at + size - 4} & INDICES}
    words.sort(key=lambda word: word[0] in touched)  # last, since after them the numbers may be any
    with mmap.mmap(rb.fileno(), PAGE) as page, Program(PEER) as peer:
        peer.give(rb.fileno())

        def run(order: bytes, lie: Callable[[], object]) -> int:
            peer.say(order)
            patience = time.monotonic() + 20
            while not select.select([peer.socket], [], [], 0)[0]:
                lie()
                assert time.monotonic() < patience, "it hangs"
            answer = peer.hear()
            assert answer, f"it ended with {peer.process.wait(5)}"
            return answer[0]

        assert run(b"e", lambda: None) == 0
        tidy = page[:]
        for at, size in words:

            def lie(at: int = at, size: int = size) -> None:
                page[at : at + size] = lies(chance, size)

            for _ in range(20 if at in touched or at == CLOSED else 1):  # until the peer has seen it
                if not refused.get(at):
                    lie()
                    refused[at] = run(b"f" if at in touched else b"e", lie)
            for start, stop in ((0, 56), (CLOSED, CLOSED + 4), (144, 160)):
                page[start:stop] = tidy[start:stop]
            if at in touched:
                run(b"f", lambda: None)  # they mend themselves
        assert run(b"f", lambda: None) == 0, "both sides go on"
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.process.wait(10) == 0
    # Controls: the words that matter were hit.
    assert refused[256]
    assert refused[384]
    assert refused[CLOSED]


def test_neighbours_stay_as_they_are() -> None:
    """A ring in a pool has arrays on both sides; whatever the indices say, it reaches neither."""
    pool = la.Pool(1 << 20)
    before = pool.full(PAGE, 0xAA, "u1")
    rb = pool.ring(100, dtype="u1")
    after = pool.full(PAGE, 0xBB, "u1")
    chance = random.Random(1)
    with mmap.mmap(rb.fileno(), PAGE) as page:
        for _ in range(3000):
            at = chance.choice((256, 384))
            page[at : at + 8] = lies(chance, 8)
            for do in (
                lambda: rb.write(np.full(100, 0xCC, "u1")),
                lambda: rb.write_window(100).fill(0xCC),
                lambda: set(rb.read_window(100).tolist()) <= {0, 0xCC} or pytest.fail("foreign memory"),
                lambda: set(rb.read(100).tolist()) <= {0, 0xCC} or pytest.fail("foreign memory"),
            ):
                try:
                    do()
                except la.RingCorrupted:
                    continue
    assert (before == 0xAA).all()
    assert (after == 0xBB).all()


# What attach refuses


def forged(
    *,
    magic: int = MAGIC,
    version: int = VERSION,
    page: int = PAGE,
    capacity: int = 100,
    data: int = PAGE,
    frame: int = 8,
    item: int = 8,
    channels: int = 0,
    text: bytes = b"'<u8'",
    length: int | None = None,
    nbytes: int = 2 * PAGE,
    seals: int = SEALS,
) -> int:
    """A descriptor of a file that is a ring's but for what is given."""
    fd = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, nbytes)
    length = len(text) if length is None else length
    header = FIXED.pack(magic, version, page, capacity, data, frame, item, channels, length, 0, 0)
    os.pwrite(fd, header[:nbytes], 0)
    if nbytes >= PAGE:
        os.pwrite(fd, text[: PAGE - TEXT], TEXT)
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd


def test_an_honest_forgery_is_a_ring() -> None:
    fd = forged()
    rb = la.RingBuffer.attach(fd)
    os.close(fd)
    assert (rb.capacity, rb.channels, rb.dtype) == (100, None, np.dtype("u8"))
    assert rb.write(np.ones(200, "u8")) == 100


LIES: dict[str, dict[str, object]] = {
    "magic": {"magic": MAGIC + 1},
    "version": {"version": 2},
    "page": {"page": 2 * PAGE},
    "no page": {"page": 0},
    "no capacity": {"capacity": 0},
    "too much capacity": {"capacity": PAGE // 8 + 1},
    "overflow": {"capacity": 1 << 61},
    "overflow of both": {"capacity": 1 << 32, "frame": 1 << 32},
    "no frame": {"frame": 0, "item": 0},
    "frame is not item": {"frame": 16, "capacity": 10},
    "channels": {"channels": 2},
    "channels overflow": {"frame": 0, "item": 1 << 16, "channels": 1 << 16},
    "data too long": {"data": 2 * PAGE},
    "data too short": {"data": PAGE // 2},
    "data wraps": {"data": (1 << 64) - PAGE},
    "no data": {"data": 0, "nbytes": PAGE},
    "more data than frames": {"data": 2 * PAGE, "nbytes": 3 * PAGE},
    "unsealed": {"seals": 0},
    "may shrink": {"seals": 0x4},
    "may grow": {"seals": 0x2},
    "write sealed": {"seals": SEALS | 0x8},
    "future write sealed": {"seals": SEALS | 0x10},
    "empty": {"nbytes": 0},
    "short": {"nbytes": 40},
    "half a page": {"nbytes": PAGE // 2},
    "a page and a half": {"nbytes": PAGE * 3 // 2},
    "no text": {"text": b""},
    "text too long": {"length": 1 << 31},
    "text beyond the page": {"length": PAGE - TEXT + 1},
    "other item": {"text": b"'<u4'"},
    "objects": {"text": b"'|O'"},
    "fields of objects": {"text": b"[('a', '|O')]"},
    "array": {"text": b"('<u4', (2,))"},
    "array of arrays": {"text": b"('<u4', (1 << 40,))"},
    "not a literal": {"text": b"__import__('os').abort()"},
    "a number": {"text": b"7"},
    "a set": {"text": b"{1, 2}"},
    "a dictionary": {"text": b"{'names': 1}"},
    "a list of nothing": {"text": b"[7]"},
    "short fields": {"text": b"[('a',)]"},
    "empty fields": {"text": b"[()]"},
    "no fields": {"text": b"[]"},
    "same names": {"text": b"[('a', '<u4'), ('a', '<u4')]"},
    "a huge string": {"text": b"'|S99999999999999999999'"},
    "huge void": {"text": b"'|V2147483648'"},
    "overflowing shape": {"text": b"[('a', '<u8', (4294967296, 4294967296))]"},
    "negative shape": {"text": b"[('a', '<u8', (-1,))]"},
    "zero bytes": {"text": b"\0" * 20},
    "not ASCII": {"text": b"'\xff'"},
    "nested": {"text": b"(" * 3000},
    "nested signs": {"text": b"-" * 3000 + b"1"},
    "nested lists": {"text": b"[" * 90 + b"]" * 90},
    "nested pairs": {"text": b"(" * 80 + b"'<u8'" + b",(1,))" * 80},
    "escape": {"text": b"'\\d'"},
}
REFUSALS = (ValueError, TypeError, OSError, la.RingCorrupted, MemoryError)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.usefixtures(nothing_left.__name__)
def test_a_lie_is_refused(lie: str) -> None:
    fd = forged(**LIES[lie])  # type: ignore[arg-type]
    try:
        before = mappings()
        with pytest.raises(REFUSALS):
            la.RingBuffer.attach(fd)
        assert mappings() <= before + 1  # a heap of Python's may have grown
    finally:
        os.close(fd)


@pytest.mark.usefixtures(nothing_left.__name__)
def test_other_descriptors() -> None:
    reading, writing = os.pipe()
    directory, plain = os.open("/", os.O_RDONLY), os.open(__file__, os.O_RDONLY)
    closed = os.dup(plain)
    os.close(closed)
    with socket.socket() as sock:
        for fd in (reading, writing, directory, plain, sock.fileno()):
            with pytest.raises((ValueError, OSError)):
                la.RingBuffer.attach(fd)
    for fd in (closed, 1 << 30):
        with pytest.raises(OSError, match="Bad file descriptor"):
            la.RingBuffer.attach(fd)
    with pytest.raises(ValueError, match="negative"):
        la.RingBuffer.attach(-1)
    for none in (None, "3", 1.5, b"3"):
        with pytest.raises(TypeError):
            la.RingBuffer.attach(none)  # type: ignore[arg-type]
    for fd in (reading, writing, directory, plain):
        os.close(fd)


def test_a_header_that_changes_while_it_is_read() -> None:
    """Another process writes sizes that lie while this one attaches: it gets a whole ring, or none."""
    rb = la.RingBuffer(100, dtype="u8")
    chance = random.Random(1)

    def lie() -> None:
        with mmap.mmap(rb.fileno(), PAGE) as page:
            tidy = page[:128]
            while True:
                at = chance.choice((16, 24, 32, 40, 44, 48))
                page[at : at + 4] = lies(chance, 4)
                for _ in range(chance.randrange(100)):
                    page[:56] = tidy[:56]

    whole = refused = 0
    with forked(lie):
        stop = time.monotonic() + 20
        while (whole < 100 or refused < 100) and time.monotonic() < stop:
            try:
                other = la.RingBuffer.attach(rb.fileno())
            except REFUSALS:
                refused += 1
            else:
                whole += 1
                assert other.capacity * other.dtype.itemsize <= PAGE
                try:
                    other.read(100)
                except la.RingCorrupted:
                    continue
    assert whole
    assert refused
