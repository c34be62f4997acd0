"""Waiting for a ring in asyncio, by its eventfds: no thread, and no other task waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    import asyncio

LOOK = 0.05  # seconds, as ring_wait.h has it: a peer that dies writes to no descriptor


class AsyncWaits:
    """The asynchronous waits of a RingBuffer that was made with ``eventfd=True``."""

    __slots__ = ()

    async def async_wait_read(self, n: SupportsIndex, timeout: float | None = None) -> bool:
        """Wait until `n` frames can be read, as `RingBuffer.wait_read`, while other tasks run.

        Raises
        ------
        ValueError
            The ring was made without ``eventfd=True``; or as `wait_read`.

        Examples
        --------
        >>> import asyncio, lockedarray as la
        >>> rb = la.RingBuffer(100, eventfd=True)
        >>> asyncio.run(rb.async_wait_read(64, timeout=0.001))
        False
        """
        return await _wait(self.arm_read, self.wait_read, self.eventfds, 0, n, timeout)  # type: ignore[attr-defined]

    async def async_wait_write(self, n: SupportsIndex, timeout: float | None = None) -> bool:
        """Wait until `n` frames can be written, as `RingBuffer.wait_write`, while other tasks run.

        See `async_wait_read`.
        """
        return await _wait(self.arm_write, self.wait_write, self.eventfds, 1, n, timeout)  # type: ignore[attr-defined]


def _tell(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


async def _wait(
    arm: Callable[[SupportsIndex], bool],
    wait: Callable[[SupportsIndex, float], bool],
    eventfds: tuple[int, int] | None,
    side: int,
    n: SupportsIndex,
    timeout: float | None,
) -> bool:
    import asyncio  # takes 20 ms, and whoever waits here has it already

    loop = asyncio.get_running_loop()
    # What is wrong with the arguments, is said now; that is all this call is for.
    wait(n, 0.0 if timeout is None or timeout >= 0 else timeout)
    until = None if timeout is None else loop.time() + timeout
    while arm(n):
        assert eventfds is not None
        told: asyncio.Future[None] = loop.create_future()
        loop.add_reader(eventfds[side], _tell, told)
        left = LOOK if until is None else min(LOOK, until - loop.time())
        try:
            await asyncio.wait_for(told, max(0.0, left))
        except TimeoutError:
            if until is not None and loop.time() >= until:
                break
        finally:
            loop.remove_reader(eventfds[side])
    return wait(n, 0.0)
