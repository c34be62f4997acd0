"""A block through the ring, against one copy of it.

The ring has room for two blocks and always holds one, so that a block is read one turn after it was written.
The arrays are what NumPy allocates, anew for every pair of batches: where they begin in a cache line is worth
a tenth.

On two threads the GIL lets one run at a time. What the calls cost is seen where they take turns: one thread
writes TURN blocks, then waits for its lock while the other reads as many, which leaves the ring half full.
The calls are timed, not the handing over: a thread switch costs a hundred times as much, and is no ring's
doing. In the yardstick one thread writes TURN arrays, and the other's copies of them are timed: also blocks
that come from another thread. The threads are pinned, once to two CPUs and once to one. On two, each block
moves to the reader's cache, and its place in the ring back to the writer's; the copy moves one way only. On
both a turn begins as a thread switch leaves it, with cold code: twice for a pair, once for a copy. What the
memory itself takes is seen from memcpy in C, in the same turns: no ring can be faster.
"""

from __future__ import annotations

import os
import random
import threading
import timeit
from collections.abc import Iterator
from typing import Any

import numpy as np
from plain_turns import memcpy_in_turns
from timing import Batch, Line, statement

import lockedarray as la

BOUNDS = ((64, 0.40), (256, 0.40), (1024, 0.65))
TURN = 8  # blocks: fewer, and the calls are timed cold, as a thread switch leaves them


class Blocks:
    """Two arrays, allocated anew for every pair of batches, wherever in a cache line that is."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.asked = 0
        self.spacers: list[Any] = []

    def names(self) -> dict[str, Any]:
        """Return the arrays by name, the same to both batches of a pair."""
        if self.asked % 2 == 0:
            self.spacers = [np.empty(random.randrange(16, 4096), "u1") for _ in range(8)]
            self.src = np.ones((self.frames, 2), "f4")
            self.spacers += [np.empty(random.randrange(16, 4096), "u1") for _ in range(8)]
            self.dst = np.zeros((self.frames, 2), "f4")
        self.asked += 1
        return {"src": self.src, "dst": self.dst}


def half_full(frames: int, blocks: int) -> la.RingBuffer:
    """Return a ring that holds so many blocks, and has room for as many more."""
    rb = la.RingBuffer(2 * blocks * frames, 2)
    for _ in range(blocks):
        rb.write(np.ones((frames, 2), "f4"))
    return rb


def on_one_thread(code: str, number: int, blocks: Blocks, **names: Any) -> Batch:
    return lambda: statement(code, number, **blocks.names(), **names)()


class InTurns:
    """Two pieces of code, of TURN blocks each, run in turns by two threads; only they are timed."""

    def __init__(self, codes: tuple[str, str], cpus: tuple[int, int], names: dict[str, Any]) -> None:
        self.timers = [timeit.Timer(code, globals=names) for code in codes]
        self.cpus = cpus
        self.clock = min(timeit.Timer().timeit(1) for _ in range(100))  # what timing nothing takes
        self.seconds = [0.0, 0.0]

    def _side(self, me: int, turns: int) -> None:
        os.sched_setaffinity(0, {self.cpus[me]})  # of this thread
        for turn in range(turns + 1):
            self.locks[me].acquire()
            seconds = self.timers[me].timeit(1)
            self.seconds[me] += seconds - self.clock if turn else 0.0
            self.locks[1 - me].release()

    def run(self, turns: int) -> tuple[float, float]:
        """Return ns of each code for one block."""
        self.locks = [threading.Lock(), threading.Lock()]
        self.locks[1].acquire()
        threads = [threading.Thread(target=self._side, args=(me, turns)) for me in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first, second = (seconds / (turns * TURN) * 1e9 for seconds in self.seconds)
        return first, second


def on_two_threads(
    frames: int, bound: float, turns: int, where: str, cpus: tuple[int, int]
) -> Iterator[Line]:
    blocks, rb = Blocks(frames), half_full(frames, TURN)
    between = {f"block{k}": np.zeros((frames, 2), "f4") for k in range(TURN)}
    through_ring = ("\n".join(["rb.write(src)"] * TURN), "\n".join(["rb.read_into(dst)"] * TURN))
    copies = ("\n".join(f"{k}[:] = src" for k in between), "\n".join(f"dst[:] = {k}" for k in between))

    def yardstick() -> float:
        return InTurns(copies, cpus, blocks.names() | between).run(turns)[1]

    of = "dst[:] = src, of the other thread's block"
    yield Line(
        f"ring pair on two threads, {where}, {frames}",
        lambda: sum(InTurns(through_ring, cpus, blocks.names() | {"rb": rb}).run(turns)),
        yardstick,
        of,
        bound,
    )
    plain = memcpy_in_turns(rb.nbytes // (2 * TURN), TURN, turns, cpus)
    yield Line(f"  memcpy in and out in C, {where}, {frames}", plain, yardstick, of, None)


def lines(quick: bool) -> Iterator[Line]:
    number = 1000 if quick else 10_000
    for frames, bound in BOUNDS:
        blocks, rb = Blocks(frames), half_full(frames, 1)
        yield Line(
            f"ring write + read_into, {frames} stereo frames",
            on_one_thread("rb.write(src); rb.read_into(dst)", number, blocks, rb=rb),
            on_one_thread("dst[:] = src", number, blocks),
            "dst[:] = src",
            bound,
        )
    for frames, _ in BOUNDS:
        blocks, rb = Blocks(frames), half_full(frames, 1)
        calls = ("write_window", "commit", "read_window", "consume")
        yield Line(
            f"ring windows, {frames} stereo frames",
            on_one_thread("; ".join(f"rb.{call}({frames})" for call in calls), number, blocks, rb=rb),
            on_one_thread("dst[:] = src", number, blocks),
            "dst[:] = src",
            1.0,
        )
    cpus = sorted(os.sched_getaffinity(0))
    for where, pair in (("two CPUs", (cpus[0], cpus[-1])), ("one CPU", (cpus[0], cpus[0]))):
        for frames, bound in BOUNDS:
            yield from on_two_threads(frames, bound, number // 20, where, pair)
