"""The picture of `realtime_voice.py --plot`: waveforms above, wake-up latencies below."""

from __future__ import annotations

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from wav import WavError

Float32 = NDArray[np.float32]


def draw(path: str, rate: int, dry: Float32, wet: Float32, latencies: NDArray[np.int64]) -> None:
    """Draw the first channel before and after the effect, and a histogram of the latencies."""
    # Imported here: only who wants a picture needs it.
    figure = import_module("matplotlib.figure").Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2)
    seconds = np.arange(len(dry)) / rate
    above.plot(seconds, dry[:, 0], linewidth=0.4, label="voice")
    above.plot(seconds, wet[:, 0], linewidth=0.4, label="through the effect")
    above.set_xlabel("time, s")
    above.legend(loc="upper right")
    if latencies.size:
        below.hist(latencies / 1000, bins=100, log=True)
    else:
        below.text(0.5, 0.5, "not paced: no wake-ups", ha="center", transform=below.transAxes)
    below.set_xlabel("wake-up latency, us")
    below.set_ylabel("wake-ups")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise WavError(f"cannot draw {path!r}: {error}") from error
