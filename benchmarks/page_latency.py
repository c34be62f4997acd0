"""How long the first look at a page takes: pushed out of memory, never touched before, locked.

    python benchmarks/page_latency.py [--plot FILE.svg] [--directory DIR]

The pages lie in a file of one's own, mapped into memory, so that no swap and no privilege is needed:
MADV_PAGEOUT pushes them out, and the look brings them back from disk. The same pages under a lock stay.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import tempfile
import time
from contextlib import suppress

import numpy as np
from latency_picture import draw
from numpy.typing import NDArray

import lockedarray as la

PAGES = 2048
MADV_PAGEOUT = 21  # linux/mman.h; the mmap module has no name for it


def look(memory: memoryview) -> NDArray[np.int64]:
    """Return for each page the ns that reading a byte of it took, in an order that no read-ahead knows."""
    clock = time.perf_counter_ns
    order = np.random.default_rng(1).permutation(len(memory) // mmap.PAGESIZE)
    places = (order * mmap.PAGESIZE).tolist()
    times = la.zeros(len(places), "int64")
    clock()
    for i, place in enumerate(places):
        begin = clock()
        memory[place]
        times[i] = clock() - begin
    return np.array(times)


def push_out(mapped: mmap.mmap) -> int:
    """Push pages out of memory; return how many are gone."""
    mapped[:: mmap.PAGESIZE]  # only pages that this process has mapped are considered
    with suppress(OSError):  # refused for locked pages
        mapped.madvise(MADV_PAGEOUT)
    return int(np.count_nonzero(~la.residency(mapped)))


def measure(directory: str) -> dict[str, NDArray[np.int64]]:
    """Return the times of each kind of page, in ns."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(os.urandom(PAGES * mmap.PAGESIZE))
        file.flush()
        os.fsync(file.fileno())  # only clean pages can be pushed out
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    if push_out(mapped) < PAGES * 0.9:
        sys.exit(f"pages of a file in {directory} cannot be pushed out: name a --directory on a disk")
    times = {"pushed out before": look(memoryview(mapped))}
    fresh = mmap.mmap(-1, PAGES * mmap.PAGESIZE)
    times["never touched before"] = look(memoryview(fresh))
    with la.lock(mapped):
        gone = push_out(mapped)
        assert gone == 0, "locked pages stay"
        times["locked"] = look(memoryview(mapped))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the times")
    parser.add_argument("--directory", default="/var/tmp", help="on a disk (default: %(default)s)")
    args = parser.parse_args()
    times = measure(args.directory)
    for name, ns in times.items():
        p50, p99, worst = np.percentile(ns, (50, 99, 100)) / 1000
        print(f"{name:28} p50 {p50:8.2f}   p99 {p99:8.2f}   max {worst:8.2f} us   ({len(ns)} pages)")
    if args.plot:
        with open(args.plot, "w") as file:
            file.write(draw(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
