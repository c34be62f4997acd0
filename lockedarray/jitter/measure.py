"""Loops that run together, watched while they run."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import LockWarning
from ..setting import Step
from ..thread import start_thread
from .live import Live
from .loop import WARM_UP, Loop
from .options import Options
from .tally import Tally

LOOK = 0.25  # seconds between two looks: each takes the GIL for a moment
TURNS = 5  # of each kind, in a comparison
SHORTEST_TURN = 0.5  # seconds, rather than more turns


@dataclass(frozen=True)
class Run:
    """What came of loops of one kind.

    Attributes
    ----------
    name : str
        "realtime" or "plain".
    tallies : tuple of Tally
        One a thread.
    cpus : tuple of int or None
        Where each was to run.
    steps : tuple of tuple of Step
        What `realtime` achieved for each.
    not_locked : str
        Why the loops' own memory is not locked; "" where it is, or was not to be.
    """

    name: str
    tallies: tuple[Tally, ...]
    cpus: tuple[int | None, ...]
    steps: tuple[tuple[Step, ...], ...]
    not_locked: str

    @property
    def together(self) -> Tally:
        """All threads as one."""
        return sum(self.tallies, Tally())

    def __add__(self, other: Run) -> Run:
        """Return another turn of the same kind together with this one."""
        pairs = zip(self.tallies, other.tallies, strict=True)
        tallies = tuple(ours + theirs for ours, theirs in pairs)
        return Run(self.name, tallies, self.cpus, other.steps, self.not_locked or other.not_locked)


class Measurement:
    """One run, or plain and set up ones in turns; Ctrl-C ends it early, and what was measured counts.

    Attributes
    ----------
    interrupted : bool
        Whether Ctrl-C ended it.
    """

    def __init__(self, settings: Options, live: Live) -> None:
        self.interrupted = False
        self._settings, self._live = settings, live
        self._loops: list[Loop] = []

    def run(self) -> list[Run]:
        """Measure one run, set up."""
        with self._interruptible():
            return [self._turn(ready=True, seconds=self._settings.duration)]

    def compare(self) -> list[Run]:
        """Measure plain and set up in turns: the machine's moods hit both alike.

        A plain turn comes first: no stack and no memory has been touched for it before.
        """
        turns = max(1, min(TURNS, int(self._settings.duration / SHORTEST_TURN)))
        runs: dict[bool, Run] = {}
        with self._interruptible():
            for ready in (False, True) * turns:
                run = self._turn(ready, self._settings.duration / turns)
                runs[ready] = runs[ready] + run if ready in runs else run
                if self.interrupted:
                    break
        return list(runs.values())

    def _turn(self, ready: bool, seconds: float) -> Run:
        settings = self._settings
        warm = threading.Barrier(settings.threads)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", LockWarning)
            self._loops = [Loop(settings, i, seconds, ready, warm) for i in range(settings.threads)]
            try:
                threads = [self._start(loop, ready and settings.lock) for loop in self._loops]
            except BaseException:
                warm.abort()  # those that did start wait for all
                raise
        refusals = [str(one.message) for one in said if issubclass(one.category, LockWarning)]
        name = "realtime" if ready else "plain"
        self._watch(threads, name, seconds)
        for loop in self._loops:
            if loop.error is not None:
                raise loop.error
        return Run(
            name,
            tuple(loop.tally() for loop in self._loops),
            tuple(loop.cpu for loop in self._loops),
            tuple(loop.steps for loop in self._loops),
            refusals[0] if refusals and ready and settings.lock else "",
        )

    def _start(self, loop: Loop, locked: bool) -> threading.Thread:
        loop.stopped = self.interrupted
        if locked:
            return start_thread(loop.run, on_error="warn")
        thread = threading.Thread(target=loop.run)
        thread.start()
        return thread

    def _watch(self, threads: list[threading.Thread], name: str, seconds: float) -> None:
        begin = time.monotonic() + WARM_UP
        running = [loop.running for loop in self._loops]
        for thread in threads:
            while thread.is_alive():
                thread.join(LOOK)
                for one in running:
                    one.look()
                if any(loop.error is not None for loop in self._loops):
                    self._stop()
                self._live.show(name, min(max(0.0, time.monotonic() - begin), seconds), running)
        self._live.turn_done(seconds)

    def _stop(self) -> None:
        for loop in self._loops:
            loop.stopped = True

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C stop the loops instead of this thread, which waits for them."""

        def stop(*_: object) -> None:
            self.interrupted = True
            self._stop()

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self._live.clear()
