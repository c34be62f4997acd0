"""What is known of a thread's wake-ups, and of several threads' together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..periodic import Periodic

Latencies = NDArray[np.int64]
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
FIGURES = ("min", "avg", *PERCENTILES, "max")


def _none() -> Latencies:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Tally:
    """Wake-ups and what came with them.

    Attributes
    ----------
    wakeups, missed : int
        Deadlines waited for, and skipped since they had passed.
    minor, major : int
        Page faults.
    sources : frozenset of str
        What counted them.
    least, total, greatest : int
        Of all latencies, in ns; meaningless without any.
    kept : ndarray of int64
        The newest latencies, in ns.
    """

    wakeups: int = 0
    missed: int = 0
    minor: int = 0
    major: int = 0
    sources: frozenset[str] = frozenset()
    least: int = 2**63 - 1
    total: int = 0
    greatest: int = 0
    kept: Latencies = field(default_factory=_none)

    @property
    def faults(self) -> int:
        """All page faults."""
        return self.minor + self.major

    @property
    def dropped(self) -> int:
        """Latencies that were not kept: the percentiles and the histogram do without them."""
        return self.wakeups - len(self.kept)

    def __add__(self, other: Tally) -> Tally:
        """Return both together."""
        return Tally(
            self.wakeups + other.wakeups,
            self.missed + other.missed,
            self.minor + other.minor,
            self.major + other.major,
            self.sources | other.sources,
            min(self.least, other.least),
            self.total + other.total,
            max(self.greatest, other.greatest),
            np.concatenate((self.kept, other.kept)),
        )

    def figures(self) -> dict[str, float] | None:
        """Return `FIGURES` in us; None without a wake-up. Least, mean and greatest are of all wake-ups."""
        if not self.wakeups:
            return None
        ranks = np.percentile(self.kept, list(PERCENTILES.values()))
        ns = (self.least, self.total / self.wakeups, *ranks.tolist(), self.greatest)
        return {name: value / 1000 for name, value in zip(FIGURES, ns, strict=True)}


class Running:
    """Least, mean and greatest latency of a loop that another thread runs, so far.

    `look` takes in what came since the last look. It reads the loop's own history and disturbs the
    loop by no more than the moment for which it holds the GIL.
    """

    def __init__(self, beats: Periodic) -> None:
        self._beats, self._history = beats, beats._history
        self._seen = 0
        self.least, self.total, self.greatest = 2**63 - 1, 0, 0
        self.wakeups = 0

    @property
    def missed(self) -> int:
        """Deadlines that the loop skipped so far."""
        return self._beats.missed

    def look(self) -> None:
        """Take in what is new; a look comes before the history is full of it."""
        wakeups, size = self._beats.wakeups, len(self._history)
        for begin, end in self._new(max(self._seen, wakeups - size), wakeups, size):
            new = self._history[begin:end]
            self.least = min(self.least, int(new.min()))
            self.greatest = max(self.greatest, int(new.max()))
            self.total += int(new.sum())
            self.wakeups += len(new)
        self._seen = wakeups

    @staticmethod
    def _new(first: int, last: int, size: int) -> list[tuple[int, int]]:
        """Return the places of latencies first to last in a history that begins anew when it is full."""
        if first == last:
            return []
        begin, end = first % size, (last - 1) % size + 1
        return [(begin, end)] if begin < end else [(begin, size), (0, end)]
