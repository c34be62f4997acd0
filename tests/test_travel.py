"""What a dtype is called in a shared header, and what such a text may come to."""

from __future__ import annotations

import multiprocessing as mp
import os
import random
from multiprocessing import resource_sharer

import numpy as np
import pytest

import lockedarray as la
from lockedarray.travel import read_dtype, write_dtype
from peers import nothing_left
from test_errors import run_limited

pytestmark = pytest.mark.locks(1 << 20)

DTYPES = [
    *("f4", ">f4", "i2", "u1", "?", "c8", "S7", "U3", "V5", "M8[ns]", "m8[25us]", "f2"),
    [("a", "<f4"), ("b", ">i2")],
    [("a", "<f4", (2, 3)), ("b", [("c", "u1"), ("d", "S2")])],
    np.dtype([("a", "u1"), ("b", "f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["u1", "f4"], "offsets": [3, 8], "itemsize": 20}),
    [(("title", "name"), "f4")],
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_there_and_back(dtype: object) -> None:
    assert read_dtype(write_dtype(np.dtype(dtype))) == np.dtype(dtype)
    rb = la.RingBuffer(10, 3, dtype)
    other = la.RingBuffer.attach(rb.fileno())
    assert (other.dtype, other.channels, other.capacity) == (rb.dtype, 3, 10)
    block = np.zeros((10, 3), rb.dtype)
    rb.write(block)
    assert np.array_equal(other.read(10), block)


@pytest.mark.parametrize(
    "dtype",
    [
        [("größe", "f4")],
        {"names": ["a", "b"], "formats": ["u4", "u2"], "offsets": [0, 2]},
        [(f"a_field_with_a_long_name_{k}", "f4") for k in range(100)],
    ],
    ids=["beyond ASCII", "fields that overlap", "too long"],
)
@pytest.mark.usefixtures(nothing_left.__name__)
def test_what_stays_at_home(dtype: object) -> None:
    rb = la.RingBuffer(10, dtype=np.dtype(dtype))
    rb.write(np.zeros(3, rb.dtype))
    assert rb.read_available == 3
    with pytest.raises(ValueError, match="cannot travel"):
        rb.fileno()


BYTES = b"()[]{}'\",<>|=0123456789abfiuSUVMO\\ \x00\xff"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_damaged_texts_are_dtypes_or_refused(dtype: object) -> None:
    """Texts with bytes changed, dropped or doubled: a dtype, or a ValueError, and never another exception."""
    chance = random.Random(str(dtype))
    good = write_dtype(np.dtype(dtype))
    for _ in range(100):
        text = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text) + 1)
            more = chance.choices(BYTES, k=chance.randint(0, 3))
            text[at : at + chance.randint(0, 3)] = bytes(more)
        try:
            assert isinstance(read_dtype(bytes(text)), np.dtype)
        except ValueError:
            continue


@pytest.mark.usefixtures(nothing_left.__name__)
def test_a_connection_within_a_process() -> None:
    """Sent and received here: the descriptors on the way are closed again, and the frames are the same."""
    ours, theirs = mp.Pipe()
    rb = la.RingBuffer(10, eventfd=True)
    ours.send(rb)
    arrived = theirs.recv()
    assert arrived.eventfds != rb.eventfds
    assert [os.stat(fd).st_ino for fd in arrived.eventfds] == [os.stat(fd).st_ino for fd in rb.eventfds or ()]
    rb.write(np.arange(3, dtype="f4"))
    assert arrived.read(10).tolist() == [0, 1, 2]
    rb.close()
    assert arrived.eof
    ours.close()
    theirs.close()
    resource_sharer.stop(5)


UNLOCKED = """
import pickle, warnings
from multiprocessing.reduction import ForkingPickler
import lockedarray as la
for make, most in ((la.RingBuffer, 5000), (la.HistoryBuffer, 2000)):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        here = make(20_000, on_error="warn")
    assert not here.locked
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = pickle.loads(ForkingPickler.dumps(here))
    assert [each.category for each in caught] == [la.LockWarning]
    assert not there.locked
    small = make(100)
    assert small.locked and pickle.loads(ForkingPickler.dumps(small)).locked
    del small
    large = make(most)  # locked here, and more than can be locked twice
    try:
        pickle.loads(ForkingPickler.dumps(large))
    except la.LockError:
        del large
    else:
        raise SystemExit("it arrived")
"""


def test_what_is_not_locked_here_may_be_so_there() -> None:
    run_limited(UNLOCKED, 64)
