"""What the doctor found: a check, and the report of all."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

State = Literal["ok", "warn", "fail", "unknown"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        "memlock soft limit", "SCHED_FIFO", "swap", ...: always the same.
    group : str
        The idea that it belongs to: the heading in the table.
    state : {"ok", "warn", "fail", "unknown"}
        "warn": a loop can be late for it. "fail": something of this library does not work.
        "unknown": it could not be found out.
    finding : str
        What it is here, in figures; for "unknown" why not.
    meaning : str
        What it means for a real-time loop, in a sentence.
    fix : str
        What to do in the place where this process runs, as a sentence without its stop; "" where
        there is nothing to do.
    """

    name: str
    group: str
    state: State
    finding: str
    meaning: str
    fix: str


@dataclass(frozen=True, repr=False)
class Report:
    """What `doctor` found; ``str(report)`` is a table for people, 80 columns wide.

    Attributes
    ----------
    checks : tuple of Check
        By idea, in the order of the table.
    """

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed; warnings and what could not be found out do not count."""
        return all(check.state != "fail" for check in self.checks)

    @property
    def counts(self) -> dict[State, int]:
        """How many checks are in each state."""
        counted = Counter(check.state for check in self.checks)
        return {state: counted[state] for state in STATES}

    @property
    def first(self) -> Check | None:
        """What to see to first: the first that failed, else the first warning, else None."""
        for state in ("fail", "warn"):
            for check in self.checks:
                if check.state == state:
                    return check
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return what ``lockedarray doctor --json`` prints: its keys stay as they are."""
        return {
            "ok": self.ok,
            "counts": self.counts,
            "first": self.first.name if self.first else None,
            "checks": [asdict(check) for check in self.checks],
        }

    def __str__(self) -> str:
        from .table import table

        return table(self)

    def __repr__(self) -> str:
        return f"<Report: {said(self.counts)}>"


def said(counts: dict[State, int]) -> str:
    """Return the counts in words, the worst first.

    Examples
    --------
    >>> said({"ok": 20, "warn": 3, "fail": 1, "unknown": 0})
    '1 fail, 3 warn, 20 ok'
    """
    return ", ".join(
        f"{counts[state]} {state}" for state in ("fail", "warn", "unknown", "ok") if counts[state]
    )
