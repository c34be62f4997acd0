"""Windows: one contiguous piece wherever they start, and nobody's but their caller's."""

from __future__ import annotations

import gc
import random
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from test_ring import CAPACITIES, CHANNELS, DTYPES, of_ring

pytestmark = pytest.mark.locks(4 << 20)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_contiguous_at_every_offset(capacity: int, channels: int, dtype: np.dtype) -> None:
    rb = la.RingBuffer(capacity, channels, dtype)
    itemsize = rb.dtype.itemsize
    strides = (channels * itemsize, itemsize)
    offsets = set()
    first = 0
    # More frames than the data holds, one at a time: a window on all of the ring starts wherever it can.
    for step in range(rb.nbytes // strides[0] + capacity):
        window = rb.write_window(capacity + 1)
        assert window.shape == (capacity, channels)
        assert window.strides == strides
        assert window.flags.writeable
        offsets.add(window.ctypes.data)
        if step % 97 == 0:
            window[...] = of_ring(rb, first, capacity)
            rb.commit(capacity)
            view = rb.read_window(capacity + 1)
            assert (view.ctypes.data, view.strides, view.flags.writeable) == (
                window.ctypes.data,
                strides,
                False,
            )
            np.testing.assert_array_equal(view, of_ring(rb, first, capacity))
            rb.consume(capacity)
            first += capacity
        else:
            rb.commit(1)
            rb.read_window(1)
            rb.consume(1)
            first += 1
    assert len(offsets) > 100


@pytest.mark.parametrize(
    "damage",
    [
        lambda window: window.setflags(write=False),
        lambda window: setattr(window, "shape", (2, -1)),
        lambda window: setattr(window, "strides", (0, 0)),
        lambda window: setattr(window, "dtype", "u1"),
        lambda window: window.view("u1").setflags(write=False),
    ],
    ids=["freeze", "shape", "strides", "dtype", "view"],
)
@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_what_a_caller_does_to_a_window_is_over_with_it(damage: object) -> None:
    rb = la.RingBuffer(100, 2)
    for window_of in (rb.write_window, rb.read_window):
        window = window_of(10)
        damage(window)
        if window_of == rb.write_window:
            rb.commit(10)
        del window
        later = window_of(10)
        assert (later.shape, later.strides, later.dtype) == ((10, 2), (8, 4), np.dtype("f4"))
        assert later.flags.writeable == (window_of == rb.write_window)


def test_old_windows_keep_their_place() -> None:
    rb = la.RingBuffer(100)
    first = rb.write_window(10)
    second = rb.write_window(20)
    assert first.ctypes.data == second.ctypes.data
    rb.commit(15)
    with pytest.raises(ValueError, match="has 5 frames"):
        rb.commit(6)
    rb.commit(5)
    assert rb.read_available == 20
    rb.write_window(10)
    rb.write(np.zeros(1, "f4"))
    with pytest.raises(ValueError, match="has 0 frames"):
        rb.commit(1)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_a_million_windows_leave_memory_flat() -> None:
    rb = la.RingBuffer(1000, 2)
    chance = random.Random(1)
    sizes = [chance.randrange(1001) for _ in range(1000)]

    def use(rounds: int) -> None:
        for _ in range(rounds):
            for n in sizes:
                rb.commit(len(rb.write_window(n)))
                rb.consume(len(rb.read_window(n)))

    use(20)
    gc.collect()
    before = resident()
    use(500)
    assert resident() - before < 50, "pages"
    kept = [rb.write_window(n) for _ in range(200) for n in sizes]
    assert resident() - before > 1000, "the control keeps its windows"
    del kept
