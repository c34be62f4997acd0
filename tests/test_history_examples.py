"""The examples of the history buffer as people start them, judged by their words and status."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from peers import until
from test_examples import EXAMPLES, run, start

pytestmark = pytest.mark.locks(1 << 20)


def example(name: str, *args: object, status: int = 0) -> str:
    out, err = run(EXAMPLES / f"{name}.py", *args, status=status)
    assert err == ""
    return out


@pytest.mark.parametrize("delay", [0, 0.5, 10, 350, 3000])
def test_delay_line(delay: float) -> None:
    out = example("delay_line", "--delay-ms", delay, "--seconds", 1)
    assert "equal to the sum made at once; page faults in the loop: 0" in out


@pytest.mark.parametrize(("taps", "block"), [(63, 64), (1, 1000), (500, 16)])
def test_fir_filter(taps: int, block: int) -> None:
    out = example("fir_filter", "--taps", taps, "--block", block, "--seconds", 0.5)
    low, high = map(float, re.findall(r"Hz (-?[\d.]+) dB", out))
    assert abs(low) < 0.5
    assert high < -40 or taps == 1, "the control passes everything"
    assert taps > 1 or high > -0.5


def test_parameters() -> None:
    out = example("parameters", "--seconds", 1)
    changes = int(re.findall(r"(\d+) blocks with new ones, 0 torn, 0 backwards", out)[0])
    assert changes > 20


def test_parameters_without_smoothing_have_zipper_noise() -> None:
    assert "zipper noise" in example("parameters", "--seconds", 1, "--no-smoothing", status=1)


def test_history_readers() -> None:
    out = example("history_readers", "--seconds", 2)
    assert out.count("(exactly the rest)") == 3
    assert out.count(" 0 torn, 0 backwards") == 3
    assert re.search(r"slow +\d+ reads, \d+ records, [1-9]\d* missed", out)


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


@pytest.mark.full
@pytest.mark.parametrize("dies", ["parent", "reader"])
def test_history_readers_of_whom_one_is_killed(dies: str) -> None:
    with start(EXAMPLES / "history_readers.py", "--seconds", 3) as process:
        until(lambda: len(children(process.pid)) == 5)  # and multiprocessing's tracker
        family = children(process.pid)
        time.sleep(1.0)
        os.kill(process.pid if dies == "parent" else family[-1], signal.SIGKILL)
        _, err = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if dies == "parent" else 1)
    assert err == ("" if dies == "parent" else "history_readers: a process died\n")
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in family))


def test_help_says_how() -> None:
    for name in ("delay_line", "fir_filter", "parameters", "history_readers"):
        assert "--seconds" in example(name, "--help")
        assert "error" in run(EXAMPLES / f"{name}.py", "--seconds", "x", status=2)[1]
