"""Locked arrays against smaps' own words: what is locked, what faults, what is given back."""

from __future__ import annotations

import gc
import inspect
import mmap
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la

pytestmark = pytest.mark.locks(4 << 20)
PAGE = resource.getpagesize()


def locked_bytes() -> int:
    return int(Path("/proc/self/status").read_text().split("VmLck:")[1].split()[0]) * 1024


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def touch_every_page(array: np.ndarray) -> int:
    """Return the faults of one reading and one writing of each page."""
    pages = array.reshape(-1).view(np.uint8)[::PAGE]
    out = np.empty_like(pages)
    out.fill(0)
    before = faults()
    out[...] = pages
    if pages.flags.writeable:
        pages[...] = 1
    return faults() - before


@given(
    st.lists(st.integers(0, 20), max_size=3),
    st.sampled_from(["f4", "c16", "i1", ">u2", "S", "U3", "V7", [("a", "i1"), ("b", "f8")]]),
    st.sampled_from("CF"),
)
def test_empty_is_numpys(shape: list[int], dtype: object, order: str) -> None:
    start = locked_bytes()
    array, model = la.empty(shape, dtype, order), np.empty(shape, dtype, order)
    assert (array.shape, array.dtype, array.strides) == (model.shape, model.dtype, model.strides)
    assert str(array.flags) == str(model.flags).replace("OWNDATA : True", "OWNDATA : False")
    assert array.ctypes.data % PAGE == 0
    assert locked_bytes() - start == array.base.mapped_bytes == -(-array.nbytes // PAGE) * PAGE
    del array
    assert locked_bytes() == start


def test_empty_made_in_c_is_the_function_that_python_wrote() -> None:
    assert list(inspect.signature(la.empty).parameters)[:4] == ["shape", "dtype", "order", "device"]
    assert (la.empty.__name__, la.empty.__module__) == ("empty", "lockedarray.arrays")
    assert "Returns" in str(la.empty.__doc__)
    assert pickle.loads(pickle.dumps(la.empty)) is la.empty
    assert la.empty(3).dtype == la.empty(shape=3).dtype == np.float64
    assert la.empty(3, guard=True).ctypes.data % PAGE == PAGE - 24
    for call in (la.empty, lambda: la.empty(3, "f4", "C", 0), lambda: la.empty(3, gaurd=True)):
        with pytest.raises(TypeError, match="argument"):
            call()


def test_views_keep_the_lock() -> None:
    start = locked_bytes()
    view = la.zeros(4 * PAGE, "u1")[::7].view("i1")[1:]
    gc.collect()
    assert locked_bytes() == start + 4 * PAGE
    shared = np.frombuffer(view.base, "u1")
    del view
    assert locked_bytes() == start + 4 * PAGE
    del shared
    assert locked_bytes() == start


def of_a_file() -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, np.arange(64 * 512.0))
        return la.load(file.name)


KINDS: dict[str, Callable[[], np.ndarray]] = {
    "empty": lambda: la.empty(64 * PAGE, "u1"),
    "zeros": lambda: la.zeros(64 * PAGE, "u1"),
    "ones": lambda: la.ones(64 * PAGE, "u1"),
    "full": lambda: la.full((64, PAGE), 7, "u1", "F"),
    "array": lambda: la.array(np.arange(64 * 512.0)),
    "empty_like": lambda: la.empty_like(np.ones(64 * 512)),
    "load": of_a_file,
    "guard": lambda: la.empty(64 * PAGE, "u1", guard=True),
    "huge": lambda: la.empty(1 << 21, "u1", huge=True),
    "share": lambda: la.empty(64 * PAGE, "u1", fork="share"),
    "guard and share": lambda: la.empty(64 * PAGE, "u1", guard=True, fork="share"),
    "of a pool": lambda: la.Pool(64 * PAGE).empty(64 * PAGE, "u1"),
    "of a shared pool": lambda: la.Pool(64 * PAGE, fork="share").empty(64 * PAGE, "u1"),
    "of a pool of huge pages": lambda: la.Pool(1 << 21, huge=True).empty(1 << 21, "u1"),
    "a window of a ring": lambda: la.RingBuffer(64 * PAGE, None, "u1").write_window(64 * PAGE),
    "a window of a pool's ring": lambda: la.Pool(1 << 20).ring(64 * PAGE, None, "u1").write_window(64 * PAGE),
    "a table's values": lambda: la.LookupTable(np.ones(64 * 512)).values,
    "a pool's table's values": lambda: la.Pool(1 << 20).table(np.ones(64 * 512)).values,
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_faults(kind: str) -> None:
    # The interpreter faults now and then on memory of its own; new locked pages never do.
    assert min(touch_every_page(KINDS[kind]()) for _ in range(4)) == 0


def test_the_counter_sees_faults() -> None:
    pages = [np.frombuffer(mmap.mmap(-1, 64 * PAGE), "u1") for _ in range(4)]
    assert min(touch_every_page(each) for each in pages) >= 64


@pytest.mark.parametrize("options", [{}, {"guard": True}, {"fork": "share"}])
def test_fork_leaves_the_parents_pages(options: dict[str, object]) -> None:
    array, control = la.zeros(256 * PAGE, "u1", **options), np.ones(1024 * PAGE, "u1")
    read, write = os.pipe()
    start = locked_bytes()
    child = os.fork()
    if child == 0:
        unlocked = not array.base.locked
        del array
        os.read(read, 1)
        os._exit(0 if unlocked else 1)
    try:
        assert touch_every_page(control) > 900, "the control must fault"
        # The interpreter's own pages fault once after a fork too: let them settle on the control.
        assert any(touch_every_page(control) == 0 for _ in range(50))
        assert touch_every_page(array) == 0
    finally:
        os.write(write, b"x")
        status = os.waitpid(child, 0)[1]
        os.close(read)
        os.close(write)
    assert status == 0
    assert locked_bytes() == start
    assert array.base.locked


def test_guard_ends_on_a_page() -> None:
    array = la.empty(3, "f4", guard=True)
    assert (array.ctypes.data + array.nbytes) % PAGE == 0
    code = "import ctypes, lockedarray as la; a = la.empty(3, 'f4', guard=True); {}"
    for act, status in (
        ("ctypes.memset(a.ctypes.data, 1, 12)", 0),
        ("ctypes.memset(a.ctypes.data, 1, 13)", -11),
    ):
        assert subprocess.run([sys.executable, "-P", "-c", code.format(act)]).returncode == status


@pytest.mark.locks(8 << 20)
def test_limits_as_an_ordinary_user() -> None:
    program = """
import resource, warnings, numpy as np, lockedarray as la
for limit in (0, 65536, 8 << 20):
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, 8 << 20))
    maps = len(open('/proc/self/maps').readlines())
    try:
        la.zeros(limit + 1, 'u1')
    except la.LockError as error:
        figures = error.soft, error.hard, error.requested, error.locked
        assert figures == (limit, 8 << 20, limit + 1, 0), error
        assert {0: ' 0 ', 65536: '64 KiB', 8 << 20: '8 MiB'}[limit] in str(error), str(error)
        assert error.fix in str(error) and isinstance(error, MemoryError)
    else:
        raise SystemExit('locked more than the limit')
    assert 'VmLck:\\t       0 kB' in open('/proc/self/status').read()
    assert abs(len(open('/proc/self/maps').readlines()) - maps) <= 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        array = la.zeros(limit + 1, 'u1', on_error='warn')
    assert [w.category for w in caught] == [la.LockWarning]
    assert not array.base.locked and array.sum() == 0
    assert la.empty(0).size == 0
"""
    drop = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    subprocess.run([*drop, sys.executable, "-P", "-c", program], check=True)


def test_bad_input_is_numpys() -> None:
    start = locked_bytes()
    for arguments in [((-1,),), ((2**62, 2**62),), ("x",), (3, "nonsense"), (3, float, "K")]:
        with pytest.raises((TypeError, ValueError)) as expected:
            np.empty(*arguments)
        with pytest.raises(expected.type):
            la.empty(*arguments)
    for dtype in (object, np.dtypes.StringDType(), [("a", object)]):
        with pytest.raises(TypeError, match="references"):
            la.empty(3, dtype)
    for options in ({"fork": "x"}, {"on_error": "x"}, {"device": "gpu"}):
        with pytest.raises(ValueError, match=r"x|gpu"):
            la.empty(3, **options)
    with pytest.raises(MemoryError):
        la.empty(1 << 46, "u1")
    assert locked_bytes() == start


def test_full_and_ones() -> None:
    assert la.full((2, 2), 7).dtype == np.full((2, 2), 7).dtype
    assert (la.ones(5, "i2") == 1).all()


def test_lock_error_can_be_pickled() -> None:
    error = la.LockError(12, 1, 2, 3, 4, "the limit is 3", "raise it")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.soft, copy.errno, str(copy)) == (3, 12, str(error))


PROTOTYPES = [
    np.arange(24.0).reshape(2, 3, 4),
    np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(24.0).reshape(2, 3, 4)[:, ::-1, ::2],
    np.arange(24.0).reshape(2, 3, 4).swapaxes(0, 2)[::-1],
    np.broadcast_to(np.float32(1), (3, 2)),
    np.array(5, "i2"),
    np.zeros((0, 4), order="F"),
    np.zeros((2, 0, 4)).transpose(2, 0, 1),
    np.zeros(3, [("a", "i1"), ("b", "f8")]),
    np.ma.masked_array([1, 2, 3], [0, 1, 0]),
]


@pytest.mark.parametrize("subok", [True, False])
@pytest.mark.parametrize("order", ["K", "A", "C", "F"])
@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda a: f"{type(a).__name__}{a.shape}{a.strides}")
def test_like_is_numpys(prototype: np.ndarray, order: str, subok: bool) -> None:
    for dtype in (None, "f4", "S", ">i8"):
        for shape in (None, 5, (4, 2), (2, 3, 4), prototype.shape):
            ours = la.empty_like(prototype, dtype, order, subok, shape)
            model = np.empty_like(prototype, dtype, order, subok, shape)
            assert (ours.shape, ours.dtype, type(ours)) == (model.shape, model.dtype, type(model))
            assert ours.strides == model.strides
            assert la.region(ours) is not None or subok
    filled = la.full_like(prototype, 1, order=order, subok=subok)
    assert type(filled) is type(np.full_like(prototype, 1, subok=subok))
    np.testing.assert_array_equal(np.asarray(filled), np.full_like(np.asarray(prototype), 1))
    assert (np.asarray(la.zeros_like(prototype)) == np.zeros_like(np.asarray(prototype))).all()
    assert (np.asarray(la.ones_like(prototype)) == np.ones_like(np.asarray(prototype))).all()


@given(st.sampled_from(range(len(PROTOTYPES))), st.sampled_from("KACF"), st.integers(0, 4), st.booleans())
def test_array_is_numpys(which: int, order: str, ndmin: int, subok: bool) -> None:
    source = PROTOTYPES[which]
    for dtype in (None, "f8") if source.dtype.names is None else (None,):
        ours = la.array(source, dtype, order=order, ndmin=ndmin, subok=subok)
        model = np.array(source, dtype, order=order, ndmin=ndmin, subok=subok)
        assert (ours.shape, ours.dtype, type(ours)) == (model.shape, model.dtype, type(model))
        assert ours.flags.c_contiguous == model.flags.c_contiguous
        assert ours.flags.f_contiguous == model.flags.f_contiguous
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(model))


def test_array_copies_when_it_must() -> None:
    locked = la.ones(3)
    assert la.array(locked) is not locked
    assert la.array(locked, copy=None) is locked
    assert la.array(locked, copy=False) is locked
    assert la.region(la.array(locked, "f4", copy=None)) is not la.region(locked)
    assert la.region(la.array([1, 2], copy=None)) is not None
    for source, dtype in ((np.ones(3), None), ([1, 2], None), (locked, "f4")):
        with pytest.raises(ValueError, match="Unable to avoid copy"):
            la.array(source, dtype, copy=False)
    with pytest.raises(TypeError, match="gaurd"):
        la.zeros(3, gaurd=True)


def test_user_namespace() -> None:
    """There a process looks fully capable, and the limit holds all the same."""
    if os.system("unshare -Ur true 2>/dev/null") != 0:
        pytest.skip("needs user namespaces (unshare -Ur)")
    code = "import lockedarray as la; la.zeros(1 << 20)"
    command = ["sh", "-c", 'ulimit -l 64; exec unshare -Ur "$@"', "sh", sys.executable, "-P", "-c", code]
    ran = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 1
    assert "64 KiB" in ran.stderr
    assert "LockError" in ran.stderr
