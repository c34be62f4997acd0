"""Statistics and histograms of `lockedarray jitter`, against NumPy's own."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la
from lockedarray.jitter import histogram
from lockedarray.jitter.options import Options
from lockedarray.jitter.tally import FIGURES, PERCENTILES, Running, Tally
from lockedarray.terminal import bar

LATENCIES = st.lists(st.integers(0, 10**10), min_size=1, max_size=200).map(lambda ns: np.array(ns, "int64"))


def tally(ns: np.ndarray) -> Tally:
    """What is known of a loop with these latencies."""
    if not len(ns):
        return Tally()
    return Tally(len(ns), 1, 2, 3, frozenset({"perf"}), int(ns.min()), int(ns.sum()), int(ns.max()), ns)


@given(LATENCIES)
def test_figures(ns: np.ndarray) -> None:
    figures = tally(ns).figures()
    assert figures is not None
    assert tuple(figures) == FIGURES
    assert figures["min"] == np.min(ns) / 1000
    assert figures["max"] == np.max(ns) / 1000
    assert figures["avg"] == pytest.approx(np.mean(ns) / 1000)
    for name, rank in PERCENTILES.items():
        assert figures[name] == pytest.approx(np.percentile(ns, rank) / 1000)


@given(st.lists(LATENCIES, max_size=4))
def test_together(parts: list[np.ndarray]) -> None:
    together = sum(map(tally, parts), Tally())
    assert (together.wakeups, together.missed) == (sum(map(len, parts)), len(parts))
    assert together.faults == 5 * len(parts)
    if parts:
        assert together.figures() == pytest.approx(tally(np.concatenate(parts)).figures())
    else:
        assert together.figures() is None


@pytest.mark.locks(8192)
def test_running_over_a_history_that_begins_anew() -> None:
    beats = la.Periodic(0.0001, history=16)
    running = Running(beats)
    running.look()
    assert running.wakeups == 0
    every = []
    for k, _ in enumerate(islice(beats, 200)):
        every.append(int(beats.latencies[-1]))
        if k % 15 == 0 or k == 3:
            running.look()
    running.look()
    assert running.wakeups == 200 == beats.wakeups
    assert (running.least, running.total, running.greatest) == (min(every), sum(every), max(every))


def test_what_is_kept() -> None:
    assert Options(interval_us=1000).kept(10) == 10_002
    assert Options(interval_us=10).kept(3600) == 1 << 20
    assert Options(interval_us=10, threads=256).kept(3600) == 1 << 15
    ns = np.arange(10)
    assert Tally(wakeups=25, kept=ns).dropped == 15


@given(LATENCIES)
def test_every_latency_has_its_bin(ns: np.ndarray) -> None:
    bounds = histogram.edges(ns)
    assert bounds[0] <= ns.min() / 1000
    assert bounds[-1] > ns.max() / 1000
    counts = histogram.counted(ns, bounds)
    assert counts == np.histogram(ns / 1000, bounds)[0].tolist()
    assert counts[0] > 0
    assert counts[-1] > 0


@given(st.lists(LATENCIES, min_size=1, max_size=2), st.sampled_from([60, 80, 140]), st.booleans())
def test_drawing(parts: list[np.ndarray], width: int, blocks: bool) -> None:
    runs = dict(zip(("plain", "realtime"), parts, strict=False))
    lines = list(histogram.draw(runs, width, blocks))
    assert max(map(len, lines)) <= width
    assert "".join(lines).isascii() or blocks
    found = re.findall(r" (\d+)  (?=[#█▏▎▍▌▋▊▉])", "\n".join(lines[1:]))
    assert sum(map(int, found)) == sum(map(len, parts))


def test_a_histogram_by_eye() -> None:
    ns = np.repeat([12_000, 25_000, 400_000], [1000, 30, 1])
    assert list(histogram.draw({"realtime": ns}, 40, blocks=False)) == [
        "from us  wake-ups",
        "     10      1000  #####################",
        "     15",
        "     20        30  ##########",
        "     30",
        "    ...",
        "    300         1  ##",
    ]


def test_bars() -> None:
    assert [bar(length, True) for length in (0, 0.01, 0.5, 1, 2.25)] == ["", "▏", "▌", "█", "██▎"]
    assert [bar(length, False) for length in (0, 0.01, 0.5, 1, 2.75)] == ["", "#", "#", "#", "###"]
