"""What of a process is locked and resident: the command, against the tests' own reading of smaps."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lockedarray as la
from command_line import lockedarray, ordinary
from lockedarray import map_command
from lockedarray.memory_map import MemoryMap, Row, merged, read
from smaps import PAGE, address, locked_pages, mappings, vm_lck

HOLDER = """
import mmap, numpy as np, lockedarray as la
locked = la.zeros(64 << 10, "u1", on_error="raise")
plain = np.frombuffer(mmap.mmap(-1, 1 << 20), "u1")
plain[: 1 << 19 : 4096] = 1
print(locked.__array_interface__["data"][0], plain.__array_interface__["data"][0], flush=True)
input()
"""


def row_of(process: MemoryMap, a: np.ndarray) -> Row:
    [row] = [row for row in process.rows if row.start <= address(a) < row.end]
    return row


@pytest.mark.locks(1 << 20)
def test_a_locked_array_and_one_that_is_not() -> None:
    locked = la.zeros(16 * PAGE, "u1", guard=True)
    plain = np.zeros(1 << 20, "u1")
    plain[:] = 1
    process = read(os.getpid())
    row = row_of(process, locked)
    assert all(locked_pages(address(locked), 16 * PAGE))
    assert (row.size, row.locked, row.resident, row.resident_locked) == (16 * PAGE,) * 4
    row = row_of(process, plain)
    assert not any(locked_pages(row.start, row.size))
    assert row.locked == row.resident_locked == 0
    assert row.resident >= 1 << 20
    assert process.locked == vm_lck() == sum(row.locked for row in process.rows)


def test_all_mappings_by_address() -> None:
    process = read(os.getpid())
    assert abs(len(process.rows) - mappings()) <= 2  # reading may map something
    assert all(row.end - row.start == row.size > 0 for row in process.rows)
    bounds = [bound for row in process.rows for bound in (row.start, row.end)]
    assert bounds == sorted(bounds)
    assert (process.soft, process.hard) == resource.getrlimit(resource.RLIMIT_MEMLOCK)
    assert process.command == Path("/proc/self/comm").read_text().strip()


def test_merging_loses_nothing() -> None:
    process = read(os.getpid())
    rows = merged(process.rows)
    assert len({row.name for row in rows}) == len(rows) < len(process.rows)
    assert [row.resident for row in rows] == sorted((row.resident for row in rows), reverse=True)
    for figure in "mappings", "size", "resident", "locked", "resident_locked":
        assert sum(getattr(row, figure) for row in rows) == sum(getattr(row, figure) for row in process.rows)


@pytest.mark.locks(128 << 10)
def test_another_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        locked, plain = map(int, holder.stdout.readline().split())
        figures = json.loads(lockedarray("map", holder.pid, "--all", "--json")[0])
        out, _ = lockedarray("map", holder.pid)
        holder.communicate("\n")
    assert figures["pid"] == holder.pid
    assert figures["locked"] == 64 << 10
    rows = {row["start"]: row for row in figures["rows"]}
    assert rows[locked]["locked"] == rows[locked]["resident_locked"] == 64 << 10
    below = max(start for start in rows if start <= plain)
    assert rows[below]["locked"] == 0
    assert rows[below]["resident"] >= 1 << 19
    assert re.search(r"^\[anonymous\] \(\d+\) .* 64 KiB  █.*[▒·]", out, re.MULTILINE)
    assert re.search(r"^all \(VmRSS, VmLck\) .* 64 KiB$", out, re.MULTILINE)


def test_the_keys_of_json() -> None:
    out, err = lockedarray("map", "self", "--json")
    figures = json.loads(out)
    assert err == ""
    assert list(figures) == ["pid", "command", "rows", "locked", "resident", "limit"]
    assert list(figures["limit"]) == ["soft", "hard"]
    assert list(figures["rows"][0]) == [
        "name", "start", "end", "permissions", "mappings", "size", "resident", "locked", "resident_locked"
    ]  # fmt: skip


@pytest.mark.parametrize("width", [56, 72, 140])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_picture_fits(width: int, encoding: str) -> None:
    for options in (), ("--all",):
        out, err = lockedarray("map", "self", *options, COLUMNS=str(width), PYTHONIOENCODING=encoding)
        assert err == ""
        assert "which is this command itself" in out
        lines = out.splitlines()
        assert max(map(len, lines[1:])) <= max(width, 72 * bool(options))
        legend = "█ locked and resident" if encoding == "utf-8" else "# locked and resident"
        assert any(line.startswith(legend) for line in lines[-2:])
        assert out.isascii() == (encoding == "ascii")


def test_each_share_can_be_seen() -> None:
    row = Row("", 0, 0, "", 1, 1000 * PAGE, 3 * PAGE, 2 * PAGE, PAGE)
    assert map_command._shares(row, 16, "#+o.") == "#+o" + "." * 13
    everything = Row("", 0, 0, "", 1, PAGE, PAGE, PAGE, PAGE)
    assert map_command._shares(everything, 8, "#+o.") == "########"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_name_that_a_terminal_would_obey(encoding: str) -> None:
    program = """
import ctypes
ctypes.CDLL(None).prctl(15, bytes([27]) + b"[31mr\\xe9d" + bytes([7]))
print(flush=True)
input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        out, err = lockedarray("map", process.pid, PYTHONIOENCODING=encoding)
        process.communicate(b"\n")
    assert err == ""
    assert re.match(rf"process {process.pid} \(\?\[31mr.d\?\)\n", out)
    assert out.replace("\n", "").isprintable()


def test_what_is_locked_comes_first() -> None:
    small, large = (Row(name, 0, 0, "", 1, *[size * PAGE] * 2, 0, 0) for name, size in (("a", 1), ("b", 9)))
    locked = Row("c", 0, 0, "", 1, *[2 * PAGE] * 4)
    assert [row.name for row in merged([small, large, locked])] == ["c", "b", "a"]


def test_no_such_process() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert lockedarray("map", gone.pid, status=1) == (
        "",
        f"lockedarray map: there is no process {gone.pid} here\n",
    )


def test_a_process_that_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        _, err = lockedarray("map", ended.pid, status=1)
    name = Path(sys.executable).name[:15]  # as the kernel keeps it
    assert err == f"lockedarray map: process {ended.pid} ({name}) has ended: it has no memory of its own\n"


def test_a_kernel_thread() -> None:
    kthreadd = Path("/proc/2/comm")
    if not kthreadd.exists() or kthreadd.read_text() != "kthreadd\n":
        pytest.skip("needs to see the kernel's threads, which a container hides")
    _, err = lockedarray("map", 2, status=1)
    assert (
        err
        == "lockedarray map: process 2 (kthreadd) is a thread of the kernel's: it has no memory of its own\n"
    )


def test_a_process_that_may_not_be_read() -> None:
    held = re.search(r"^CapPrm:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    if held is None or int(held[1], 16) == 0:
        pytest.skip("needs a process with capabilities (root's), which one without may not trace")
    _, err = lockedarray("map", os.getpid(), status=1, before=ordinary())
    assert "may not be read: that takes the right to trace it" in err


@pytest.mark.parametrize("pid", ["0", "-1", "1.5", "selves", "²"])
def test_what_is_no_process(pid: str) -> None:
    _, err = lockedarray("map", "--", pid, status=2)
    assert f"{pid!r} is neither a process's number nor 'self'" in err
