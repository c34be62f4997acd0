"""The waits' protocol under every order of steps and of stores: models/ring_wait.pml, tried by spin."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "models/ring_wait.pml"

pytestmark = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None, reason="needs Debian's packages spin and gcc"
)


def check(directory: Path, *macros: str, optimized: str = "-O0") -> str:
    """What is found wrong: nothing, or in pan's words. The search must have been exhaustive."""
    subprocess.run(["spin", "-a", *macros, MODEL], cwd=directory, check=True, stdout=subprocess.DEVNULL)
    options = ["-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000", "-w", optimized]
    subprocess.run(["gcc", *options, "-o", "pan", "pan.c"], cwd=directory, check=True)
    ran = subprocess.run(["./pan", "-m100000", "-w22"], cwd=directory, stdout=subprocess.PIPE, text=True)
    errors = re.search(r"errors: (\d+)", ran.stdout)
    assert errors is not None, ran.stdout
    found = re.search(r"pan:1: (invalid end state|assertion violated)", ran.stdout)
    assert (found is not None) == (errors[1] != "0"), ran.stdout
    if found is not None:
        return found[1]
    assert not re.search("Search not completed|max search depth", ran.stdout), ran.stdout
    return ""


@pytest.mark.full
@pytest.mark.parametrize(
    "sizes",
    [
        ["-DCAPACITY=1", "-DFRAMES=3"],
        ["-DCAPACITY=2", "-DFRAMES=3", "-DWRITER_BLOCK=2"],
        ["-DCAPACITY=2", "-DFRAMES=3", "-DREADER_BLOCK=2"],
    ],
    ids=" ".join,
)
def test_no_order_loses_a_wake_up_or_a_frame(tmp_path: Path, sizes: list[str]) -> None:
    assert check(tmp_path, *sizes, optimized="-O1") == ""


@pytest.mark.parametrize("side", ["W", "R"])
@pytest.mark.parametrize("fence", ["WAKER", "SLEEPER", "CLOSER"])
def test_without_a_fence_a_side_sleeps_for_ever(tmp_path: Path, fence: str, side: str) -> None:
    assert check(tmp_path, f"-DNO_{fence}_FENCE={side}") == "invalid end state"


def test_a_sleep_that_was_not_seen_must_be_short(tmp_path: Path) -> None:
    assert check(tmp_path, "-DONE_SLEEP") == "invalid end state"


@pytest.mark.parametrize("order", ["NO_INDEX_RELEASE", "NO_CLOSE_RELEASE", "CLOSED_AFTER_INDEX"])
def test_without_an_order_a_frame_is_wrong_or_missed(tmp_path: Path, order: str) -> None:
    assert check(tmp_path, f"-D{order}") == "assertion violated"
