"""The picture of README's first screen, as SVG: what share of pages took longer than so long."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 52
SHORTEST, LONGEST = 1e-8, 1e-2  # seconds
COLOURS = ("#d1495b", "#e0a030", "#2a9d6f")
TICKS = ((1e-8, "10 ns"), (1e-7, "100 ns"), (1e-6, "1 µs"), (1e-5, "10 µs"), (1e-4, "100 µs"))
TICKS += ((1e-3, "1 ms"), (1e-2, "10 ms"))
SHARES = ((1.0, "100 %"), (0.1, "10 %"), (0.01, "1 %"), (0.001, "0.1 %"))
GREY = "#8a8f98"  # to be read on white and on black


def across(seconds: float) -> float:
    """Return where a time lies, on a logarithmic axis."""
    position = np.log(seconds / SHORTEST) / np.log(LONGEST / SHORTEST)
    return float(LEFT + position * (WIDTH - LEFT - RIGHT))


def down(share: float) -> float:
    """Return where a share of the pages lies, on a logarithmic axis."""
    position = np.log(share) / np.log(SHARES[-1][0] / 2)
    return float(TOP + position * (HEIGHT - TOP - BOTTOM))


def curve(ns: NDArray[np.int64]) -> str:
    """Return the path of the share of pages that took at least as long."""
    times = np.sort(ns)
    shares = 1 - np.arange(len(times)) / len(times)
    keep = np.unique(np.searchsorted(-shares, -np.geomspace(1, shares[-1], 200)).clip(0, len(times) - 1))
    points = (f"{across(times[i] / 1e9):.1f},{down(shares[i]):.1f}" for i in keep)
    return "M" + " L".join(points)


def elements(times: dict[str, NDArray[np.int64]]) -> Iterator[str]:
    """Yield the parts of the picture."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for seconds, name in TICKS:
        x = across(seconds)
        yield f'<path d="M{x:.1f},{TOP} V{bottom}" stroke="{GREY}" stroke-opacity=".25"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="{GREY}">{name}</text>'
    for share, name in SHARES:
        y = down(share)
        yield f'<path d="M{LEFT},{y:.1f} H{right}" stroke="{GREY}" stroke-opacity=".25"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{GREY}">{name}</text>'
    caption = "time of the first look at a page; share of pages that took longer"
    yield f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="{GREY}">{caption}</text>'
    for (name, ns), colour in zip(times.items(), COLOURS, strict=True):
        x = across(float(np.median(ns)) / 1e9)
        half = f"half over {np.median(ns) / 1000:.2g} µs"
        yield f'<path d="{curve(ns)}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        for y, words in ((18, name), (34, half)):
            weight = 600 if words == name else 400
            yield (
                f'<text x="{x:.0f}" y="{y}" text-anchor="middle" fill="{colour}" '
                f'font-weight="{weight}">{escape(words)}</text>'
            )


def draw(times: dict[str, NDArray[np.int64]]) -> str:
    """Return the picture."""
    parts = "\n".join(elements(times))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n{parts}\n</svg>\n'
    )
