"""Where an activation holds: this thread, this task, until the end of its block, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

import lockedarray as la

pytestmark = pytest.mark.locks(2 << 20)


def in_heap(heap: la.Heap) -> bool:
    """Whether NumPy allocates in this heap, here and now."""
    return heap.owns(np.empty(100))


def test_a_block(heap: la.Heap) -> None:
    assert not in_heap(heap)
    with heap.activate() as given:
        assert given is heap
        assert in_heap(heap)
    assert not in_heap(heap)


def test_undone_by_an_exception(heap: la.Heap) -> None:
    with pytest.raises(KeyError), heap.activate():
        raise KeyError
    assert not in_heap(heap)


def test_blocks_nest(heap: la.Heap) -> None:
    other = la.Heap(1 << 20)
    with heap.activate():
        with other.activate():
            with heap.activate():
                assert in_heap(heap)
            assert in_heap(other)
        assert in_heap(heap)
        with heap.activate():
            pass
        assert in_heap(heap)
    assert not in_heap(heap)
    assert not in_heap(other)


def test_without_a_block_it_stays(heap: la.Heap) -> None:
    def body() -> None:
        heap.activate()
        assert in_heap(heap)

    context = contextvars.copy_context()
    context.run(body)
    assert context.run(in_heap, heap)
    assert not in_heap(heap)


def test_each_block_needs_its_own(heap: la.Heap) -> None:
    activation = heap.activate()
    with activation:
        pass
    with pytest.raises(RuntimeError, match="an activation is for one block"), activation:
        pass
    activation = heap.activate()
    with pytest.raises(RuntimeError, match="an activation is for one block"), activation, activation:
        pass
    assert not in_heap(heap)


def test_ended_by_name_and_again(heap: la.Heap) -> None:
    outer = heap.activate()
    inner = heap.activate()
    for _ in range(3):
        inner.end()
        assert in_heap(heap)
    outer.end()
    assert not in_heap(heap)
    inner.end()
    outer.end()
    assert not in_heap(heap)


# Threads


def test_a_thread_begins_without(heap: la.Heap) -> None:
    seen: dict[str, bool] = {}

    def plain() -> None:
        seen["plain"] = in_heap(heap)

    def activated() -> None:
        heap.activate()
        seen["activated"] = in_heap(heap)

    with heap.activate():
        for body in (plain, activated, plain):
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
        assert in_heap(heap)
    assert seen == {"plain": False, "activated": True}


def test_a_pool_of_threads(heap: la.Heap) -> None:
    barrier = threading.Barrier(3)

    def body(_: int) -> bool:
        barrier.wait(10)  # so that each thread has one
        return in_heap(heap)

    with ThreadPoolExecutor(3, initializer=heap.activate) as threads:
        assert list(threads.map(body, range(6))) == [True] * 6
    with ThreadPoolExecutor(3) as threads, heap.activate():
        assert list(threads.map(body, range(6))) == [False] * 6
    assert not in_heap(heap)


def test_arrays_go_from_thread_to_thread(heap: la.Heap) -> None:
    def make(count: int) -> list[np.ndarray]:
        return [np.full(1000, k) for k in range(count)]

    with ThreadPoolExecutor(2, initializer=heap.activate) as threads:
        arrays = threads.submit(make, 50).result()
        assert all(heap.owns(a) for a in arrays)
        assert [int(a[-1]) for a in arrays] == list(range(50))
        del arrays
        threads.submit(make, 50).result()
    heap.check()
    assert heap.in_use == 0


def test_an_end_in_another_thread_is_refused(heap: la.Heap) -> None:
    activation = heap.activate()

    def end() -> None:
        with pytest.raises(RuntimeError, match="another thread, task or order"):
            activation.__exit__(None, None, None)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(end).result()
    assert in_heap(heap)
    activation.__exit__(None, None, None)
    assert not in_heap(heap)


def test_an_end_in_a_copied_context_holds_there_alone(heap: la.Heap) -> None:
    activation = heap.activate()
    context = contextvars.copy_context()
    context.run(activation.__exit__, None, None, None)
    assert not context.run(in_heap, heap)
    assert in_heap(heap)
    activation.__exit__(None, None, None)
    assert not in_heap(heap)


def test_out_of_order(heap: la.Heap) -> None:
    other = la.Heap(1 << 20)
    first, second = heap.activate(), other.activate()
    with pytest.raises(RuntimeError, match="order than it began"):
        first.__exit__(None, None, None)
    assert in_heap(other)
    second.__exit__(None, None, None)
    assert in_heap(heap)
    first.__exit__(None, None, None)
    assert not in_heap(heap)


# Generators


def test_a_generator_that_yields_inside_leaks_to_its_caller(heap: la.Heap) -> None:
    """As contextvars are: the documentation says so."""

    def blocks() -> Iterator[int]:
        with heap.activate():
            yield 1

    generator = blocks()
    next(generator)
    assert in_heap(heap)
    generator.close()
    assert not in_heap(heap)


def test_a_leak_cannot_end_what_another_began(heap: la.Heap) -> None:
    contextvars.copy_context().run(leak, heap)
    assert not in_heap(heap)


def leak(heap: la.Heap) -> None:
    other = la.Heap(1 << 20)

    def blocks() -> Iterator[int]:
        with heap.activate():
            yield 1

    for holds in (other, heap):
        generator = blocks()
        next(generator)
        with holds.activate():
            with pytest.raises(RuntimeError, match="a generator that yields"):
                generator.close()
            assert in_heap(holds)
        assert in_heap(heap)
    assert in_heap(heap)


def test_a_generator_that_ends_its_block_first(heap: la.Heap) -> None:
    def blocks() -> Iterator[np.ndarray]:
        for _ in range(3):
            with heap.activate():
                block = np.ones(10) * 2
            yield block

    for block in blocks():
        assert heap.owns(block)
        assert not in_heap(heap)


# Exceptions on their way


def test_an_end_out_of_order_does_not_hide_another_exception(heap: la.Heap) -> None:
    other = la.Heap(1 << 20)
    leaked: list[la.activation.Activation] = []

    def work() -> None:
        leaked.append(other.activate())
        raise KeyboardInterrupt

    outer = heap.activate()
    with pytest.raises(KeyboardInterrupt) as error, outer:
        work()
    assert "order than it began" in error.value.__notes__[0]
    assert in_heap(other)
    leaked[0].end()
    assert in_heap(heap)
    outer.end()
    assert not in_heap(heap)


def test_notes_reach_into_groups(heap: la.Heap) -> None:
    def work() -> None:
        try:
            np.empty(2 << 20, "u1")
        except MemoryError as error:
            raise ExceptionGroup("both", [error, ValueError(), MemoryError("mine")]) from None

    with pytest.raises(ExceptionGroup) as group, heap.activate():
        work()
    numpys, value, mine = group.value.exceptions
    assert "cannot give 2 MiB" in numpys.__notes__[0]
    assert not hasattr(value, "__notes__")
    assert not hasattr(mine, "__notes__")


# asyncio


def test_tasks_are_apart(heap: la.Heap) -> None:
    other = la.Heap(1 << 20)

    async def work(mine: la.Heap, theirs: la.Heap) -> bool:
        apart = True
        for _ in range(5):
            with mine.activate():
                await asyncio.sleep(0)
                apart &= in_heap(mine) and not in_heap(theirs)
            await asyncio.sleep(0)
            apart &= not in_heap(mine)
        return apart

    async def main() -> list[bool]:
        return await asyncio.gather(work(heap, other), work(other, heap), work(heap, other))

    assert asyncio.run(main()) == [True] * 3
    assert not in_heap(heap)


def test_tasks_and_to_thread_take_the_context_along(heap: la.Heap) -> None:
    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        with heap.activate():
            task = asyncio.create_task(asyncio.to_thread(in_heap, heap))
            seen = [await asyncio.to_thread(in_heap, heap), await loop.run_in_executor(None, in_heap, heap)]
        return [*seen, await task, in_heap(heap)]

    assert asyncio.run(main()) == [True, False, True, False]


def test_an_exit_stack(heap: la.Heap) -> None:
    with ExitStack() as stack:
        stack.enter_context(heap.activate())
        assert in_heap(heap)
    assert not in_heap(heap)
