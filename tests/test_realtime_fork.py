"""realtime and fork: a child leaves what it inherited, and has nothing of threads that it does not have."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

import lockedarray as la
from forks import told_by_child
from thread_settings import DMA_LATENCY, changed, descriptors, settings, unchanged

# Its child is a process that forked while it had threads: Python warns of that, and here it is the point.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

EVERYTHING: dict[str, Any] = {"priority": 1, "cpus": min(os.sched_getaffinity(0)), "switch_interval": 0.001}


def changed_besides(before: dict[str, object]) -> dict[str, object]:
    """But for descriptors, one of which is the pipe of the answer, and locks, which no child inherits."""
    return {name: pair for name, pair in changed(before).items() if name not in ("descriptors", "locked")}


def latency_held() -> bool:
    return DMA_LATENCY in descriptors().values()


def test_a_child_leaves_what_it_inherited() -> None:
    with unchanged() as before, la.realtime(**EVERYTHING) as rt:
        inside = settings()

        def child() -> object:
            inherited = changed_besides(inside)
            held = latency_held()
            rt.__exit__(None, None, None)
            return [inherited, held, changed_besides(before), settings()["locked"]]

        assert told_by_child(child) == [{}, False, {}, 0]
        assert settings() == inside, "the parent's is its own"


def test_a_child_enters_one_of_its_own_and_leaves_both() -> None:
    with unchanged() as before, la.realtime(**EVERYTHING) as rt:
        inside = settings()

        def child() -> object:
            with la.realtime(switch_interval=0.0005, lock_memory=False) as own:
                held = {step.name: step.ok for step in own.steps}["idle latency"]
                as_it_says = latency_held() == held
            back = changed_besides(inside)
            rt.__exit__(None, None, None)
            return [as_it_says, back, changed_besides(before)]

        assert told_by_child(child) == [True, {}, {}]


@contextmanager
def another_thread_inside() -> Iterator[None]:
    with ThreadPoolExecutor(1) as executor:
        rt = la.realtime(**EVERYTHING)
        executor.submit(rt.__enter__).result()
        try:
            yield
        finally:
            executor.submit(rt.__exit__, None, None, None).result()


def test_a_child_has_nothing_of_another_thread() -> None:
    with unchanged() as before, another_thread_inside():
        assert changed_besides(before) == {
            "collection": (True, False),
            "switch interval": (before["switch interval"], pytest.approx(0.001, abs=1e-6)),
        }

        def child() -> object:
            return [changed_besides(before), latency_held()]

        assert told_by_child(child) == [{}, False]
        assert not gc.isenabled()


def test_a_child_can_enter_whatever_another_thread_was_doing() -> None:
    """Also where the fork comes while that one holds the lock on what is shared."""
    done = threading.Event()

    def keep_entering() -> None:
        while not done.is_set():
            with la.realtime(lock_memory=False, switch_interval=0.001):
                pass

    def child() -> object:
        start = settings()
        for _ in range(2):
            with la.realtime(lock_memory=False, switch_interval=0.0005):
                inside = gc.isenabled(), round(sys.getswitchinterval() * 1e6)
        return [list(inside), changed_besides(start)]

    with unchanged():
        thread = threading.Thread(target=keep_entering)
        thread.start()
        try:
            for _ in range(20):
                assert told_by_child(child) == [[False, 500], {}]
        finally:
            done.set()
            thread.join()


def test_an_inherited_block_leaves_alone_what_is_open_since() -> None:
    """Its descriptor was closed at the fork, and its number is free for others."""
    with la.realtime(lock_memory=False) as rt:
        if not latency_held():
            pytest.skip(f"needs to be allowed to write to {DMA_LATENCY}")

        def child() -> object:
            with ThreadPoolExecutor(1) as executor:
                own = la.realtime(lock_memory=False)
                executor.submit(own.__enter__).result()
                before = latency_held()
                rt.__exit__(None, None, None)
                after = latency_held()
                executor.submit(own.__exit__, None, None, None).result()
                return [before, after, latency_held()]

        assert told_by_child(child) == [True, True, False]
