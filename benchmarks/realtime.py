"""What `realtime` gives a loop in Python: no page fault, cyclictest's wake-ups, tails that cost no more.

    python benchmarks/realtime.py [--quick] [--json] [PART ...]

A part is faults, wake-up or denormals. The loop takes blocks of 64 frames at 48 kHz through a ring, a table
and a heap's temporaries, and keeps what it made, in the heap and a pool. It, and cyclictest, which runs in
turns with it, have priority 80 and the same processor. Each figure has controls: the same without a step.

A run that counted faults while the kernel moved pages about (/proc/vmstat) proves nothing, and is repeated.
Exit status 1 if a bound is missed, with --quick only that of the faults; 2 if too little may be locked.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import statistics
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import Batch, Figures, Line, measure, statement

import lockedarray as la

Float32 = NDArray[np.float32]

FRAMES, CHANNELS = 64, 2
PERIOD = FRAMES / 48000
PRIORITY = 80
CPU = max(os.sched_getaffinity(0))  # interrupts like the first one
WARM = round(1 / PERIOD)  # blocks
MOVED = ("compact_migrate_scanned", "pgmigrate_success")
REPEATS = 3
CYCLICTEST_BOUND = 10.0  # us
NOT_HELD = 2_000_000_000  # us: what /dev/cpu_dma_latency says then
TAIL_BOUND = 1.2
VOICES = 64  # a block of so many shows what a denormal costs, not what a call does


@dataclass
class Figure:
    """One line of the table; without a value where it could not be measured."""

    what: str
    value: float | None
    form: str = "d"
    bound: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.bound is None or self.value is None else self.value <= self.bound


class Recording:
    """Blocks through a ring, a table and temporaries, kept; `plain`: in arrays that NumPy makes by itself."""

    def __init__(self, blocks: int, plain: bool = False) -> None:
        noise = np.random.default_rng(1).uniform(-1, 1, (FRAMES, CHANNELS))
        self.dry: Float32 = la.array(noise, "f4")
        self.wet: Float32 = la.zeros_like(self.dry)
        self.heap = la.Heap(blocks * 2 * self.dry.nbytes + (1 << 20))
        self.pool = la.Pool((blocks // FRAMES + 1) * os.sysconf("SC_PAGE_SIZE"))
        self.active = nullcontext if plain else self.heap.activate
        self.marks = np.zeros if plain else self.pool.zeros
        self.ring = la.RingBuffer(8 * FRAMES, CHANNELS)
        self.table = la.LookupTable(np.tanh(np.linspace(-3, 3, 2048, dtype="f4")), start=-1.0, stop=1.0)
        self.gain = np.float32(0.5)
        self.kept: list[Float32] = []
        self.marked: list[NDArray[np.float64]] = []

    def block(self) -> None:
        self.ring.write(self.dry)
        self.ring.read_into(self.wet)
        self.table(self.wet, out=self.wet)
        self.kept.append(self.wet * self.gain + self.dry * self.gain)
        if len(self.kept) % FRAMES == 0:
            self.marked.append(self.marks(FRAMES))

    def play(self, beats: la.Periodic, blocks: int) -> None:
        with self.active():
            for _ in beats:
                self.block()
                blocks -= 1
                if blocks <= 0:
                    return


def moved() -> int:
    """How many pages the kernel has looked at or moved since it started."""
    lines = (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return sum(int(count) for name, count in lines if name in MOVED)


def counted(seconds: float, **steps: Any) -> tuple[int, str, bool, int]:
    """Faults of a warm loop, what counted them, whether memory was locked, and pages moved meanwhile."""
    blocks = round(seconds / PERIOD)
    recording = Recording(blocks + WARM, plain=not steps.get("lock_memory", True))
    trial, beats = la.Periodic(PERIOD, history=0), la.Periodic(PERIOD)
    with la.realtime(PRIORITY, CPU, **steps) as rt:
        with la.page_faults():
            recording.play(trial, WARM)
        before = moved()
        with la.page_faults() as faults:
            recording.play(beats, blocks)
        pages = moved() - before
    locked = next((step.ok for step in rt.steps if step.name == "memory"), False)
    return faults.total, faults.source, locked, pages


def alone(seconds: float, **steps: Any) -> tuple[int, str, bool, int]:
    """Count in a process of its own: memory that another run gave back would not fault."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(counted, seconds, **steps).result()


def faults(quick: bool) -> Iterator[Figure]:
    seconds = 5 if quick else 60
    what = f"page faults in {seconds} s, {round(seconds / PERIOD):,} blocks"
    for turn in range(REPEATS):
        total, source, locked, pages = alone(seconds)
        note = f"counted by {source}; pages moved by the kernel: {pages}"
        if turn:
            note += f"; run {turn + 1}, for it moved some in the one before"
        if total == 0 or pages == 0:
            break
    if not locked or source == "rusage":
        yield Figure(
            what, None, note=f"{total}; needs memory that may be locked, and perf's counter: {source}"
        )
    elif total and pages:
        yield Figure(what, None, note=f"{total} in the last of {REPEATS} runs; {note}")
    else:
        yield Figure(what, total, bound=0, note=note)
    total = alone(2, lock_memory=False)[0]
    yield Figure("  control: 2 s, nothing locked, arrays by NumPy", total)


def of_cyclictest(seconds: float) -> float:
    """Median wake-up latency in us, of one thread."""
    interval = round(PERIOD * 1e6)
    loops = round(seconds / PERIOD)
    who = [f"--priority={PRIORITY}", f"--affinity={CPU}", "--threads=1", "--mlockall"]
    how = [f"--interval={interval}", "--distance=0", f"--loops={loops}"]
    command = ["cyclictest", *who, *how, "--nsecs", "--verbose", "--quiet"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    latencies = [int(ns) for ns in re.findall(r"^ *0: *\d+: *(\d+)$", said, re.MULTILINE)]
    return statistics.median(latencies[len(latencies) // 10 :]) / 1000


def of_ours(seconds: float, **steps: Any) -> float:
    """The same of the loop, with all that it does in a block."""
    blocks = round(seconds / PERIOD)
    recording = Recording(blocks)
    beats = la.Periodic(round(PERIOD * 1e6) / 1e6)
    with la.realtime(cpus=CPU, **{"priority": PRIORITY} | steps):
        recording.play(beats, blocks)
    return float(np.median(beats.latencies[blocks // 10 :])) / 1000


def held() -> bool:
    """Whether any program now keeps the machine's processors from sleeping deeply."""
    try:
        with open("/dev/cpu_dma_latency", "rb", buffering=0) as device:
            return struct.unpack("=i", device.read(4)) < (NOT_HELD,)
    except OSError:
        return False


def wake_up(quick: bool) -> Iterator[Figure]:
    what = "wake-up p50, us: ours less that of cyclictest -m"
    seconds, turns = (0.5, 5) if quick else (2, 10)  # the machine has moods, of some seconds
    control = "  control: without cpu_dma_latency"
    kinds: dict[str, Callable[[], float]] = {
        "cyclictest": lambda: of_cyclictest(seconds),
        what: lambda: of_ours(seconds),
        control: lambda: of_ours(0.5, cpu_dma_latency=None),
        "  control: an ordinary thread": lambda: of_ours(0.5, priority=None, timer_slack=None),
    }
    medians: dict[str, list[float]] = {kind: [] for kind in kinds}
    others = False
    try:
        for turn in range(turns):
            for kind in list(kinds) if turn % 2 else reversed(list(kinds)):
                medians[kind].append(kinds[kind]())
                others |= held()
    except FileNotFoundError:
        yield Figure(what, None, note="needs cyclictest (Debian: rt-tests)")
        return
    except subprocess.CalledProcessError as error:
        yield Figure(what, None, note=f"cyclictest: {error.stderr.strip()}")
        return
    theirs = medians.pop("cyclictest")
    for kind, ours in medians.items():
        each = [a - b for a, b in zip(ours, theirs, strict=True)]
        note = f"{statistics.median(ours):.1f} and {statistics.median(theirs):.1f}, "
        note += f"in {turns} turns {min(each):+.1f} to {max(each):+.1f}"
        if kind == control and others:
            note += "; other programs held it meanwhile"
        bound = CYCLICTEST_BOUND if kind == what else None
        yield Figure(kind, statistics.median(each), "+.1f", bound, note)


def ringing(number: int, level: float) -> Batch:
    """A bank of one-pole filters, each batch of which begins at a level, and rings."""
    shape = FRAMES, VOICES
    state, silence = la.empty(shape, "f4"), la.zeros(shape, "f4")
    step = "np.multiply(state, pole, out=state); np.add(state, silence, out=state)"
    run = statement(step, number, np=np, state=state, silence=silence, pole=np.float32(0.9999))

    def batch() -> float:
        state[:] = level
        return run()

    return batch


def multiplying(number: int, level: float) -> Batch:
    block, out = la.full((FRAMES, VOICES), level, "f4"), la.empty((FRAMES, VOICES), "f4")
    return statement("np.multiply(x, g, out=y)", number, np=np, x=block, y=out, g=np.float32(0.9999))


def tail_ratio(make: Callable[[int, float], Batch], flush: bool, quick: bool) -> Figures:
    """How many times as long numbers take that are next to zero."""
    number, rounds = (50, 5) if quick else (300, 41)
    line = Line("", make(number, 1e-40), make(number, 0.5), "", TAIL_BOUND)
    with la.realtime(PRIORITY, CPU, flush_denormals=flush):
        return measure(line, rounds).ratio


def denormals(quick: bool) -> Iterator[Figure]:
    for what, make in ("np.multiply", multiplying), ("a one-pole filter", ringing):
        ratio = tail_ratio(make, True, quick)
        note = f"quartiles {ratio.low:.2f} to {ratio.high:.2f}"
        yield Figure(f"a tail's time / a loud sound's, {what}", ratio.median, ".2f", TAIL_BOUND, note)
        ratio = tail_ratio(make, False, quick)
        yield Figure("  control: flush_denormals=False", ratio.median, ".1f")


PARTS = {"faults": faults, "wake-up": wake_up, "denormals": denormals}


def row(figure: Figure) -> str:
    value = "-" if figure.value is None else f"{figure.value:{figure.form}}"
    bound = "" if figure.bound is None else f"{figure.bound:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    return f"{figure.what:50}{value:>9}{bound:>7}  {verdict:6}  {figure.note}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="does it run? its times mean little")
    parser.add_argument("--json", action="store_true", help="for programs")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part named {', '.join(sorted(unknown))}")
    if not args.json:
        print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs, ", end="")
        print(f"Python {platform.python_version()}, NumPy {np.__version__}; ", end="")
        print(f"{FRAMES} frames, {PERIOD * 1e3:.3f} ms, priority {PRIORITY} on CPU {CPU}")
        print(f"{'':50}{'measured':>9}{'bound':>7}")
    with la.realtime(PRIORITY, CPU) as rt:
        pass
    if not rt.ok:
        print(rt, file=sys.stderr)
    figures = []
    try:
        for name in args.parts or PARTS:
            for figure in PARTS[name](args.quick):
                figures.append(figure)
                if not args.json:
                    print(row(figure), flush=True)
    except la.LockError as error:
        print(f"realtime: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps([dataclasses.asdict(f) | {"met": f.met} for f in figures], indent=1))
    # On a busy machine times mean little in a short run; faults do.
    return 1 if any(f.met is False for f in figures if not args.quick or f.bound == 0) else 0


if __name__ == "__main__":
    sys.exit(main())
