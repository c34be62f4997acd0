"""What README and help() show runs, and says what it shows."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lockedarray as la

README = Path(__file__).resolve().parent.parent / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
METHODS = [
    (kind, name)
    for kind in (la.RingBuffer, la.HistoryBuffer, la.Heap)
    for base in kind.__mro__
    for name, value in vars(base).items()
    if base.__module__ == "lockedarray._native"
    and type(value).__name__ == "method_descriptor"
    and not name.startswith("_")
]

pytestmark = pytest.mark.locks(2 << 20)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_readme_runs(number: int, tmp_path: Path) -> None:
    path = tmp_path / "program.py"  # a file: multiprocessing imports it again
    path.write_text(PROGRAMS[number])
    command = [sys.executable, "-W", "error", path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    if "print(block" in PROGRAMS[number]:
        assert ran.stdout.split() == [f"{k}.0" for k in range(100)]


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) == 4
    assert {"write", "latest", "wait_read", "owns"} <= {name for _, name in METHODS}


@pytest.mark.parametrize(("kind", "name"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_what_help_says_of_a_method_in_c_is_so(kind: type, name: str) -> None:
    """pytest --doctest-modules finds only those that are written in Python."""
    test = doctest.DocTestFinder().find(getattr(kind, name), name, globs={})[0]
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


@pytest.mark.parametrize("kind", [la.Heap, la.Pool, la.RingBuffer, la.HistoryBuffer])
def test_help_knows_the_arguments_of_each_method(kind: type) -> None:
    for name in dir(kind):
        if not name.startswith("_") and callable(getattr(kind, name)):
            inspect.signature(getattr(kind, name))
