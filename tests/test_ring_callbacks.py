"""The public header as users compile it: callbacks in C and C++, beside Python's side of the ring."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la

pytestmark = [
    pytest.mark.locks(4 << 20),
    pytest.mark.skipif(not (shutil.which("cc") and shutil.which("c++")), reason="needs cc and c++"),
]
STRICT = ("-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", f"-I{la.get_include()}")
LANGUAGES = {"c": ("cc", "-std=c11"), "cpp": ("c++", "-std=c++17")}
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "c_callback.py"

# C11 and C++17 at once; what differs is how it is compiled.
CALLBACKS = """
#include <lockedarray/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

int64_t write_block(uintptr_t ring, const float *block, int64_t frames)
{
    int64_t taken = la_ring_write(la_ring_at(ring), block, (uint64_t)frames);
    if (taken >= 0 && taken < frames)
        la_ring_lose(la_ring_at(ring), (uint64_t)(frames - taken));
    return taken;
}

int64_t read_block(uintptr_t ring, float *out, int64_t frames)
{
    int64_t taken = la_ring_read(la_ring_at(ring), out, (uint64_t)frames);
    if (taken >= 0 && taken < frames)
        la_ring_miss(la_ring_at(ring), (uint64_t)(frames - taken));
    return taken;
}

int64_t write_planar(uintptr_t ring, const float *left, const float *right, int64_t frames)
{
    const void *channels[2];
    channels[0] = left;
    channels[1] = right;
    return la_ring_write_planar(la_ring_at(ring), channels, (uint64_t)frames);
}

int64_t read_planar(uintptr_t ring, float *left, float *right, int64_t frames)
{
    void *channels[2];
    channels[0] = left;
    channels[1] = right;
    return la_ring_read_planar(la_ring_at(ring), channels, (uint64_t)frames);
}

int64_t write_through_window(uintptr_t ring, float value, int64_t frames)
{
    void *at;
    int64_t taken = la_ring_write_window(la_ring_at(ring), (uint64_t)frames, &at);
    for (int64_t k = 0; k < 2 * taken; k++)
        ((float *)at)[k] = value;
    if (taken > 0)
        la_ring_commit(la_ring_at(ring), (uint64_t)taken);
    return taken;
}

int wait_read(uintptr_t ring, int64_t frames, int64_t ns)
{
    return la_ring_wait_read(la_ring_at(ring), (uint64_t)frames, la_ring_now() + ns);
}

int wait_write(uintptr_t ring, int64_t frames, int64_t ns)
{
    return la_ring_wait_write(la_ring_at(ring), (uint64_t)frames, la_ring_now() + ns);
}

int is_closed(uintptr_t ring)
{
    return la_ring_is_closed(la_ring_at(ring));
}

void close_ring(uintptr_t ring)
{
    la_ring_close(la_ring_at(ring));
}

#ifdef __cplusplus
}
#endif
"""


def compile_with(language: str, *arguments: object) -> None:
    command = [*LANGUAGES[language], *STRICT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture(scope="module", params=LANGUAGES)
def callbacks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp(request.param)
    source = write(folder / f"callbacks.{request.param}", CALLBACKS)
    compile_with(request.param, "-shared", "-fPIC", source, "-o", folder / "callbacks.so")
    library = ctypes.CDLL(str(folder / "callbacks.so"))
    ring, frames, array = ctypes.c_size_t, ctypes.c_int64, np.ctypeslib.ndpointer("f4")
    for name, arguments in {
        "write_block": (ring, array, frames),
        "read_block": (ring, array, frames),
        "write_planar": (ring, array, array, frames),
        "read_planar": (ring, array, array, frames),
        "write_through_window": (ring, ctypes.c_float, frames),
        "wait_read": (ring, frames, ctypes.c_int64),
        "wait_write": (ring, frames, ctypes.c_int64),
        "is_closed": (ring,),
        "close_ring": (ring,),
    }.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int if name in ("wait_read", "wait_write", "is_closed") else frames
    library.close_ring.restype = None
    return library


def stereo(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype="f4").reshape(count, 2)


def test_interleaved(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(1000, 2)
    out = np.zeros((300, 2), "f4")
    for _ in range(10):  # round the end, too
        assert callbacks.write_block(rb.address, stereo(300), 300) == 300
        np.testing.assert_array_equal(rb.read(1000), stereo(300))
        assert rb.write(stereo(300)) == 300
        assert callbacks.read_block(rb.address, out, 300) == 300
        np.testing.assert_array_equal(out, stereo(300))
    assert rb.frames_written == rb.frames_read == 6000


def test_planar(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(1000, 2)
    planes = np.ascontiguousarray(stereo(300).T)
    out = np.zeros((2, 300), "f4")
    for _ in range(10):
        assert callbacks.write_planar(rb.address, planes[0], planes[1], 300) == 300
        np.testing.assert_array_equal(rb.read(1000), stereo(300))
        assert rb.write(stereo(300)) == 300
        assert callbacks.read_planar(rb.address, out[0], out[1], 300) == 300
        np.testing.assert_array_equal(out, planes)


def test_window(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(100, 2)
    assert callbacks.write_through_window(rb.address, 0.5, 130) == 100
    np.testing.assert_array_equal(rb.read(100), np.full((100, 2), 0.5, "f4"))


def test_losses_are_seen_by_python(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(100, 2)
    assert callbacks.write_block(rb.address, stereo(130), 130) == 100
    assert callbacks.write_block(rb.address, stereo(5), 5) == 0
    assert (rb.overruns, rb.frames_lost, rb.underruns, rb.frames_missed) == (2, 35, 0, 0)
    assert callbacks.read_block(rb.address, stereo(120), 120) == 100
    assert (rb.overruns, rb.frames_lost, rb.underruns, rb.frames_missed) == (2, 35, 1, 20)


READY, NEVER, TIMEOUT = 1, 0, 2
LONG = 20 * 10**9  # ns


def in_a_thread(result: list[int], function: Callable[..., int], *arguments: object) -> threading.Thread:
    """Start a thread that is in C, without the GIL, until the wait is over."""
    thread = threading.Thread(target=lambda: result.append(function(*arguments)))
    thread.start()
    time.sleep(0.2)  # it sleeps by now
    assert not result
    return thread


def test_python_wakes_a_reader_in_c(callbacks: ctypes.CDLL) -> None:
    rb, states = la.RingBuffer(100, 2), []
    thread = in_a_thread(states, callbacks.wait_read, rb.address, 64, LONG)
    rb.write(stereo(63))
    time.sleep(0.1)
    assert not states  # it is one frame less than it wants
    rb.write(stereo(1))
    thread.join(2)
    assert states == [READY]


def test_python_wakes_a_writer_in_c(callbacks: ctypes.CDLL) -> None:
    rb, states = la.RingBuffer(100, 2), []
    rb.write(stereo(100))
    thread = in_a_thread(states, callbacks.wait_write, rb.address, 64, LONG)
    rb.read(64)
    thread.join(2)
    assert states == [READY]


def test_c_wakes_python(callbacks: ctypes.CDLL) -> None:
    rb, states = la.RingBuffer(100, 2), []
    thread = in_a_thread(states, rb.wait_read, 64)
    callbacks.write_block(rb.address, stereo(64), 64)
    thread.join(2)
    assert states == [True]


def test_a_wait_in_c_ends_with_its_time(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(100, 2)
    start = time.monotonic()
    assert callbacks.wait_read(rb.address, 1, 10**8) == TIMEOUT
    assert 0.09 < time.monotonic() - start < 5


def test_c_sees_that_python_closed(callbacks: ctypes.CDLL) -> None:
    rb, states = la.RingBuffer(100, 2), []
    rb.write(stereo(3))
    thread = in_a_thread(states, callbacks.wait_read, rb.address, 64, LONG)
    assert not callbacks.is_closed(rb.address)
    rb.close()
    thread.join(2)
    assert states == [NEVER]
    assert callbacks.is_closed(rb.address)
    assert callbacks.write_block(rb.address, stereo(1), 1) == -2  # LA_RING_CLOSED
    assert callbacks.read_block(rb.address, stereo(3), 3) == 3  # what was written before is still there


def test_python_sees_that_c_closed(callbacks: ctypes.CDLL) -> None:
    rb, states = la.RingBuffer(100, 2), []
    thread = in_a_thread(states, rb.wait_read, 64)
    callbacks.close_ring(rb.address)
    thread.join(2)
    assert states == [False]
    assert rb.closed
    assert rb.eof
    with pytest.raises(BrokenPipeError):
        rb.write(stereo(1))


def test_corruption_is_told_to_c(callbacks: ctypes.CDLL) -> None:
    rb = la.RingBuffer(100, 2)
    shared = ctypes.c_uint64.from_address(rb.address).value  # struct la_ring begins with `shared`
    ctypes.c_uint64.from_address(shared + 256).value = 1 << 40  # `written`
    assert callbacks.read_block(rb.address, stereo(8), 8) == -1  # LA_RING_CORRUPTED


# The headers by themselves

RING, WAIT = "#include <lockedarray/ring.h>\n", "#include <lockedarray/ring_wait.h>\n"


@pytest.mark.parametrize("includes", [RING, WAIT, RING + WAIT, WAIT + RING, RING + RING])
@pytest.mark.parametrize(("language", "standard"), [("c", "c11"), ("c", "gnu11"), ("cpp", "c++17")])
def test_headers_compile_in_any_order(tmp_path: Path, language: str, standard: str, includes: str) -> None:
    program = "int main(void) { return la_ring_at(0) != NULL; }\n"
    source = write(tmp_path / f"alone.{language}", includes + program)
    compile_with(language, f"-std={standard}", source, "-o", tmp_path / "alone")
    assert subprocess.run([tmp_path / "alone"], timeout=20).returncode == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_files_are_linked_together(tmp_path: Path, language: str) -> None:
    one = write(
        tmp_path / f"one.{language}",
        RING + "int64_t other(struct la_ring *);\n"
        "int main(int count, char **names)\n"
        "{ (void)names; return count > 1 ? (int)other(la_ring_at(0)) : la_ring_at(0) != NULL; }\n",
    )
    two = write(
        tmp_path / f"two.{language}",
        WAIT + "int64_t other(struct la_ring *);\n"
        "int64_t other(struct la_ring *ring) { return la_ring_held(ring); }\n",
    )
    compile_with(language, one, two, "-o", tmp_path / "both")
    assert subprocess.run([tmp_path / "both"], timeout=20).returncode == 0


# Cython

CYTHON = """
# cython: language_level=3
from libc.stdint cimport int64_t, uint64_t, uintptr_t

cdef extern from "lockedarray/ring.h" nogil:
    cdef struct la_ring:
        pass
    la_ring *la_ring_at(uintptr_t address)
    int64_t la_ring_write(la_ring *ring, const void *block, uint64_t frames)
    int64_t la_ring_read(la_ring *ring, void *out, uint64_t frames)

def through(uintptr_t address, const float[:, ::1] block, float[:, ::1] out):
    cdef la_ring *ring = la_ring_at(address)
    cdef int64_t taken, got
    with nogil:
        taken = la_ring_write(ring, &block[0, 0], block.shape[0])
        got = la_ring_read(ring, &out[0, 0], out.shape[0])
    return taken, got
"""


def test_cython(tmp_path: Path) -> None:
    pytest.importorskip("Cython", reason="needs cython")
    source = write(tmp_path / "cython_ring.pyx", CYTHON)
    subprocess.run([sys.executable, "-m", "cython", "-3", source], check=True, timeout=50)
    module = tmp_path / f"cython_ring{sysconfig.get_config_var('EXT_SUFFIX')}"
    headers = [f"-I{la.get_include()}", f"-I{sysconfig.get_path('include')}"]
    options = ["-O1", "-shared", "-fPIC", "-w", *headers]  # the warnings of generated code are not ours
    subprocess.run(["cc", *options, source.with_suffix(".c"), "-o", module], check=True, timeout=50)
    spec = importlib.util.spec_from_file_location("cython_ring", module)
    cython_ring = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cython_ring)
    rb = la.RingBuffer(1000, 2)
    out = np.zeros((300, 2), "f4")
    assert cython_ring.through(rb.address, stereo(300), out) == (300, 300)
    np.testing.assert_array_equal(out, stereo(300))


# The example


def test_example_of_a_callback() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert 500 < int(re.findall(r"periods: (\d+)", done.stdout)[0]) < 1000
    assert re.search(r"xruns: \d+ underruns, \d+ overruns", done.stdout)
    assert re.search(r"worst time inside the callback: \d+\.\d us", done.stdout)


def test_example_counts_what_python_misses() -> None:
    """The control: rings that hold two periods are too short for Python beside a busy thread."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--seconds", "1", "--latency", "0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(map(int, re.findall(r"(\d+) (?:underruns|overruns)", done.stdout))) > 0
