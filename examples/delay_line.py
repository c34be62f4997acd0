"""A delay line: an echo that looks back into a history, checked against the same sum made at once.

python delay_line.py [--delay-ms 350] [--seconds 5]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import lockedarray as la
from arguments import duration

RATE, BLOCK, GAIN = 48000, 64, np.float32(0.5)
Float32 = NDArray[np.float32]


class DelayLine:
    """Frames come out `delay` frames after they went in; before the first are zeros."""

    def __init__(self, delay: int, block: int, channels: int) -> None:
        self.history = la.HistoryBuffer(delay + block, channels)
        self.delay = delay

    def process(self, block: Float32, out: Float32) -> None:
        self.history.write(block)
        # The writer is this thread: what the memory holds cannot be overtaken, and `at` is what comes.
        self.history.read_into(out, at=self.history.frames_written - len(block) - self.delay)


def run(delay: int, seconds: float) -> tuple[bool, int]:
    """Return whether the echo is right, bit for bit, and how often memory was missing meanwhile."""
    blocks = max(1, round(seconds * RATE / BLOCK))
    dry = np.random.default_rng(1).uniform(-0.5, 0.5, (blocks * BLOCK, 2)).astype(np.float32)
    wet = la.zeros(dry.shape, np.float32)
    line, echo = DelayLine(delay, BLOCK, 2), np.zeros((BLOCK, 2), np.float32)

    def process(first: int, last: int) -> None:
        for k in range(first, last):
            here = slice(k * BLOCK, (k + 1) * BLOCK)
            line.process(dry[here], echo)
            np.multiply(echo, GAIN, out=echo)
            np.add(dry[here], echo, out=wet[here])

    # The code itself may fault the first time, the interpreter's memory for small objects in the next few.
    warm_up = min(300, blocks - 1)
    process(0, warm_up)
    with la.page_faults() as faults:
        process(warm_up, blocks)
    expected = dry.copy()
    expected[delay:] += GAIN * dry[: max(0, len(dry) - delay)]
    return bool((wet == expected).all()), faults.total


def main() -> int:
    parser = argparse.ArgumentParser(description="An echo from a history of what was played.")
    parser.add_argument("--delay-ms", type=float, default=350.0, help="default: %(default)s")
    parser.add_argument("--seconds", type=duration, default=5.0, help="default: %(default)s")
    args = parser.parse_args()
    delay = round(args.delay_ms * RATE / 1000)
    if delay < 0 or args.seconds <= 0:
        parser.error("a delay is not negative, and a time is longer than nothing")
    try:
        right, faults = run(delay, args.seconds)
    except MemoryError as error:  # a LockError is one
        print(f"delay_line: {error}", file=sys.stderr)
        return 1
    print(
        f"echo after {delay} frames, {args.seconds:g} s of stereo in blocks of {BLOCK}: "
        f"{'equal to' if right else 'DIFFERENT from'} the sum made at once; page faults in the loop: {faults}"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
