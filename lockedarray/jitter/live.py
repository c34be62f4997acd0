"""What a run shows while it goes: one line on a terminal, elsewhere a line a quarter."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..terminal import columns
from .tally import Running


class Live:
    """Shows on standard output how far a run is, and its latencies so far.

    Parameters
    ----------
    seconds : float
        All turns together.
    silent : bool
        Whether it shows nothing.
    """

    def __init__(self, seconds: float, silent: bool) -> None:
        self._seconds, self._silent = seconds, silent
        self._moving = not silent and sys.stdout.isatty()
        self._done = 0.0  # seconds of the turns before
        self._quarter = 0
        self._written = 0  # characters of the line that stands

    def show(self, name: str, elapsed: float, running: Sequence[Running]) -> None:
        """Show where a turn stands."""
        if self._silent:
            return
        done = self._done + elapsed
        line = f"{done:.1f} of {self._seconds:g} s  {name}  {_sentence(running)}"
        if self._moving:
            line = line[: columns() - 1]
            print(f"\r{line:{self._written}}", end="", flush=True)
            self._written = len(line)
        elif 4 * done / self._seconds >= self._quarter + 1:
            self._quarter = int(4 * done / self._seconds)
            print(line, flush=True)

    def turn_done(self, seconds: float) -> None:
        """Count a turn as done."""
        self._done += seconds

    def clear(self) -> None:
        """Take the line away."""
        if self._moving:
            print(f"\r{'':{self._written}}\r", end="", flush=True)
            self._written = 0


def _sentence(running: Sequence[Running]) -> str:
    """Return the latencies of all threads, in us."""
    wakeups = sum(one.wakeups for one in running)
    missed = sum(one.missed for one in running)
    if not wakeups:
        return "no wake-up yet"
    least = min(one.least for one in running) / 1000
    average = sum(one.total for one in running) / wakeups / 1000
    greatest = max(one.greatest for one in running) / 1000
    return f"min {least:.0f}  avg {average:.0f}  max {greatest:.0f} us  missed {missed}"
