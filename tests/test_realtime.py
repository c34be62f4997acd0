"""realtime: steps taken in order and undone in the other, whoever leaves, and however."""

from __future__ import annotations

import gc
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

import lockedarray as la
from places import run
from thread_settings import descriptors, settings, unchanged

NAMES = [
    "memory",
    "stack",
    "garbage collection",
    "switch interval",
    "idle latency",
    "timer slack",
    "denormals",
    "processors",
    "scheduler",
]
NOTHING: dict[str, Any] = {
    "lock_memory": False,
    "stack": None,
    "collect": True,
    "switch_interval": None,
    "cpu_dma_latency": None,
    "timer_slack": None,
    "flush_denormals": False,
}
ONE: dict[str, dict[str, Any]] = {
    "memory": {"lock_memory": True},
    "stack": {"stack": 1 << 16},
    "garbage collection": {"collect": False},
    "switch interval": {"switch_interval": 0.001},
    "idle latency": {"cpu_dma_latency": 10},
    "timer slack": {"timer_slack": 100},
    "denormals": {"flush_denormals": True},
    "processors": {"cpus": os.sched_getaffinity(0)},
    "scheduler": {"priority": 1},
}
HERE = {"lock_memory": False, "cpu_dma_latency": None}  # everybody may have the rest
TOO_MANY = os.cpu_count() + 1000


def in_thread(do: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(do).result()


def test_all_steps_in_order() -> None:
    with unchanged():
        rt = la.realtime(priority=1, cpus=os.sched_getaffinity(0))
        assert rt.steps == ()
        assert (str(rt), repr(rt)) == ("realtime, not entered", "<realtime, not entered>")
        with rt as entered:
            assert entered is rt
            assert [step.name for step in rt.steps] == NAMES
            assert rt.ok == all(step.ok for step in rt.steps)
            assert all(isinstance(text, str) for step in rt.steps for text in step._replace(ok=""))
        assert [step.name for step in rt.steps] == NAMES
    table = str(rt)
    assert [name for name in NAMES if f"{name} " in table] == NAMES
    assert repr(rt).startswith("<realtime, ")


@pytest.mark.parametrize("name", NAMES)
def test_a_step_alone(name: str) -> None:
    with unchanged(), la.realtime(**NOTHING | ONE[name]) as rt:
        assert [step.name for step in rt.steps] == [name]
    with unchanged() as before, la.realtime(**NOTHING) as rt:
        assert rt.steps == ()
        assert settings() == before


def test_an_exception_undoes_all_and_goes_on() -> None:
    with unchanged(), pytest.raises(KeyError, match="theirs") as caught, la.realtime(**HERE):
        raise KeyError("theirs")
    assert not hasattr(caught.value, "__notes__")


def test_strict_undoes_what_came_before_the_refusal() -> None:
    rt = la.realtime(cpus={TOO_MANY}, strict=True, **HERE)
    with unchanged():
        for _ in range(2):
            with pytest.raises(OSError, match=f"may not run on {TOO_MANY}, only on") as caught:
                rt.__enter__()
            assert "Choose of " in str(caught.value)
    assert [step.name for step in rt.steps] == ["stack", "garbage collection", *NAMES[3:4], *NAMES[5:7]]
    with unchanged(), la.realtime(cpus={TOO_MANY}, **HERE) as lenient:
        assert [step.name for step in lenient.steps if not step.ok] == ["processors"]
        assert repr(lenient) == "<realtime, without processors>"
    with la.realtime(strict=True, **HERE) as rt:
        assert rt.ok
        assert repr(rt) == "<realtime, all as asked>"


def test_lenient_also_where_memory_does_not_suffice() -> None:
    program = """
import lockedarray as la
with la.realtime(stack=1 << 40, lock_memory=False, cpu_dma_latency=None) as rt:
    [refused] = [step for step in rt.steps if not step.ok]
print(refused.name, refused.achieved, refused.reason, refused.fix, sep='; ')
"""
    said = run(program, limits="ulimit -s unlimited")
    assert re.fullmatch(
        r"stack; 0 bytes touched; .* of memory are available .*; Free memory, or ask for less\.\n", said
    )


def test_a_stack_that_ends_before() -> None:
    program = """
import lockedarray as la
with la.realtime(stack=100 << 20, lock_memory=False, cpu_dma_latency=None) as rt:
    [stack] = [step for step in rt.steps if step.name == 'stack']
print(stack.ok, stack.asked, stack.achieved, sep='; ')
"""
    said = run(program, limits="ulimit -s 512")
    assert re.fullmatch(r"True; 100 MiB touched; (4|5)\d\d KiB touched, to the stack's end\n", said)


def test_entered_twice() -> None:
    with unchanged():
        rt = la.realtime(**HERE)
        with rt:
            inside = settings()
            with pytest.raises(RuntimeError, match="entered already"):
                rt.__enter__()
            with pytest.raises(RuntimeError, match="entered already"):
                in_thread(rt.__enter__)
            assert settings() == inside
        with rt:
            assert settings() == inside


def test_left_in_another_thread() -> None:
    def leave(rt: Any) -> BaseException:
        with unchanged():
            with pytest.raises(RuntimeError, match="must be left in the thread that entered it"):
                rt.__exit__(None, None, None)
            error = KeyError("theirs")
            assert rt.__exit__(KeyError, error, None) is None
        return error

    with unchanged():
        with la.realtime(**HERE) as rt:
            inside = settings()
            error = in_thread(lambda: leave(rt))
            assert settings() == inside
        assert "Nothing was changed" in error.__notes__[0]
        with pytest.raises(RuntimeError):
            rt.__exit__(None, None, None)  # not entered any more


def test_blocks_in_one_thread_nest() -> None:
    with unchanged(), la.realtime(switch_interval=0.002, timer_slack=1000, **HERE):
        for wish in 0.001, 0.003:
            with unchanged(), la.realtime(switch_interval=wish, timer_slack=10, **HERE) as inner:
                assert inner.ok
                assert sys.getswitchinterval() == pytest.approx(min(wish, 0.002), abs=1e-6)


def enter(executor: Executor, wish: float, lock_memory: bool) -> Any:
    rt = la.realtime(switch_interval=wish, lock_memory=lock_memory, cpu_dma_latency=0, priority=1)
    executor.submit(rt.__enter__).result()
    return rt


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_threads_leave_in_any_order(order: tuple[int, ...]) -> None:
    with ExitStack() as pools:
        executors = [pools.enter_context(ThreadPoolExecutor(1)) for _ in order]
        own = [executor.submit(settings).result() for executor in executors]
        wishes = [0.002, 0.001, 0.003]
        with unchanged():
            entered = [enter(executors[k], wishes[k], lock_memory=order[0] == 0) for k in range(3)]
            inside = set(range(3))
            for leaving in order:
                assert not gc.isenabled()
                expected = min(wishes[thread] for thread in inside)
                assert sys.getswitchinterval() == pytest.approx(expected, abs=1e-6)
                executors[leaving].submit(entered[leaving].__exit__, None, None, None).result()
                inside.remove(leaving)
        assert [executor.submit(settings).result() for executor in executors] == own


def test_other_threads_keep_what_is_theirs() -> None:
    theirs = ("scheduler", "priority", "processors", "timer slack", "float control", "denormals")
    arrived, left = threading.Event(), threading.Event()

    def other() -> tuple[dict[str, object], dict[str, object]]:
        before = settings()
        arrived.set()
        left.wait(10)
        return before, settings()

    with ThreadPoolExecutor(1) as executor:
        answer = executor.submit(other)
        arrived.wait(10)
        with la.realtime(priority=1, cpus=min(os.sched_getaffinity(0)), **HERE):
            left.set()
            before, during = answer.result()
    for name in theirs:
        assert during[name] == before[name]


def test_no_descriptor_reaches_other_programs() -> None:
    before = set(descriptors())
    with la.realtime(lock_memory=False):
        for number in set(descriptors()) - before:
            assert not os.get_inheritable(int(number))


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"priority": 0}, ValueError, "priority must be from 1 to 99, not 0"),
    ({"priority": 100}, ValueError, "priority must be from 1 to 99, not 100"),
    ({"priority": 1.5}, TypeError, "priority must be a whole number, not 1.5"),
    ({"policy": "other"}, ValueError, "policy must be 'fifo', 'rr' or 'deadline', not 'other'"),
    ({"policy": None}, ValueError, "policy"),
    ({"cpus": ()}, ValueError, "at least one processor"),
    ({"cpus": {0, -1}}, ValueError, "from 0 on"),
    ({"cpus": "0"}, TypeError, "cpus must be a whole number, not .0.$"),
    ({"cpus": 0.0}, TypeError, "cpus must be"),
    ({"runtime": 0.001}, ValueError, "policy='deadline'"),
    ({"policy": "deadline"}, ValueError, "all three"),
    ({"policy": "deadline", "runtime": 0.001, "deadline": 0.001}, ValueError, "all three"),
    (
        {"policy": "deadline", "priority": 1, "runtime": 1, "deadline": 1, "period": 1},
        ValueError,
        "no priority",
    ),
    (
        {"policy": "deadline", "runtime": 2, "deadline": 1, "period": 1},
        ValueError,
        "runtime <= deadline <= period",
    ),
    (
        {"policy": "deadline", "runtime": 1, "deadline": 2, "period": 1},
        ValueError,
        "runtime <= deadline <= period",
    ),
    (
        {"policy": "deadline", "runtime": 0, "deadline": 1, "period": 1},
        ValueError,
        "runtime must be in seconds",
    ),
    ({"timer_slack": 0}, ValueError, "timer_slack must be from 1"),
    ({"timer_slack": 0.5}, TypeError, "timer_slack must be a whole number, not 0.5"),
    ({"timer_slack": 1 << 64}, ValueError, "timer_slack"),
    ({"cpu_dma_latency": -1}, ValueError, "cpu_dma_latency must be from 0"),
    ({"cpu_dma_latency": 1 << 31}, ValueError, "cpu_dma_latency"),
    ({"switch_interval": 0}, ValueError, "switch_interval must be in seconds"),
    ({"switch_interval": float("nan")}, ValueError, "switch_interval"),
    ({"switch_interval": float("inf")}, ValueError, "switch_interval"),
    ({"switch_interval": 1e-7}, ValueError, "switch_interval must be in seconds, from 1e-06"),
    ({"switch_interval": "0.1"}, TypeError, "switch_interval must be a number of seconds, not '0.1'"),
    ({"switch_interval": 1j}, TypeError, "switch_interval must be"),
    ({"stack": -1}, ValueError, "stack must be from 0"),
    ({"stack": "1 MiB"}, TypeError, "stack must be a whole number, not '1 MiB'"),
    ({"unknown": 1}, TypeError, "unknown"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), BAD, ids=[str(arguments) for arguments, *_ in BAD])
def test_arguments_that_cannot_be_meant(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with unchanged(), pytest.raises(error, match=says):
        la.realtime(**arguments)
