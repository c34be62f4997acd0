"""``lockedarray`` as people start it: a process of its own, in which warnings are errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-W", "error", "-m", "lockedarray"]


def lockedarray(
    *arguments: object, status: int = 0, before: tuple[str, ...] = (), **environment: str
) -> tuple[str, str]:
    """Run it, behind another command perhaps, and return what it said."""
    done = subprocess.run(
        [*before, *PROGRAM, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def ordinary() -> tuple[str, ...]:
    """What comes before a command to make it an ordinary user's: without any capability."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux), to give up privileges")
    return "setpriv", "--bounding-set=-all", "--inh-caps=-all"
