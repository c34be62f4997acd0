"""Blocks of 1024 stereo frames between two processes: how long one takes, and how many go in a second.

    python benchmarks/ring_processes.py [--quick] [--check] [--unpinned]

One way: half the median of round trips, the block there and back by two channels of a kind, each end copying
it out of its own array and into it. Streams: ns a block, of many sent one way as fast as they go; the
reader's answer to the last ends it. The other process is spawned once for each kind and waits between.

Each process has a CPU of its own, as two that have work besides would: a kernel that sees one always wait for
the other likes to put both on one CPU, or not, from run to run. Sleepers gain from that, since no idle CPU
has to be woken; `--unpinned` leaves it to the kernel.

The ring is written where it has room, and waited for where it is empty. Shared memory has as many slots and
two semaphores, one counting the free slots and one the filled. A Pipe sends bytes and receives into an array.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from timing import Batch, Line, measure, rows

import lockedarray as la

FRAMES, SLOTS = 1024, 16
SHAPE = (FRAMES, 2)
Block = NDArray[np.float32]


class Channel(Protocol):
    """One way from process to process."""

    def send(self, block: Block) -> None: ...
    def receive(self, out: Block) -> None: ...


class Ring:
    def __init__(self, context: Any) -> None:
        self.rb = la.RingBuffer(SLOTS * FRAMES, 2)

    def send(self, block: Block) -> None:
        while not self.rb.write(block):  # all of it or nothing: there are whole blocks in it
            self.rb.wait_write(FRAMES)

    def receive(self, out: Block) -> None:
        self.rb.wait_read(FRAMES)
        self.rb.read_into(out)


class Shared:
    """A ring that one makes oneself: of shared memory, and two semaphores."""

    def __init__(self, context: Any) -> None:
        self.memory = SharedMemory(create=True, size=SLOTS * FRAMES * 8)
        self.free, self.filled = context.Semaphore(SLOTS), context.Semaphore(0)
        self._view()

    def _view(self) -> None:
        memory = np.ndarray((SLOTS, *SHAPE), "f4", self.memory.buf)
        self.slots = list(memory)
        self.next = 0

    def __getstate__(self) -> tuple[Any, ...]:
        return self.memory, self.free, self.filled

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.memory, self.free, self.filled = state
        self._view()

    def send(self, block: Block) -> None:
        self.free.acquire()
        self.slots[self.next][:] = block
        self.next = (self.next + 1) % SLOTS
        self.filled.release()

    def receive(self, out: Block) -> None:
        self.filled.acquire()
        out[:] = self.slots[self.next]
        self.next = (self.next + 1) % SLOTS
        self.free.release()

    def close(self) -> None:
        self.slots.clear()
        self.memory.close()
        self.memory.unlink()


class Pipe:
    def __init__(self, context: Any) -> None:
        self.reader, self.writer = context.Pipe(duplex=False)

    def send(self, block: Block) -> None:
        self.writer.send_bytes(block.data.cast("B"))

    def receive(self, out: Block) -> None:
        self.reader.recv_bytes_into(out.data.cast("B"))


class Queue:
    def __init__(self, context: Any) -> None:
        self.queue = context.Queue(SLOTS)

    def send(self, block: Block) -> None:
        self.queue.put(block)

    def receive(self, out: Block) -> None:
        out[:] = self.queue.get()


class SimpleQueue(Queue):
    def __init__(self, context: Any) -> None:
        self.queue = context.SimpleQueue()


def answer(there: Channel, back: Channel) -> None:
    """Run the other process: each stream begins with a block that says how many it has; answer the last."""
    block = np.zeros(SHAPE, "f4")
    while True:
        there.receive(block)
        for _ in range(int(block[0, 0]) - 1):
            there.receive(block)
        back.send(block)


class Pair:
    """Two channels of a kind, and the process at their other end."""

    def __init__(self, kind: Callable[[Any], Any], pinned: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.there, self.back = kind(context), kind(context)
        self.process = context.Process(target=answer, args=(self.there, self.back), daemon=True)
        self.process.start()
        if pinned:
            os.sched_setaffinity(self.process.pid or 0, {max(os.sched_getaffinity(0))})
        self.src, self.dst = np.ones(SHAPE, "f4"), np.zeros(SHAPE, "f4")
        self.stream(1)  # it is there

    def stream(self, blocks: int) -> int:
        """Send so many; return the ns until the answer."""
        begin = time.perf_counter_ns()
        self.src[0, 0] = blocks
        for _ in range(blocks):
            self.there.send(self.src)
        self.back.receive(self.dst)
        return time.perf_counter_ns() - begin

    def one_way(self, trips: int) -> Batch:
        return lambda: statistics.median(self.stream(1) for _ in range(trips)) / 2

    def per_block(self, blocks: int) -> Batch:
        return lambda: self.stream(blocks) / blocks

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        for channel in (self.there, self.back):
            if isinstance(channel, Shared):
                channel.close()


KINDS = (
    ("SharedMemory, two semaphores", Shared, 0.6),
    ("Pipe, bytes", Pipe, 1 / 5),
    ("multiprocessing.SimpleQueue", SimpleQueue, 1.0),
    ("multiprocessing.Queue", Queue, 1 / 20),
)


def lines(quick: bool, pinned: bool = True) -> Iterator[Line]:
    count = 20 if quick else 300
    allowed = os.sched_getaffinity(0)
    ring = Pair(Ring, pinned)
    try:
        for name, kind, bound in KINDS:
            os.sched_setaffinity(0, allowed)  # which a child inherits
            other = Pair(kind, pinned)
            if pinned:
                os.sched_setaffinity(0, {min(allowed)})
            yield Line(f"one way, {name}", ring.one_way(count), other.one_way(count), name, bound)
            yield Line(f"stream, {name}", ring.per_block(3 * count), other.per_block(3 * count), name, 1.0)
            other.end()
    finally:
        os.sched_setaffinity(0, allowed)
        ring.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is missed")
    parser.add_argument("--unpinned", action="store_true", help="let the kernel choose the CPUs")
    args = parser.parse_args()
    results = [measure(line, 5 if args.quick else 21) for line in lines(args.quick, not args.unpinned)]
    print("\n".join(rows(results)))
    return 1 if args.check and not all(r.met for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
