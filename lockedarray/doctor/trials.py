"""What is tried rather than read about. Nothing stays: each trial is undone before it returns."""

from __future__ import annotations

import errno
import os
import struct
import threading
from dataclasses import dataclass

from .. import limits
from ..arrays import empty
from ..fixes import CPU_DMA_LATENCY

UNTRIED = -1


def named(error: int) -> str:
    """Return an errno as people read it, and as they search for it."""
    return f"{os.strerror(error)} ({errno.errorcode.get(error, error)})"


@dataclass(frozen=True)
class Trials:
    """How the trials went: 0 where it worked, else the errno, and `UNTRIED` where it could not be tried.

    Attributes
    ----------
    memlock_lifted : bool
        Whether a capability lifts the limit on locked memory; True too where there is none.
    lock_page, fifo, cpu_dma_latency : int
        Locking a page, SCHED_FIFO for a thread, opening /dev/cpu_dma_latency to write.
    latency_us : int
        What the machine's processors are held to now, in microseconds; `UNTRIED` where not known.
    """

    memlock_lifted: bool = False
    lock_page: int = UNTRIED
    fifo: int = UNTRIED
    cpu_dma_latency: int = UNTRIED
    latency_us: int = UNTRIED


def try_out() -> Trials:
    """Try everything; less than a millisecond."""
    latency, latency_us = _cpu_dma_latency()
    return Trials(_memlock_lifted(), _lock_page(), _fifo(), latency, latency_us)


def _memlock_lifted() -> bool:
    try:
        return limits.memlock_lifted()
    except OSError:
        return False


def _lock_page() -> int:
    try:
        empty(1, "u1")
    except OSError as error:  # a LockError is one
        return error.errno or UNTRIED
    except MemoryError:
        return errno.ENOMEM
    return 0


def _fifo() -> int:
    """Ask for the lowest priority in a thread that ends with it."""
    outcome = UNTRIED

    def ask() -> None:
        nonlocal outcome
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            outcome = 0
        except OSError as error:
            outcome = error.errno or UNTRIED

    thread = threading.Thread(target=ask, name="doctor", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there is no room for a thread
        return UNTRIED
    thread.join()
    return outcome


def _cpu_dma_latency() -> tuple[int, int]:
    """Open the file as whoever holds it does; it demands nothing before it is written to."""
    try:
        file = os.open(CPU_DMA_LATENCY, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or UNTRIED, UNTRIED
    try:
        now = os.read(file, 4)
        return 0, struct.unpack("=i", now)[0] if len(now) == 4 else UNTRIED
    except OSError:
        return 0, UNTRIED
    finally:
        os.close(file)
