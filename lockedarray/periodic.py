"""A loop with a clock: absolute deadlines, and how late each of them was met."""

from __future__ import annotations

import operator
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from . import _native
from .arrays import empty


class Periodic(_native.Periodic):
    """An iterator over absolute deadlines, a period apart.

    The first `next` sets the zero, ``t0``. Each `next` then waits for deadline k = 1, 2, ... at
    ``t0 + round(k * seconds * 1e9)`` ns, computed from k each time: nothing drifts. A deadline that
    has passed when the wait begins is missed: it is counted and skipped, and the loop goes on with
    the next one of the same grid. The wait is a system call without the GIL; a signal's handler
    runs at once, so that Ctrl-C ends it, and after one that does not raise it goes on. Recording a
    latency neither allocates nor faults: its memory is locked.

    Parameters
    ----------
    seconds : float
        The period, from 1e-9 to 86400.
    history : int
        How many wake-up latencies are kept, the newest ones; 8 bytes of locked memory each.
    on_error : {"raise", "warn"}
        What a refused lock of the history means.

    Yields
    ------
    int
        The deadline, in ns of CLOCK_MONOTONIC (`time.monotonic_ns`).

    Attributes
    ----------
    seconds : float
        The period.
    t0 : int or None
        The moment of the first `next` in ns of CLOCK_MONOTONIC.
    wakeups, missed : int
        Deadlines waited for, and skipped.
    latencies : ndarray of int64
        A new array of the last latencies, oldest first: ns from a deadline to the moment at which
        Python code runs again.

    Raises
    ------
    ValueError
        A period that is not a number from 1e-9 to 86400, or a negative history.
    LockError
        The history could not be locked.

    See Also
    --------
    realtime
    clock_nanosleep(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> ticks = la.Periodic(0.001)
    >>> first, second = next(ticks), next(ticks)
    >>> (second - first) % 1_000_000
    0
    """

    _history: NDArray[np.int64]

    def __new__(
        cls,
        seconds: SupportsFloat,
        *,
        history: SupportsIndex = 65536,
        on_error: Literal["raise", "warn"] = "raise",
    ) -> Self:
        frames = operator.index(history)
        if frames < 0:
            raise ValueError(f"history cannot be negative: {frames}")
        latencies: NDArray[Any] = empty((frames,), "int64", on_error=on_error)
        self = super().__new__(cls, seconds, latencies)
        self._history = latencies
        return self

    @property
    def latencies(self) -> NDArray[np.int64]:
        """A new array of the last wake-up latencies in ns, oldest first."""
        wakeups, size = self.wakeups, len(self._history)
        if wakeups <= size:
            return self._history[:wakeups].copy()
        oldest = wakeups % size if size else 0
        return np.concatenate((self._history[oldest:], self._history[:oldest]))

    def __repr__(self) -> str:
        return f"Periodic({self.seconds}, wakeups={self.wakeups}, missed={self.missed})"
