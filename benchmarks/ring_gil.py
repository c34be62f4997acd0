"""Ten ring operations in a loop of 1 ms, beside a Python thread that never rests: the time inside the loop.

    python benchmarks/ring_gil.py [--quick] [--seconds S] [--nice N] [--fifo PRIORITY]

A call that gives the GIL up may get it back only after a switch interval, 5 ms: the ring's calls keep it.
What is timed is from the loop's waking to its next wait, not the waking itself, which the busy thread delays
by a switch interval like any other. The control makes the same ten calls, and after each one that gives the
GIL up and does nothing, as a ring in ctypes or cffi would. As run.py's lines: p99.9 of a batch, against the
100 us it may take and against the control. Alone: all percentiles of one long run of each, at a niceness or
under SCHED_FIFO if asked.

What the kernel does to a thread in the middle of its loop is in these figures as well.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from timing import Batch, Line

import lockedarray as la

FRAMES = 64
PERIOD = 0.001
LIMIT = 100_000.0  # ns
nothing = ctypes.CDLL(None).getppid  # ctypes gives the GIL up for every call of a CDLL


class Busy:
    """A thread of pure Python, as long as the context lasts."""

    def _run(self) -> None:
        number = 0
        while not self.over:
            number += 1

    def __enter__(self) -> None:
        self.over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def __exit__(self, *what: object) -> None:
        self.over = True
        self.thread.join()


def inside(passes: int, between: Callable[[], object] | None) -> NDArray[np.int64]:
    """Return the ns that each pass took: five writes and five reads, and `between` after each."""
    rb = la.RingBuffer(2 * FRAMES, 2)
    src, dst = np.ones((FRAMES, 2), "f4"), np.zeros((FRAMES, 2), "f4")
    times = la.zeros(passes, "int64")
    clock, ticks = time.perf_counter_ns, la.Periodic(PERIOD)
    write, read_into = rb.write, rb.read_into
    with Busy():
        next(ticks)
        for k in range(passes):
            next(ticks)
            begin = clock()
            for _ in range(5):
                write(src)
                if between:
                    between()
                read_into(dst)
                if between:
                    between()
            times[k] = clock() - begin
    return np.array(times)


def p99_9(passes: int, between: Callable[[], object] | None = None) -> Batch:
    """Return a batch that gives p99.9 of all passes so far: one batch alone has too few for it."""
    so_far: list[NDArray[np.int64]] = []

    def batch() -> float:
        so_far.append(inside(passes, between))
        return float(np.percentile(np.concatenate(so_far), 99.9))

    return batch


def lines(quick: bool) -> Iterator[Line]:
    passes = 20 if quick else 50
    what = "ten ring operations beside a busy thread"
    yield Line(what, p99_9(passes), lambda: LIMIT, "what is allowed", 1.0)
    yield Line(what, p99_9(passes), p99_9(passes, nothing), "each followed by a call without the GIL", 0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--seconds", type=float, default=20, help="of each run, about (default: %(default)s)")
    parser.add_argument("--nice", type=int, metavar="N", help="niceness of the loop's thread")
    parser.add_argument("--fifo", type=int, metavar="PRIORITY", help="SCHED_FIFO for the loop's thread")
    args = parser.parse_args()
    if args.nice is not None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), args.nice)
    if args.fifo is not None:
        # The threads that it starts, the busy one too, are ordinary ones.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(args.fifo))
    passes = round((0.2 if args.quick else args.seconds) / (sys.getswitchinterval() + PERIOD))
    print(f"{'time inside the loop, us':44}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}")
    for name, between in (("the ring's calls", None), ("each followed by a call without the GIL", nothing)):
        times = inside(passes, between) / 1000
        print(f"{name:44}" + "".join(f"{p:9.1f}" for p in np.percentile(times, (50, 99, 99.9, 100))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
