"""Waiting in asyncio and select: by eventfds, while others run, and with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

import lockedarray as la
from peers import Program, end, fork, nothing_left, until

pytestmark = [pytest.mark.locks(1 << 20), pytest.mark.usefixtures(nothing_left.__name__)]

ONE = np.ones(1, "f4")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def readers() -> int:
    """How many descriptors the loop watches, its own one for wake-ups included."""
    return len(asyncio.get_running_loop()._selector.get_map())  # type: ignore[attr-defined]


def test_other_tasks_run_meanwhile() -> None:
    rb = la.RingBuffer(100, eventfd=True)

    async def main() -> tuple[bool, int]:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while turns < 50:
                turns += 1
                await asyncio.sleep(0.001)
            rb.write(np.ones(64, "f4"))

        task = asyncio.create_task(others())
        arrived = await rb.async_wait_read(64, 10)
        await task
        return arrived, turns

    start = time.monotonic()
    assert run(main()) == (True, 50)
    assert time.monotonic() - start < 2


def test_told_at_once_and_not_at_the_next_look() -> None:
    """A look every 50 ms would take 50 turns of both sides 5 s at the worst; being told takes none of it."""
    rb = la.RingBuffer(10, eventfd=True)

    async def write() -> None:
        for _ in range(50):
            assert await rb.async_wait_write(10, 10)
            rb.write(np.ones(10, "f4"))

    async def read() -> None:
        for _ in range(50):
            assert await rb.async_wait_read(10, 10)
            rb.read(10)

    async def main() -> None:
        await asyncio.gather(write(), read())

    start = time.monotonic()
    run(main())
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("timeout", [0, 0.001, 0.12])
def test_timeouts(timeout: float) -> None:
    rb = la.RingBuffer(10, eventfd=True)
    start = time.monotonic()
    assert run(rb.async_wait_read(1, timeout)) is False
    assert timeout <= time.monotonic() - start < timeout + 0.1
    rb.write(np.ones(10, "f4"))
    assert run(rb.async_wait_write(1, timeout)) is False
    assert run(rb.async_wait_read(10, timeout)) is True


@pytest.mark.parametrize("timeout", [-1.0, float("nan")])
def test_timeouts_that_are_none(timeout: float) -> None:
    rb = la.RingBuffer(10, eventfd=True)
    with pytest.raises(ValueError, match="timeout"):
        run(rb.async_wait_read(1, timeout))


def test_arguments() -> None:
    rb = la.RingBuffer(10, eventfd=True)
    rb.write(ONE)
    assert run(rb.async_wait_read(1, float("inf"))) is True
    with pytest.raises(ValueError, match="room for 10 frames"):
        run(rb.async_wait_write(11))
    with pytest.raises(ValueError, match="eventfd=True"):
        run(la.RingBuffer(10).async_wait_read(1, 1))


def test_cancelled() -> None:
    rb = la.RingBuffer(10, eventfd=True)

    async def main() -> bool:
        before = readers()
        waiting = asyncio.create_task(rb.async_wait_read(1))
        await asyncio.sleep(0.01)
        assert readers() == before + 1, "the control: it is registered while it waits"
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert readers() == before
        rb.write(ONE)
        return await rb.async_wait_read(1, 1)

    assert run(main())


@pytest.mark.parametrize("how", ["close", "kill"])
def test_the_end(how: str) -> None:
    threads = threading.active_count()
    rb = la.RingBuffer(10, eventfd=True)
    if how == "close":
        threading.Timer(0.05, rb.close).start()
    else:
        child = fork(lambda: (rb.write(ONE), time.sleep(60)))
        until(lambda: rb.frames_written)
        rb.read(1)
        threading.Timer(0.05, end, [child]).start()
    start = time.monotonic()
    assert run(rb.async_wait_read(1, 5)) is False
    assert time.monotonic() - start < 0.05 + 0.1
    assert rb.eof
    until(lambda: threading.active_count() <= threads)


def test_select() -> None:
    rb = la.RingBuffer(10, eventfd=True)
    told, room = rb.eventfds or ()
    assert rb.arm_read(5)
    rb.write(np.ones(4, "f4"))
    assert select.select([told], [], [], 0)[0] == [], "not for less than was asked"
    rb.write(ONE)
    assert select.select([told], [], [], 0)[0] == [told]
    assert not rb.arm_read(5)
    assert select.select([told], [], [], 0)[0] == [], "arming takes back what was told before"
    rb.write(np.ones(5, "f4"))
    assert rb.arm_write(2)
    rb.read(1)
    assert select.select([room], [], [], 0)[0] == []
    rb.read(1)
    assert select.select([room], [], [], 0)[0] == [room]
    rb.read(8)
    assert rb.arm_read(1)
    rb.close()
    assert select.select([told], [], [], 0)[0] == [told]
    assert not rb.arm_read(1)


def test_from_another_program() -> None:
    rb = la.RingBuffer(100, eventfd=True)
    text = "rb = receive()\nfor _ in range(50):\n    peer.recv(1); rb.write(np.ones(2, 'f4'))"
    with Program(text) as program:
        program.give(rb.fileno(), *(rb.eventfds or ()))

        async def main() -> None:
            for _ in range(50):
                program.say()
                assert await rb.async_wait_read(2, 20)
                assert len(rb.read(10)) == 2

        run(main())


def test_only_eventfds_are_taken_over() -> None:
    rb = la.RingBuffer(10, eventfd=True)
    told, room = rb.eventfds or ()
    reading, writing = os.pipe()  # reading it would block
    for eventfds in ((told,), (told, room, told), (reading, room)):
        with pytest.raises((TypeError, ValueError), match="eventfds"):
            la.RingBuffer.attach(rb.fileno(), eventfds=eventfds)
    os.close(reading)
    os.close(writing)
    assert la.RingBuffer.attach(rb.fileno(), eventfds=[told, room]).eventfds is not None
