"""A loop of 64-frame blocks within realtime: no page fault, and what each step has to do with that."""

from __future__ import annotations

import gc
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockedarray as la
from forks import child_alive
from places import run

FRAMES, CHANNELS = 64, 8
PERIOD = FRAMES / 48000
WARM = 100  # blocks
SHORT = 0.3  # seconds
DEEP = 450  # calls of C within each other
TRIALS = 5


class Loop:
    """A block in through a ring, through a table and temporaries, kept; now and then an array of the pool."""

    def __init__(self, blocks: int, heap: bool = True) -> None:
        self.heap = la.Heap(blocks * 3000 + (1 << 18)) if heap else None
        self.pool = la.Pool((blocks // FRAMES + 1) << 12)
        self.ring = la.RingBuffer(4 * FRAMES, CHANNELS)
        self.table = la.LookupTable(np.linspace(-0.5, 0.5, 512, dtype="f4"), start=-1.0, stop=1.0)
        self.dry = la.full((FRAMES, CHANNELS), 0.25, "f4")
        self.wet = la.zeros((FRAMES, CHANNELS), "f4")
        self.quiet = la.full(FRAMES, 1e-40, "f4")
        self.half, self.most = np.float32(0.5), np.float32(0.999)
        self.kept: list[Any] = []
        self.marks: list[Any] = []
        self.deep = 0

    def block(self) -> None:
        self.ring.write(self.dry)
        self.ring.read_into(self.wet)
        self.table(self.wet, out=self.wet)
        self.kept.append(self.wet * self.half + self.dry * self.half)
        if len(self.kept) % FRAMES == 0:
            self.marks.append(self.pool.zeros(FRAMES))
        np.multiply(self.quiet, self.most, out=self.quiet)  # rings out
        for _ in range(10):
            cycle: list[Any] = []
            cycle.append(cycle)
        nested(self.deep)

    def play(self, beats: la.Periodic, blocks: int) -> None:
        with self.heap.activate() if self.heap else nullcontext():
            for _ in beats:
                self.block()
                blocks -= 1
                if blocks <= 0:
                    return


def nested(depth: int) -> int:
    """Python that C calls, that Python calls, and so on: each takes its part of the stack."""
    return max(map(nested, (depth - 1,))) if depth > 0 else 0


def pages_moved() -> int:
    """How many pages the kernel has moved, or looked at to move them."""
    lines = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(n) for name, n in lines if name in ("compact_migrate_scanned", "pgmigrate_success"))


def collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def found(seconds: float, heap: bool, fork: bool, deep: int, steps: dict[str, Any]) -> dict[str, Any]:
    """What a loop came to, warm, with these steps of realtime."""
    blocks = round(seconds / PERIOD)
    loop = Loop(blocks + WARM, heap)
    trial, beats = la.Periodic(PERIOD, history=0), la.Periodic(PERIOD, history=blocks)
    with la.realtime(priority=80, **steps) as rt:
        with la.page_faults():
            loop.play(trial, WARM)
        collected = collections()
        with child_alive() if fork else nullcontext():
            moved = pages_moved()
            loop.deep = deep
            with la.page_faults() as counted:
                loop.play(beats, blocks)
            moved = pages_moved() - moved
        collected = collections() - collected
        rings = bool((loop.quiet > 0).any())
    return {
        "faults": counted.total,
        "source": counted.source,
        "moved": moved,
        "wakeups": beats.wakeups,
        "collections": collected,
        "rings": rings,
        "refused": [step.name for step in rt.steps if not step.ok],
    }


def told(
    seconds: float = SHORT,
    *,
    heap: bool = True,
    fork: bool = False,
    deep: int = 0,
    who: str = "",
    limits: str = "true",
    **steps: Any,
) -> dict[str, Any]:
    """What is `found` in the main thread of a process of its own."""
    arguments = seconds, heap, fork, deep, steps
    program = f"import json, test_realtime_loop as t; print(json.dumps(t.found{arguments}))"
    return json.loads(run(program, who=who, limits=limits))


def faults(seconds: float = SHORT, **settings: Any) -> int:
    """How many a loop took; a run with some, while the kernel moved pages, is repeated."""
    for _ in range(TRIALS):
        it = told(seconds, **settings)
        assert it["wakeups"] == round(seconds / PERIOD)
        if it["faults"] and it["source"] == "rusage":
            pytest.skip("needs perf's counter: getrusage counts what mmap brings in as well")
        if not it["faults"] or not it["moved"]:
            return it["faults"]
    pytest.skip("needs a kernel that moves no pages for some seconds (vm.compaction_proactiveness=0)")


@pytest.mark.no_limit
def test_no_page_fault() -> None:
    assert faults(2.0) == 0
    unlocked = told(1.0, lock_memory=False)["faults"]
    assert unlocked > 5, "the control: what the interpreter allocates"
    plain = told(1.0, heap=False, lock_memory=False)["faults"]
    assert plain > unlocked + 200, "the control: NumPy's arrays besides"


@pytest.mark.locks(4 << 20)
def test_where_only_so_much_may_be_locked() -> None:
    """The loop goes on, and what is this library's takes no fault."""
    ours, plain = (told(1.0, heap=heap, who="ordinary", limits="ulimit -l 4096") for heap in (True, False))
    assert ours["refused"] == plain["refused"]
    assert "memory" in ours["refused"]
    assert ours["wakeups"] == round(1.0 / PERIOD)
    assert ours["faults"] < plain["faults"] - 200


@pytest.mark.no_limit
def test_beside_a_forked_child() -> None:
    assert faults(fork=True) == 0
    assert told(fork=True, lock_memory=False)["faults"] > 20, "the control"


@pytest.mark.no_limit
def test_calls_that_go_deep() -> None:
    assert faults(deep=DEEP) == 0
    assert told(deep=DEEP, stack=None)["faults"] >= 8, "the control"


@pytest.mark.locks(2 << 20)
def test_no_collection() -> None:
    assert told(lock_memory=False)["collections"] == 0
    assert told(lock_memory=False, collect=True)["collections"] > 0, "the control"


@pytest.mark.locks(2 << 20)
def test_what_rings_out_is_silent() -> None:
    assert not told(lock_memory=False)["rings"]
    assert told(lock_memory=False, flush_denormals=False)["rings"], "the control"
