"""The ring in C against other queues, two threads on two CPUs: one table.

    python benchmarks/ring_c.py [--rigtorp DIR] [--portaudio DIR] [--quick] [--json] [--check]

DIR holds SPSCQueue.h, or pa_ringbuffer.c and what it includes: fetch them, they are not ours. boost,
readerwriterqueue and JACK are compared where the compiler finds their headers (Debian: libboost-dev,
libreaderwriterqueue-dev, libjack-dev). The queues run in turns; the ratios are those of each round.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from timing import Figures

NATIVE = Path(__file__).parent / "native" / "ring_against.cpp"
INCLUDE = Path(__file__).parents[1] / "lockedarray" / "include"
FOUND = {  # macro: header, and libraries
    "WITH_BOOST": ("boost/lockfree/spsc_queue.hpp", []),
    "WITH_READERWRITERQUEUE": ("readerwriterqueue/readerwriterqueue.h", []),
    "WITH_JACK": ("jack/ringbuffer.h", ["-ljack"]),
}
BULK = 0.5  # of the best of those that take blocks; rigtorp's queue takes items
OF_BLOCKS = {"boost", "boost, consume_all", "readerwriterqueue", "JACK", "PortAudio"}

Times = dict[str, list[float]]  # of each queue: ns for one item, a round after the other


@dataclass
class Comparison:
    """One line of the table: ours against one queue, and, where the project promises it, a bound."""

    what: str
    name: str
    ns: Figures
    ratio: Figures  # ours / theirs
    bound: float | None

    @property
    def met(self) -> bool:
        return self.bound is None or self.ratio.median <= self.bound


def compiled(directory: Path, rigtorp: Path | None, portaudio: Path | None) -> Path:
    """Compile with every queue that is there."""
    program = directory / "ring_against"
    optimised = ["-O3", "-DNDEBUG"]
    command = ["c++", "-std=c++17", *optimised, "-pthread", f"-I{INCLUDE}"]
    libraries: list[str] = []
    for macro, (header, needed) in FOUND.items():
        probe = ["c++", "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
        include = f"#include <{header}>\n".encode()
        if subprocess.run(probe, input=include, capture_output=True).returncode == 0:
            command.append(f"-D{macro}")
            libraries += needed
    if rigtorp:
        command += ["-DWITH_RIGTORP", f"-isystem{rigtorp}"]
    if portaudio:
        library = str(directory / "pa_ringbuffer.o")
        source = str(portaudio / "pa_ringbuffer.c")
        subprocess.run(["cc", *optimised, "-w", "-c", source, "-o", library], check=True)
        command += ["-DWITH_PORTAUDIO", f"-isystem{portaudio}", library]
    subprocess.run([*command, str(NATIVE), "-o", str(program), *libraries], check=True)
    return program


def measured(program: Path, count: int, rounds: int) -> dict[str, Times]:
    """Run anew in each round, for where memory lies matters by a tenth; return the times."""
    times: dict[str, Times] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for line in subprocess.check_output([program, str(count), "1"], text=True).splitlines():
            what, name, size, ns = line.split("\t")
            times[f"{what}, {size} bytes"][name].append(float(ns))
    return times


def compared(what: str, times: Times) -> Iterator[Comparison]:
    """Yield ours against each of the others; the best of those that take blocks is what bulk is bound by."""
    ours = next(iter(times))  # it runs first
    medians = {name: Figures.of(ns).median for name, ns in times.items()}
    best = min(OF_BLOCKS & set(medians), key=medians.__getitem__, default=None)
    for name, ns in times.items():
        ratio = Figures.of([a / b for a, b in zip(times[ours], ns, strict=True)])
        if what.startswith("bulk"):
            bound = BULK if name == best else None
        else:
            bound = 1.0 if name == "rigtorp" and not what.startswith("turns") else None
        yield Comparison(what, name, Figures.of(ns), ratio, bound)


def rows(results: list[Comparison]) -> Iterator[str]:
    """Yield the table."""
    yield f"{'':52}{'ns':>8}{'quartiles':>22}   {'ours/it':>7}{'quartiles':>15}{'bound':>7}"
    for r in results:
        verdict = "" if r.bound is None else f"{r.bound:7.2f}  {'ok' if r.met else 'MISSED'}"
        low, high = f"{r.ns.low:.3g}", f"{r.ns.high:.3g}"
        spread = f"{r.ratio.low:.2f} .. {r.ratio.high:.2f}"
        yield (
            f"{r.what:30}{r.name:22}{r.ns.median:8.3g}{f'{low} .. {high}':>22}   "
            f"{r.ratio.median:7.2f}{spread:>15}{verdict}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rigtorp", type=Path, metavar="DIR", help="of SPSCQueue.h")
    parser.add_argument("--portaudio", type=Path, metavar="DIR", help="of pa_ringbuffer.c and .h")
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is missed")
    args = parser.parse_args()
    count, rounds = (6400, 3) if args.quick else (160_000, 15)
    with tempfile.TemporaryDirectory() as directory:
        program = compiled(Path(directory), args.rigtorp, args.portaudio)
        times = measured(program, count, rounds)
    results = [c for what, queues in times.items() for c in compared(what, queues)]
    if args.json:
        print(json.dumps([dataclasses.asdict(r) | {"met": r.met} for r in results], indent=1))
    else:
        print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs, {rounds} rounds")
        print("\n".join(rows(results)))
    return 1 if args.check and not all(r.met for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
