"""The picture of ``lockedarray jitter --plot``: how many wake-ups were how late, and when."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .histogram import edges
from .measure import Run
from .options import Options
from .tally import Latencies

FORMATS = (".png", ".svg", ".pdf")
COLOURS = {"plain": "#d1495b", "realtime": "#2a9d6f"}
TITLE = 125  # characters that fit on a line of it
POINTS = 4000  # of a curve over time: each is the latest wake-up of its share of the run


def impossible(path: str) -> str:
    """Return why no picture can be drawn there, for all one sees, as a sentence without its stop; or ""."""
    directory = os.path.dirname(path) or "."
    if not path.endswith(FORMATS):
        return f"{path!r}: a picture's name ends in {', '.join(FORMATS)}"
    if os.path.isdir(path):
        return f"{path!r} cannot be written: it is a directory"
    if not os.path.isdir(directory):
        return f"{path!r} cannot be written: there is no directory {directory!r}"
    if not os.access(path if os.path.exists(path) else directory, os.W_OK):
        return f"{path!r} cannot be written: permission denied"
    if find_spec("matplotlib") is None:
        return "a picture needs matplotlib: pip install matplotlib"
    return ""


def draw(path: str, settings: Options, runs: Sequence[Run], title: str) -> None:
    """Draw the latencies to a file whose name tells the format, one of `FORMATS`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    # Imported here: only who wants a picture needs it.
    figure = import_module("matplotlib.figure").Figure(figsize=(9, 6.5), layout="constrained")
    above, below = figure.subplots(2)
    kept = {run.name: run.together.kept for run in runs}
    everything = np.concatenate(list(kept.values()))
    bounds = edges(everything)
    low = max(bounds[0], 0.5)  # a logarithmic scale has no 0
    bins = np.geomspace(low, bounds[-1], 120)
    for run in runs:
        latencies, colour = kept[run.name] / 1000, COLOURS[run.name]
        figures = run.together.figures()
        if figures is None:
            continue
        label = f"{run.name}: p50 {figures['p50']:.0f}, p99 {figures['p99']:.0f}, max {figures['max']:.0f} us"
        above.hist(latencies.clip(low), bins=bins, log=True, color=colour, alpha=0.6, label=label)
        for tally in run.tallies:
            below.plot(
                *_latest(tally.kept, settings.interval),
                color=colour,
                linewidth=0.6,
                alpha=0.8,
            )
    above.set(xscale="log", xlabel="wake-up latency, us", ylabel="wake-ups", title=title)
    below.set(yscale="log", xlabel="time, s; missed periods left out", ylabel="latency, us")
    above.legend(loc="upper right")
    for axes in (above, below):
        axes.title.set_size(9)
        axes.grid(alpha=0.3)
    figure.savefig(path)


def _latest(kept: Latencies, interval: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a curve of few points that shows the worst of many wake-ups."""
    share = max(1, -(-len(kept) // POINTS))
    starts = np.arange(0, len(kept), share)
    return starts * interval, np.maximum.reduceat(kept, starts) / 1000 if len(kept) else kept
