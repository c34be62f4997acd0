"""Every figure that the project promises, measured here: one table.

    python benchmarks/run.py [--quick] [--json] [--check] [NAME ...]

Ours and the yardstick run in turns; times are medians with quartiles, ratios those of the pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from itertools import chain

import arrays
import heap
import numpy as np
import pool
import ring
import ring_gil
import ring_peers
import ring_processes
import table
from timing import measure, rows

BENCHMARKS = {
    "arrays": arrays,
    "heap": heap,
    "pool": pool,
    "ring": ring,
    "ring_gil": ring_gil,
    "ring_peers": ring_peers,
    "ring_processes": ring_processes,
    "table": table,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is missed")
    args = parser.parse_args()
    if unknown := set(args.names) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    results = []
    rounds = 5 if args.quick else 41
    chosen = [BENCHMARKS[name] for name in args.names or BENCHMARKS]
    for line in chain.from_iterable(benchmark.lines(args.quick) for benchmark in chosen):
        if sys.stderr.isatty():
            print(f"\r{line.what:60}", end="\r", file=sys.stderr, flush=True)
        results.append(measure(line, rounds))
    if args.json:
        print(json.dumps([dataclasses.asdict(r) | {"met": r.met} for r in results], indent=1))
    else:
        print(f"{platform.machine()}, Linux {platform.release()}, {os.cpu_count()} CPUs, ", end="")
        print(f"Python {platform.python_version()}, NumPy {np.__version__}, {rounds} pairs a line")
        print("\n".join(rows(results)))
    return 1 if args.check and not all(r.met for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
