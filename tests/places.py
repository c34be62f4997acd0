"""Processes of other users and under other limits."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTHON = [sys.executable, "-W", "error"]
WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
USER = [*WITHOUT_CAPABILITIES, "--reuid=1000", "--regid=1000", "--clear-groups"]
NAMESPACE = ["unshare", "--user", "--map-root-user"]
CAPABILITIES = {"CAP_IPC_LOCK": 14, "CAP_SYS_NICE": 23}
CAPABLE = {
    f"ordinary with {name}": [
        "setpriv",
        *(f"--{which}=-all,+{name[4:].lower()}" for which in ("bounding-set", "inh-caps", "ambient-caps")),
        *USER[3:],
    ]
    for name in CAPABILITIES
}


@functools.cache
def _works(*command: str) -> bool:
    return subprocess.run(command, cwd=HERE, stderr=subprocess.DEVNULL).returncode == 0


def is_root() -> bool:
    """With capabilities that count on the whole machine."""
    status = Path("/proc/self/status").read_text()
    held = int(status.split("CapEff:")[1].split()[0], 16)
    everybody = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    return everybody and all(held >> number & 1 for number in CAPABILITIES.values())


def place(name: str) -> list[str]:
    """What comes before a command to run it as somebody; skips where that cannot be had.

    "ordinary": without capabilities, and as user 1000 if we may become that one, or with one of
    them; "root" with those that count here; "namespace": root of a user namespace, whose
    capabilities do not count.
    """
    if name == "root":
        if not is_root():
            pytest.skip(f"needs to be root with {' and '.join(CAPABILITIES)}")
        return []
    if name == "namespace":
        if not _works(*NAMESPACE, "true"):
            pytest.skip("needs user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)")
        return NAMESPACE
    if name in CAPABLE:
        if not _works(*CAPABLE[name], *PYTHON, "-c", "import lockedarray"):
            pytest.skip("needs to be root, and this tree to be readable for others")
        return CAPABLE[name]
    if os.geteuid() != 0:
        return []
    if _works(*USER, *PYTHON, "-c", "import lockedarray"):
        return USER
    if not _works(*WITHOUT_CAPABILITIES, "true"):
        pytest.skip("needs setpriv (util-linux), to give up privileges")
    return WITHOUT_CAPABILITIES


def run(program: str, *, who: str = "", limits: str = "true", timeout: float = 60) -> str:
    """What a program says as somebody (whoever runs the tests, if not told), after the shell's `limits`."""
    before = place(who) if who else []
    shell = ["bash", "-c", f'{limits} && exec "$@"', "-"]
    if not _works(*shell, "true"):
        pytest.skip(f"needs to be allowed: {limits}")
    command = [*shell, *before, *PYTHON, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=HERE, timeout=timeout)
    assert ran.returncode == 0, f"status {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout
