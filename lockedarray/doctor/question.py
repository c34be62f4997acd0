"""A question to the machine, and the verdict that answers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .machine import Machine
from .report import State


class Verdict(NamedTuple):
    """What a check says of a machine."""

    state: State
    finding: str
    fix: str = ""


class Question(NamedTuple):
    """What is asked, what the answer means for a real-time loop, and the function that finds it out.

    An OSError or a ValueError of the function means that it cannot be found out.
    """

    name: str
    meaning: str
    answer: Callable[[Machine], Verdict]
