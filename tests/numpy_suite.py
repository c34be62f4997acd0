"""NumPy's own tests, with a heap active and without: all end as they did, the heap is sound, nothing leaks.

    python tests/numpy_suite.py                            # all of six packages
    python tests/numpy_suite.py --part ci                  # what is not slow and needs no gigabytes
    python tests/numpy_suite.py numpy.fft numpy.linalg

Install hypothesis, meson, ninja, cython, numba and setuptools besides pytest, and a C compiler: tests that
miss something are skipped, and say what. Each package runs in two processes, one after the other; what ends
otherwise with the heap runs once more in both. The result is 1 if a test is worse then, if the heap is
damaged, if something in it belongs to no array at the end, or if a test did not begin in the heap.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PACKAGES = ["numpy._core", "numpy.lib", "numpy.fft", "numpy.linalg", "numpy.ma", "numpy.random"]
GIB = 1 << 30
OUTCOMES = ["passed", "failed", "error", "skipped", "xfailed", "xpassed"]
NUMPY = Path(np.__file__).parent


class Part(NamedTuple):
    """How much is run, and in what heap."""

    heap: int
    overflow: str
    memory: int  # tests that say that they need more than this are skipped by NumPy
    select: list[str]


def parts(name: str) -> Part:
    """In "ci" nothing that succeeds is larger than the heap: all is in it, or a MemoryError shows.

    In "all" there are arrays of 16 GiB, which are the system's.
    """
    if name == "ci":
        return Part(3 * GIB, "raise", GIB, ["-m", "not slow"])
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    heap = min(4 * GIB, available // 4)
    return Part(heap, "system", max(available - heap - GIB, 0), [])


class Result:
    """What came of one session: see `numpy_in_heap.py`."""

    def __init__(self, figures: dict[str, Any], exit_code: int) -> None:
        self.exit_code = exit_code
        self.status: int = figures["status"]
        self.seconds: float = figures["seconds"]
        self.outcomes: dict[str, str] = figures["outcomes"]
        self.reasons: dict[str, str] = figures["reasons"]
        self.outside: list[str] = figures["outside"]
        self.heap: dict[str, Any] = figures["heap"]

    def row(self) -> str:
        counts = Counter(self.outcomes.values())
        return "".join(f"{counts[outcome]:>8}" for outcome in OUTCOMES) + f"{self.seconds:>8.0f}"


def session(part: Part, in_heap: bool, tests: list[str], directory: Path) -> Result | None:
    """Run these tests in a process of their own; None if it did not live to the end."""
    written = directory / "result.json"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-P", str(Path(__file__).with_name("numpy_in_heap.py"))]
    command += [str(written), str(part.heap if in_heap else 0), part.overflow]
    # Nothing of our own configuration; and an exception in a thread is a failure, not a warning.
    command += ["-c", os.devnull, f"--rootdir={NUMPY}", "-p", "no:cacheprovider", "-q", "--tb=short"]
    command += ["-W", "error::pytest.PytestUnhandledThreadExceptionWarning", *part.select, *tests]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # meson, ninja and cython
        "NPY_AVAILABLE_MEM": str(part.memory),  # the same for both: a heap leaves less
        "PYTHONHASHSEED": "0",
    }
    log = directory / "log"
    with log.open("w") as output:
        ran = subprocess.run(command, cwd=directory, env=environment, stdout=output, check=False)
    if written.exists():
        return Result(json.loads(written.read_text()), ran.returncode)
    print(log.read_text()[-5000:])
    return None


def differing(without: Result, within: Result) -> list[str]:
    """Tests that end otherwise in the heap, and not only better."""
    names = sorted(without.outcomes.keys() | within.outcomes.keys())
    pairs = [(name, without.outcomes.get(name), within.outcomes.get(name)) for name in names]
    return [name for name, one, other in pairs if one != other and (other != "passed" or one is None)]


def complaints(without: Result, within: Result) -> Iterator[str]:
    """All that must not be, apart from single tests."""
    heap = within.heap
    for mode, result in (("without", without), ("with", within)):
        if result.status not in (0, 1):
            yield f"pytest ended with {result.status} {mode} the heap"
        if result.exit_code != 0:
            yield f"the interpreter exited with {result.exit_code} {mode} the heap"
    if heap["allocations"] < len(within.outcomes):
        yield f"the heap was not used: {heap['allocations']} allocations"
    if within.outside:
        yield f"{len(within.outside)} tests began outside of the heap, the first is {within.outside[0]}"
    if heap["damage"]:
        yield heap["damage"]
    if heap["leaked"]:
        yield f"{heap['leaked']} bytes in use belong to no array"


def compare(package: str, part: Part, directory: Path, table: list[str]) -> Iterator[str]:
    """Run one package both ways, add to the table, and yield what is wrong."""
    results = []
    for in_heap in (False, True):
        print(f"{package}, {'with' if in_heap else 'without'} the heap", flush=True)
        result = session(part, in_heap, ["--pyargs", package], directory)
        if result is None:
            yield f"the process died {'with' if in_heap else 'without'} the heap"
            return
        results.append(result)
    without, within = results
    heap = within.heap
    table.append(f"{package:14}{'without':8}{without.row()}")
    table.append(
        f"{'':14}{'with':8}{within.row()}{heap['allocations']:>14,}{heap['peak']:>15,}{heap['overflows']:>10}"
        f"{heap['failures']:>9}{heap['in_use']:>13,}{heap['live']:>8}{heap['leaked']:>8}"
        f"  {'damaged' if heap['damage'] else 'sound'}"
    )
    yield from complaints(without, within)

    if again := differing(without, within):
        tests = [f"{NUMPY}/{name}" for name in again]
        more = [session(part, in_heap, tests, directory) for in_heap in (False, True)]
        for name in again:
            once = f"{without.outcomes.get(name)} without, {within.outcomes.get(name)} with the heap"
            one, other = (None if result is None else result.outcomes.get(name) for result in more)
            if one == other and one is not None:
                table.append(f"  unsteady: {once}, then {one} in both: {name} {within.reasons.get(name, '')}")
            else:
                yield f"{once}, then {one} and {other}: {name} {within.reasons.get(name, '')}"

    for name, outcome in within.outcomes.items():
        if outcome in ("failed", "error") and without.outcomes.get(name) == outcome:
            table.append(f"  {outcome} in both: {name} {within.reasons.get(name, '')}")
    skipped = (within.reasons.get(name) for name, outcome in within.outcomes.items() if outcome == "skipped")
    for reason, count in Counter(skipped).most_common():
        print(f"  {count:4} skipped: {reason}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run NumPy's own tests with a heap active and without.")
    parser.add_argument("--part", choices=["ci", "all"], default="all")
    parser.add_argument("packages", nargs="*", default=PACKAGES, metavar="PACKAGE")
    parser.add_argument("--heap", type=float, metavar="GIB", help="instead of the part's own size")
    arguments = parser.parse_args()
    part = parts(arguments.part)
    if arguments.heap is not None:
        part = part._replace(heap=int(arguments.heap * GIB))
    sizes = f"a heap of {part.heap / GIB:.1f} GiB, tests that need up to {part.memory / GIB:.1f} GiB"
    print(f"NumPy {np.__version__}, {sizes}")

    heads = "".join(f"{outcome:>8}" for outcome in [*OUTCOMES, "seconds"])
    table = [
        f"{'':22}{heads}{'allocations':>14}{'peak':>15}{'overflows':>10}{'refused':>9}"
        f"{'in use':>13}{'arrays':>8}{'leaked':>8}  check()"
    ]
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        for package in arguments.packages:
            wrong += [f"{package}: {what}" for what in compare(package, part, Path(directory), table)]
    print("\n".join(["", *table, "", *wrong]))
    print("worse with the heap" if wrong else "as without the heap")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
