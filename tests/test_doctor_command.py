"""``lockedarray doctor`` and its table, as people see them."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

import lockedarray
from command_line import PROGRAM, ordinary
from command_line import lockedarray as run
from lockedarray.doctor import Trials
from lockedarray.doctor.table import table
from machines import examined, limits

ILL = {
    "proc/self/limits": limits(memlock="0", rtprio="0"),
    "proc/sys/vm/compact_unevictable_allowed": "1",
    "proc/sys/vm/swappiness": "many",
}
REFUSED = Trials(lock_page=errno.EPERM, fifo=errno.EPERM, cpu_dma_latency=0)


@pytest.mark.parametrize("width", [70, 80, 140])
def test_the_table_keeps_to_its_width(tmp_path: Path, width: int) -> None:
    report = examined(tmp_path, ILL, REFUSED)
    lines = table(report, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < len(table(report, width - 20).splitlines()) or width == 70


def test_all_checks_are_in_the_table_and_what_is_not_well_is_explained(tmp_path: Path) -> None:
    report = examined(tmp_path, ILL, REFUSED)
    text = " ".join(str(report).split())
    for check in report.checks:
        assert f" {check.state} {check.name} " in f" {text} "
        assert (check.meaning in text) == (check.state != "ok")
        assert not check.fix or check.fix in text
    assert text.count(report.checks[0].fix) == 2, "once where it is told first, and once at the end"
    everything = " ".join(table(report, everything=True).split())
    assert all(check.meaning in everything for check in report.checks)
    assert re.search(r"\d fail, \d warn, 1 unknown, \d+ ok\. First, memlock soft limit: run 'sudo", text)


def test_the_end_of_a_table_on_which_all_is_well(tmp_path: Path) -> None:
    assert str(examined(tmp_path, {})).endswith("26 ok. Nothing here stands in a real-time loop's way.")
    assert repr(examined(tmp_path, {})) == "<Report: 26 ok>"


def test_colours_change_nothing_else(tmp_path: Path) -> None:
    report = examined(tmp_path, ILL, REFUSED)
    coloured = table(report, colour=True)
    assert "\x1b[1;31mfail\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == table(report)


def status() -> int:
    """What the command's exit status has to be here."""
    return 0 if lockedarray.doctor().ok else 1


def test_json_and_the_exit_status() -> None:
    out, _ = run("doctor", "--json", status=status())
    report = json.loads(out)
    assert list(report) == ["ok", "counts", "first", "checks"]
    assert list(report["counts"]) == ["ok", "warn", "fail", "unknown"]
    assert sum(report["counts"].values()) == len(report["checks"]) == 26
    for check in report["checks"]:
        assert list(check) == ["name", "group", "state", "finding", "meaning", "fix"]
    assert report["ok"] == (report["counts"]["fail"] == 0) == (status() == 0)


def test_it_fails_where_something_fails() -> None:
    before = ("sh", "-c", 'ulimit -l 0 && exec "$@"', "sh", *ordinary())
    out, _ = run("doctor", status=1, before=before)
    assert "fail     lock of a page" in out
    assert "First, memlock soft limit: " in out
    assert "\x1b" not in out, "no colours but on a terminal"


def test_plain_text_keeps_to_the_terminals_width() -> None:
    for width in (80, 140):
        out, _ = run("doctor", "--all", status=status(), COLUMNS=str(width))
        assert max(map(len, out.splitlines())) <= width


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_on_a_terminal(environment: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80"} | environment
    if not environment:
        environ.pop("NO_COLOR", None)
    with subprocess.Popen([*PROGRAM, "doctor"], stdout=theirs, env=environ) as program:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert program.returncode == status()
    assert (b"\x1b[32mok\x1b[0m" in shown) == coloured
    assert b"page size" in shown


def test_help_tells_the_exit_status() -> None:
    out, _ = run("doctor", "--help")
    assert "exit status: 0 nothing fails" in out


def test_a_terminal_that_takes_ascii_only() -> None:
    out, _ = run("doctor", status=status(), PYTHONIOENCODING="ascii")
    assert out.isascii()
