"""realtime where not everything is allowed: each step by itself, and what it says is what is so."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from lockedarray import fixes
from lockedarray.place import find
from places import CAPABLE, place, run
from thread_settings import DMA_LATENCY

PROGRAM = """
import gc, json, sys
import lockedarray as la
from thread_settings import settings
gc.collect()
gc.freeze()
frozen = gc.get_freeze_count()
told = {"before": settings()}
cpu = min(told["before"]["processors"])
with la.realtime(priority=70, cpus=cpu) as rt:
    told["inside"] = settings()
told["after"] = settings()
told["steps"] = [step._asdict() for step in rt.steps]
told["table"] = str(rt)
try:
    with la.realtime(priority=70, cpus=cpu):
        raise KeyError("from the block")
except KeyError:
    told["after an exception"] = settings()
try:
    with la.realtime(priority=70, cpus=cpu, strict=True) as rt:
        told["strict"] = "entered"
except OSError as error:
    told["strict"] = str(error)
told["after strict"] = settings()
told["still frozen"] = gc.get_freeze_count() / frozen
gc.unfreeze()
told["the control"] = gc.get_freeze_count()
print(json.dumps(told))
"""

PLACES = [(who, kib) for who in ("ordinary", "root", "namespace") for kib in ("0", "64", "8192", "unlimited")]
PLACES += [(who, "64") for who in CAPABLE]

EFFECTS = {
    "memory": lambda now, before: now["locked"] > before["locked"] + (10 << 20),
    "garbage collection": lambda now, before: not now["collection"],
    "switch interval": lambda now, before: round(now["switch interval"] * 1e6) == 100,
    "idle latency": lambda now, before: DMA_LATENCY in now["descriptors"].values(),
    "timer slack": lambda now, before: now["timer slack"] <= 1,
    "denormals": lambda now, before: not any(now["denormals"].values()),
    "processors": lambda now, before: now["processors"] == before["processors"][:1],
    "scheduler": lambda now, before: (now["scheduler"], now["priority"]) == (os.SCHED_FIFO, 70),
}
FIXES = {
    "memory": ("RLIMIT_MEMLOCK is", "memlock"),
    "idle latency": (DMA_LATENCY, fixes.cpu_dma_latency(replace(find(), user_namespace=False))[1:]),
    "scheduler": ("RLIMIT_RTPRIO is 0", "rtprio"),
}


@functools.cache
def told(who: str, kib: str) -> dict[str, Any]:
    """What the program found there; FIFO is allowed to nobody but root."""
    return json.loads(run(PROGRAM, who=who, limits=f"ulimit -l {kib} && ulimit -r 0"))


@pytest.mark.parametrize(("who", "kib"), PLACES)
def test_each_step_degrades_by_itself(who: str, kib: str) -> None:
    found = told(who, kib)
    steps = {step["name"]: step for step in found["steps"]}
    refused = {name for name, step in steps.items() if not step["ok"]}
    expected = set() if who == "root" or "CAP_SYS_NICE" in who else {"scheduler"}
    if who != "root" and "CAP_IPC_LOCK" not in who and kib != "unlimited":
        expected |= {"memory"}
    assert refused - {"idle latency"} == expected  # that depends on who owns the device
    for name, effect in EFFECTS.items():
        assert effect(found["inside"], found["before"]) == steps[name]["ok"], name
        assert not effect(found["before"], found["before"]), "the control"


@pytest.mark.parametrize(("who", "kib"), PLACES)
def test_a_refusal_says_why_and_what_to_do(who: str, kib: str) -> None:
    found = told(who, kib)
    for step in found["steps"]:
        if step["ok"]:
            assert step["reason"] == step["fix"] == ""
            continue
        figure, fix = FIXES[step["name"]]
        assert figure in step["reason"]
        assert fix in step["fix"]
        for sentence in step["reason"], step["fix"]:
            assert sentence[0].isupper()
            assert sentence.endswith(".")
            assert not sentence.endswith("..")
            assert sentence in found["table"]
    assert len(found["table"].splitlines()) == len(found["steps"]) + sum(not s["ok"] for s in found["steps"])


@pytest.mark.parametrize("after", ["after", "after an exception", "after strict"])
@pytest.mark.parametrize(("who", "kib"), PLACES)
def test_nothing_stays_changed(who: str, kib: str, after: str) -> None:
    found = told(who, kib)
    assert found[after] == found["before"]
    assert found["before"]["frozen"]
    assert found["still frozen"] > 0.9
    assert found["the control"] == 0


def test_without_proc() -> None:
    """In a chroot: what cannot be found out is a refusal too."""
    before = [*place("namespace"), "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "-"]
    program = "import lockedarray as la\nwith la.realtime(priority=1) as rt: print(rt)"
    ran = subprocess.run([*before, sys.executable, "-c", program], capture_output=True, text=True)
    if "mount" in ran.stderr:
        pytest.skip("needs to be allowed to mount in a user namespace")
    assert ran.returncode == 0, ran.stderr
    assert "no: not locked" in ran.stdout
    assert re.search(r"^denormals +flushed to zero +yes$", ran.stdout, re.MULTILINE)


@pytest.mark.parametrize(("who", "kib"), PLACES)
def test_strict_raises_the_first_refusal(who: str, kib: str) -> None:
    found = told(who, kib)
    first = next((step for step in found["steps"] if not step["ok"]), None)
    if first is None:
        assert found["strict"] == "entered"
    else:
        for part in first["reason"], first["fix"]:
            assert part[1:-1] in found["strict"]
