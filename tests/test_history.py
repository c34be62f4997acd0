"""The history's meaning: the newest frames, by their numbers; nothing waits and nothing is torn."""

from __future__ import annotations

import copy
import ctypes
import fcntl
import gc
import os
import pickle
import random
import struct

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import lockedarray as la
from smaps import PAGE, locked_pages, vm_lck
from test_ring import CHANNELS, DTYPES, frames
from test_ring_realtime import minor_faults, use_fresh_memory

pytestmark = pytest.mark.locks(4 << 20)
FRAMES = (1, 3, 1000)
WRITTEN, BEGUN = 128, 136  # bytes into the header


def of_history(hb: la.HistoryBuffer, first: int, count: int) -> np.ndarray:
    """Frames by their numbers, and zeros for those below 0."""
    zeros = min(count, max(0, -first))
    block = frames(first + zeros, count - zeros, hb.channels, hb.dtype)
    return np.concatenate([np.zeros((zeros, *block.shape[1:]), hb.dtype), block])


def header(hb: la.HistoryBuffer, offset: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(hb.address + PAGE + offset)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [None, *CHANNELS])
@pytest.mark.parametrize("kept", FRAMES)
def test_any_frame_against_its_number(kept: int, channels: int | None, dtype: object) -> None:
    chance = random.Random(kept)
    hb = la.HistoryBuffer(kept, channels, dtype)
    assert hb.memory_frames >= max(2 * kept, 4)
    written = 0
    for _ in range(300):
        n = chance.choice([0, 1, kept, chance.randrange(kept + 1), chance.randrange(3 * kept + 2)])
        hb.write(of_history(hb, written, n))
        written += n
        n = chance.randrange(kept + 1)
        view = hb.latest(n)
        np.testing.assert_array_equal(view, of_history(hb, written - n, n))
        assert (view.flags.c_contiguous, view.flags.writeable) == (True, False)
        out = np.empty_like(view)
        assert hb.read_into(out) == written - n
        np.testing.assert_array_equal(out, view)
        at = chance.randrange(-kept, written - n + 1)
        first = hb.read_into(out, at=at)
        oldest = max(0, written - hb.memory_frames)
        assert first == (at if max(at, 0) >= hb.oldest or at + n <= 0 else hb.oldest)
        assert hb.oldest == oldest or hb.oldest - oldest <= n
        np.testing.assert_array_equal(out, of_history(hb, first, n))
    assert hb.frames_written == written


class HistoryMachine(RuleBasedStateMachine):
    """Any order of calls against a plain list of all frames."""

    def __init__(self) -> None:
        super().__init__()
        # Three frames of 1400 bytes: six are 8400 bytes, in 12288 there is room for eight.
        self.history = la.HistoryBuffer(3, 350, "f4")
        self.all: list[int] = []
        assert self.history.memory_frames == 8

    def expect(self, first: int, n: int) -> np.ndarray:
        return np.array([self.all[k] if k >= 0 else 0 for k in range(first, first + n)], "f4")

    @rule(n=st.integers(0, 30))
    def write(self, n: int) -> None:
        new = range(len(self.all) + 1, len(self.all) + 1 + n)
        self.all += new
        self.history.write(np.repeat(np.array(new, "f4"), 350).reshape(n, 350))

    @rule(n=st.integers(-1, 5))
    def latest(self, n: int) -> None:
        if not 0 <= n <= 3:
            with pytest.raises(ValueError, match="frames"):
                self.history.latest(n)
            return
        assert (self.history.latest(n) == self.expect(len(self.all) - n, n)[:, None]).all()

    @rule(n=st.integers(0, 4), back=st.integers(-4, 40))
    def read(self, n: int, back: int) -> None:
        out, at = np.full((n, 350), -1, "f4"), len(self.all) - back
        if n > 3 or n > back:
            with pytest.raises(ValueError, match="asked for"):
                self.history.read_into(out, at=at)
            assert (out == -1).all()
            return
        first = self.history.read_into(out, at)
        lost = max(at, 0) < self.history.oldest and at + n > 0
        assert first == (self.history.oldest if lost else at)
        assert (out == self.expect(first, n)[:, None]).all()

    @invariant()
    def figures(self) -> None:
        assert self.history.frames_written == len(self.all)
        assert self.history.oldest == max(0, len(self.all) - 8)


TestHistoryMachine = HistoryMachine.TestCase
TestHistoryMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1", "S3", "S16"])
def test_any_strides(dtype: str) -> None:
    planar = np.arange(24).reshape(2, 12).astype(dtype)
    wide = np.arange(96).reshape(12, 8).astype(dtype)
    blocks = [planar.T, planar.T[::-1], wide[:, ::4], wide[::-3, 6::-6], wide[::2, 2:4], wide[:1, :2]]
    for block in [*blocks, np.broadcast_to(wide[1:2, 1:2], (5, 2))]:
        hb = la.HistoryBuffer(100, 2, dtype)
        hb.write(block)
        out = np.zeros((2, len(block) + 2), dtype)[:, ::-1].T
        assert hb.read_into(out) == -2
        assert (out[:2] == np.zeros(1, dtype)).all()
        np.testing.assert_array_equal(out[2:], block)


def test_one_channel_takes_both_shapes() -> None:
    hb = la.HistoryBuffer(4, 1)
    hb.write(np.ones(2, "f4"))
    hb.write(np.ones((2, 1), "f4"))
    assert hb.latest(4).tolist() == [[1]] * 4
    assert la.HistoryBuffer(4).latest(2).shape == (2,)


def test_a_view_lasts_as_long_as_it_says() -> None:
    hb = la.HistoryBuffer(8, dtype="i8")
    hb.write(np.arange(1000))
    view = hb.latest(8)
    for k in range(hb.memory_frames - 8):
        hb.write(np.array([5000 + k]))
    assert view.tolist() == list(range(992, 1000))
    assert hb.oldest == 992
    hb.write(np.array([-1]))
    assert view[0] == -1, "the control: one more overwrites it"
    assert hb.oldest == 993


def test_what_a_killed_writer_began_stays_lost() -> None:
    hb = la.HistoryBuffer(8, dtype="i8")
    hb.write(np.arange(1000))
    header(hb, BEGUN).value = 1003
    assert hb.oldest == 1003 - hb.memory_frames
    hb.write(np.arange(1000, 1001))
    assert hb.oldest == 1003 - hb.memory_frames
    assert hb.latest(2).tolist() == [999, 1000]
    hb.write(np.arange(1001, 1010))
    assert hb.oldest == 1010 - hb.memory_frames


def test_bad_calls_change_nothing() -> None:
    hb = la.HistoryBuffer(8, 2)
    hb.write(np.ones((3, 2), "f4"))
    frozen, two = np.zeros((2, 2), "f4"), np.zeros((2, 2), "f4")
    frozen.flags.writeable = False
    bad = [
        (TypeError, "ndarray", lambda: hb.write([[1.0, 2.0]])),
        (TypeError, "float32, not float64", lambda: hb.write(np.ones((1, 2)))),
        (TypeError, "float32, not >f4", lambda: hb.write(np.ones((1, 2), ">f4"))),
        (ValueError, r"\(frames, 2\), not \(2,\)", lambda: hb.write(np.ones(2, "f4"))),
        (ValueError, "not \\(2, 3\\)", lambda: hb.write(np.ones((2, 3), "f4"))),
        (TypeError, "out", lambda: hb.read_into()),
        (TypeError, "unexpected", lambda: hb.read_into(two, fill=0)),
        (TypeError, "", lambda: hb.read_into(two, at=1.5)),
        (ValueError, "read-only", lambda: hb.read_into(frozen)),
        (ValueError, "keeps 8", lambda: hb.read_into(np.zeros((9, 2), "f4"))),
        (ValueError, "until frames_written is 4", lambda: hb.read_into(two, at=2)),
        (ValueError, "beyond", lambda: hb.read_into(two, at=2**63)),
        (ValueError, "beyond", lambda: hb.read_into(two, at=-(2**64))),
        (ValueError, "frames", lambda: hb.latest(-1)),
        (ValueError, "keeps 8", lambda: hb.latest(9)),
        (ValueError, "", lambda: hb.latest(2**70)),
        (TypeError, "", lambda: hb.latest(1.5)),
    ]
    for error, words, call in bad:
        with pytest.raises(error, match=words or None):
            call()
        assert hb.frames_written == 3
        assert not two.any()


def test_bad_histories_leave_nothing() -> None:
    start = la.locked_bytes()
    bad = [
        (ValueError, (0,)),
        (ValueError, (-1,)),
        (TypeError, (1.5,)),
        (ValueError, (10, 0)),
        (ValueError, (2**62, 2)),
        (ValueError, (2**63,)),
        (MemoryError, (2**50,)),
        (TypeError, (10, 2, object)),
        (TypeError, (10, 2, "S")),
        (TypeError, (10, 2, np.dtype(("f4", 3)))),
    ]
    for error, arguments in bad:
        with pytest.raises(error):
            la.HistoryBuffer(*arguments)
    assert la.locked_bytes() == start


def test_all_of_it_is_locked_until_the_last_view_dies() -> None:
    start = vm_lck()
    hb = la.HistoryBuffer(1000, 2)
    assert vm_lck() - start == 2 * hb.nbytes
    assert all(locked_pages(hb.address, 2 * hb.nbytes))
    view = hb.latest(10)
    del hb
    gc.collect()
    assert vm_lck() > start
    assert not view.any()
    del view
    assert vm_lck() == start


def test_a_new_history_does_not_fault() -> None:
    block = np.ones((50_000, 2), "f4")
    out = np.ones_like(block)

    def trial() -> int:
        hb = la.HistoryBuffer(50_000, 2)

        def use() -> None:
            for _ in range(4):
                hb.write(block)
                hb.read_into(out)
                hb.latest(50_000).max()

        return minor_faults(use)

    assert min(trial() for _ in range(5)) == 0
    assert min(minor_faults(use_fresh_memory) for _ in range(5)) >= 256, "the control must fault"


def test_it_is_no_value() -> None:
    hb = la.HistoryBuffer(8)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="attach"):
            copied(hb)


# Somebody else's file


def forged(hb: la.HistoryBuffer, change: dict[int, bytes], *, seal: bool = True, size: int = 0) -> int:
    """A file with the bytes of a history, but for a few."""
    length = os.fstat(hb.fileno()).st_size
    fd = os.memfd_create("forged", os.MFD_ALLOW_SEALING)
    os.write(fd, os.pread(hb.fileno(), length, 0))
    for offset, value in change.items():
        os.pwrite(fd, value, offset)
    os.ftruncate(fd, size or length)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


def u64(value: int) -> bytes:
    return struct.pack("=Q", value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: b"lockring"}, "begin"),
        ({8: b"\x09"}, "version"),
        ({12: b"\x01"}, "pages"),
        ({16: u64(0)}, "fit"),
        ({16: u64(2**63)}, "fit"),
        ({16: u64(10_000)}, "fit"),
        ({24: u64(0)}, "agree"),
        ({24: u64(1 << 40)}, "agree"),
        ({32: u64(0)}, "fit"),
        ({32: u64(2**60)}, "fit"),
        ({40: b"\x00"}, "fit"),
        ({44: b"\xff\xff\xff\xff"}, "fit"),
        ({48: b"\x00"}, "dtype"),
        ({48: b"\xff\xff"}, "dtype"),
        ({1024: b"os.exit()"}, "dtype"),
        ({1024: b"'<f8'"}, "items of 4 bytes"),
    ],
)
def test_a_forged_file_is_refused(change: dict[int, bytes], words: str) -> None:
    hb = la.HistoryBuffer(100, 2)
    start, descriptors = la.locked_bytes(), len(os.listdir("/proc/self/fd"))
    fd = forged(hb, change)
    with pytest.raises(ValueError, match=words):
        la.HistoryBuffer.attach(fd)
    os.close(fd)
    assert (la.locked_bytes(), len(os.listdir("/proc/self/fd"))) == (start, descriptors)
    good = forged(hb, {})
    assert la.HistoryBuffer.attach(good).frames == 100, "the control: unchanged it is taken"
    os.close(good)


def test_other_descriptors_are_refused() -> None:
    hb, rb = la.HistoryBuffer(100, 2), la.RingBuffer(100)
    unsealed, longer = forged(hb, {}, seal=False), forged(hb, {}, size=1 << 20)
    short = forged(hb, {}, size=50)
    for fd, words in [(unsealed, "sealed"), (longer, "agree"), (short, "short"), (rb.fileno(), "begin")]:
        with pytest.raises(ValueError, match=words):
            la.HistoryBuffer.attach(fd)
    for fd in (unsealed, longer, short):
        os.close(fd)
    with pytest.raises(OSError, match="descriptor"):
        la.HistoryBuffer.attach(unsealed)
    with pytest.raises(ValueError, match="begin"):
        la.RingBuffer.attach(hb.fileno())


def test_a_header_of_anything_is_no_disaster() -> None:
    chance = random.Random(3)
    hb = la.HistoryBuffer(100, 3)  # frames of 12 bytes
    other = la.HistoryBuffer.attach(hb.fileno())
    out, block = np.zeros((100, 3), "f4"), np.ones((30, 3), "f4")
    honest = os.pread(hb.fileno(), 1024, 0)
    refused = 0
    values = [0, 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1, 1005, 1100, 2000]
    for offset in range(0, 1024, 8):
        for value in [*values, chance.getrandbits(64)]:
            os.pwrite(hb.fileno(), u64(value), offset)
            for call in (
                lambda: other.read_into(out),
                lambda: other.read_into(out, at=0),
                lambda: other.latest(100).max(),
                lambda: other.frames_written,
                lambda: other.oldest,
                lambda: hb.write(block),
            ):
                try:
                    call()
                except (la.RingCorrupted, ValueError, TimeoutError):
                    refused += 1
        os.pwrite(hb.fileno(), honest[offset : offset + 8], offset)
        assert (hb.frames, other.frames, other.channels) == (100, 100, 3)
    assert refused
    os.pwrite(hb.fileno(), honest, 0)
    hb.write(block)
    other.read_into(out[:30])
    assert (out[:30] == 1).all()
    for lie in (2**64 - 1, 2**63, 5000):
        header(hb, BEGUN).value = lie
        for call in (lambda: hb.write(block), lambda: other.latest(1), lambda: other.read_into(out)):
            with pytest.raises(la.RingCorrupted, match="header"):
                call()
        assert "corrupted" in repr(hb)
