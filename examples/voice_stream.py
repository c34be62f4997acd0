"""The engine of realtime_voice.py: file -> ring -> real-time loop -> ring -> file, three threads.

    producer --> incoming ring --> real-time thread --> outgoing ring --> writer

Nothing is ever dropped: a thread that finds its ring full or empty comes back later.
"""

from __future__ import annotations

import resource
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import lockedarray as la
from voice_offline import DRIVE, SHAPER_POINTS, TREMOLO_DEPTH, TREMOLO_HZ, TREMOLO_POINTS
from wav import WavReader, WavWriter

Float32 = NDArray[np.float32]

RING_BLOCKS = 8
FILE_FRAMES = 100  # a file is read in steps of its own: nothing asks them to match the blocks
PRIORITY = 70
WARM_BLOCKS = 100
FAST_NAP = 50e-6  # seconds between two tries where no clock sets the pace


class Source(Protocol):
    """What the loop needs of whatever it plays from: of a ring, its reading side."""

    @property
    def closed(self) -> bool: ...
    @property
    def read_available(self) -> int: ...
    def read_into(self, out: Float32) -> int: ...


class Beats(Protocol):
    """A clock: an iteration is a period, `missed` the periods that passed without one."""

    @property
    def missed(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...


class Unpaced:
    """Beats without a clock; each leaves the other threads a moment to move the rings."""

    missed = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            time.sleep(FAST_NAP)
            yield 0


class Voice:
    """The effect, and the memory that it works in: a curve, a wavetable and a block's buffers."""

    def __init__(self, pool: la.Pool, rate: int, channels: int, block: int) -> None:
        x = np.linspace(-1.0, 1.0, SHAPER_POINTS)
        curve = np.tanh(DRIVE * x) / np.tanh(DRIVE)
        turn = 2 * np.pi * (np.arange(TREMOLO_POINTS) / TREMOLO_POINTS)
        wave = 1 - TREMOLO_DEPTH * (0.5 - 0.5 * np.cos(turn))
        self.shaper = pool.table(curve.astype(np.float32), start=-1.0, stop=1.0)
        self.tremolo = pool.table(wave.astype(np.float32), periodic=True)
        self.increment = TREMOLO_HZ / rate  # cycles a frame
        self.phase = 0.0
        work: Float32 = pool.zeros(block * (2 * channels + 1), np.float32)  # pages are whole: take few
        dry, wet, self.gain = np.split(work, (block * channels, 2 * block * channels))
        self.dry: Float32 = dry.reshape(block, channels)
        self.wet: Float32 = wet.reshape(block, channels)
        self.gain_column = self.gain[:, np.newaxis]

    def process(self) -> None:
        """One block, `dry` to `wet`."""
        self.shaper(self.dry, out=self.wet)
        self.phase = self.tremolo.sweep(self.gain, self.phase, self.increment)
        np.multiply(self.wet, self.gain_column, out=self.wet)


class Player:
    """The work of the real-time loop. `underruns` and `overruns` count beats that had to wait."""

    def __init__(self, source: Source, sink: la.RingBuffer, voice: Voice, burst: int = 1) -> None:
        self.source, self.sink, self.voice = source, sink, voice
        self.block = len(voice.dry)
        self.burst = burst
        self.underruns = self.overruns = 0
        self.done = False

    def play(self, beats: Beats) -> None:
        """Play a block a beat, and one more for each beat that was missed, until all is played."""
        owed = missed = 0
        for _ in beats:
            owed += self.burst + beats.missed - missed
            missed = beats.missed
            owed = self.beat(owed)
            if self.done:
                return

    def beat(self, owed: int) -> int:
        """Play as many of the blocks owed as the rings allow; return how many still are owed.

        A block leaves the source only once the sink has room for it: late perhaps, never lost.
        """
        while owed:
            closed = self.source.closed  # asked first: after a close nothing more arrives
            if self.source.read_available < self.block and not closed:
                self.underruns += 1
                return owed
            if self.sink.write_available < self.block:
                self.overruns += 1
                self.done = self.sink.closed
                return owed
            frames = self.source.read_into(self.voice.dry)
            self.voice.process()
            if frames < self.block:
                self.sink.write(self.voice.wet[:frames])
                self.done = True
                return 0
            self.sink.write(self.voice.wet)
            owed -= 1
        return 0


class Rest:
    """The end of a stream: silence from a ring that was closed."""

    closed = True

    def __init__(self, frames: int) -> None:
        self.read_available = frames

    def read_into(self, out: Float32) -> int:
        frames, self.read_available = self.read_available, 0
        out[:frames] = 0
        return frames


def warm_up(incoming: la.RingBuffer, outgoing: la.RingBuffer, voice: Voice, period: float) -> None:
    """Go down every branch of the loop while the rings are still ours: what faults, faults now."""
    player = Player(incoming, outgoing, voice)
    silence = np.zeros_like(voice.dry)
    for _ in range(WARM_BLOCKS):
        player.beat(1)  # an underrun
        incoming.write(silence)
        while outgoing.write(silence):
            pass
        player.beat(1)  # an overrun
        while outgoing.read_into(silence):
            pass
        player.beat(1)
        outgoing.read_into(silence)
    with la.page_faults():
        rest = Rest(len(silence) - 1)
        Player(rest, outgoing, voice).play(la.Periodic(min(period, 0.001), history=0))
    while outgoing.read_into(silence):
        pass
    voice.phase = 0.0


def clock(period: float, beats: int) -> la.Periodic:
    """Return a clock that keeps the latencies of so many beats, locked if there is room."""
    try:
        return la.Periodic(period, history=beats)
    except la.LockError:
        print(f"the {beats * 8 // 1024} KiB of wake-up latencies are not locked, only resident")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", la.LockWarning)
        return la.Periodic(period, history=beats, on_error="warn")


def pool_bytes(channels: int, block: int) -> int:
    """Return what a stream takes out of its pool: whole pages, a ring twice a header and its frames."""
    page = resource.getpagesize()

    def pages(floats: int) -> int:
        return -(-floats * 4 // page) * page

    ring = 2 * (page + pages(RING_BLOCKS * block * channels))
    tables = pages(SHAPER_POINTS) + pages(TREMOLO_POINTS)
    return 2 * ring + tables + pages(block * (2 * channels + 1))


class Stream:
    """The three threads, and what is known of them when they are done."""

    def __init__(
        self,
        reader: WavReader,
        writer: WavWriter,
        pool: la.Pool,
        block: int,
        *,
        fast: bool = False,
        source: Source | None = None,
    ) -> None:
        """Stream `reader` to `writer`; with a `source` of its own it does without the producer."""
        self.reader, self.writer, self.pool = reader, writer, pool
        self.period = block / reader.rate
        self.fast = fast
        self.nap = FAST_NAP if fast else self.period / 2
        self.incoming = pool.ring(RING_BLOCKS * block, reader.channels, np.float32)
        self.outgoing = pool.ring(RING_BLOCKS * block, reader.channels, np.float32)
        self.voice = Voice(pool, reader.rate, reader.channels, block)
        self.player = Player(
            source or self.incoming, self.outgoing, self.voice, burst=RING_BLOCKS if fast else 1
        )
        self.ready = threading.Event()  # until then the real-time thread has both rings to itself
        self.warmed = 0, 0  # frames written to them meanwhile
        # The pool is all that the loop touches, and its output is compared bit for bit.
        self.realtime = la.realtime(PRIORITY, lock_memory=False, flush_denormals=False)
        self.faults: la.page_faults | None = None  # of the real-time loop
        self.locked_bytes = 0
        self.waits = 0  # times that the producer found the ring full
        self.missed = 0
        self.latencies: NDArray[np.int64] = np.empty(0, np.int64)
        self.error: Exception | None = None
        self.stopped = False
        works = [self._realtime, self._write]
        if source is None:
            works.append(self._produce)
        self.threads = [threading.Thread(target=self._guard, args=(work,)) for work in works]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """End the stream soon; what is in the rings is still played and written."""
        self.stopped = True
        if self.player.source is not self.incoming:
            self.player.done = True

    def running(self, seconds: float) -> bool:
        """Wait for the threads up to `seconds`; return whether one is still at work."""
        until = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))
        return any(thread.is_alive() for thread in self.threads)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BrokenPipeError:
            pass  # the other side closed the ring, and has a reason of its own
        except Exception as error:
            self.error = self.error or error
            self.stop()

    def _produce(self) -> None:
        chunk = np.empty((FILE_FRAMES, self.reader.channels), np.float32)
        self.ready.wait()
        try:
            while not self.stopped and (frames := self.reader.read_into(chunk)):
                taken = self.incoming.write(chunk[:frames])
                self.waits += taken < frames
                while taken < frames:
                    time.sleep(self.nap)
                    taken += self.incoming.write(chunk[taken:frames])
        finally:
            self.incoming.close()

    def _realtime(self) -> None:
        try:
            with self.realtime:
                warm_up(self.incoming, self.outgoing, self.voice, self.period)
                self.warmed = self.incoming.frames_written, self.outgoing.frames_written
                self.locked_bytes = la.locked_bytes()
                self.ready.set()
                if self.player.source is self.incoming:
                    # A loop that begins with a full ring has no underruns to begin with.
                    while self.incoming.write_available and not self.incoming.closed:
                        time.sleep(self.nap)
                self._play()
        finally:
            self.ready.set()
            self.incoming.close()
            self.outgoing.close()

    def _play(self) -> None:
        if self.fast:
            with la.page_faults() as self.faults:
                self.player.play(Unpaced())
            return
        beats = clock(self.period, self.reader.frames // len(self.voice.dry) + 1)
        with la.page_faults() as self.faults:
            self.player.play(beats)
        self.missed = beats.missed
        self.latencies = np.array(beats.latencies)

    def _write(self) -> None:
        frames = np.empty((self.outgoing.capacity, self.reader.channels), np.float32)
        self.ready.wait()
        try:
            while not self.outgoing.eof:
                if taken := self.outgoing.read_into(frames):
                    self.writer.write(frames[:taken])
                else:
                    time.sleep(self.nap)
        finally:
            self.outgoing.close()
            self.writer.close()
