"""flush_denormals: sums next to zero, in one thread, until the end of it."""

from __future__ import annotations

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lockedarray as la
from lockedarray._native import lib
from thread_settings import denormals, float_control, set_float_control, unchanged

FLUSHED, COMPUTED = {False}, {True}
FTZ, DAZ = (1 << 15, 1 << 6) if platform.machine() == "x86_64" else (1 << 24, 0)


def computed() -> set[bool]:
    """{True} where all denormals are computed, {False} where none is."""
    return set(denormals().values())


def test_flushed_to_zero_and_back() -> None:
    with unchanged():
        assert computed() == COMPUTED
        with la.flush_denormals():
            assert computed() == FLUSHED
        assert computed() == COMPUTED


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [1, 7, 1024])
def test_a_filter_that_rings_out_ends_at_zero(dtype: str, size: int) -> None:
    def tail() -> np.ndarray:
        state = np.full(size, np.finfo(dtype).tiny * 4, dtype)
        for _ in range(5):
            state *= np.dtype(dtype).type(0.25)
        return state

    finite = tail()
    with la.flush_denormals():
        flushed = tail()
    assert (finite > 0).all()
    assert (flushed == 0).all()


def test_in_force_from_the_call_on() -> None:
    with unchanged():
        held = la.flush_denormals()
        assert computed() == FLUSHED
        held.end()
        assert computed() == COMPUTED
        held.end()
        assert computed() == COMPUTED


def test_it_nests() -> None:
    with unchanged(), la.flush_denormals() as outer:
        with la.flush_denormals():
            assert computed() == FLUSHED
        assert computed() == FLUSHED
        outer.end()
        assert computed() == COMPUTED
        with la.flush_denormals():
            outer.end()
            assert computed() == FLUSHED


def test_an_exception_ends_it() -> None:
    with unchanged(), pytest.raises(KeyError), la.flush_denormals():
        raise KeyError


def test_other_threads_compute_on() -> None:
    with ThreadPoolExecutor(1) as executor, unchanged():
        assert executor.submit(computed).result() == COMPUTED
        with la.flush_denormals():
            assert executor.submit(computed).result() == COMPUTED
            executor.submit(la.flush_denormals).result()
            assert computed() == FLUSHED
        assert computed() == COMPUTED
        assert executor.submit(computed).result() == FLUSHED


def test_threads_started_meanwhile_inherit_it() -> None:
    """As all of what a thread has, its scheduler too: the kernel copies it."""
    with la.flush_denormals(), ThreadPoolExecutor(1) as executor:
        assert executor.submit(computed).result() == FLUSHED


def test_ended_in_another_thread() -> None:
    with ThreadPoolExecutor(1) as executor, unchanged():
        assert executor.submit(computed).result() == COMPUTED
        with la.flush_denormals() as held:
            for leave in held.end, lambda: held.__exit__(None, None, None):
                with pytest.raises(RuntimeError, match="must be ended in the thread that it was called in"):
                    executor.submit(leave).result()
            assert executor.submit(computed).result() == COMPUTED
            assert computed() == FLUSHED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs MXCSR, whose two bits can differ: x86-64")
@pytest.mark.parametrize("bits", [0, FTZ, DAZ, FTZ | DAZ, FTZ | 3 << 13], ids=hex)
@pytest.mark.parametrize("how", ["flush_denormals", "realtime"])
def test_every_bit_comes_back(bits: int, how: str) -> None:
    """Others set one of the two (what is built with -ffast-math, audio programs), or the way of rounding."""

    def thread() -> tuple[int, int, int]:
        set_float_control(float_control() | bits)
        before = float_control()
        with la.flush_denormals() if how == "flush_denormals" else la.realtime(lock_memory=False):
            inside = float_control()
        return before, inside, float_control()

    with ThreadPoolExecutor(1) as executor:
        before, inside, after = executor.submit(thread).result()
    assert inside == before | FTZ | DAZ
    assert after == before


SPEED = """
import time
import numpy as np
import lockedarray as la
def seconds(values):
    half, out = np.full_like(values, 0.5), np.empty_like(values)
    def once():
        start = time.perf_counter()
        np.multiply(values, half, out=out)
        return time.perf_counter() - start
    return min(once() for _ in range(20))
for dtype in 'f4', 'f8':
    tiny = np.finfo(dtype).tiny
    normal, quiet = np.full(1 << 16, tiny * 1e6, dtype), np.full(1 << 16, tiny / 8, dtype)
    with la.flush_denormals():
        flushed = seconds(quiet)
    print(seconds(normal), seconds(quiet), flushed)
"""


def test_denormals_are_slow_and_flushed_ones_are_not() -> None:
    said = subprocess.check_output([sys.executable, "-c", SPEED], text=True)
    for line in said.splitlines():
        normal, computed, flushed = map(float, line.split())
        if computed < 5 * normal:
            pytest.skip(f"needs a processor that is slow at denormals: {computed / normal:.1f} times here")
        assert flushed < 2 * normal
        assert computed > 5 * flushed


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_the_last_one_to_end_restores(first: int) -> None:
    before = lib.os_denormals()
    both = [la.flush_denormals(), la.flush_denormals()]
    both[first].end()
    assert lib.os_flushes_denormals() == 1
    both[1 - first].end()
    assert lib.os_denormals() == before


@pytest.mark.parametrize("realtime_ends_first", [False, True])
def test_overlapping_a_realtime(realtime_ends_first: bool) -> None:
    before = lib.os_denormals()
    flushing = la.flush_denormals()
    rt = la.realtime(lock_memory=False, cpu_dma_latency=None)
    rt.__enter__()
    ends = [flushing.end, lambda: rt.__exit__(None, None, None)]
    if realtime_ends_first:
        ends.reverse()
    ends[0]()
    assert lib.os_flushes_denormals() == 1
    ends[1]()
    assert lib.os_denormals() == before


def test_what_has_ended_is_not_entered() -> None:
    flushing = la.flush_denormals()
    flushing.end()
    with pytest.raises(RuntimeError, match="has ended"), flushing:
        raise AssertionError("entered")
