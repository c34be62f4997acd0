"""The picture of `equaliser.py --plot`, as SVG: a dot for each block, latencies above, faults below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

import numpy as np
from numpy.typing import NDArray

from wav import WavError

Counts = NDArray[np.int64]

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT = 64, 740
LATENCIES, FAULTS = (74, 222), (266, 376)  # from top to bottom
COLOURS = ("#d1495b", "#e0a030", "#2a9d6f")
GREY = "#8a8f98"  # to be read on white and on black


def ticks(highest: float) -> NDArray[np.float64]:
    """Return round numbers from 0 on, seven at most, the last above the highest."""
    highest = 1.1 * highest or 1.0
    decade = 10.0 ** np.floor(np.log10(highest))
    step = next(step for step in (decade / 5, decade / 2, decade, 2 * decade) if highest / step <= 6)
    return np.asarray(np.arange(np.ceil(highest / step) + 1) * step)


def panel(
    extent: tuple[int, int], title: str, series: list[NDArray[np.float64]], spoken: Callable[[float], str]
) -> Iterator[str]:
    """Yield an axis from 0 on, and the dots of each series; what lies above the axis is drawn at its edge."""
    top, bottom = extent
    marks = ticks(max(float(np.percentile(values, 90)) for values in series))

    def down(value: float) -> float:
        return bottom - min(value / float(marks[-1]), 1.02) * (bottom - top)

    for mark in marks.tolist():
        y = down(mark)
        yield f'<path d="M{LEFT},{y:.1f} H{RIGHT}" stroke="{GREY}" stroke-opacity=".25"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{GREY}">{spoken(mark)}</text>'
    yield f'<text x="{LEFT}" y="{top - 10}" fill="{GREY}">{title}</text>'
    for values, colour in zip(series, COLOURS, strict=True):
        across = LEFT + (np.arange(len(values)) + 0.5) * (RIGHT - LEFT) / len(values)
        dots = " ".join(
            f"M{x:.1f},{down(value):.1f}h0" for x, value in zip(across, values.tolist(), strict=True)
        )
        yield f'<path d="{dots}" stroke="{colour}" stroke-width="4" stroke-linecap="round"/>'


def elements(seconds: float, measured: dict[str, tuple[Counts, Counts]]) -> Iterator[str]:
    """Yield the parts of the picture."""
    for k, ((name, (ns, faults)), colour) in enumerate(zip(measured.items(), COLOURS, strict=True)):
        x = LEFT + k * (RIGHT - LEFT) // 3
        words = f"half in {np.median(ns) / 1e6:.2g} ms, {faults.mean():.0f} faults a block"
        yield f'<circle cx="{x + 4}" cy="14" r="4" fill="{colour}"/>'
        yield f'<text x="{x + 14}" y="18" fill="{colour}" font-weight="600">{escape(name)}</text>'
        yield f'<text x="{x + 14}" y="34" fill="{colour}">{words}</text>'
    ms, faults = zip(*((ns / 1e6, counts.astype(float)) for ns, counts in measured.values()), strict=True)
    yield from panel(LATENCIES, "ms to filter a block", list(ms), lambda y: f"{y:.3g}")
    yield from panel(FAULTS, "page faults in it", list(faults), lambda y: f"{y:.0f}")
    caption = f"{len(ms[0])} blocks of {seconds:.2g} s, in the order in which they came"
    yield f'<text x="{LEFT}" y="{HEIGHT - 16}" fill="{GREY}">{caption}</text>'


def draw(path: str, seconds: float, measured: dict[str, tuple[Counts, Counts]]) -> None:
    """Draw the ns and the faults of each block, of so many seconds of sound; three ways of filtering."""
    parts = "\n".join(elements(seconds, measured))
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'font-family="system-ui, sans-serif" font-size="12" fill="none">\n{parts}\n</svg>\n'
            )
    except OSError as error:
        raise WavError(f"cannot draw {path!r}: {(error.strerror or str(error)).lower()}") from error
