"""The examples of the ring between processes as people start them, judged by their words and status."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from test_examples import EXAMPLES, read, run, start

pytestmark = pytest.mark.locks(1 << 20)


def example(name: str, *args: object, status: int = 0, cwd: Path | None = None) -> str:
    out, err = run(EXAMPLES / f"{name}.py", *args, status=status, cwd=cwd)
    assert err == ""
    return out


def numbers(pattern: str, out: str) -> list[int]:
    """Return what a line of the program says: the numbers of the only match."""
    found = re.findall(pattern, out)
    assert len(found) == 1, out
    return [int(n) for n in ([found[0]] if isinstance(found[0], str) else found[0])]


def test_two_processes() -> None:
    out = example("two_processes", "--seconds", 0.6)
    frames, blocks = numbers(r"(\d+) frames in (\d+) blocks, 0 wrong", out)
    assert (frames, blocks) == (256 * 112, 112)
    p50, p99 = numbers(r"p50 (\d+) us, p99 (\d+) us", out)
    assert 0 < p50 <= p99
    assert "112 of 112 blocks came, eof is True" in out


def test_two_processes_of_which_one_is_killed() -> None:
    out = example("two_processes", "--seconds", 0.6, "--kill")
    milliseconds, blocks, frames = numbers(r"after (\d+) ms, with (\d+) blocks \((\d+) frames\)", out)
    assert milliseconds <= 100
    assert 1 <= blocks <= 8
    assert frames == blocks * 256
    assert numbers(r"in (\d+) blocks, 0 wrong", out) == [56 + blocks]
    assert "eof is True" in out


def test_two_processes_stopped_by_hand() -> None:
    with start(EXAMPLES / "two_processes.py", "--seconds", 600) as process:
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "")
    assert len(re.findall(r"in \d+ blocks, 0 wrong", out)) == 1
    assert len(re.findall(r"\d+ of 112500 blocks came", out)) == 1


def test_send_fds() -> None:
    out = example("send_fds")
    (server, sent), (client, got) = (
        numbers(rf"{who} (\d+): \w+ (\d+) frames", out) for who in ("server", "client")
    )
    assert server != client
    assert sent == got == 480_000
    assert "in order, eof is True" in out


def test_send_fds_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    with start(EXAMPLES / "send_fds.py", "--serve", path) as server:
        assert "480000 frames in order" in example("send_fds", "--connect", path)
        assert "sent 480000 frames" in server.communicate(timeout=20)[0]
    assert server.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_send_fds_to_nobody(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    _, err = run(EXAMPLES / "send_fds.py", "--serve", tmp_path / "taken", status=1)
    assert err.count("\n") == 1
    assert (tmp_path / "taken").exists()


@pytest.mark.parametrize("fast", [False, True])
def test_record_loses_nothing(tmp_path: Path, fast: bool) -> None:
    seconds = 60 if fast else 1
    args = ["--fast"] if fast else []
    out = example("record", "-o", tmp_path / "out.wav", "--seconds", seconds, *args)
    assert "lost:" not in out
    assert numbers(r"(\d+) frames, .* lost (\d+) frames in (\d+) blocks", out) == [seconds * 48000, 0, 0]
    assert np.array_equal(positions(tmp_path / "out.wav"), np.arange(seconds * 48000) % 65536)


def positions(path: Path) -> np.ndarray:
    """Return where the device was at each frame of a file, modulo 65536."""
    return read(path)[:, 0].astype(np.float64) * 32768 + 32768


def test_record_says_which_frames_were_lost(tmp_path: Path) -> None:
    args = ("-o", tmp_path / "out.wav", "--seconds", 2, "--buffer", 0.05, "--stall", 0.2)
    out = example("record", *args, status=1)
    kept, lost, blocks = numbers(r"(\d+) frames, .* lost (\d+) frames in (\d+) blocks", out)
    gaps = [(int(b), int(a)) for a, b in re.findall(r"lost: +(\d+) frames from frame (\d+) \(", out)]
    assert len(gaps) >= 2, "two stalls"
    assert blocks >= len(gaps)
    assert kept + lost == 96000
    assert sum(frames for _, frames in gaps) == lost > 2 * 0.1 * 48000
    # The file is exactly what is left of the stream without the gaps.
    left = np.ones(96000, bool)
    for position, frames in gaps:
        left[position : position + frames] = False
    assert np.array_equal(positions(tmp_path / "out.wav"), np.flatnonzero(left) % 65536)


def test_record_that_is_stopped(tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    with start(EXAMPLES / "record.py", "-o", output, "--seconds", 3600) as process:
        wait_for(output, 10_000)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    found = positions(output)
    assert numbers(r"(\d+) frames, ", out) == [len(found)]
    assert np.array_equal(found, np.arange(len(found)) % 65536)


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, {examples!r})
import record
write = record.WavWriter.write
def interrupted(file, block):
    write(file, block)
    if len(block) + 5_000 > file.frames > 5_000:
        os.kill(os.getpid(), signal.SIGINT)
record.WavWriter.write = interrupted
sys.argv[1:] = ["-o", {output!r}, "--seconds", "3600"]
sys.exit(record.main())
"""


def test_record_that_is_stopped_between_file_and_ring(tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    _, err = run("-c", INTERRUPTED.format(examples=str(EXAMPLES), output=str(output)))
    assert err == ""
    found = positions(output)
    assert len(found) > 5_000
    assert np.array_equal(found, np.arange(len(found))), "no block twice"


def other_process(pid: int) -> int:
    """Return the process that an example has spawned."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("it has spawned none")


def wait_for(path: Path, nbytes: int) -> None:
    until = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < nbytes:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_record_of_a_device_that_dies(tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    with start(EXAMPLES / "record.py", "-o", output, "--seconds", 3600) as process:
        wait_for(output, 10_000)
        os.kill(other_process(process.pid), signal.SIGKILL)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    found = positions(output)
    assert f"the device died after frame {len(found)}\n" in err
    assert np.array_equal(found, np.arange(len(found)))


def test_record_to_nowhere(tmp_path: Path) -> None:
    _, err = run(EXAMPLES / "record.py", "-o", tmp_path / "missing" / "out.wav", status=2)
    assert err.count("\n") == 1
    assert "no such file or directory" in err


def test_control_loop(tmp_path: Path) -> None:
    out = example("control_loop", "--seconds", 1, cwd=tmp_path)
    periods, missed, faults = numbers(r"(\d+) periods of 1 ms, (\d+) missed, page faults (\d+) ", out)
    assert periods == 1000
    assert re.search(r"^scheduler +SCHED_FIFO, priority 50 ", out, re.MULTILINE)
    all_locked = re.search(r"^memory +all locked +yes$", out, re.MULTILINE)
    assert faults == 0 if all_locked else faults < 20, "the interpreter's own memory is not locked then"
    assert numbers(r"(\d+) records in control_loop.csv, 0 lost, eof is True", out) == [1000]
    log = np.genfromtxt(tmp_path / "control_loop.csv", delimiter=",", names=True, dtype=None)
    assert log.dtype.names == ("deadline", "latency", "set_point", "value")
    assert len(log) == 1000
    steps = np.diff(log["deadline"])
    assert (steps % 1_000_000 == 0).all()
    assert steps.sum() == (999 + missed) * 1_000_000
    assert (log["latency"] > 0).all()
    assert set(log["set_point"]) == {0.5, 1.0}
    assert np.abs(log["value"] - log["set_point"])[249::250].max() < 0.05


def died(out: str, err: str) -> tuple[int, int]:
    """Return all periods, and those of which no record was taken."""
    assert "Traceback" not in err
    counts = numbers(r"(\d+) records were left in the ring, (\d+) did not fit, (\d+) came after", err)
    return numbers(r"(\d+) periods of 1 ms", out)[0], sum(counts)


def test_control_loop_goes_on_without_its_logger(tmp_path: Path) -> None:
    output = tmp_path / "log.csv"
    with start(EXAMPLES / "control_loop.py", "-o", output, "--seconds", 0.9) as process:
        wait_for(output, 1_000)
        os.kill(other_process(process.pid), signal.SIGKILL)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    periods, unlogged = died(out, err)
    assert periods == 900
    assert 0 < unlogged < 900


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_control_loop_goes_on_with_a_full_disk() -> None:
    out, err = run(EXAMPLES / "control_loop.py", "-o", "/dev/full", "--seconds", 0.6, status=1)
    assert "cannot write '/dev/full': no space left on device\n" in err
    assert died(out, err)[0] == 600


def test_control_loop_without_a_file(tmp_path: Path) -> None:
    _, err = run(EXAMPLES / "control_loop.py", "-o", tmp_path / "missing" / "log.csv", status=1)
    assert err.count("\n") == 1


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="needs setpriv (util-linux)"
)
@pytest.mark.parametrize("name", ["two_processes", "send_fds", "record", "control_loop"])
def test_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    without = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    command = [*without, sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -l 16 && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
    )
    assert done.returncode == (2 if name == "record" else 1), done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"{name}: cannot lock " in done.stderr
    assert "RLIMIT_MEMLOCK is 16 KiB" in done.stderr
    assert list(tmp_path.iterdir()) == []
