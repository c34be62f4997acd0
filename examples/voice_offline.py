"""The voice effect computed offline: what realtime_voice.py must have written, bit for bit.

NumPy alone, and no code in common with the real-time path: the formula is that of the
documentation of `LookupTable`, written down a second time. Every operation is rounded on its own,
positions in float64, values in float32.

    python voice_offline.py IN.wav OUT.wav
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from numpy.typing import NDArray

from wav import WavError, WavReader, WavWriter

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

DRIVE = 2.5  # how hard the waveshaper is driven
SHAPER_POINTS = 1023  # an odd number, so that one point lies at 0; a page of memory
TREMOLO_HZ = 5.5
TREMOLO_DEPTH = 0.6
TREMOLO_POINTS = 1024


def interpolate(
    values: Float32, index: NDArray[np.int64], following: NDArray[np.int64], fraction: Float64
) -> Float32:
    """Return v[i] + f*(v[i+1] - v[i]), each operation in float32."""
    here = values[index]
    return np.add(here, fraction.astype(np.float32) * (values[following] - here), dtype=np.float32)


def look_up(values: Float32, start: float, stop: float, x: Float32) -> Float32:
    """Return the curve at `x`, clamped to its ends."""
    last = len(values) - 1
    with np.errstate(invalid="ignore"):
        position = (x.astype(np.float64) - start) * (last / (stop - start))
    position = np.clip(position, 0, last)
    # NaN has no index; its fraction makes NaN of whatever value it meets.
    below = np.floor(position)
    index = np.where(np.isnan(below), 0, below).astype(np.int64)
    return interpolate(values, index, np.minimum(index + 1, last), position - below)


def sweep(values: Float32, frames: int, phase: float, increment: float) -> tuple[Float32, float]:
    """Return `frames` values of a wave of period 1 from `phase` on, and the phase after them."""
    size = len(values)
    position = (phase + np.arange(frames, dtype=np.float64) * increment) * size
    below = np.floor(position)
    index = below.astype(np.int64)
    wave = interpolate(values, index % size, (index + 1) % size, position - below)
    after = math.fmod(phase + frames * increment, 1.0)
    return wave, after + 1.0 if after < 0 else after


def process(samples: Float32, rate: int, block: int) -> Float32:
    """Return the effect on `samples`, (frames,) or (frames, channels): waveshaper, then tremolo.

    The phase is a running sum, rounded once a block: the size of a block is part of the result.
    """
    curve = np.linspace(-1.0, 1.0, SHAPER_POINTS)
    shaper = (np.tanh(DRIVE * curve) / np.tanh(DRIVE)).astype(np.float32)
    cycle = np.arange(TREMOLO_POINTS) / TREMOLO_POINTS
    tremolo = (1 - TREMOLO_DEPTH * (0.5 - 0.5 * np.cos(2 * np.pi * cycle))).astype(np.float32)
    out = np.empty_like(samples)
    phase = 0.0
    for start in range(0, len(samples), block):
        dry = samples[start : start + block]
        gain, phase = sweep(tremolo, block, phase, TREMOLO_HZ / rate)
        gain = gain[: len(dry)].reshape(-1, *[1] * (dry.ndim - 1))
        out[start : start + block] = look_up(shaper, -1.0, 1.0, dry) * gain
    return out


def same_bits(a: Float32, b: Float32) -> bool:
    """Return whether two arrays are equal bit for bit; where both hold NaN, any NaN will do."""
    if a.shape != b.shape:
        return False
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    equal = a.view(np.uint32) == b.view(np.uint32)
    return bool(np.all(equal | (np.isnan(a) & np.isnan(b))))


def main() -> int:
    parser = argparse.ArgumentParser(description="The voice effect, computed offline.")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--block", type=int, default=64, help="frames (default: 64)")
    args = parser.parse_args()
    if args.block < 1:
        parser.error("--block must be at least 1")
    try:
        with WavReader(args.input) as source:
            samples = source.read()
        with WavWriter(args.output, source.rate, source.channels) as sink:
            sink.write(process(samples, source.rate, args.block))
    except WavError as error:
        print(f"voice_offline: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
