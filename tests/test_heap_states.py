"""A heap under random use by NumPy, against a model: content, figures, and who owns what."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

import lockedarray as la
from smaps import vm_lck

pytestmark = pytest.mark.locks(1 << 20)

CAPACITY = 1 << 16


def block(nbytes: int) -> int:
    return -(-(max(nbytes, 1) + 16) // 64) * 64


class HeapMachine(RuleBasedStateMachine):
    """A heap that is active now and then, and full at times; each array is filled with its number."""

    arrays = Bundle("arrays")

    def __init__(self) -> None:
        super().__init__()
        gc.collect()
        self.before = vm_lck()
        self.heap = la.Heap(CAPACITY - 64)
        assert self.heap.capacity == CAPACITY
        self.blocks: dict[int, int] = {}  # number of an array -> bytes of its block
        self.made = self.failed = self.peak = self.number = 0

    def keep(self, array: np.ndarray) -> tuple[list, int]:
        self.number += 1
        array[...] = self.number % 251
        self.blocks[self.number] = block(array.nbytes)
        self.made += 1
        self.note_peak()
        return [array], self.number

    def note_peak(self) -> None:
        self.peak = max(self.peak, sum(self.blocks.values()))

    def refused(self, nbytes: int) -> object:
        assert max(nbytes, 1) > self.heap.largest_free
        self.failed += 1
        return multiple()

    @rule(
        target=arrays, nbytes=st.integers(0, CAPACITY // 3), how=st.sampled_from(["empty", "zeros", "numpy"])
    )
    def make(self, nbytes: int, how: str) -> object:
        try:
            if how == "numpy":
                with self.heap.activate():
                    made = np.zeros(nbytes, "u1")
            else:
                made = getattr(self.heap, how)(nbytes, "u1")
        except MemoryError:
            return self.refused(nbytes)
        if how != "empty":
            assert not made.any()
        return self.keep(made)

    @rule(which=arrays, nbytes=st.integers(0, CAPACITY // 2))
    def resize(self, which: tuple[list, int], nbytes: int) -> None:
        holder, number = which
        if not holder:
            return
        array, old = holder[0], self.blocks[number]
        kept = array[:nbytes].copy()
        try:
            array.resize(nbytes, refcheck=False)
        except MemoryError:
            self.failed += 1
            assert array.nbytes < nbytes
            return
        assert (array[: len(kept)] == kept).all()
        array[...] = number % 251
        new = self.blocks[number] = block(nbytes)
        if new > old:
            moved = self.heap.allocations > self.made
            self.made += moved
            # While it moves there are both.
            self.peak = max(self.peak, sum(self.blocks.values()) + (old if moved else 0))

    @rule(target=arrays, which=arrays)
    def copy(self, which: tuple[list, int]) -> object:
        holder, _ = which
        if not holder:
            return multiple()
        try:
            with self.heap.activate():
                made = holder[0].copy()
        except MemoryError:
            return self.refused(holder[0].nbytes)
        return self.keep(made)

    @rule(which=arrays)
    def drop(self, which: tuple[list, int]) -> None:
        holder, number = which
        if holder:
            self.look(holder[0], number)
            holder.clear()
            del self.blocks[number]

    @rule()
    def check(self) -> None:
        self.heap.check()
        free = CAPACITY - sum(self.blocks.values())
        assert self.heap.largest_free <= max(free - 16, 0)
        if not self.blocks:
            assert self.heap.largest_free == CAPACITY - 16

    def look(self, array: np.ndarray, number: int) -> None:
        assert self.heap.owns(array)
        assert (array == number % 251).all()

    @invariant()
    def figures(self) -> None:
        assert self.heap.in_use == sum(self.blocks.values())
        assert (self.heap.allocations, self.heap.failures) == (self.made, self.failed)
        assert self.heap.peak == self.peak

    def teardown(self) -> None:
        self.heap.check()
        kept = self.blocks
        del self.heap
        if not kept:
            assert vm_lck() == self.before


TestHeapMachine = HeapMachine.TestCase
TestHeapMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
