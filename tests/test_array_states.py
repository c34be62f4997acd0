"""Arrays, views, locks and pools made and dropped in any order and way, against a model page by page."""

from __future__ import annotations

import gc
import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lockedarray as la
from smaps import PAGE, locked_pages, vm_lck

pytestmark = pytest.mark.locks(8 << 20)

Handle = list  # of one thing: an array or a MemoryLock, which a rule can take out and drop


class ArrayMachine(RuleBasedStateMachine):
    """The model is a dictionary: for each region's first page, its pages, and how many things hold it."""

    def __init__(self) -> None:
        super().__init__()
        gc.collect(0)
        self.before = vm_lck()
        self.pages: dict[int, int] = {}
        self.holders: dict[int, int] = {}
        self.held: list[tuple[Handle, int]] = []
        self.steps = 0

    def hold(self, thing: object, region: la.Region) -> None:
        first = region.address // PAGE * PAGE
        self.pages[first] = region.mapped_bytes // PAGE
        self.holders[first] = self.holders.get(first, 0) + 1
        self.held.append(([thing], first))

    def forget(self, which: int) -> Handle:
        handle, first = self.held.pop(which % len(self.held))
        self.holders[first] -= 1
        if self.holders[first] == 0:
            del self.holders[first], self.pages[first]
        return handle

    @rule(
        nbytes=st.integers(0, 5 * PAGE),
        fork=st.sampled_from(["copy", "share"]),
        guard=st.booleans(),
        how=st.sampled_from(["empty", "zeros", "ones", "full", "array", "thread"]),
    )
    def create(self, nbytes: int, fork: str, guard: bool, how: str) -> None:
        options = {"fork": fork, "guard": guard}
        if how == "full":
            made = la.full(nbytes, 7, "u1", **options)
        elif how == "array":
            made = la.array(np.zeros(nbytes, "u1"), **options)
        elif how == "thread":
            arrays: list[np.ndarray] = []
            thread = threading.Thread(target=lambda: arrays.append(la.zeros(nbytes, "u1", **options)))
            thread.start()
            thread.join()
            made = arrays.pop()
        else:
            made = getattr(la, how)(nbytes, "u1", **options)
        made[:1] = 1
        self.hold(made, la.region(made))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0), part=st.slices(5 * PAGE))
    def view(self, which: int, part: slice) -> None:
        thing = self.held[which % len(self.held)][0][0]
        if isinstance(thing, np.ndarray):
            self.hold(thing[part], la.region(thing))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0), part=st.slices(5 * PAGE))
    def lock_again(self, which: int, part: slice) -> None:
        thing = self.held[which % len(self.held)][0][0]
        if isinstance(thing, np.ndarray):
            self.hold(la.lock(thing[part]), la.region(thing))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0), how=st.sampled_from(["drop", "thread", "cycle", "exception"]))
    def drop(self, which: int, how: str) -> None:
        handle = self.forget(which)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if how == "thread":
                thread = threading.Thread(target=handle.clear)
                thread.start()
                thread.join()
            elif how == "cycle":
                cycle = [handle.pop()]
                cycle.append(cycle)
                del cycle
                gc.collect(0)
            elif how == "exception":
                with pytest.raises(ZeroDivisionError):
                    self.fail(handle.pop())
            else:
                handle.clear()

    @staticmethod
    def fail(thing: object) -> None:
        kept = [thing]
        raise ZeroDivisionError(str(len(kept)))

    @rule()
    def refused(self) -> None:
        for arguments, error in (
            ((-1,), ValueError),
            ((3, object), TypeError),
            ((1 << 46, "u1"), MemoryError),
        ):
            with pytest.raises(error):
                la.empty(*arguments)

    @rule(nbytes=st.integers(0, 3 * PAGE))
    def pool(self, nbytes: int) -> None:
        with la.Pool(4 * PAGE) as pool:
            made = pool.zeros(nbytes, "u1")
            assert vm_lck() - self.before == PAGE * (sum(self.pages.values()) + 4)
            del made

    @rule()
    def a_child_that_drops_all(self) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert vm_lck() == 0
                self.held.clear()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    @invariant()
    def the_kernel_agrees(self) -> None:
        assert vm_lck() - self.before == PAGE * sum(self.pages.values())
        self.steps += 1
        if self.steps % 5 == 0:
            for first, count in self.pages.items():
                assert all(locked_pages(first, count * PAGE))

    def teardown(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.held.clear()
        assert vm_lck() == self.before


ArrayMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestArrayMachine = ArrayMachine.TestCase
