"""The ring's meaning: what is written is read, in order, and what is lost is counted."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import random
import resource
import weakref
from collections import deque

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lockedarray as la

pytestmark = pytest.mark.locks(4 << 20)
PAGE = resource.getpagesize()
RECORD = np.dtype([("flag", "u1"), ("value", "<i2"), ("time", "<u4")])
assert RECORD.itemsize == 7
CAPACITIES, CHANNELS, DTYPES = (1, 3, 1000, 4097), (1, 2, 3, 7), ("i2", "f4", "f8", RECORD)


def frames(first: int, count: int, channels: int | None, dtype: np.dtype) -> np.ndarray:
    """Frames by their numbers: every item tells which it is."""
    items = np.arange(first * (channels or 1), (first + count) * (channels or 1)) % 30011
    block = np.zeros(len(items), dtype)
    if dtype.names:
        block["flag"], block["value"], block["time"] = items % 251, items, items * 7919
    else:
        block[:] = items
    return block if channels is None else block.reshape(count, channels)


def of_ring(rb: la.RingBuffer, first: int, count: int) -> np.ndarray:
    return frames(first, count, rb.channels, rb.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [None, *CHANNELS])
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_exactly_capacity_frames_fit(capacity: int, channels: int | None, dtype: object) -> None:
    rb = la.RingBuffer(capacity, channels, dtype)
    for lap in range(3):
        first = lap * capacity
        assert rb.write_available == capacity
        assert rb.write(of_ring(rb, first, capacity + 1)) == capacity
        assert (rb.write_available, rb.read_available) == (0, capacity)
        assert rb.write(of_ring(rb, 0, 1)) == 0
        out = np.zeros_like(of_ring(rb, 0, capacity + 1))
        assert rb.read_into(out) == capacity
        np.testing.assert_array_equal(out[:capacity], of_ring(rb, first, capacity))
        np.testing.assert_array_equal(out[capacity:], np.zeros_like(out[capacity:]))
    assert rb.frames_written == rb.frames_read == 3 * capacity
    # Back pressure is no loss.
    assert (rb.overruns, rb.frames_lost, rb.underruns, rb.frames_missed) == (0, 0, 0, 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_random_operations_equal_a_deque(capacity: int, dtype: object) -> None:
    chance = random.Random(capacity)
    rb = la.RingBuffer(capacity, chance.choice(CHANNELS), dtype)
    model: deque[int] = deque()
    written = 0
    out = np.empty_like(of_ring(rb, 0, capacity + 2))
    period = 30011  # frames; a prime, so that it is as many items with any number of channels
    whole = of_ring(rb, 0, period + capacity + 2)
    for _ in range(25_000):  # of each of sixteen rings
        n = chance.randint(0, min(capacity, 40) + 1)
        do = chance.randrange(4)
        first = written % period
        if do == 0:
            taken = rb.write(whole[first : first + n])
        elif do == 1:
            window = rb.write_window(n)
            taken = chance.randint(0, len(window))
            window[...] = whole[first : first + len(window)]
            rb.commit(taken)
        else:
            taken = 0
        assert taken <= capacity - len(model)
        assert taken == min(n, capacity - len(model)) or do != 0
        model.extend(range(written, written + taken))
        written += taken
        if do == 2:
            got = rb.read_into(out[:n])
            read = out[:got]
        elif do == 3:
            window = rb.read_window(n)
            got = chance.randint(0, len(window))
            read = window[:got].copy()
            rb.consume(got)
        else:
            continue
        assert do == 3 or got == min(n, len(model))
        expected = [model.popleft() % period for _ in range(got)]
        assert (read == whole[expected]).all()
    assert rb.read_available == len(model)
    assert rb.frames_written == written


class RingMachine(RuleBasedStateMachine):
    """Any order of calls, legal or not, against a list of frame numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = la.RingBuffer(5, 2, "i2")
        self.held: list[int] = []
        self.next = 0
        self.write_open = self.read_open = 0
        self.closed = False
        self.loss = [0, 0, 0, 0]

    counts = st.integers(0, 8)

    @rule(n=counts, drop=st.booleans())
    def write(self, n: int, drop: bool) -> None:
        block = frames(self.next, n, 2, np.dtype("i2"))
        if self.closed:
            with pytest.raises(BrokenPipeError):
                self.ring.write(block, drop=drop)
            return
        taken = min(n, 5 - len(self.held))
        assert self.ring.write(block, drop=drop) == taken
        if drop and taken < n:
            self.loss[0] += 1
            self.loss[1] += n - taken
        self.held += range(self.next, self.next + taken)
        self.next += taken
        self.write_open = 0

    @rule(n=counts, k=counts)
    def write_in_window(self, n: int, k: int) -> None:
        if self.closed:
            with pytest.raises(BrokenPipeError):
                self.ring.write_window(n)
            return
        window = self.ring.write_window(n)
        assert len(window) == min(n, 5 - len(self.held))
        window[...] = frames(self.next, len(window), 2, np.dtype("i2"))
        self.write_open = len(window)
        self.commit(k)

    @rule(k=counts)
    def commit(self, k: int) -> None:
        if self.closed or k > self.write_open:
            with pytest.raises(BrokenPipeError if self.closed else ValueError):
                self.ring.commit(k)
            return
        self.ring.commit(k)
        self.held += range(self.next, self.next + k)
        self.next += k
        self.write_open -= k

    @rule(n=counts, fill=st.sampled_from([None, 0, -7]))
    def read(self, n: int, fill: int | None) -> None:
        out = np.full((n, 2), 99, "i2")
        got = min(n, len(self.held))
        assert self.ring.read_into(out, fill=fill) == got
        np.testing.assert_array_equal(out[:got], self.oldest(got))
        assert (out[got:] == (99 if fill is None else fill)).all()
        if fill is not None and got < n and not self.closed:
            self.loss[2] += 1
            self.loss[3] += n - got
        self.take(got)

    @rule(n=counts)
    def read_new(self, n: int) -> None:
        got = min(n, len(self.held))
        np.testing.assert_array_equal(self.ring.read(n), self.oldest(got))
        self.take(got)

    @rule(n=counts, k=counts)
    def read_in_window(self, n: int, k: int) -> None:
        window = self.ring.read_window(n)
        got = min(n, len(self.held))
        np.testing.assert_array_equal(window, self.oldest(got))
        self.read_open = got
        self.consume(k)

    @rule(k=counts)
    def consume(self, k: int) -> None:
        if k > self.read_open:
            with pytest.raises(ValueError, match="window has"):
                self.ring.consume(k)
            return
        self.ring.consume(k)
        del self.held[:k]
        self.read_open -= k

    @precondition(lambda self: len(self.held) > 3)
    @rule()
    def close(self) -> None:
        self.ring.close()
        self.closed = True

    def oldest(self, count: int) -> np.ndarray:
        first = self.held[0] if self.held else 0
        return frames(first, count, 2, np.dtype("i2"))

    def take(self, count: int) -> None:
        del self.held[:count]
        self.read_open = 0

    @invariant()
    def figures(self) -> None:
        ring = self.ring
        assert (ring.read_available, ring.write_available) == (len(self.held), 5 - len(self.held))
        assert (ring.frames_written, ring.frames_read) == (self.next, self.next - len(self.held))
        assert [ring.overruns, ring.frames_lost, ring.underruns, ring.frames_missed] == self.loss
        assert (ring.closed, ring.eof) == (self.closed, self.closed and not self.held)


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_any_strides() -> None:
    planar = np.arange(24, dtype="f4").reshape(2, 12)
    wide = np.arange(96, dtype="f4").reshape(12, 8)
    blocks = [
        planar.T,
        planar.T[::-1],
        wide[:, ::4],
        wide[::-3, 6::-6],
        np.broadcast_to(np.float32(3), (5, 2)),
    ]
    for block in blocks:
        rb = la.RingBuffer(100, 2)
        assert rb.write(block) == len(block)
        out = np.zeros((2, len(block)), "f4")[:, ::-1].T
        assert rb.read_into(out) == len(block)
        np.testing.assert_array_equal(out, block)
        rb.write(block)
        rb.read_into(out, fill=0.0)
        np.testing.assert_array_equal(rb.read(1), block[:0])


def test_one_channel_takes_both_shapes() -> None:
    rb = la.RingBuffer(4, 1)
    assert rb.write(np.ones(2, "f4")) == rb.write(np.ones((2, 1), "f4")) == 2
    assert rb.read(4).shape == (4, 1)
    assert rb.read_window(0).shape == (0, 1)
    assert la.RingBuffer(4).read_window(2).shape == (0,)


def test_other_byte_order_and_large_items() -> None:
    for dtype in (">f4", "S300", "V5", "c16", "M8[ns]", "?"):
        rb = la.RingBuffer(3, dtype=dtype)
        block = np.arange(3).astype("i8").astype(dtype) if dtype != "V5" else np.array([b"abcde"] * 3, "V5")
        assert rb.write(block) == 3
        assert rb.read(3).tobytes() == block.tobytes()
        assert rb.dtype == np.dtype(dtype)
    rb = la.RingBuffer(3, dtype="S300")
    out = np.zeros(2, "S300")
    assert rb.read_into(out, fill=b"x" * 300) == 0
    assert out.tolist() == [b"x" * 300] * 2


def test_a_block_from_the_ring_itself() -> None:
    rb = la.RingBuffer(1000)
    rb.write(np.arange(600, dtype="f4"))
    assert rb.write(rb.read_window(300)) == 300
    assert rb.read(600).tolist() == list(range(600))
    assert rb.read_into(rb.write_window(400)) == 300
    rb.commit(300)
    assert rb.read(300).tolist() == list(range(300))


def test_bad_calls_change_nothing() -> None:
    rb = la.RingBuffer(8, 2)
    rb.write(np.ones((3, 2), "f4"))
    frozen = np.zeros((2, 2), "f4")
    frozen.flags.writeable = False
    bad = [
        (TypeError, "ndarray", lambda: rb.write([[1.0, 2.0]])),
        (TypeError, "float32, not float64", lambda: rb.write(np.ones((1, 2)))),
        (TypeError, "float32, not >f4", lambda: rb.write(np.ones((1, 2), ">f4"))),
        (ValueError, r"\(frames, 2\), not \(2,\)", lambda: rb.write(np.ones(2, "f4"))),
        (ValueError, "not \\(2, 3\\)", lambda: rb.write(np.ones((2, 3), "f4"))),
        (ValueError, "shape", lambda: rb.write(np.array(1, "f4"))),
        (TypeError, "block", lambda: rb.write()),
        (TypeError, "positional", lambda: rb.write(np.ones((1, 2), "f4"), True)),
        (TypeError, "unexpected", lambda: rb.write(np.ones((1, 2), "f4"), lose=True)),
        (ValueError, "read-only", lambda: rb.read_into(frozen)),
        (ValueError, "read-only", lambda: rb.read_into(frozen, fill=0)),
        (ValueError, "", lambda: rb.read_into(np.zeros((9, 2), "f4"), fill="x")),
        (ValueError, "", lambda: rb.read_into(np.zeros((9, 2), "f4"), fill=[1, 2, 3])),
        (ValueError, "frames", lambda: rb.read(-1)),
        (TypeError, "", lambda: rb.read(1.5)),
        (ValueError, "frames", lambda: rb.write_window(-1)),
        (ValueError, "frames", lambda: rb.read_window(-1)),
        (ValueError, "", lambda: rb.read_window(2**70)),
        (ValueError, "open write_window has 0", lambda: rb.commit(1)),
        (ValueError, "open read_window has 0", lambda: rb.consume(1)),
        (ValueError, "frames", lambda: rb.commit(-1)),
    ]
    for error, words, call in bad:
        with pytest.raises(error, match=words or None):
            call()
        figures = rb.frames_written, rb.frames_read, rb.read_available, rb.underruns, rb.overruns
        assert figures == (3, 0, 3, 0, 0)


def test_bad_rings_leave_nothing() -> None:
    start = la.locked_bytes()
    bad = [
        (ValueError, (0,)),
        (ValueError, (-1,)),
        (TypeError, (1.5,)),
        (TypeError, ("x",)),
        (ValueError, (10, 0)),
        (ValueError, (10, -2)),
        (ValueError, (2**62, 2)),
        (ValueError, (2**63, 1)),
        (MemoryError, (2**60, 1, "i1")),
        (MemoryError, (2**50,)),
        (TypeError, (10, 2, object)),
        (TypeError, (10, 2, "S")),
        (TypeError, (10, 2, "nonsense")),
        (TypeError, (10, 2, np.dtype(("f4", 3)))),
    ]
    for error, arguments in bad:
        with pytest.raises(error):
            la.RingBuffer(*arguments)
    with pytest.raises(ValueError, match="on_error"):
        la.RingBuffer(1, on_error="ignore")
    assert la.locked_bytes() == start


@pytest.mark.parametrize("index", ["written", "read"])
def test_an_impossible_header_is_no_disaster(index: str) -> None:
    rb = la.RingBuffer(10, dtype="i2")
    rb.write(np.arange(6, dtype="i2"))
    shared = la.region(rb.read_window(1)).address - PAGE
    field = ctypes.c_uint64.from_address(shared + {"written": 256, "read": 384}[index])
    honest = field.value
    for lie in (2**63, honest + 11, 1 << 40):
        field.value = lie
        with pytest.raises(la.RingCorrupted, match="header"):
            _ = rb.read_available
        assert "corrupted" in repr(rb)
        with pytest.raises(la.RingCorrupted):
            rb.write(np.zeros(10, "i2")) if index == "read" else rb.read(10)
    field.value = honest
    assert rb.read_available == 6
    assert rb.read(10).tolist() == list(range(6))


def test_close_drains() -> None:
    rb = la.RingBuffer(8)
    rb.write(np.ones(3, "f4"))
    assert not rb.closed
    assert not rb.eof
    rb.close()
    rb.close()
    assert (rb.closed, rb.eof) == (True, False)
    with pytest.raises(TypeError):
        rb.write([1])
    with pytest.raises(BrokenPipeError, match="closed"):
        rb.write(np.ones(3, "f4"))
    assert rb.read_into(np.zeros(5, "f4"), fill=0) == 3
    assert rb.eof
    assert rb.read(1).shape == (0,)
    assert rb.underruns == 0


def test_it_is_no_value() -> None:
    rb = la.RingBuffer(8)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(rb)
    assert weakref.ref(rb)() is rb


def test_memory_goes_with_the_last_window() -> None:
    start = la.locked_bytes()
    rb = la.RingBuffer(1000, 2)
    assert la.locked_bytes() == start + 2 * rb.nbytes
    window = rb.write_window(10)
    del rb
    gc.collect()
    assert la.locked_bytes() > start
    window[...] = 1
    del window
    assert la.locked_bytes() == start
