"""The examination: every check in its turn, none of which can end it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .. import place
from . import lockable, machine_memory, scheduling
from .machine import Machine
from .question import Question, Verdict
from .report import Check, Report
from .trials import Trials, try_out

GROUPS: tuple[tuple[str, tuple[Question, ...]], ...] = (
    ("Limits on memory", lockable.QUESTIONS),
    ("The machine's memory", machine_memory.QUESTIONS),
    ("Scheduling", scheduling.QUESTIONS),
)


def doctor() -> Report:
    """Find out what here stands in a real-time loop's way, and how it is put right.

    Locks a page, asks for SCHED_FIFO in a thread of its own and opens /dev/cpu_dma_latency: what
    can be tried is not believed from files. All of that is undone; nothing is changed. Reads some
    thirty files of /proc and /sys, 5 ms; allocates. Not for a loop.

    Returns
    -------
    Report
        With ``.ok``, ``.checks``, each of them with ``.name .state .finding .meaning .fix``;
        ``str(report)`` is a table. It never raises: what cannot be read is "unknown".

    See Also
    --------
    realtime, lock_all, memlock_limit
    The command ``lockedarray doctor``

    Examples
    --------
    >>> import lockedarray as la
    >>> report = la.doctor()
    >>> for check in report.checks:
    ...     if check.state == "fail":
    ...         print(check.name, check.finding, check.fix, sep=": ")
    """
    return examine(place.ROOT, os.environ, try_out())


def examine(root: Path, environ: Mapping[str, str], trials: Trials) -> Report:
    """Return the report for the machine whose files are below `root`, with trials made there."""
    try:
        here = place.find(root, environ)
    except (OSError, ValueError):
        here = place.Place("login")
    machine = Machine(root, here, trials)
    return Report(tuple(_check(q, group, machine) for group, questions in GROUPS for q in questions))


def _check(question: Question, group: str, machine: Machine) -> Check:
    try:
        verdict = question.answer(machine)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        verdict = Verdict("unknown", f"cannot be found out: {name}{error.strerror or error}")
    except Exception as error:  # what a file says may be anything
        verdict = Verdict("unknown", f"cannot be found out: {error}")
    return Check(question.name, group, verdict.state, verdict.finding, question.meaning, verdict.fix)
