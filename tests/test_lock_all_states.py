"""Arrays, overlapping locks and lock_all in any order, against a model page by page, by smaps."""

from __future__ import annotations

import gc
import mmap
import os

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import lockedarray as la
from smaps import PAGE, address, locked_pages, vm_lck

pytestmark = pytest.mark.no_limit

PAGES = 12


class LockAllMachine(RuleBasedStateMachine):
    """One mapping of PAGES pages with locks on parts of it, arrays, and levels of lock_all.

    The model: how many locks cover a page; whether a level is in force, and which of its pages a
    release has left locked until the last level ends (all, while it is in force with current).
    """

    def __init__(self) -> None:
        super().__init__()
        gc.collect()
        self.memory = np.frombuffer(mmap.mmap(-1, PAGES * PAGE), "u1")
        self.before = vm_lck()
        self.locks: list[tuple[la.MemoryLock, range]] = []
        self.arrays: list[np.ndarray] = []
        self.levels: list[la.LockAll] = []
        self.ended: list[la.LockAll] = []
        self.everything = False  # the mapping as a whole, by a level with current
        self.kept: set[int] = set()  # pages of locks released while a level was in force

    def covered(self) -> set[int]:
        return {page for _, pages in self.locks for page in pages}

    @rule(first=st.integers(0, PAGES - 1), count=st.integers(1, PAGES))
    def lock(self, first: int, count: int) -> None:
        pages = range(first, min(first + count, PAGES))
        part = self.memory[pages.start * PAGE : pages.stop * PAGE]
        self.locks.append((la.lock(part), pages))

    @precondition(lambda self: self.locks)
    @rule(which=st.integers(0, 99))
    def release(self, which: int) -> None:
        lock, pages = self.locks.pop(which % len(self.locks))
        lock.release()
        if self.levels:
            self.kept |= set(pages)

    @rule(nbytes=st.integers(1, 5 * PAGE))
    def make(self, nbytes: int) -> None:
        self.arrays.append(la.zeros(nbytes, "u1"))

    @precondition(lambda self: self.arrays)
    @rule(which=st.integers(0, 99))
    def drop(self, which: int) -> None:
        del self.arrays[which % len(self.arrays)]

    @precondition(lambda self: len(self.levels) < 3)
    @rule(current=st.booleans(), future=st.booleans(), on_fault=st.booleans())
    def enter(self, current: bool, future: bool, on_fault: bool) -> None:
        if not current and not future:
            return
        self.levels.append(la.lock_all(current, future, on_fault))
        self.everything |= current

    def nothing_in_force(self) -> None:
        self.everything = False
        self.kept.clear()

    @precondition(lambda self: self.levels)
    @rule(which=st.integers(0, 99))
    def end(self, which: int) -> None:
        level = self.levels.pop(which % len(self.levels))
        level.end()
        self.ended.append(level)
        if not self.levels:
            self.nothing_in_force()

    @rule()
    def end_all(self) -> None:
        la.unlock_all()
        self.ended += self.levels
        self.levels.clear()
        self.nothing_in_force()

    @precondition(lambda self: self.ended)
    @rule(which=st.integers(0, 99))
    def end_again(self, which: int) -> None:
        self.ended[which % len(self.ended)].end()

    @rule()
    def fork(self) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert vm_lck() == 0
                la.relock()
                status = 0 if self.holds() else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def holds(self) -> bool:
        """Whether what is to be locked is."""
        mapping = locked_pages(address(self.memory), PAGES * PAGE)
        return all(mapping[page] for page in self.covered()) and all(map(la.is_locked, self.arrays))

    @invariant()
    def as_the_model_says(self) -> None:
        mapping = locked_pages(address(self.memory), PAGES * PAGE)
        expected = set(range(PAGES)) if self.everything else self.covered() | self.kept
        assert {page for page in range(PAGES) if mapping[page]} == expected
        assert all(map(la.is_locked, self.arrays))
        if not self.levels:
            ours = sum(la.region(array).mapped_bytes for array in self.arrays)
            assert vm_lck() == self.before + len(self.covered()) * PAGE + ours

    def teardown(self) -> None:
        la.unlock_all()
        for lock, _ in self.locks:
            lock.release()
        self.arrays.clear()
        assert vm_lck() == self.before


TestLockAll = LockAllMachine.TestCase
TestLockAll.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
