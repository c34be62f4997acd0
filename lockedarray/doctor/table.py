"""A report as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ..terminal import wrapped
from .report import Check, Report, said

_COLOURS = {"ok": "32", "warn": "33", "fail": "1;31", "unknown": "36"}
_STATES = 2 + len("unknown") + 2
_BOLD = "1"


def table(report: Report, width: int = 80, colour: bool = False, everything: bool = False) -> str:
    """Return the report as text: what is well in a line each, the rest with its meaning and its fix.

    Parameters
    ----------
    report : Report
        What was found.
    width : int
        Columns; from 70 on no line is wider.
    colour : bool
        Whether the states are coloured, as terminals understand it.
    everything : bool
        Whether what is well is explained too.
    """
    names = max((len(check.name) for check in report.checks), default=0) + 2
    lines = []
    told: dict[str, str] = {}  # a fix is written out once
    for group, checks in groupby(report.checks, lambda check: check.group):
        lines += ["", _painted(group, _BOLD, colour)]
        for check in checks:
            lines += _line(check, names, width, colour)
            if check.state != "ok" or everything:
                lines += _explained(check, told, width)
    return "\n".join([*lines[1:], "", *_sum(report, width)])


def _line(check: Check, names: int, width: int, colour: bool) -> Iterator[str]:
    state = _painted(check.state, _COLOURS[check.state], colour) + " " * (_STATES - 2 - len(check.state))
    before = f"  {state}{check.name:{names}}"
    first, *others = wrapped(check.finding, width - _STATES - names) or [""]
    yield (before + first).rstrip()
    yield from (" " * (_STATES + names) + line for line in others)


def _explained(check: Check, told: dict[str, str], width: int) -> Iterator[str]:
    sentences = [check.meaning]
    if check.fix:
        other = told.setdefault(check.fix, check.name)
        sentences.append(f"Fix: {check.fix if other == check.name else f'as for {other}'}.")
    for sentence in sentences:
        for line in wrapped(sentence, width - _STATES):
            yield " " * _STATES + line


def _sum(report: Report, width: int) -> list[str]:
    counts = f"{said(report.counts)}."
    if report.first is None and report.counts.get("unknown"):
        return wrapped(f"{counts} Nothing was found, but not everything could be found out.", width)
    if report.first is None:
        return wrapped(f"{counts} Nothing here stands in a real-time loop's way.", width)
    return wrapped(f"{counts} First, {report.first.name}: {report.first.fix}.", width)


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
