"""Two things timed in turns, so that the machine's moods hit both alike."""

from __future__ import annotations

import gc
import statistics
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Batch = Callable[[], float]  # runs many times what it measures, and returns ns for one


@dataclass
class Line:
    """One line of the table: ours against a yardstick, and how far apart they may be.

    The ratio is (ours - price) / yardstick; `price`, where there is one, is what ours has to do besides.
    """

    what: str
    ours: Batch
    yardstick: Batch
    yardstick_name: str
    bound: float | None  # None: nothing is promised, the line only tells
    price: Batch | None = None


@dataclass
class Figures:
    """Median and quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figures:
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


@dataclass
class Result:
    """What a line came to: times in ns, and the ratio of each pair."""

    what: str
    yardstick_name: str
    ours: Figures
    yardstick: Figures
    price: float
    ratio: Figures
    bound: float | None

    @property
    def met(self) -> bool:
        return self.bound is None or self.ratio.median <= self.bound


def measure(line: Line, rounds: int) -> Result:
    """Run ours, the yardstick and the price in turns; without the garbage collector."""
    ours: list[float] = []
    yardstick: list[float] = []
    prices: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds + 1):
            pair = [(ours, line.ours), (yardstick, line.yardstick)]
            for times, batch in pair if turn % 2 else reversed(pair):
                times.append(batch())
            prices.append(line.price() if line.price else 0.0)
    finally:
        if collecting:
            gc.enable()
    warm = [times[1:] for times in (ours, yardstick, prices)]
    ratios = [(a - price) / b for a, b, price in zip(*warm, strict=True)]
    return Result(
        line.what,
        line.yardstick_name,
        Figures.of(warm[0]),
        Figures.of(warm[1]),
        statistics.median(warm[2]),
        Figures.of(ratios),
        line.bound,
    )


def statement(code: str, number: int, **names: Any) -> Batch:
    """Return a batch that runs a statement; ten times a turn of its loop, so that the loop is cheap."""
    timer = timeit.Timer("\n".join([code] * 10), globals=names)
    return lambda: timer.timeit(number // 10) / (number // 10 * 10) * 1e9


def spoken(ns: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def rows(results: list[Result]) -> Iterator[str]:
    """Yield the table."""
    yield f"{'':44}{'ours':>9}{'quartiles':>20}{'yardstick':>11}   {'ratio':>5}{'quartiles':>14}{'bound':>7}"
    for r in results:
        quartiles = f"{spoken(r.ours.low)} .. {spoken(r.ours.high)}"
        spread = f"{r.ratio.low:.2f} .. {r.ratio.high:.2f}"
        verdict = f"{'':13}" if r.bound is None else f"{r.bound:7.2f}  {'ok' if r.met else 'MISSED'}"
        yield (
            f"{r.what:44}{spoken(r.ours.median):>9}{quartiles:>20}{spoken(r.yardstick.median):>11}   "
            f"{r.ratio.median:5.2f}{spread:>14}{verdict}"
            f"  ({r.yardstick_name}{f', + {spoken(r.price)}' if r.price else ''})"
        )
