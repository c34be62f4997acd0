"""A synthesiser in a process of its own, and levels here: audio in one ring, time stamps in another.

Each stamp is written before its block, so that it is there when the block is. With --kill the synthesiser is
killed halfway: the wait here ends, what was sent until then can still be read, and then `eof` is True.

python two_processes.py [--seconds 1.5] [--kill]
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

RATE, BLOCK = 48_000, 256
BLOCKS_HELD = 8
STAMP = np.dtype([("sent", "i8"), ("frame", "i8")])  # ns of CLOCK_MONOTONIC, and the block's first frame
PATIENCE = 10.0  # seconds: no block takes so long
NOTICED = 0.1  # seconds in which a death is


def synthesise(frame: int) -> np.ndarray:
    """Return the block that begins at a frame: two notes, a third apart, that swell and fade."""
    seconds = np.arange(frame, frame + BLOCK)[:, None] / RATE
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * seconds)
    return (swell * np.sin(2 * np.pi * seconds * [220.0, 277.18]) / 2).astype(np.float32)


def play(audio: la.RingBuffer, stamps: la.RingBuffer, blocks: int) -> None:
    """Send blocks at the pace of an audio device."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the receiver, which closes the ring
    stamp = np.zeros(1, STAMP)
    beats = la.Periodic(BLOCK / RATE, history=0)
    try:
        for frame in range(0, blocks * BLOCK, BLOCK):
            block = synthesise(frame)
            next(beats)
            audio.wait_write(BLOCK)
            stamps.wait_write(1)
            stamp[0] = (time.monotonic_ns(), frame)
            stamps.write(stamp)
            audio.write(block)
    except BrokenPipeError:  # the receiver has been stopped
        pass
    audio.close()


class Receiver:
    """Takes the blocks as they come: how loud, how late, and whether they are what was sent."""

    def __init__(self, audio: la.RingBuffer, stamps: la.RingBuffer) -> None:
        self.audio, self.stamps = audio, stamps
        self.block, self.stamp = np.empty((BLOCK, 2), np.float32), np.empty(1, STAMP)
        self.levels: list[float] = []  # dB of full scale
        self.latencies: list[float] = []  # us
        self.wrong = 0

    def take(self) -> bool:
        """Wait for a block; False if none will come."""
        if not self.audio.wait_read(BLOCK, timeout=PATIENCE):
            return False
        self.audio.read_into(self.block)
        now = time.monotonic_ns()
        self.stamps.read_into(self.stamp)
        self.latencies.append((now - int(self.stamp["sent"][0])) / 1000)
        self.levels.append(10 * np.log10(np.mean(np.square(self.block)) + 1e-12))
        frame = len(self.levels) * BLOCK - BLOCK
        self.wrong += self.stamp["frame"][0] != frame or not np.array_equal(self.block, synthesise(frame))
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description="Audio from another process, and how late it is.")
    parser.add_argument("--seconds", type=duration, default=1.5, help="default: %(default)s")
    parser.add_argument("--kill", action="store_true", help="kill the other process halfway")
    args = parser.parse_args()
    blocks = max(2, round(args.seconds * RATE / BLOCK))
    try:
        audio = la.RingBuffer(BLOCKS_HELD * BLOCK, 2)
        stamps = la.RingBuffer(2 * BLOCKS_HELD, dtype=STAMP)
    except la.LockError as error:
        print(f"two_processes: {error}", file=sys.stderr)
        return 1
    synthesiser = multiprocessing.get_context("spawn").Process(target=play, args=(audio, stamps, blocks))
    signal.signal(signal.SIGINT, lambda *_: audio.close())  # ends the stream, and what came is told
    synthesiser.start()
    receiver = Receiver(audio, stamps)
    killed = before = None
    try:
        while receiver.take():
            if args.kill and len(receiver.levels) == blocks // 2:
                time.sleep(5.5 * BLOCK / RATE)  # some blocks gather in the ring
                killed, before = time.monotonic(), len(receiver.levels)
                synthesiser.kill()
        ended, eof = time.monotonic(), audio.eof
    finally:
        audio.close()
    synthesiser.join()
    if not receiver.levels:
        print("two_processes: nothing came from the other process", file=sys.stderr)
        return 1
    print(
        f"received: {audio.frames_read} frames in {len(receiver.levels)} blocks, {receiver.wrong} wrong; "
        f"loudest {max(receiver.levels):.1f} dB, quietest {min(receiver.levels):.1f} dB"
    )
    p50, p99 = np.percentile(receiver.latencies[:before], [50, 99])
    print(f"one way:  p50 {p50:.0f} us, p99 {p99:.0f} us from before the write to after the read")
    good = receiver.wrong == 0 and eof
    if killed is None:
        print(f"the end:  {len(receiver.levels)} of {blocks} blocks came, eof is {eof}")
        good = good and len(receiver.levels) == blocks
    else:
        drained = len(receiver.levels) - before
        print(
            f"killed:   noticed after {(ended - killed) * 1000:.0f} ms, with {drained} blocks "
            f"({drained * BLOCK} frames) that were still in the ring; eof is {eof}"
        )
        good = good and ended - killed <= NOTICED and drained > 0
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
