"""ring.h by itself, in C: every item in its place, and each acquire and release needed.

ThreadSanitizer judges the order, whatever this machine's processor would forgive: it reports two threads that
use one plain word without what C calls a happens-before between them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import lockedarray as la

NATIVE = Path(__file__).parent / "native"
HEADERS = Path(la.get_include())
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def compiled(directory: Path, source: str, *options: str, headers: Path = HEADERS) -> Path:
    program = directory / Path(source).stem
    command: list[str | Path] = ["gcc", *WARNINGS, *options, "-pthread", "-I", headers]
    command += [NATIVE / source, "-o", program]
    subprocess.run(command, check=True)
    return program


# Order and content. A billion items: see the first lines of ring_threads.c.


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )


def test_every_item_arrives_once_whole_and_in_order(tmp_path: Path) -> None:
    ran = run(compiled(tmp_path, "ring_threads.c", "-O2"), "5000000")
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.startswith("5000000 items in order, whole")


def test_a_ring_that_says_to_have_room_where_it_has_none_is_noticed(tmp_path: Path) -> None:
    ran = run(compiled(tmp_path, "ring_threads.c", "-O2", "-DTOO_MANY=64"), "5000000")
    assert ran.returncode == 1
    assert "another item than was sent" in ran.stdout


# Order of memory


# gcc warns that the sanitizer does not follow fences; no plain word relies on one.
SANITIZE = ["-O1", "-fsanitize=thread", "-Wno-tsan"]


def where(text: str, order: re.Match[str]) -> str:
    """The name of the function that an order stands in, and the order."""
    function = re.findall(r"^static .*?(la_ring_\w+)\(", text[: order.start()], re.MULTILINE)[-1]
    return f"{function}-{order[1].lower()}"


def orders() -> list[object]:
    """Each acquire and release of the headers: in which file, where in it, and under which name."""
    return [
        pytest.param(header.name, order.span(), id=where(text, order))
        for header in sorted((HEADERS / "lockedarray").glob("ring*.h"))
        for text in [header.read_text()]
        for order in re.finditer(r"__ATOMIC_(ACQUIRE|RELEASE)\b", text)
    ]


def races(before: list[str], program: Path) -> str:
    """What ThreadSanitizer says, if anything."""
    environment = os.environ | {"TSAN_OPTIONS": "exitcode=66 halt_on_error=1"}
    ran = subprocess.run([*before, program], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode in (0, 66), ran.stderr
    assert (ran.returncode == 66) == ("WARNING: ThreadSanitizer: data race" in ran.stderr), ran.stderr
    return ran.stderr


def test_no_race(tmp_path: Path, thread_sanitizer: list[str]) -> None:
    program = compiled(tmp_path, "ring_races.c", *SANITIZE)
    for _ in range(10):
        assert races(thread_sanitizer, program) == ""


@pytest.mark.parametrize(("header", "span"), orders())
def test_a_relaxed_order_is_a_race(
    tmp_path: Path, thread_sanitizer: list[str], header: str, span: tuple[int, int]
) -> None:
    shutil.copytree(HEADERS / "lockedarray", tmp_path / "lockedarray")
    text = (HEADERS / "lockedarray" / header).read_text()
    relaxed = text[: span[0]] + "__ATOMIC_RELAXED" + text[span[1] :]
    (tmp_path / "lockedarray" / header).write_text(relaxed)
    assert races(thread_sanitizer, compiled(tmp_path, "ring_races.c", *SANITIZE, headers=tmp_path)) != ""
