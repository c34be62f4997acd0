"""What a run is asked to be."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_US, LONGEST_US = 10, 1_000_000
MOST_THREADS = 256
LONGEST_S = 7 * 24 * 3600.0  # a week
_KEPT = 1 << 20  # latencies of all threads together: 8 MiB
_KEPT_EACH = 1 << 15  # at least: much more than come between two looks


@dataclass(frozen=True)
class Options:
    """Attributes are the command's options.

    Attributes
    ----------
    threads : int
    priority : int or None
        Of SCHED_FIFO.
    interval_us : float
    duration : float
        Seconds.
    cpus : tuple of int
        Threads take them in turn; empty: any.
    synth : int or None
        Frames of the load's block.
    lock : bool
    """

    threads: int = 1
    priority: int | None = None
    interval_us: float = 1000.0
    duration: float = 10.0
    cpus: tuple[int, ...] = ()
    synth: int | None = None
    lock: bool = True

    @property
    def interval(self) -> float:
        """The period in seconds."""
        return self.interval_us * 1e-6

    def kept(self, seconds: float) -> int:
        """Return how many latencies each thread keeps in so many seconds: all, up to a bound."""
        periods = int(seconds / self.interval) + 2  # one at each end
        return min(periods, max(_KEPT // self.threads, _KEPT_EACH))
