"""The ring in compiled loops: the same as in Python, without the GIL, and refused by type before it runs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import lockedarray as la

numba = pytest.importorskip("numba", reason="needs numba")
if not any(
    entry.value.startswith("lockedarray.")
    for entry in importlib.metadata.entry_points(group="numba_extensions")
):
    pytest.skip("needs lockedarray installed, with its entry point for numba", allow_module_level=True)

pytestmark = pytest.mark.locks(4 << 20)
RECORD = np.dtype([("flag", "u1"), ("value", "<i2"), ("time", "<u4")])


@numba.njit(nogil=True)
def send(ring, whole, size):
    """Write all frames, in blocks, and close."""
    sent = 0
    while sent < len(whole):
        ring.wait_write(1)
        sent += ring.write(whole[sent : sent + size])
    ring.close()
    return sent


@numba.njit(nogil=True)
def receive(ring, out, size):
    """Read until the end."""
    got = 0
    while not ring.eof:
        ring.wait_read(size, 10.0)
        got += ring.read_into(out[got : got + size])
    return got


@numba.njit(nogil=True)
def through(ring, block, out):
    return ring.write(block), ring.read_into(out)


@numba.njit(nogil=True)
def wait_for_frames(ring, n, timeout):
    return ring.wait_read(n, timeout)


@numba.njit
def wait_with_the_gil(ring, n):
    return ring.wait_read(n, 5.0)


def of(count: int, channels: int | None, dtype: np.dtype) -> np.ndarray:
    """Frames whose every item tells which it is."""
    items = np.arange(count * (channels or 1))
    block = np.zeros(len(items), dtype)
    if dtype.names:
        block["flag"], block["value"], block["time"] = items % 251, items % 30011, items * 7919 % 2**32
    else:
        block[:] = items % 30011
    return block if channels is None else block.reshape(count, channels)


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[list[object]]:
    """Run something in a thread; what it returned is there at the end."""
    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    yield result
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("i2"), RECORD], ids=str)
@pytest.mark.parametrize("channels", [None, 1, 2])
def test_a_compiled_loop_feeds_python(channels: int | None, dtype: np.dtype) -> None:
    rb = la.RingBuffer(1000, channels, dtype)
    whole = of(50_000, channels, dtype)
    with beside(lambda: send(rb, whole, 97)) as sent:
        got = np.concatenate(list(rb.blocks(64)))
    assert sent == [50_000]
    np.testing.assert_array_equal(got, whole)


@pytest.mark.parametrize("dtype", [np.dtype("f4"), RECORD], ids=str)
@pytest.mark.parametrize("channels", [None, 2])
def test_a_compiled_loop_reads_what_python_writes(channels: int | None, dtype: np.dtype) -> None:
    rb = la.RingBuffer(1000, channels, dtype)
    whole = of(50_000, channels, dtype)
    out = np.zeros_like(whole)
    with beside(lambda: receive(rb, out, 64)) as got:
        sent = 0
        while sent < len(whole):
            assert rb.wait_write(1, 10)
            sent += rb.write(whole[sent : sent + 97])
        rb.close()
    assert got == [50_000]
    np.testing.assert_array_equal(out, whole)


def test_two_compiled_loops_beside_a_busy_thread() -> None:
    rb = la.RingBuffer(1000, 2)
    whole = of(2_000_000, 2, rb.dtype)
    out = np.zeros_like(whole)
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            pass

    through(rb, whole[:64], out[:64])
    with beside(spin), beside(lambda: send(rb, whole, 64)), beside(lambda: receive(rb, out, 64)) as got:
        while not got and not rb.eof:
            time.sleep(0.01)
        done.set()
    assert got == [2_000_000]
    np.testing.assert_array_equal(out, whole)


@pytest.mark.parametrize("out_of", ["planar", "reversed", "every other"])
def test_any_strides(out_of: str) -> None:
    rb = la.RingBuffer(1000, 2)
    whole = of(400, 2, rb.dtype)
    block = {
        "planar": np.ascontiguousarray(whole.T).T,
        "reversed": whole[::-1, ::-1],
        "every other": whole[::2],
    }[out_of]
    out = np.zeros((2, len(block)), "f4").T
    assert through(rb, block, out) == (len(block), len(block))
    np.testing.assert_array_equal(out, block)


def test_one_channel_takes_both_shapes() -> None:
    rb = la.RingBuffer(100, 1)
    out = np.zeros(10, "f4")
    assert through(rb, of(10, 1, rb.dtype), out) == (10, 10)
    np.testing.assert_array_equal(out, np.arange(10))


def test_partial_counts_and_declared_losses() -> None:
    @numba.njit
    def lossy(ring, block, out):
        taken = ring.write(block, drop=True)
        free = ring.write_available
        held = ring.read_available
        got = ring.read_into(out, fill=-1.0)
        return taken, free, held, got, ring.capacity, ring.closed, ring.eof

    rb = la.RingBuffer(100)
    out = np.zeros(120, "f4")
    assert lossy(rb, of(130, None, rb.dtype), out) == (100, 0, 100, 100, 100, False, False)
    np.testing.assert_array_equal(out, [*range(100), *[-1] * 20])
    assert (rb.overruns, rb.frames_lost, rb.underruns, rb.frames_missed) == (1, 30, 1, 20)
    through(rb, of(130, None, rb.dtype), out)  # back pressure is no loss
    assert (rb.overruns, rb.frames_lost, rb.underruns, rb.frames_missed) == (1, 30, 1, 20)


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_channels(channels: int | None) -> None:
    assert numba.njit(lambda ring: ring.channels)(la.RingBuffer(10, channels)) == channels


def test_what_is_filled_after_the_end_is_no_loss() -> None:
    @numba.njit
    def fill(ring, out):
        return ring.read_into(out, fill=0.5)

    rb = la.RingBuffer(100)
    rb.write(of(10, None, rb.dtype))
    rb.close()
    out = np.zeros(20, "f4")
    assert fill(rb, out) == 10
    assert out[10:].tolist() == [0.5] * 10
    assert rb.frames_missed == 0


# Errors


@pytest.mark.parametrize(
    ("ring", "block", "words"),
    [
        ((100,), np.zeros(8, "f8"), "block must have the ring's dtype, float32, not float64"),
        ((100, 2), np.zeros(8, "f4"), r"block must have the shape \(frames, 2\)"),
        ((100,), np.zeros((8, 2), "f4"), r"block must have the shape \(frames,\)"),
        ((100,), 1.5, "block must be an array of float32"),
        ((100, None, RECORD), np.zeros(8, "f4"), "block must have the ring's dtype"),
    ],
)
def test_a_wrong_block_is_refused_when_the_loop_is_compiled(ring: tuple, block: object, words: str) -> None:
    rb = la.RingBuffer(*ring)
    with pytest.raises(numba.TypingError, match=words):
        through(rb, block, block)


def test_what_must_be_writeable_is_refused_when_it_is_not() -> None:
    out = np.zeros(8, "f4")
    out.flags.writeable = False
    with pytest.raises(numba.TypingError, match="out must be writeable"):
        through(la.RingBuffer(100), np.zeros(8, "f4"), out)


def test_a_dtype_that_numba_does_not_know() -> None:
    with pytest.raises(numba.TypingError, match="no type for the ring's dtype, >f4"):
        wait_for_frames(la.RingBuffer(100, None, ">f4"), 1, 0.0)


def test_a_global_ring_is_refused() -> None:
    rb = la.RingBuffer(100)
    with pytest.raises(numba.TypingError):
        numba.njit(lambda: rb.read_available)()


def test_the_number_of_channels_is_checked_when_the_loop_runs() -> None:
    with pytest.raises(ValueError, match=r"block must have the shape \(frames, 2\)"):
        through(la.RingBuffer(100, 2), np.zeros((8, 3), "f4"), np.zeros((8, 2), "f4"))


def test_a_closed_ring() -> None:
    rb = la.RingBuffer(100)
    rb.close()
    with pytest.raises(BrokenPipeError, match="the ring is closed"):
        through(rb, np.zeros(8, "f4"), np.zeros(8, "f4"))
    assert wait_for_frames(rb, 1, 10.0) is False


@pytest.mark.parametrize(
    ("n", "timeout", "words"),
    [(101, 1.0, "more than the ring"), (-1, 1.0, "not negative"), (1, -1.0, "timeout")],
)
def test_waits_that_cannot_be(n: int, timeout: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wait_for_frames(la.RingBuffer(100), n, timeout)


def test_corruption_is_told() -> None:
    rb = la.RingBuffer(100)
    shared = ctypes.c_uint64.from_address(rb.address).value  # struct la_ring begins with `shared`
    ctypes.c_uint64.from_address(shared + 256).value = 1 << 40  # `written`
    with pytest.raises(la.RingCorrupted, match="cannot be"):
        through(rb, np.zeros(0, "f4"), np.zeros(8, "f4"))


# Waiting


def test_a_wait_ends_with_its_time() -> None:
    start = time.monotonic()
    assert wait_for_frames(la.RingBuffer(100), 1, 0.1) is False
    assert 0.09 < time.monotonic() - start < 5


def test_a_wait_of_a_loop_that_has_the_gil_lets_python_write() -> None:
    rb = la.RingBuffer(100)
    assert wait_with_the_gil(rb, 0)  # compiled now
    with beside(lambda: wait_with_the_gil(rb, 3)) as met:
        time.sleep(0.2)
        rb.write(np.zeros(3, "f4"))
    assert met == [True]


class Alarm(Exception):
    pass


@numba.njit(nogil=True)
def compute_and_wait(ring, steps):
    x = 0.5
    for _ in range(steps):
        x = 3.9 * x * (1 - x)
    return ring.wait_read(1, 20.0), x


def compute_first(rb: la.RingBuffer) -> object:
    """The signal comes before the sleep."""
    return compute_and_wait(rb, 0 if rb.read_available else 100_000_000)


@pytest.mark.parametrize(
    "wait", [lambda rb: wait_for_frames(rb, 1, 20.0), lambda rb: wait_with_the_gil(rb, 1), compute_first]
)
def test_the_exception_of_a_signal_ends_a_wait(wait: Callable[[la.RingBuffer], object]) -> None:
    def ring_the_bell(number: int, frame: object) -> None:
        raise Alarm

    rb = la.RingBuffer(100)
    rb.write(np.zeros(1, "f4"))
    assert wait(rb)  # compiled now
    rb.read(1)
    before = signal.signal(signal.SIGALRM, ring_the_bell)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        start = time.monotonic()
        with pytest.raises(Alarm):
            wait(rb)
        assert time.monotonic() - start < 4  # long before it would end by itself
    finally:
        signal.signal(signal.SIGALRM, before)
    rb.write(np.zeros(1, "f4"))
    assert wait(rb)


# Cost


def test_no_page_fault() -> None:
    @numba.njit(nogil=True)
    def loop(ring, block, out):
        for _ in range(1000):
            ring.write(block)
            ring.read_into(out)

    rb = la.RingBuffer(4096, 2)
    block, out = la.ones((64, 2), "f4"), la.zeros((64, 2), "f4")
    loop(rb, block, out)
    fewest = 1
    for _ in range(3):  # the interpreter's own memory faults now and then
        with la.page_faults() as faults:
            loop(rb, block, out)
        fewest = min(fewest, faults.total)
    assert fewest == 0


def test_the_library_does_not_import_numba() -> None:
    code = "import sys, lockedarray as la; la.RingBuffer(10); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=50).returncode == 0


CACHED = """
import numba, numpy as np, lockedarray as la
@numba.njit(nogil=True, cache=True)
def through(ring, block, out):
    return ring.write(block), ring.read_into(out)
print(through(la.RingBuffer(100), np.ones(8, "f4"), np.ones(8, "f4")), sum(through.stats.cache_hits.values()))
"""


def test_another_process_uses_what_was_compiled(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(CACHED)
    command = [sys.executable, "-W", "error", str(program)]
    said = [subprocess.run(command, capture_output=True, text=True, timeout=50) for _ in range(2)]
    assert [run.stdout for run in said] == ["(8, 8) 0\n", "(8, 8) 1\n"], said
