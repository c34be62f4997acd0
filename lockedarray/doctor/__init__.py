"""The doctor: what of this machine, and of this process's limits, stands in a real-time loop's way."""

from .examination import doctor, examine
from .report import Check, Report, State
from .trials import Trials, try_out

__all__ = ["Check", "Report", "State", "Trials", "doctor", "examine", "try_out"]
