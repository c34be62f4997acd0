"""An equaliser in plain NumPy, unchanged, with a locked heap and without: page faults and latencies.

Three processes filter the same voice in turns, pass by pass, and each block is timed. One is NumPy as it is.
In the second a heap is active: NumPy's arrays lie in locked memory, but not what pocketfft needs besides. In
the third malloc is told to keep what it has, too (tune_malloc).

How often plain NumPy faults depends on its past. Below 128 KiB an array costs no fault, and a program that
has once freed something large faults less after that: malloc learns.

    python equaliser.py [--block 4096 16384 65536] [--plot equaliser.svg] [IN.wav]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lockedarray as la
from arguments import exit_with
from equaliser_plot import draw
from overlap_add import Band, Equaliser
from wav import WavError, WavReader, WavWriter

MODES = PLAIN, HEAP, TUNED = ("plain NumPy", "heap", "heap, malloc tuned")
VOICE = Path(__file__).parent / "data" / "voice.wav"
BANDS = [(120.0, 3.0), (300.0, 0.0), (1500.0, 0.0), (3000.0, 4.0), (6000.0, 0.0), (14000.0, -12.0)]
TAPS = 2049
WARM_UP = 4  # blocks of each process that are not counted: malloc learns, code faults for the first time
EPILOG = """\
exit status: 0 the three outputs are equal, bit for bit; 1 they are not; 2 memory cannot be locked, or a file
or an argument is wrong; 130 Ctrl-C."""


class Refused(Exception):
    """A worker's sentence about what it cannot do."""


@dataclass
class Job:
    """What a worker is to do."""

    mode: str
    path: str
    bands: list[Band]
    block: int


@dataclass
class Record:
    """What each block took."""

    ns: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)

    def counted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return ns and faults without the first blocks."""
        return np.array(self.ns[WARM_UP:]), np.array(self.faults[WARM_UP:])


def heap_bytes(block: int, channels: int) -> int:
    """Return what is enough for spectra, answers and samples; `Heap.peak` tells what was needed."""
    return 12 * (block + TAPS) * channels * 4 + (1 << 20)


def make_pass(job: Job, output: NDArray[np.float32], record: Record) -> None:
    """Filter the file into `output`, block by block, each timed."""
    with WavReader(job.path) as file, la.page_faults() as faults:
        equaliser = Equaliser(job.bands, file.rate, job.block, TAPS)
        samples = np.zeros((job.block, file.channels), np.float32)
        for begin in range(0, len(output), job.block):
            samples[file.read_into(samples) :] = 0
            faults_before, before = faults.total, time.perf_counter_ns()
            filtered = equaliser.process(samples)
            record.ns.append(time.perf_counter_ns() - before)
            record.faults.append(faults.total - faults_before)
            output[begin : begin + job.block] = filtered


def work(pipe: Connection, job: Job) -> None:
    """Make a pass whenever told to; then send the record and the output. Runs in a process of its own."""
    try:
        with WavReader(job.path) as file:
            frames, channels = file.frames, file.channels
        blocks = -(-(frames + TAPS // 2) // job.block)
        output = np.zeros((blocks * job.block, channels), np.float32)
        record = Record()
        if job.mode == TUNED:
            la.tune_malloc()
        if job.mode != PLAIN:
            la.set_memlock_limit(la.memlock_limit()[1])
            la.Heap(heap_bytes(job.block, channels)).activate()
        while pipe.recv():
            make_pass(job, output, record)
            pipe.send(None)
        pipe.send((record, output[TAPS // 2 :][:frames]))
    except (MemoryError, WavError) as error:  # a LockError is a MemoryError
        pipe.send(Refused(str(error) or "out of memory"))
    except (EOFError, ConnectionError):
        pass  # nobody listens any more: Ctrl-C has ended the one that asked


class Worker:
    """A process that does one job, when it is told to."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Ctrl-C goes to all processes of a terminal, and is this one's affair: the child inherits that.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            context.Process(target=work, args=(theirs, job), daemon=True).start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def ask(self, another_pass: bool) -> Any:
        with suppress(BrokenPipeError):  # then it has left its reason
            self.pipe.send(another_pass)
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise Refused("a worker died") from None
        if isinstance(answer, Refused):
            raise answer
        return answer


def compare(args: argparse.Namespace, block: int) -> tuple[dict[str, Record], list[NDArray[np.float32]]]:
    """Let the modes filter the file in turns, and return each one's record and output."""
    workers = [Worker(Job(mode, args.input, args.bands, block)) for mode in MODES]
    for k in range(args.passes):
        for worker in workers:
            worker.ask(True)
        if sys.stderr.isatty():
            progress = f"blocks of {block}: pass {k + 1} of {args.passes}"
            print(f"\r{progress}", end="\r", file=sys.stderr, flush=True)
    records, outputs = zip(*(worker.ask(False) for worker in workers), strict=True)
    return dict(zip(MODES, records, strict=True)), list(outputs)


def report(block: int, rate: int, heap: int, records: dict[str, Record]) -> None:
    print(f"\nblocks of {block} frames, {block / rate * 1e3:.1f} ms; a heap of {heap / 2**20:.1f} MiB")
    print(f"{'':20}{'blocks':>8}{'faults':>9}{'a block':>9}{'p50':>9}{'p99':>9}{'max':>9} us")
    for mode, record in records.items():
        ns, faults = record.counted()
        p50, p99, worst = np.percentile(ns, (50, 99, 100)) / 1000
        print(f"{mode:20}{len(ns):8}{faults.sum():9}{faults.mean():9.1f}{p50:9.0f}{p99:9.0f}{worst:9.0f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n    ")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", nargs="?", default=str(VOICE), help="a WAV file (default: %(default)s)")
    parser.add_argument(
        "--band",
        dest="bands",
        nargs=2,
        type=float,
        action="append",
        metavar=("HZ", "DB"),
        help="a point of the curve of gains; give as many as you like (default: "
        + ", ".join(f"{hz:g} {db:+g}" for hz, db in BANDS)
        + ")",
    )
    parser.add_argument(
        "--block",
        nargs="+",
        type=int,
        default=[4096, 16384, 65536],
        metavar="N",
        help="frames in a block; several are tried one after the other (default: 4096 16384 65536)",
    )
    parser.add_argument(
        "--passes", type=int, default=25, metavar="N", help="over the file, in each process (default: 25)"
    )
    parser.add_argument("-o", "--output", metavar="OUT.wav", help="write the filtered voice")
    parser.add_argument("--plot", metavar="FILE.svg", help="draw latencies and faults, of the last size")
    args = parser.parse_args()
    args.bands = [tuple(band) for band in args.bands or BANDS]
    if not all(0 < hz < 1e6 and abs(db) <= 120 for hz, db in args.bands):
        parser.error("--band wants a frequency above 0 Hz, and a gain between -120 and 120 dB")
    if not all(64 <= block <= 1 << 20 for block in args.block):
        parser.error(f"--block must be 64 to {1 << 20} frames")
    if not 1 <= args.passes <= 10_000:
        parser.error("--passes must be 1 to 10000")
    return args


def run(args: argparse.Namespace) -> int:
    with WavReader(args.input) as file:
        rate, channels, frames = file.rate, file.channels, file.frames
    if args.output and os.path.exists(args.output) and os.path.samefile(args.output, args.input):
        raise WavError(f"cannot write {args.output!r}: it is the file that is read")
    blocks = min(-(-(frames + TAPS // 2) // block) for block in args.block) * args.passes
    if blocks <= WARM_UP:
        raise WavError(f"{args.input!r} is too short: {blocks} blocks, and {WARM_UP} are not counted")
    print(f"{args.input}: {frames / rate:.2f} s, {rate} Hz, {channels} channel(s), {args.passes} passes")
    equal = True
    with WavWriter(args.output, rate, channels) if args.output else nullcontext() as out:
        for block in args.block:
            records, outputs = compare(args, block)
            report(block, rate, heap_bytes(block, channels), records)
            equal &= all(output.tobytes() == outputs[0].tobytes() for output in outputs)
        if out is not None:
            out.write(outputs[0])
    print(f"\nthe outputs are {'equal, bit for bit' if equal else 'DIFFERENT'}")
    if args.plot:
        draw(args.plot, args.block[-1] / rate, {mode: r.counted() for mode, r in records.items()})
    return 0 if equal else 1


def main() -> int:
    try:
        return run(parse())
    except (Refused, MemoryError, WavError) as error:
        print(f"equaliser: {error or 'out of memory'}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    exit_with(main)
