"""The heap's allocator by itself, in C: how long a call takes, and how often a random mix is refused.

    python benchmarks/heap_c.py [--quick] [--json] [--check]

A pair is one take and one give; "p99.99" holds the clock too, some 25 ns. The mix takes and gives back
blocks of 64 bytes to 1 MiB with three quarters of a heap of 64 MiB in use.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "lockedarray/csrc"
CORE = [
    CSRC / f"{name}.c"
    for name in ("os", "os_files", "hold_tree", "registry", "region", "mirror", "pool", "heap", "tlsf")
]
BOUNDS = {"TLSF alone": 60.0, "TLSF behind the mutex": 100.0, "the heap": 100.0}  # ns of a pair, p50
WORST = 2000.0  # ns, p99.99


@dataclass
class Line:
    """Medians over the rounds."""

    what: str
    p50: float
    p9999: float
    refused: int
    bound: float | None

    @property
    def met(self) -> bool:
        in_time = self.bound is None or self.p50 <= self.bound
        return in_time and self.p9999 <= WORST and self.refused == 0


def compiled(directory: Path) -> Path:
    program = directory / "heap_alone"
    source = ROOT / "benchmarks/native/heap_alone.c"
    options = ["-std=gnu11", "-O3", "-DNDEBUG", "-pthread", f"-I{CSRC}"]
    subprocess.run(["cc", *options, source, *CORE, "-o", program], check=True)
    return program


def measured(program: Path, count: int, rounds: int) -> list[Line]:
    times = defaultdict(list)
    for seed in range(rounds):
        for line in subprocess.check_output([program, str(count), str(seed)], text=True).splitlines():
            what, size, *figures = line.split("\t")
            times[what, int(size)].append([float(figure) for figure in figures])
    lines = []
    for (what, size), rows in times.items():
        p50, p9999, refused = zip(*rows, strict=True)
        medians = statistics.median(p50), statistics.median(p9999)
        lines.append(Line(f"{what}, {size:,} bytes", *medians, int(sum(refused)), BOUNDS.get(what)))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is missed")
    args = parser.parse_args()
    count, rounds = (10_000, 2) if args.quick else (1_000_000, 7)
    with tempfile.TemporaryDirectory() as directory:
        lines = measured(compiled(Path(directory)), count, rounds)
    if args.json:
        print(json.dumps([dataclasses.asdict(line) | {"met": line.met} for line in lines], indent=1))
    else:
        print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs, {rounds} rounds")
        print(f"{'':44}{'p50, ns':>9}{'bound':>7}{'p99.99':>9}{'bound':>7}{'refused':>9}")
        for line in lines:
            bound = "" if line.bound is None else f"{line.bound:.0f}"
            figures = f"{line.p50:9.1f}{bound:>7}{line.p9999:9.0f}{WORST:7.0f}{line.refused:9}"
            print(f"{line.what:44}{figures}  {'ok' if line.met else 'MISSED'}")
    return 1 if args.check and not all(line.met for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
