"""Recording to disk from a device that does not wait; what is lost is reported by its position.

The device, a process of its own, writes with drop=True: it loses what does not fit. Where, it says in a
second ring, one record for each gap, and one without frames at the end. The signal counts its own frames, so
that a file shows whether the report is right. An hour:

    python record.py --seconds 3600 [-o record.wav]

python record.py [--fast] [--buffer 1] [--stall 0.5]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time

import numpy as np

import lockedarray as la
from arguments import duration
from wav import WavError, WavWriter

RATE, BLOCK = 48_000, 256
GAP = np.dtype([("position", "i8"), ("frames", "i8")])  # of the device's stream
GAPS_HELD = 64  # a gap ends only where the recorder has read, and then it reads gaps too


def signal_at(position: int, frames: int) -> np.ndarray:
    """Return frames that tell their position, modulo 65536: each a number of 16 bits."""
    return (((np.arange(position, position + frames) & 0xFFFF) - 32768) / 32768).astype(np.float32)


def device(audio: la.RingBuffer, gaps: la.RingBuffer, frames: int, fast: bool) -> None:
    """Write blocks at the pace of a clock, or as fast as they are taken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the recorder, which closes the ring
    gap = np.zeros(1, GAP)
    beats = la.Periodic(BLOCK / RATE, history=0)
    position = 0
    try:
        while position < frames:
            block = signal_at(position, min(BLOCK, frames - position))
            if fast:
                audio.wait_write(len(block))
            else:
                next(beats)
            taken = audio.write(block, drop=True)
            if taken and gap["frames"][0]:  # the gap before this block has ended
                gaps.write(gap)
                gap["frames"] = 0
            if taken < len(block):
                if not gap["frames"][0]:
                    gap["position"] = position + taken
                gap["frames"] += len(block) - taken
            position += len(block)
    except BrokenPipeError:  # the recorder has been stopped
        pass
    if gap["frames"][0]:
        gaps.write(gap)
    gap[0] = (position, 0)
    gaps.write(gap)
    gaps.close()
    audio.close()


class Recorder:
    """From the ring to the file, and the gaps to the terminal."""

    def __init__(self, audio: la.RingBuffer, gaps: la.RingBuffer, file: WavWriter, stall: float) -> None:
        self.audio, self.gaps, self.file, self.stall = audio, gaps, file, stall
        self.next_stall = RATE // 2
        self.lost = 0
        self.sent: int | None = None  # not before the device has said it

    def run(self) -> None:
        while self.audio.wait_read(min(BLOCK, self.audio.capacity)):
            self.take()
            if self.stall > 0 and self.file.frames >= self.next_stall:
                time.sleep(self.stall)  # the disk hangs
                self.next_stall += RATE
        # The device's last word comes after its last frame; if it dies instead, the wait ends too.
        while self.sent is None and self.gaps.wait_read(1):
            self.report()
        while self.audio.read_available:
            self.take()

    def take(self) -> None:
        window = self.audio.read_window(self.audio.capacity)  # all there is, straight from the ring
        self.file.write(window)
        self.audio.consume(len(window))
        self.report()

    def report(self) -> None:
        for position, frames in self.gaps.read(GAPS_HELD).tolist():
            if frames == 0:
                self.sent = position
                continue
            self.lost += frames
            print(f"lost:     {frames} frames from frame {position} ({position / RATE:.3f} s) on")


def main() -> int:
    parser = argparse.ArgumentParser(description="Record to disk, and report what was lost.")
    parser.add_argument("-o", "--output", default="record.wav", help="default: %(default)s")
    parser.add_argument("--seconds", type=duration, default=2.0, help="default: %(default)s")
    parser.add_argument("--buffer", type=duration, default=1.0, help="in the ring; default: %(default)s")
    parser.add_argument("--stall", type=duration, default=0.0, help="the disk hangs so long in each second")
    parser.add_argument("--fast", action="store_true", help="a device without a clock, which waits for room")
    args = parser.parse_args()
    try:
        la.set_memlock_limit(la.memlock_limit()[1])
        audio = la.RingBuffer(max(BLOCK, round(args.buffer * RATE)))
        gaps = la.RingBuffer(GAPS_HELD, dtype=GAP)
        with WavWriter(args.output, RATE, encoding="16-bit") as file:
            recorder = Recorder(audio, gaps, file, args.stall)
            # Ctrl-C ends the stream, never a write to the file: no block is left out or written twice.
            signal.signal(signal.SIGINT, lambda *_: audio.close())
            source = multiprocessing.get_context("spawn").Process(
                target=device, args=(audio, gaps, round(args.seconds * RATE), args.fast)
            )
            source.start()
            try:
                recorder.run()
            finally:
                audio.close()
                source.join()
    except (MemoryError, WavError) as error:  # a LockError is a MemoryError
        print(f"record: {error}", file=sys.stderr)
        return 2
    kept, lost = file.frames, audio.frames_lost
    print(f"{args.output}: {kept} frames, {kept / RATE:.2f} s; lost {lost} frames in {audio.overruns} blocks")
    if recorder.sent is None:
        print(f"record: the device died after frame {kept + lost}", file=sys.stderr)
        return 2
    if recorder.lost != lost or kept + lost != recorder.sent:
        print(f"record: {recorder.lost} lost frames were reported, of {recorder.sent} sent", file=sys.stderr)
        return 2
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
