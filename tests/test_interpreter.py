"""What threads share: the first one in sets it, the strongest wish counts, the last one out restores it."""

from __future__ import annotations

import gc
import statistics
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lockedarray as la
from thread_settings import unchanged

SHARED: dict[str, Any] = {
    "lock_memory": False,
    "stack": None,
    "cpu_dma_latency": None,
    "timer_slack": None,
    "flush_denormals": False,
}
NOTHING = SHARED | {"collect": True, "switch_interval": None}
THREADS = 4


def microseconds() -> int:
    return round(sys.getswitchinterval() * 1e6)


class Threads(RuleBasedStateMachine):
    """Blocks entered and left in any order, and what should be in force meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        gc.freeze()  # what was there, so that a collection is short; and it is to stay so
        self.before = gc.isenabled(), sys.getswitchinterval()
        self.executors = [ThreadPoolExecutor(1) for _ in range(THREADS)]
        self.inside: list[tuple[int, Any, int | None, bool]] = []
        self.start = 5000
        self.starts_collecting = True

    def do(self, thread: int, call: Callable[..., Any], *args: object) -> Any:
        return self.executors[thread].submit(call, *args).result(10)

    @precondition(lambda self: not self.inside)
    @rule(start=st.integers(1, 100_000), collecting=st.booleans())
    def change_what_is_there_before(self, start: int, collecting: bool) -> None:
        # A whole microsecond is not always what the interpreter makes of a float of seconds.
        sys.setswitchinterval((start + 0.5) / 1e6)
        self.start, self.starts_collecting = start, collecting
        (gc.enable if collecting else gc.disable)()

    @rule(
        thread=st.integers(0, THREADS - 1),
        wish=st.none() | st.integers(1, 100_000),
        collect=st.booleans(),
        strict=st.booleans(),
    )
    def enter(self, thread: int, wish: int | None, collect: bool, strict: bool) -> None:
        interval = None if wish is None else wish / 1e6
        rt = la.realtime(**SHARED | {"switch_interval": interval, "collect": collect, "strict": strict})
        self.do(thread, rt.__enter__)
        assert rt.ok
        self.inside.append((thread, rt, wish, collect))

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), fails=st.booleans())
    def leave(self, data: st.DataObject, fails: bool) -> None:
        thread, rt, _, _ = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        error = KeyError("theirs") if fails else None
        self.do(thread, rt.__exit__, error and KeyError, error, None)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), thread=st.integers(0, THREADS - 1))
    def cannot_leave_for_another(self, data: st.DataObject, thread: int) -> None:
        owner, rt, _, _ = data.draw(st.sampled_from(self.inside))
        if owner != thread:
            with pytest.raises(RuntimeError):
                self.do(thread, rt.__exit__, None, None, None)

    @rule(thread=st.integers(0, THREADS - 1))
    def a_refused_step_undoes_the_others(self, thread: int) -> None:
        rt = la.realtime(**SHARED | {"cpus": 4095, "strict": True})
        with pytest.raises(OSError, match="4095"):
            self.do(thread, rt.__enter__)

    @invariant()
    def the_strongest_wish_is_in_force(self) -> None:
        wishes = [wish for _, _, wish, _ in self.inside if wish is not None]
        assert microseconds() == min(wishes, default=self.start)
        uncollected = any(not collect for _, _, _, collect in self.inside)
        assert gc.isenabled() == (self.starts_collecting and not uncollected)
        assert gc.get_freeze_count() > 1000

    def teardown(self) -> None:
        for thread, rt, _, _ in self.inside:
            self.do(thread, rt.__exit__, None, None, None)
        self.inside.clear()
        self.the_strongest_wish_is_in_force()
        for executor in self.executors:
            executor.shutdown()
        gc.unfreeze()
        (gc.enable if self.before[0] else gc.disable)()
        sys.setswitchinterval(self.before[1])


TestThreads = Threads.TestCase
TestThreads.settings = hypothesis_settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("seconds", [1e-6, 1.9e-6, 1e-4, 0.00123, 0.005, 0.3, 10])
def test_the_interval_comes_back_exactly(seconds: float) -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(seconds)
        with unchanged(), la.realtime(**SHARED) as rt:
            assert microseconds() == 100
            assert rt.ok
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("collecting", [True, False])
def test_what_somebody_changed_meanwhile_stays(collecting: bool) -> None:
    before = sys.getswitchinterval()
    try:
        with la.realtime(**SHARED):
            sys.setswitchinterval(0.007)
            if collecting:
                gc.enable()
        assert microseconds() == 7000
        assert gc.isenabled()
    finally:
        sys.setswitchinterval(before)


def test_what_there_is_is_collected_first() -> None:
    class Garbage:
        pass

    def make() -> weakref.ref[Garbage]:
        garbage = Garbage()
        garbage.itself = garbage
        return weakref.ref(garbage)

    earlier = make()
    with la.realtime(**SHARED):
        assert earlier() is None
        later = make()
        kept = [[] for _ in range(10_000)]
        assert later() is not None, "nothing is collected inside"
    kept.extend([] for _ in range(10_000))
    gc.collect()
    assert later() is None


def test_a_thread_waits_less_for_the_interpreter() -> None:
    """Beside one that computes and gives the interpreter up only when it must."""

    def wait() -> float:
        waits = []
        for _ in range(15):
            start = time.perf_counter()
            time.sleep(0.001)
            waits.append(time.perf_counter() - start - 0.001)
        return statistics.median(waits)

    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            sum(range(100))

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        usual = wait()
        with la.realtime(**NOTHING | {"switch_interval": 1e-4}):
            shorter = wait()
    finally:
        done.set()
        thread.join()
    assert shorter < usual / 2
