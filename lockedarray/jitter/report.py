"""What a measurement came to, for people and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..setting import Step
from ..terminal import wrapped
from . import histogram
from .measure import Run
from .options import Options
from .tally import FIGURES, Tally

_DISPENSABLE = ("p90", "avg", "p99.9", "min", "faults", "p50")  # where the terminal is narrow, in this order
_COUNTERS = {
    "perf": "perf (accesses that faulted, in the kernel's work for the thread too)",
    "perf-user": "perf-user (those of user code; the kernel's work for the thread is not seen)",
    "rusage": "rusage (pages that a system call brought in count too)",
}


def lines(settings: Options, runs: Sequence[Run], width: int, blocks: bool) -> Iterator[str]:
    """Yield the report."""
    yield from wrapped(heading(settings), width)
    yield from wrapped(machine(), width)
    yield ""
    yield from _table(runs, width)
    yield ""
    for remark in _remarks(runs):
        yield from wrapped(remark, width)
    yield ""
    yield from wrapped("wake-up latencies; the bars are logarithmic", width)
    yield from histogram.draw({run.name: run.together.kept for run in runs}, width, blocks)


def record(settings: Options, runs: Sequence[Run], interrupted: bool) -> dict[str, Any]:
    """Return the report as JSON has it: times in us, keys that stay."""
    return {
        "settings": {
            "threads": settings.threads,
            "priority": settings.priority,
            "interval_us": settings.interval_us,
            "duration_s": settings.duration,
            "cpus": list(settings.cpus),
            "synth_frames": settings.synth,
            "lock": settings.lock,
        },
        "machine": machine(),
        "interrupted": interrupted,
        "runs": [_run(run) for run in runs],
        "ratios": _ratios(runs),
    }


def machine() -> str:
    """Return what it was measured on."""
    system = platform.uname()
    return (
        f"{system.system} {system.release} {system.machine}, {len(os.sched_getaffinity(0))} CPUs, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )


def title(settings: Options, runs: Sequence[Run], interrupted: bool, width: int) -> str:
    """Return what stands above a picture: what was asked, what was not achieved, and on what machine."""
    parts = [heading(settings)]
    if refused := dict.fromkeys(step.name for run in runs for step in not_achieved(run)):
        parts.append("not achieved: " + ", ".join(refused))
    if interrupted:
        parts.append("stopped early")
    return "\n".join(line for part in (*parts, machine()) for line in wrapped(part, width))


def heading(settings: Options) -> str:
    """Return what was asked."""
    number = settings.threads
    parts = [
        "1 thread" if number == 1 else f"{number} threads, which share one GIL",
        f"a period of {settings.interval_us:g} us",
        f"{settings.duration:g} s",
        f"a block of {settings.synth} frames" if settings.synth else "no load",
        "ordinary scheduling" if settings.priority is None else f"asked for SCHED_FIFO {settings.priority}",
    ]
    if settings.cpus:
        parts.append("CPU " + ", ".join(map(str, settings.cpus)))
    parts.append("asked for locked memory" if settings.lock else "memory not locked")
    return "jitter: " + ", ".join(parts)


def _table(runs: Sequence[Run], width: int) -> Iterator[str]:
    rows = [["us", *FIGURES, "wake-ups", "missed", "faults"]]
    for run in runs:
        if len(run.tallies) > 1:
            for index, tally in enumerate(run.tallies):
                rows.append([f"{run.name} {index}", *_cells(tally)])
        name = run.name if len(run.tallies) == 1 else f"{run.name} all"
        rows.append([name, *_cells(run.together)])
    ratios = _ratios(runs)
    if ratios is not None:
        rows.append(["ratio", *(f"{ratio:.1f}x" for ratio in ratios.values()), "", "", ""])
    columns = {column[0]: column for column in zip(*rows, strict=True)}
    widths = {name: max(map(len, column)) for name, column in columns.items()}
    for name in _DISPENSABLE:
        if sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        del widths[name]
    first, *others = widths.values()
    for row in zip(*(columns[name] for name in widths), strict=True):
        cells = (f"{cell:>{size}}" for cell, size in zip(row[1:], others, strict=True))
        yield "  ".join((f"{row[0]:{first}}", *cells)).rstrip()


def _cells(tally: Tally) -> list[str]:
    figures = tally.figures()
    times = [f"{value:.0f}" for value in figures.values()] if figures else ["-"] * len(FIGURES)
    return [*times, str(tally.wakeups), str(tally.missed), str(tally.faults)]


def _ratios(runs: Sequence[Run]) -> dict[str, float] | None:
    """Return how many times less the second run's figures are than the first one's."""
    figures = [known for run in runs if (known := run.together.figures()) is not None]
    if len(figures) != 2:
        return None
    plain, ready = figures
    return {name: plain[name] / ready[name] for name in FIGURES}


def _remarks(runs: Sequence[Run]) -> Iterator[str]:
    sources = sorted(frozenset().union(*(run.together.sources for run in runs)))
    if sources:
        yield "page faults of each loop's thread, counted by " + ", ".join(_COUNTERS[one] for one in sources)
    for run in runs:
        everything = run.together
        if everything.dropped:
            yield (
                f"{run.name}: of {everything.wakeups:,} latencies the newest {len(everything.kept):,} were "
                "kept, for percentiles and histogram; min, avg and max are of all"
            )
        for step in not_achieved(run):
            yield f"not achieved: {step.name}: {step.asked} asked, {step.achieved}. {step.reason} {step.fix}"
        if run.not_locked:
            yield f"the loops' own memory: {run.not_locked}"


def not_achieved(run: Run) -> list[Step]:
    """Return the steps that some thread did without, each once."""
    return list(dict.fromkeys(step for steps in run.steps for step in steps if not step.ok))


def _run(run: Run) -> dict[str, Any]:
    kept = run.together.kept
    bounds = histogram.edges(kept)
    return {
        "name": run.name,
        "threads": [
            {"thread": index, "cpu": cpu, **_tally(tally), "steps": [_step(step) for step in steps]}
            for index, (tally, cpu, steps) in enumerate(zip(run.tallies, run.cpus, run.steps, strict=True))
        ],
        "together": _tally(run.together),
        "histogram": {"bounds_us": bounds.tolist(), "wakeups": histogram.counted(kept, bounds)},
        "not_locked": run.not_locked or None,
    }


def _tally(tally: Tally) -> dict[str, Any]:
    return {
        "wakeups": tally.wakeups,
        "missed": tally.missed,
        "dropped": tally.dropped,
        "faults": {
            "minor": tally.minor,
            "major": tally.major,
            "source": "+".join(sorted(tally.sources)) or None,
        },
        "latency_us": tally.figures(),
    }


def _step(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in ("name", "asked", "achieved", "ok", "reason", "fix")}
