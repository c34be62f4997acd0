"""A measured loop, and the thread that it runs in."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext

from ..faults import page_faults
from ..periodic import Periodic
from ..realtime import Realtime, realtime
from ..setting import Step
from .load import Load, Nothing, Voice
from .options import Options
from .tally import Running, Tally

WARM_UP = 0.1  # seconds
WARM_INTERVAL = 1e-3  # at most: the warm-up of a slow loop is no shorter in periods


class Loop:
    """All that a loop needs is made here, in the thread that starts it; `run` belongs into its own.

    Parameters
    ----------
    settings : Options
    index : int
        Which of the threads it is.
    seconds : float
        How long it is to run.
    ready : bool
        Whether `realtime` sets its thread up; else the thread stays as Python made it.
    warm : threading.Barrier
        Where loops wait for each other before the measurement.
    """

    def __init__(
        self, settings: Options, index: int, seconds: float, ready: bool, warm: threading.Barrier
    ) -> None:
        locked = ready and settings.lock
        self.load: Load = Voice(settings.synth, locked) if settings.synth else Nothing()
        self.beats = Periodic(settings.interval, history=settings.kept(seconds), on_error="warn")
        self.running = Running(self.beats)
        self.cpu = settings.cpus[index % len(settings.cpus)] if settings.cpus and ready else None
        self.steps: tuple[Step, ...] = ()
        self.faults = page_faults()
        self.error: BaseException | None = None
        self.stopped = False
        self._settings, self._seconds, self._ready, self._warm = settings, seconds, ready, warm
        self._trial = Periodic(min(settings.interval, WARM_INTERVAL), history=1, on_error="warn")
        # Threads that woke up at one moment would wait for each other's GIL: they spread over the period.
        self._offset = settings.interval * index / settings.threads

    def run(self) -> None:
        """Set the thread up, warm up, wait for the others, and measure."""
        try:
            with self._set_up() as setup:
                if setup is not None:
                    self.steps = setup.steps
                with page_faults():  # whose own first steps may fault as well
                    self._beat(self._trial, WARM_UP)
                self._warm.wait()
                time.sleep(self._offset)
                with self.faults:
                    self._beat(self.beats, self._seconds)
        except threading.BrokenBarrierError:
            pass  # another loop failed, and says why
        except BaseException as error:
            self.error = error
            self._warm.abort()

    def tally(self) -> Tally:
        """Return what came of it, when its thread has ended."""
        self.running.look()
        return Tally(
            self.running.wakeups,
            self.beats.missed,
            self.faults.minor,
            self.faults.major,
            frozenset({self.faults.source} - {""}),
            self.running.least,
            self.running.total,
            self.running.greatest,
            self.beats.latencies,
        )

    def _set_up(self) -> AbstractContextManager[Realtime | None]:
        if not self._ready:
            return nullcontext()
        cpus = None if self.cpu is None else {self.cpu}
        if self._settings.lock:
            return realtime(self._settings.priority, cpus)
        return realtime(self._settings.priority, cpus, stack=None, lock_memory=False)

    def _beat(self, beats: Periodic, seconds: float) -> None:
        """Do the load once a period. Nothing is allocated but small numbers, which reuse their memory."""
        end = time.monotonic_ns() + round(seconds * 1e9)
        run = self.load.run
        for deadline in beats:
            run()
            if deadline >= end or self.stopped:
                return
