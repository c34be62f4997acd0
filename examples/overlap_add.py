"""An equaliser in plain NumPy: each block through rfft, times a response, through irfft, overlap and add.

It knows nothing of locked memory: what equaliser.py runs with a heap and without is this, unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Samples = NDArray[np.floating[Any]]
Band = tuple[float, float]  # Hz, dB


def curve(bands: list[Band], frequencies: Samples) -> Samples:
    """Return the gains at some frequencies: straight from band to band, in dB over octaves, flat beyond."""
    hz, db = np.array(sorted(bands)).T
    octaves = np.log2(np.maximum(frequencies, hz[0]))
    return np.asarray(10 ** (np.interp(octaves, np.log2(hz), db) / 20))


def impulse_response(bands: list[Band], rate: int, taps: int) -> Samples:
    """Return a filter of linear phase, an odd number of taps, that comes near to the curve."""
    fine = 4 * taps
    ideal = np.fft.irfft(curve(bands, np.fft.rfftfreq(fine, 1 / rate)), fine)
    return np.roll(ideal, taps // 2)[:taps] * np.hanning(taps + 2)[1:-1]


class Equaliser:
    """A filter for a stream of blocks, (frames, channels), all of one length.

    What comes out is late by `delay` frames: half of the filter.
    """

    def __init__(
        self, bands: list[Band], rate: int, block: int, taps: int = 2049, dtype: DTypeLike = np.float32
    ) -> None:
        self.delay = taps // 2
        self.block = block
        self.size = block + taps - 1  # a block's whole answer: nothing comes round and meets its beginning
        response = impulse_response(bands, rate, taps).astype(dtype)
        self.response = np.fft.rfft(response, self.size)[:, np.newaxis]
        self.tail: Samples | float = 0.0

    def process(self, samples: Samples) -> Samples:
        """Return the next block of the output."""
        spectrum = np.fft.rfft(samples, self.size, axis=0)
        answer = np.fft.irfft(spectrum * self.response, self.size, axis=0)
        answer[: len(answer) - self.block] += self.tail
        self.tail = answer[self.block :].copy()
        return answer[: self.block]
