"""Parameters from a second process to an audio loop: always a whole record, and no zipper noise.

The other process, a user interface say, writes one record at a time and never waits; the loop takes the
newest at the start of a block, without a lock, and glides to it over the block. Every record carries a sum of
its fields, by which a torn one would be known.

python parameters.py [--seconds 2] [--no-smoothing]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time

import numpy as np

import lockedarray as la
from arguments import duration, exit_with

RATE, BLOCK = 48000, 256
PARAMETERS = np.dtype([("gain", "f8"), ("pan", "f8"), ("number", "i8"), ("sum", "f8")])
LARGEST_STEP = 1.01 / BLOCK  # from one frame to the next; a jump from end to end is 1


def turn_knobs(parameters: la.HistoryBuffer, seconds: float) -> None:
    """Write new values, as fast as it goes: far more of them than there are blocks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its daemons
    record = np.zeros(1, PARAMETERS)
    chance = np.random.default_rng(2)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for gain, pan in chance.integers(0, 2, (100, 2)).astype(float):
            number = int(record["number"][0]) + 1
            record[0] = (gain, pan, number, gain + pan + number)
            parameters.write(record)


class Strip:
    """A channel strip of stereo noise: gain and pan, each gliding over a block."""

    def __init__(self, parameters: la.HistoryBuffer, smoothing: bool) -> None:
        self.parameters, self.smoothing = parameters, smoothing
        self.record = np.zeros(1, PARAMETERS)
        self.ramp = np.arange(1, BLOCK + 1)[:, None] / BLOCK
        self.gains = np.zeros((BLOCK, 2))
        self.torn = self.changes = self.backwards = 0
        self.largest_step = 0.0

    def process(self, block: np.ndarray) -> None:
        before = int(self.record["number"][0])
        self.parameters.read_into(self.record)
        gain, pan, number, total = self.record[0]
        self.torn += gain + pan + number != total
        self.backwards += number < before
        self.changes += number != before
        last = self.gains[-1].copy()
        target = np.array([gain * (1 - pan), gain * pan])
        self.gains[:] = last + (target - last) * self.ramp if self.smoothing else target
        steps = np.diff(self.gains, axis=0, prepend=last[None])
        self.largest_step = max(self.largest_step, float(np.abs(steps).max()))
        np.multiply(block, self.gains, out=block)


def main() -> int:
    parser = argparse.ArgumentParser(description="Parameters from a second process to an audio loop.")
    parser.add_argument("--seconds", type=duration, default=2.0, help="default: %(default)s")
    parser.add_argument("--no-smoothing", action="store_true", help="hear, and be told, what it is good for")
    args = parser.parse_args()
    try:
        parameters = la.HistoryBuffer(1, dtype=PARAMETERS)
        beats = la.Periodic(BLOCK / RATE, history=0)  # nobody asks for its latencies
    except la.LockError as error:
        print(f"parameters: {error}", file=sys.stderr)
        return 1
    strip = Strip(parameters, not args.no_smoothing)
    noise = np.random.default_rng(1).uniform(-1, 1, (BLOCK, 2))
    knobs = multiprocessing.get_context("spawn").Process(
        target=turn_knobs, args=(parameters, args.seconds), daemon=True
    )
    knobs.start()
    for _ in beats:
        strip.process(noise.copy())
        if not knobs.is_alive():
            break
    knobs.join()
    print(
        f"{parameters.frames_written} records written, {strip.changes} blocks with new ones, "
        f"{strip.torn} torn, {strip.backwards} backwards; largest step of a gain {strip.largest_step:.4f}"
    )
    if strip.largest_step > LARGEST_STEP:
        print(f"zipper noise: a gain jumped by more than {LARGEST_STEP:.4f} from one frame to the next")
    if strip.changes <= 1:
        print("parameters: so little time shows nothing", file=sys.stderr)
    good = strip.torn == strip.backwards == 0 and strip.changes > 1 and strip.largest_step <= LARGEST_STEP
    return 0 if good and knobs.exitcode == 0 else 1


if __name__ == "__main__":
    exit_with(main)
