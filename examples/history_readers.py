"""One writer at full speed, three readers in other processes: a slow one sees exactly what it missed.

Each record is 64 bytes: its own number, eight times over. A torn record would hold two numbers.

python history_readers.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from multiprocessing.queues import Queue
from typing import Any, NamedTuple

import numpy as np

import lockedarray as la
from arguments import duration, exit_with

KEPT, WORDS, BLOCK, READ = 4096, 8, 16, 64


class Seen(NamedTuple):
    """What one reader saw."""

    name: str
    reads: int
    records: int
    missed: int
    late: int
    torn: int
    backwards: int
    exact: bool


def write(history: la.HistoryBuffer, stop: Any) -> None:
    """Write records, counted from 0, until told to stop, or nobody is left to tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its daemons
    parent = multiprocessing.parent_process()
    block = np.repeat(np.arange(BLOCK), WORDS).reshape(BLOCK, WORDS)
    while not stop.is_set() and parent is not None and parent.is_alive():
        for _ in range(1000):
            history.write(block)
            block += BLOCK


def read(history: la.HistoryBuffer, name: str, pause: float, seconds: float, results: Queue[Seen]) -> None:
    """Read every record that can be had, in order, and account for the rest."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = np.empty((READ, WORDS), np.int64)
    numbers = np.arange(READ)[:, None]
    reads = records = missed = late = torn = backwards = 0
    begin = following = history.frames_written
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if history.frames_written < following + READ:
            continue  # nothing new yet: a reader that has time
        try:
            first = history.read_into(out, at=following)
        except TimeoutError:
            late += 1  # the writer was faster than each of 16 copies; what was missed shows next time
            continue
        torn += not (out == first + numbers).all()
        backwards += first < following
        missed += first - following
        records += READ
        following = first + READ
        reads += 1
        time.sleep(pause)
    exact = begin + records + missed == following
    results.put(Seen(name, reads, records, missed, late, torn, backwards, exact))


def main() -> int:
    parser = argparse.ArgumentParser(description="One writer, three readers, nothing torn.")
    parser.add_argument("--seconds", type=duration, default=10.0, help="default: %(default)s")
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    try:
        history = la.HistoryBuffer(KEPT, WORDS, "i8")
    except la.LockError as error:
        print(f"history_readers: {error}", file=sys.stderr)
        return 1
    results: Queue[Seen] = spawn.Queue()
    stop = spawn.Event()
    writer = spawn.Process(target=write, args=(history, stop), daemon=True)
    readers = [
        spawn.Process(target=read, args=(history, name, pause, args.seconds, results), daemon=True)
        for name, pause in (("eager", 0.0), ("steady", 0.001), ("slow", 0.05))
    ]
    begin = time.monotonic()
    for process in (writer, *readers):
        process.start()
    for reader in readers:
        reader.join()
    stop.set()
    writer.join()
    if any(process.exitcode for process in (writer, *readers)):
        print("history_readers: a process died", file=sys.stderr)
        return 1
    seen = sorted((results.get(timeout=10) for _ in readers), key=lambda one: -one.reads)
    elapsed = time.monotonic() - begin
    print(f"written: {history.frames_written} records in {elapsed:.1f} s")
    for one in seen:
        print(
            f"{one.name:7} {one.reads} reads, {one.records} records, {one.missed} missed "
            f"({'exactly the rest' if one.exact else 'NOT THE REST'}), {one.late} late, "
            f"{one.torn} torn, {one.backwards} backwards"
        )
    if not all(one.reads and (one.missed or one.name != "slow") for one in seen):
        print("history_readers: so little time shows nothing", file=sys.stderr)
    good = all(one.exact and one.torn == one.backwards == 0 and one.reads for one in seen)
    return 0 if good and any(one.missed for one in seen if one.name == "slow") else 1


if __name__ == "__main__":
    exit_with(main)
