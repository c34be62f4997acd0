"""The command line: what it takes, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import metadata

import pytest

from command_line import PROGRAM, lockedarray
from lockedarray.cli import main


def test_help_and_version() -> None:
    out, err = lockedarray("--help")
    assert err == ""
    for command in ("doctor", "jitter", "map"):
        assert f"    {command} " in out
    assert lockedarray("--version") == (f"lockedarray {metadata.version('lockedarray')}\n", "")


@pytest.mark.parametrize("command", ["jitter", "map"])
def test_each_commands_help_tells_its_exit_status(command: str) -> None:
    out, _ = lockedarray(command, "--help")
    assert "exit status: 0 " in out
    assert "130 Ctrl-C" in out


@pytest.mark.parametrize("arguments", [(), ("locks",), ("map",), ("map", "self", "--wide"), ("--json",)])
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    out, err = lockedarray(*arguments, status=2)
    assert out == ""
    assert "error: " in err


def test_main_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "self"]) == 0
    assert "this command itself" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["map"])


def test_only_the_named_command_is_imported() -> None:
    program = """
import sys
from lockedarray.cli import main
main(["map", "self"])
print([name for name in sys.modules if name.startswith(("lockedarray.jitter", "lockedarray.map_command"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.stdout.splitlines()[-1] == "['lockedarray.map_command']"


def test_a_reader_that_goes_away() -> None:
    with subprocess.Popen(
        [*PROGRAM, "map", "self", "--all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("command", ["map self", "doctor --json", "jitter --duration=60"])
def test_without_standard_output(command: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {command} >&-', "sh", *PROGRAM]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (
        1,
        "lockedarray: standard output is closed: there is nowhere to report to\n",
    )


def test_without_standard_error() -> None:
    """What is wrong does not get in between what a program reads."""
    shell = ["sh", "-c", 'exec "$@" map 2147483647 2>&-', "sh", *PROGRAM]
    done = subprocess.run(shell, stdout=subprocess.PIPE, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk(unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "map", "self"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (1, "lockedarray: No space left on device\n")


@pytest.mark.parametrize("options", [(), ("--json",), ("--compare",)])
def test_stopped_by_hand(options: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [*PROGRAM, "jitter", "--duration=600", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # so that a second thread is a measured loop's
    ) as process:
        until = time.monotonic() + 20
        while len(os.listdir(f"/proc/{process.pid}/task")) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
    assert ('"interrupted": true' if "--json" in options else "stopped early") in out
    assert "realtime" in out or "--compare" in options  # the plain turn comes first


def test_stopped_by_hand_before_it_is_done_reading() -> None:
    program = "import signal, sys\nfrom lockedarray import cli, map_command\n"
    program += "map_command.read = lambda pid: signal.raise_signal(signal.SIGINT)\n"
    program += "sys.exit(cli.main(['map', 'self']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
