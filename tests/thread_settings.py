"""What `realtime` sets, asked of the kernel, the C library and the interpreter: the tests' own reading."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from smaps import vm_lck

LIBC = ctypes.CDLL(None, use_errno=True)
LIBM = ctypes.CDLL("libm.so.6") if platform.libc_ver()[0] == "glibc" else LIBC
SCHED_DEADLINE = 6
DMA_LATENCY = "/dev/cpu_dma_latency"
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_CONTROL = 7 if platform.machine() == "x86_64" else 0  # MXCSR or FPCR, as a word of fenv_t
_EXCEPTIONS = 0x3F if platform.machine() == "x86_64" else 0  # what sums leave behind in MXCSR


def timer_slack() -> int:
    """Of this thread, in ns."""
    return LIBC.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)


def set_timer_slack(ns: int) -> None:
    assert LIBC.prctl(_PR_SET_TIMERSLACK, ns, 0, 0, 0) == 0


def float_control() -> int:
    """How this thread computes: the control bits of MXCSR or FPCR."""
    environment = (ctypes.c_uint32 * 8)()
    LIBM.fegetenv(environment)
    return environment[_CONTROL] & ~_EXCEPTIONS


def set_float_control(word: int) -> None:
    environment = (ctypes.c_uint32 * 8)()
    LIBM.fegetenv(environment)
    environment[_CONTROL] = word
    LIBM.fesetenv(environment)


def denormals() -> dict[str, bool]:
    """Whether sums next to zero are computed: NumPy's, the interpreter's, and from what kind of numbers."""
    single = np.full(64, 1e-40, "f4")
    double = np.full(64, 1e-310)
    small = float("1e-310")
    return {
        "float32 operands": bool((single * np.float32(1e30) > 0).all()),
        "float32 results": bool((np.full(64, 1e-30, "f4") * np.float32(1e-10) > 0).all()),
        "float64 operands": bool((double * 1e30 > 0).all()),
        "float64 results": bool((np.full(64, 1e-300) * 1e-10 > 0).all()),
        "Python's": small * 0.5 > 0,
    }


def descriptors() -> dict[str, str]:
    """What is open."""
    opened = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the directory's own
            opened[link.name] = os.readlink(link)
    return opened


def stack_size() -> int:
    """What new threads get; 0 is the system's. Asking alone would set it to 0."""
    size = threading.stack_size()
    threading.stack_size(size)
    return size


def settings() -> dict[str, object]:
    """All that a thread may find changed."""
    thread = threading.get_native_id()
    return {
        "scheduler": os.sched_getscheduler(0),
        "priority": os.sched_getparam(0).sched_priority,
        "nice": os.getpriority(os.PRIO_PROCESS, thread),
        "processors": sorted(os.sched_getaffinity(0)),
        "timer slack": timer_slack(),
        "float control": float_control(),
        "denormals": denormals(),
        "collection": gc.isenabled(),
        "frozen": gc.get_freeze_count() > 0,
        "switch interval": sys.getswitchinterval(),
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "locked": vm_lck(),
        "descriptors": descriptors(),
        "stack of new threads": stack_size(),
    }


def changed(before: dict[str, object]) -> dict[str, object]:
    """What is not as it was: before and now."""
    now = settings()
    return {name: (before[name], now[name]) for name in now if now[name] != before[name]}


@contextmanager
def unchanged() -> Iterator[dict[str, object]]:
    """Nothing is changed by what is in the block."""
    before = settings()
    yield before
    different = changed(before)
    assert not different, different
