"""A wavetable oscillator: one locked period of a waveform, swept into a glide and a chord.

python oscillator.py [--output oscillator.wav]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import lockedarray as la
from arguments import duration
from wav import WavError, WavWriter

RATE = 48_000
BLOCK = 64
CHORD = (220.0, 277.18, 329.63)  # Hz


def main() -> int:
    parser = argparse.ArgumentParser(description="A wavetable oscillator, written to a WAV file.")
    parser.add_argument("-o", "--output", default="oscillator.wav", help="default: %(default)s")
    parser.add_argument("--seconds", type=duration, default=2.0, help="default: %(default)s")
    args = parser.parse_args()
    # A period is one cycle, start=0 to stop=1: a position is a phase, an increment Hz / RATE.
    turn = 2 * np.pi * np.arange(2048) / 2048
    wave = sum(np.sin(n * turn) / n**1.5 for n in range(1, 9)) / 2
    phases = [0.0] * len(CHORD)
    note = np.empty(BLOCK, np.float32)
    mix = np.empty(BLOCK, np.float32)
    try:
        table = la.LookupTable(np.asarray(wave, np.float32), periodic=True)
        with WavWriter(args.output, RATE) as file:
            blocks = max(1, round(args.seconds * RATE / BLOCK))
            for k in range(blocks):
                glide = min(1.0, 2 * k / blocks)  # all three rise from the root to their note
                mix[:] = 0
                for voice, frequency in enumerate(CHORD):
                    now = CHORD[0] * (frequency / CHORD[0]) ** glide
                    phases[voice] = table.sweep(note, phases[voice], now / RATE)
                    np.add(mix, note, out=mix)
                np.multiply(mix, np.float32(0.25), out=mix)
                file.write(mix)
    except (la.LockError, WavError) as error:
        print(f"oscillator: {error}", file=sys.stderr)
        return 1
    print(
        f"{args.output}: {blocks * BLOCK / RATE:.2f} s of three notes from a table of "
        f"{table.values.size} points, {la.locked_bytes()} bytes locked"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
