"""`lockedarray jitter` as people run it: what it measures, says and leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import PROGRAM, lockedarray, ordinary
from lockedarray.cli import main
from lockedarray.jitter import report
from lockedarray.jitter.measure import Run
from lockedarray.jitter.options import Options
from lockedarray.jitter.tally import Tally
from lockedarray.limits import limit_counts
from lockedarray.setting import Step

SHORT = ("jitter", "--duration=0.2")


def measured(*options: object, status: int = 0, before: tuple[str, ...] = ()) -> dict[str, Any]:
    out, err = lockedarray(*SHORT, "--json", *options, status=status, before=before)
    assert err == ""
    figures: dict[str, Any] = json.loads(out)
    return figures


def test_the_keys_of_json() -> None:
    figures = measured()
    assert list(figures) == ["settings", "machine", "interrupted", "runs", "ratios"]
    assert figures["settings"] == {
        "threads": 1,
        "priority": None,
        "interval_us": 1000,
        "duration_s": 0.2,
        "cpus": [],
        "synth_frames": None,
        "lock": True,
    }
    assert figures["interrupted"] is False
    assert figures["ratios"] is None
    [run] = figures["runs"]
    assert list(run) == ["name", "threads", "together", "histogram", "not_locked"]
    [thread] = run["threads"]
    together = ["wakeups", "missed", "dropped", "faults", "latency_us"]
    assert list(run["together"]) == together
    assert list(thread) == ["thread", "cpu", *together, "steps"]
    assert list(thread["faults"]) == ["minor", "major", "source"]
    assert list(thread["latency_us"]) == ["min", "avg", "p50", "p90", "p99", "p99.9", "max"]
    assert list(thread["steps"][0]) == ["name", "asked", "achieved", "ok", "reason", "fix"]
    assert len(run["histogram"]["bounds_us"]) == len(run["histogram"]["wakeups"]) + 1


def test_threads_that_share_the_time() -> None:
    figures = measured("--threads=3", "--interval=2000", "--synth=32", "--cpus=0")
    [run] = figures["runs"]
    assert [thread["thread"] for thread in run["threads"]] == [0, 1, 2]
    for thread in run["threads"]:
        assert thread["cpu"] == 0
        assert 99 <= thread["wakeups"] + thread["missed"] <= 110
        assert thread["latency_us"]["min"] > 0
    assert run["together"]["wakeups"] == sum(thread["wakeups"] for thread in run["threads"])
    assert run["together"]["wakeups"] == sum(run["histogram"]["wakeups"])


def test_compare() -> None:
    figures = measured("--compare")
    plain, ready = figures["runs"]
    assert (plain["name"], ready["name"]) == ("plain", "realtime")
    assert plain["threads"][0]["steps"] == []
    assert len(ready["threads"][0]["steps"]) >= 5
    ratios = figures["ratios"]
    assert list(ratios) == list(plain["together"]["latency_us"])
    for name, ratio in ratios.items():
        assert ratio == pytest.approx(
            plain["together"]["latency_us"][name] / ready["together"]["latency_us"][name]
        )
    for run in plain, ready:
        assert 198 <= run["together"]["wakeups"] + run["together"]["missed"] <= 220


def test_turns_add_up() -> None:
    out, _ = lockedarray("jitter", "--duration=1", "--interval=2500", "--compare")
    assert re.search(r"^[\d.]+ of 2 s  plain  ", out, re.MULTILINE)
    rows = re.findall(r"^(plain|realtime) .* (\d+) +(\d+) +\d+$", out, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["plain", "realtime"]
    assert all(398 <= int(wakeups) + int(missed) <= 410 for _, wakeups, missed in rows)
    assert re.search(r"^ratio( +[\d.]+x){7}$", out, re.MULTILINE)
    assert re.search(r"^from us +plain +realtime$", out, re.MULTILINE)


def test_a_report_in_a_pipe() -> None:
    out, err = lockedarray("jitter", "--duration=0.6", "--synth")
    assert err == ""
    assert "\r" not in out
    progress = re.findall(
        r"^[\d.]+ of 0.6 s  realtime  min \d+  avg \d+  max \d+ us  missed \d+$", out, re.MULTILINE
    )
    assert 1 <= len(progress) <= 4
    assert "a block of 64 frames" in out
    assert "page faults of each loop's thread, counted by " in out
    assert re.search(r"^from us  wake-ups$", out, re.MULTILINE)
    assert "█" in out
    out, _ = lockedarray(*SHORT, PYTHONIOENCODING="ascii")
    assert out.isascii()
    assert "  ####" in out


@pytest.mark.parametrize("width", [80, 140])
def test_a_line_that_moves_on_a_terminal(width: int) -> None:
    terminal, process_side = pty.openpty()
    fcntl.ioctl(process_side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [*PROGRAM, "jitter", "--duration=0.6"],
        stdin=process_side,
        stdout=process_side,
        stderr=process_side,
        env=environment | {"PYTHONIOENCODING": "utf-8"},
    ) as process:
        os.close(process_side)
        said = b""
        try:
            while part := os.read(terminal, 65536):
                said += part
        except OSError:  # how a terminal's end is told
            pass
    os.close(terminal)
    assert process.returncode == 0
    out = said.decode().replace("\r\n", "\n")
    moves = re.findall(r"\r([\d.]+) of 0.6 s  realtime  min \d+  avg \d+  max \d+ us", out)
    assert len(moves) >= 2
    assert moves == sorted(moves, key=float)
    before, _, after = out.rpartition("\r")
    assert before.split("\r")[-1].strip() == "", "the line is taken away"
    assert after.startswith("jitter: 1 thread")
    drawn = [line for line in after.splitlines() if "█" in line]
    assert width - 8 < max(map(len, drawn)) <= width


def test_what_could_not_be_had_is_said() -> None:
    if resource.getrlimit(resource.RLIMIT_RTPRIO)[1] >= 40:
        pytest.skip("needs a hard limit RLIMIT_RTPRIO below 40")
    before = ("sh", "-c", 'ulimit -l 0 && exec "$@"', "sh", *ordinary())
    options = ("--priority=40", "--cpus=8000", "--synth")
    [run] = measured(*options, before=before)["runs"]
    refused = {step["name"]: step for step in run["threads"][0]["steps"] if not step["ok"]}
    assert {"memory", "processors", "scheduler"} <= set(refused)
    assert "RLIMIT_RTPRIO is 0" in refused["scheduler"]["reason"]
    assert all(step["fix"] for step in refused.values())
    assert "RLIMIT_MEMLOCK is 0 bytes" in run["not_locked"]
    assert run["together"]["wakeups"] > 20

    out, err = lockedarray(*SHORT, *options, before=before)
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80, "prose keeps to the terminal's width"
    told = " ".join(out.split())
    for step in refused.values():
        assert told.count(f"not achieved: {step['name']}: {step['asked']} asked, ") == 1
        assert step["fix"] in told
    assert told.count("the loops' own memory: not locked, only resident: ") == 1


@pytest.mark.skipif(limit_counts(), reason="needs to lock without a limit")
def test_what_could_be_had() -> None:
    for options, held in ((), True), (("--no-lock",), False):
        [run] = measured("--synth", *options)["runs"]
        steps = {step["name"]: step for step in run["threads"][0]["steps"]}
        assert ("memory" in steps) == held
        assert run["not_locked"] is None
        if held:
            assert steps["memory"]["ok"]


def test_no_lock_says_nothing_of_locks() -> None:
    before = ("sh", "-c", 'ulimit -l 0 && exec "$@"', "sh", *ordinary())
    [run] = measured("--no-lock", "--synth", before=before)["runs"]
    assert run["not_locked"] is None
    assert "memory" not in [step["name"] for step in run["threads"][0]["steps"]]


def test_in_a_user_namespace() -> None:
    before = ("unshare", "--user", "--map-root-user")
    if shutil.which("unshare") is None or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("needs a user namespace (unshare)")
    [run] = measured("--priority=40", before=before)["runs"]
    assert run["together"]["wakeups"] > 20


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--threads=0", "the number of threads is 1 to 256, not 0"),
        ("--threads=two", "'two' is no whole number"),
        ("--priority=100", "a priority is 1 to 99, not 100"),
        ("--interval=5", "a period in us is 10 to 1000000, not 5"),
        ("--interval=nan", "'nan' is no number"),
        ("--duration=-1", "a duration in seconds is 0.01 to 604800, not -1"),
        ("--duration=1e30", "a duration in seconds is 0.01 to 604800"),
        ("--cpus=1-", "'1-' is no list of CPUs"),
        ("--cpus=3-1", "'3-1' is no range of CPUs"),
        ("--synth=0", "a block's number of frames is 1 to 65536, not 0"),
        ("--plot=/nowhere/at/all.png", "'/nowhere/at/all.png' cannot be written: there is no directory"),
        ("--plot=/proc", "'/proc': a picture's name ends in .png, .svg, .pdf"),
        ("--plot=", "'': a picture's name ends in .png, .svg, .pdf"),
    ],
)
def test_bad_options(option: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        sys.exit(main(["jitter", "--duration=600", option]))
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_plot(tmp_path: Path) -> None:
    picture = tmp_path / "plot.png"
    if find_spec("matplotlib") is None:
        _, err = lockedarray("jitter", "--duration=600", "--plot", picture, status=2)
        assert err.endswith("a picture needs matplotlib: pip install matplotlib\n")
        return
    lockedarray(*SHORT, "--compare", "--threads=2", "--plot", picture)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    (tmp_path / "nowhere.svg").symlink_to("/nowhere/at/all.svg")
    _, err = lockedarray(*SHORT, "--plot", tmp_path / "nowhere.svg", status=1)
    assert "cannot draw" in err


def test_the_title_of_a_picture_says_what_was_not_achieved() -> None:
    step = Step("scheduler", "SCHED_FIFO, priority 80", "SCHED_OTHER", False, "Refused.", "Ask.")
    run = Run("realtime", (Tally(), Tally()), (None, None), ((step,), (step,)), "")
    title = report.title(Options(threads=2, priority=80, cpus=tuple(range(99))), [run], True, 80)
    assert "asked for SCHED_FIFO 80" in title
    assert "\nnot achieved: scheduler\nstopped early\nLinux" in title
    assert max(map(len, title.splitlines())) <= 80


@pytest.mark.parametrize("width", [48, 60, 80, 140])
def test_a_narrow_table_does_without_some_figures(width: int) -> None:
    tally = Tally(10_000_000, 20_000, 0, 0, frozenset(), 1, 5000, 9_000_000, np.arange(1000))
    runs = [Run(name, (tally, tally), (None, None), ((), ()), "") for name in ("plain", "realtime")]
    lines = list(report.lines(Options(threads=2), runs, width, True))
    assert max(map(len, lines)) <= width
    [heading] = [line for line in lines if line.startswith("us ")]
    assert {"p99", "max", "wake-ups", "missed"} <= set(heading.split())
    assert ("p99.9" in heading) == (width >= 80)
    assert ("p90" in heading) == (width > 80)


def test_an_early_end_is_reported() -> None:
    with subprocess.Popen(
        [*PROGRAM, "jitter", "--duration=4", "--interval=1000"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.match(r"1\.\d of 4 s", first)
    assert out.startswith("stopped early; the report is of what was measured until then\njitter: ")
    [row] = re.findall(r"^realtime .* (\d+) +(\d+) +\d+$", out, re.MULTILINE)
    assert 900 <= int(row[0]) + int(row[1]) <= 3000


def test_what_was_not_kept_is_said() -> None:
    tally = Tally(5000, 0, 0, 0, frozenset({"rusage"}), 1, 5000, 9000, np.arange(1000))
    run = Run("realtime", (tally,), (None,), ((),), "")
    lines = list(report.lines(Options(), [run], 80, True))
    assert any(line.startswith("realtime: of 5,000 latencies the newest 1,000 were kept") for line in lines)
    assert report.record(Options(), [run], False)["runs"][0]["together"]["dropped"] == 4000
