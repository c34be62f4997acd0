"""Latencies counted by size, and drawn in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ..terminal import bar
from .tally import Latencies

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # of a decade: round numbers, nearly even on a logarithmic scale


def edges(ns: Latencies) -> NDArray[np.float64]:
    """Return the bounds of bins that hold all of these latencies, in us: neighbours of the steps, or 0."""
    if not len(ns):
        return np.array([0.0, 1.0])
    low, high = float(ns.min()) / 1000, float(ns.max()) / 1000
    decades = range(max(1, math.ceil(math.log10(max(high, 1))) + 1))
    steps = np.array([0.0, *(step * 10**decade for decade in decades for step in STEPS)])
    first = int(np.searchsorted(steps, low, "right")) - 1
    last = int(np.searchsorted(steps, high, "right"))
    return steps[max(first, 0) : last + 1]


def counted(ns: Latencies, bounds: NDArray[np.float64]) -> list[int]:
    """Return how many latencies lie in each bin; its lower bound belongs to a bin."""
    places = np.searchsorted(bounds, ns / 1000, "right") - 1
    return np.bincount(places, minlength=len(bounds) - 1).tolist()  # type: ignore[no-any-return]


def draw(runs: Mapping[str, Latencies], width: int, blocks: bool) -> Iterator[str]:
    """Yield a histogram's lines: a row a bin, runs side by side; a bar is the count's logarithm long."""
    bounds = edges(np.concatenate(list(runs.values())))
    counts = np.array([counted(ns, bounds) for ns in runs.values()])
    most = int(counts.max())
    labels = [f"{low:.0f}" if low >= 10 else f"{low:g}" for low in bounds[:-1]]
    label = max(7, len(labels[-1]) + 1)
    digits = max(10, len(str(most)) + 2)
    longest = max(4, (width - label) // len(runs) - digits - 2)
    heads = runs if len(runs) > 1 else ("wake-ups",)
    yield (f"{'from us':>{label}}" + "".join(f"{head:>{digits}}  {'':{longest}}" for head in heads)).rstrip()
    empty = 0
    for name, column in zip(labels, counts.T, strict=True):
        empty = empty + 1 if not column.any() else 0
        if empty > 1:  # one row stands for as many as there are
            if empty == 2:
                yield f"{'...':>{label}}"
            continue
        line = f"{name:>{label}}"
        for count in column.tolist():
            length = longest * math.log(1 + count) / math.log(1 + most) if most else 0.0
            line += f"{count or '':>{digits}}  {bar(length, blocks):{longest}}"
        yield line.rstrip()
