"""The scheduler, processors, timers and idle processors of a thread: set, set back, and refused in words."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import lockedarray as la
from lockedarray import fixes
from lockedarray.place import find
from places import NAMESPACE, is_root, place, run
from thread_settings import LIBC, SCHED_DEADLINE, set_timer_slack, settings, timer_slack, unchanged

needs_root = pytest.mark.skipif(not is_root(), reason="needs to be root with CAP_SYS_NICE and CAP_IPC_LOCK")
HERE: dict[str, Any] = {"lock_memory": False, "cpu_dma_latency": None, "collect": True}
ALONE: dict[str, Any] = HERE | {"timer_slack": None, "stack": None, "flush_denormals": False}
ALL = sorted(os.sched_getaffinity(0))
TIMES: dict[str, Any] = {"policy": "deadline", "runtime": 0.0005, "deadline": 0.005, "period": 0.01}
_SYS_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}[os.uname().machine]


def in_thread(do: Callable[[], Any]) -> Any:
    """In a thread that is gone afterwards: what it cannot set back does not matter."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(do).result()


def kernel_attributes() -> tuple[int, ...]:
    """What sched_getattr(2) says: policy, flags, nice, priority, runtime, deadline, period."""
    buffer = ctypes.create_string_buffer(56)
    assert LIBC.syscall(_SYS_SCHED_GETATTR, 0, buffer, len(buffer), 0) == 0
    return struct.unpack_from("=IQiIQQQ", buffer, 4)


def step(rt: la.Realtime, name: str) -> Any:
    return next(step for step in rt.steps if step.name == name)


@needs_root
@pytest.mark.parametrize(("policy", "number"), [("fifo", os.SCHED_FIFO), ("rr", os.SCHED_RR)])
@pytest.mark.parametrize("priority", [1, 50, 99])
def test_fixed_priorities(policy: Any, number: int, priority: int) -> None:
    with unchanged(), la.realtime(priority, policy=policy, strict=True, **HERE) as rt:
        assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == (number, priority)
        assert step(rt, "scheduler").achieved == f"SCHED_{policy.upper()}, priority {priority}"


@needs_root
@pytest.mark.parametrize("policy", [os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE, os.SCHED_FIFO])
@pytest.mark.parametrize("how", [{"priority": 30}, TIMES], ids=["fifo", "deadline"])
def test_whatever_was_before_comes_back(policy: int, how: dict[str, Any]) -> None:
    def thread() -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)
        flag = os.SCHED_RESET_ON_FORK if policy != os.SCHED_IDLE else 0
        os.sched_setscheduler(0, policy | flag, os.sched_param(20 if policy == os.SCHED_FIFO else 0))
        before = kernel_attributes()
        with unchanged(), la.realtime(strict=True, **how, **HERE):
            assert kernel_attributes()[0] != policy or policy == os.SCHED_FIFO
        return before, kernel_attributes(), settings()

    before, after, told = in_thread(thread)
    assert after == before
    assert told["nice"] == 7


@needs_root
def test_deadline() -> None:
    def thread() -> None:
        with unchanged(), la.realtime(strict=True, **TIMES, **HERE) as rt:
            policy, _, _, priority, *times = kernel_attributes()
            assert (policy, priority, times) == (SCHED_DEADLINE, 0, [500_000, 5_000_000, 10_000_000])
            assert step(rt, "scheduler").achieved == "SCHED_DEADLINE 500 of 5000 us, every 10000 us"
            assert rt.ok
            time.sleep(0.02)
            assert sum(range(200_000)) > 0  # longer than the runtime: it is stopped and goes on

    with unchanged():
        in_thread(thread)


@needs_root
@pytest.mark.parametrize("slow", [1e-7, 10.0], ids=["too short", "too long"])
def test_deadlines_out_of_bounds(slow: float) -> None:
    times = {"policy": "deadline", "runtime": slow / 2, "deadline": slow, "period": slow}
    with unchanged(), la.realtime(**times, **HERE) as rt:
        refused = step(rt, "scheduler")
    assert (refused.ok, refused.achieved) == (False, "SCHED_OTHER")
    assert "out of its bounds" in refused.reason
    assert "from 1.024 us on and a period from 100 us to 4.19 s" in refused.fix
    with unchanged(), pytest.raises(OSError, match="out of its bounds"):
        la.realtime(strict=True, **times, **HERE).__enter__()


@needs_root
@pytest.mark.skipif(len(ALL) < 2, reason="needs two processors")
def test_deadline_and_processors_exclude_each_other() -> None:
    with unchanged(), la.realtime(cpus=ALL[0], **TIMES, **HERE) as rt:
        assert [each.name for each in rt.steps if not each.ok] == ["scheduler"]
        assert "may not run on all processors" in step(rt, "scheduler").reason
        assert "Leave cpus out" in step(rt, "scheduler").fix

    def inner() -> Any:
        with la.realtime(strict=True, **TIMES, **HERE), unchanged(), la.realtime(cpus=ALL[0], **HERE) as rt:
            return step(rt, "processors")

    refused = in_thread(inner)
    assert not refused.ok
    assert "SCHED_DEADLINE" in refused.reason


@needs_root
def test_deadlines_that_would_take_all_the_time() -> None:
    greedy = {"policy": "deadline", "runtime": 0.0099, "deadline": 0.01, "period": 0.01}
    done = threading.Event()

    def thread(arrived: threading.Barrier) -> Any:
        with la.realtime(**greedy, **HERE) as rt:
            arrived.wait(10)
            done.wait(10)
            return step(rt, "scheduler")

    count = os.cpu_count() + 1
    arrived = threading.Barrier(count + 1)
    with unchanged(), ThreadPoolExecutor(count) as executor:
        answers = [executor.submit(thread, arrived) for _ in range(count)]
        arrived.wait(10)
        done.set()
        refused = [answer.result() for answer in answers if not answer.result().ok]
    assert refused
    assert "more than 95 % of the processors" in refused[0].reason
    assert "less runtime" in refused[0].fix


REFUSED = """
import lockedarray as la
with la.realtime({arguments}, lock_memory=False, cpu_dma_latency=None) as rt:
    pass
print(*[part for step in rt.steps if not step.ok for part in step], sep='|')
"""


@pytest.mark.parametrize("who", ["ordinary", "namespace"])
def test_deadline_needs_a_capability(who: str) -> None:
    times = "policy='deadline', runtime=0.001, deadline=0.01, period=0.01"
    said = run(REFUSED.format(arguments=times), who=who)
    assert "SCHED_OTHER|False" in said
    assert "it takes CAP_SYS_NICE, which no limit replaces" in said
    assert "--cap-add SYS_NICE" in said


def test_the_fix_for_a_soft_limit_is_one() -> None:
    program = """
import os, re, resource
import lockedarray as la
rt = la.realtime(priority=42, strict=True, lock_memory=False, cpu_dma_latency=None)
try:
    rt.__enter__()
except OSError as error:
    eval(re.search(r'Call (resource.setrlimit.*\\)) first', str(error))[1])
with rt:
    assert os.sched_getparam(0).sched_priority == 42
"""
    run(program, who="ordinary", limits="ulimit -H -r 99 && ulimit -S -r 1")


@pytest.mark.parametrize("cpus", [ALL[0], ALL[:1], set(ALL), (cpu for cpu in ALL[-1:])], ids=str)
def test_processors(cpus: Any) -> None:
    with unchanged(), la.realtime(cpus=cpus, strict=True, **HERE) as rt:
        allowed = sorted(os.sched_getaffinity(0))
        assert step(rt, "processors").achieved == ", ".join(map(str, allowed))
        assert len(allowed) == (len(ALL) if isinstance(cpus, set) else 1)


@pytest.mark.parametrize("missing", [4095, 10**6, 2**31 - 1, 2**31, 2**64], ids=str)
@pytest.mark.parametrize("others", [[], ALL], ids=["alone", "with others"])
def test_processors_that_are_not_there(missing: int, others: list[int]) -> None:
    with unchanged() as before, la.realtime(cpus=[*others, missing], **ALONE) as rt:
        refused = step(rt, "processors")
        assert settings()["processors"] == before["processors"]
    assert not refused.ok
    usable = ", ".join(map(str, ALL))
    assert refused.reason == f"This process may not run on {missing}, only on {usable}."
    assert refused.fix.startswith(f"Choose of {usable}")
    with unchanged(), pytest.raises(OSError, match=f"may not run on {missing}, only on"):
        la.realtime(cpus=[*others, missing], strict=True, **ALONE).__enter__()


@pytest.mark.parametrize("before", [1, 40, 12_345, 3_000_000])
@pytest.mark.parametrize("asked", [1, 40, 12_345, None])
@pytest.mark.parametrize("priority", [None, pytest.param(1, marks=needs_root)])
def test_timer_slack_comes_back(before: int, asked: int | None, priority: int | None) -> None:
    def thread() -> None:
        set_timer_slack(before)
        with unchanged(), la.realtime(priority, **HERE | {"timer_slack": asked}, strict=True):
            expected = before if asked is None else min(before, asked)
            # Linux 6.13 and newer: none at all under a real-time policy.
            assert timer_slack() in ((expected,) if priority is None else (expected, 0))
        assert timer_slack() == before

    in_thread(thread)


@needs_root
def test_timer_slack_in_nested_blocks() -> None:
    with unchanged(), la.realtime(**HERE):
        with unchanged(), la.realtime(priority=1, strict=True, **HERE):
            pass
        assert timer_slack() == 1


def test_timer_slack_makes_timers_exact() -> None:
    def late(slack: int) -> float:
        set_timer_slack(slack)
        with la.realtime(**ALONE | {"timer_slack": 1000}) if slack == 1000 else unchanged():
            start = time.perf_counter()
            for _ in range(5):
                time.sleep(0.001)
            return time.perf_counter() - start

    assert in_thread(lambda: late(1000)) < 0.03
    assert in_thread(lambda: late(20_000_000)) > 0.03, "the control"


NO_DEVICE = [*NAMESPACE, "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "-"]


def test_without_the_device_for_idle_latency() -> None:
    place("namespace")
    program = "import lockedarray as la\nwith la.realtime(lock_memory=False) as rt: print(rt)"
    ran = subprocess.run([*NO_DEVICE, sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    if find().kind in ("login", "service", "user service"):
        assert "This kernel has no /dev/cpu_dma_latency (CONFIG_PM_QOS, CONFIG_CPU_IDLE)." in ran.stdout
    else:
        assert (
            "The device /dev/cpu_dma_latency cannot be opened here (No such file or directory)." in ran.stdout
        )
        assert fixes.cpu_dma_latency(find())[1:] in ran.stdout
