"""An FIR filter block by block: its state is nothing but the newest frames, in one piece.

A history keeps them; `latest` lends the block and the taps before it as one contiguous array, wherever it
starts, so that the filter is a single call. Checked against the same filter over everything at once.

python fir_filter.py [--taps 63] [--cutoff 2000] [--block 64] [--seconds 2]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from numpy.typing import NDArray

import lockedarray as la
from arguments import duration

RATE = 48000
Float32 = NDArray[np.float32]


def lowpass(taps: int, cutoff: float) -> Float32:
    """A windowed sinc, of unit gain at 0 Hz."""
    n = np.arange(taps) - (taps - 1) / 2
    kernel = np.sinc(2 * cutoff / RATE * n) * np.hamming(taps)
    return (kernel / kernel.sum()).astype(np.float32)


class Filter:
    def __init__(self, kernel: Float32, block: int) -> None:
        self.kernel = kernel
        self.history = la.HistoryBuffer(block + len(kernel) - 1)

    def process(self, block: Float32, out: Float32) -> None:
        self.history.write(block)
        # Read-only, no copy; before the first frame are zeros, as a filter wants it.
        out[:] = np.convolve(self.history.latest(len(block) + len(self.kernel) - 1), self.kernel, "valid")


def level(signal: Float32, frequency: float) -> float:
    """Amplitude of one frequency, in dB."""
    turn = np.exp(-2j * np.pi * frequency / RATE * np.arange(len(signal)))
    return float(20 * np.log10(2 * abs(np.mean(signal * turn)) + 1e-9))


def main() -> int:
    parser = argparse.ArgumentParser(description="A low-pass filter from a history of its input.")
    parser.add_argument("--taps", type=int, default=63, help="default: %(default)s")
    parser.add_argument("--cutoff", type=float, default=2000.0, help="Hz, default: %(default)s")
    parser.add_argument("--block", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--seconds", type=duration, default=2.0, help="default: %(default)s")
    args = parser.parse_args()
    if min(args.taps, args.block) < 1 or not 0 < args.cutoff < RATE / 2 or args.seconds <= 0:
        parser.error("taps, block, cutoff and seconds are positive, the cutoff below half the rate")
    low, high = args.cutoff / 4, (args.cutoff + RATE / 2) / 2
    blocks = max(1, round(args.seconds * RATE / args.block))
    time = np.arange(blocks * args.block) / RATE
    dry = (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)).astype(np.float32)
    try:
        wet = la.zeros(len(dry), np.float32)
        fir = Filter(lowpass(args.taps, args.cutoff), args.block)
    except la.LockError as error:
        print(f"fir_filter: {error}", file=sys.stderr)
        return 1
    for k in range(0, len(dry), args.block):
        fir.process(dry[k : k + args.block], wet[k : k + args.block])
    error = float(np.abs(wet - np.convolve(dry, fir.kernel)[: len(dry)]).max())
    right = error < 1e-5
    print(
        f"{args.taps} taps, {blocks} blocks of {args.block}: {low:g} Hz {level(wet, low):.1f} dB, "
        f"{high:g} Hz {level(wet, high):.1f} dB; largest difference from the whole at once {error:.1e}"
        f"{'' if right else ': TOO MUCH'}"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
