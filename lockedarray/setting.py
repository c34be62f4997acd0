"""One thing that `realtime` sets: taken, told, and undone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class Step(NamedTuple):
    """What came of one setting.

    Attributes
    ----------
    name : str
        As "scheduler".
    asked, achieved : str
        What was wanted, and what is in force now.
    ok : bool
        Whether that is the same, or all that there can be.
    reason, fix : str
        Where it is not: what stood in the way, and what to do about it, as sentences.
    """

    name: str
    asked: str
    achieved: str
    ok: bool
    reason: str = ""
    fix: str = ""


class Refused(OSError):
    """A setting that could not be had: why, and what to do."""

    def __init__(self, errno: int, reason: str, fix: str) -> None:
        super().__init__(errno, f"{reason}. {fix}.")
        self.reason, self.fix = reason, fix

    def __str__(self) -> str:
        return str(self.strerror)


class Setting(ABC):
    """Something that is set and set back. What was before is noted before anything changes, so that
    `undo` is right wherever an exception (a Ctrl-C too) comes in between."""

    name: str
    asked: str

    @abstractmethod
    def now(self) -> str:
        """Say what is in force."""

    @abstractmethod
    def take(self) -> None:
        """Set it, or raise an OSError and leave it as it is."""

    @abstractmethod
    def undo(self) -> None:
        """Set back what `take` set, if it did. Interrupted, it may be called again."""
