"""What a measured loop does in each period."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..arrays import zeros
from ..region_flags import UNLOCKED
from ..table import LookupTable

POINTS = 2048
INCREMENT = 440 / 48000  # turns a frame: a tone at the usual rate


class Nothing:
    """No work: the wake-up alone."""

    def run(self) -> None:
        """Do nothing."""


class Voice:
    """A synthesizer's voice: a wavetable, a gain and a waveshaper, one block a call.

    Everything is computed in place, in float32. With `locked` all memory is this library's, and
    locked where it may be; else block and gain are ordinary arrays, and the tables are not locked.
    """

    def __init__(self, frames: int, locked: bool) -> None:
        turn = 2 * np.pi * np.arange(POINTS, dtype=np.float32) / POINTS
        self.wave = _table(np.sin(turn), locked, periodic=True)
        self.shape = _table(np.tanh(np.linspace(-3, 3, POINTS, dtype=np.float32)), locked, start=-1.0)
        self.block, self.gain = _floats(frames, locked), _floats(frames, locked)
        self.gain[:] = 0.5
        self.phase = 0.0

    def run(self) -> None:
        """Compute the next block; allocates nothing."""
        self.phase = self.wave.sweep(self.block, self.phase, INCREMENT)
        np.multiply(self.block, self.gain, out=self.block)
        self.shape(self.block, out=self.block)


Load = Nothing | Voice


def _floats(frames: int, locked: bool) -> NDArray[np.float32]:
    if locked:
        return zeros(frames, np.float32, on_error="warn")
    return np.zeros(frames, np.float32)


def _table(
    values: NDArray[np.float32], locked: bool, start: float = 0.0, periodic: bool = False
) -> LookupTable:
    if locked:
        return LookupTable(values, start=start, periodic=periodic, on_error="warn")
    return LookupTable._place(
        lambda shape, dtype: _native.empty(shape, dtype, "C", UNLOCKED),
        values,
        start=start,
        periodic=periodic,
    )
