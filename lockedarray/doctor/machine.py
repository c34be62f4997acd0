"""A machine as a process on it sees it: files below a root, the place, what was tried."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .. import fixes, proc_text
from ..place import Place
from .trials import Trials


@dataclass(frozen=True)
class Machine:
    """What the checks look at; each reads below the root, and nowhere else.

    Attributes
    ----------
    root : Path
        Where proc, sys and dev are.
    place : Place
        A login, a service, a container.
    trials : Trials
        What was tried.
    """

    root: Path
    place: Place
    trials: Trials

    def text(self, name: str) -> str:
        """Read a file."""
        return (self.root / name).read_text(errors="replace").strip()

    def number(self, name: str) -> int:
        """Read a file that holds a number; ValueError where it does not."""
        text = self.text(name)
        if not re.fullmatch(r"-?\d{1,20}", text, re.ASCII):
            raise ValueError(f"/{name} is not a number: {text[:20]!r}")
        return int(text)

    def lacks(self, name: str) -> bool:
        """Return whether this kernel has no such file, though it shows the directory."""
        path = self.root / name
        return path.parent.is_dir() and not path.exists()

    def limit(self, name: str) -> tuple[int, int]:
        """Return a soft and a hard limit, by its name in /proc/self/limits."""
        return proc_text.limit(self.text("proc/self/limits"), name)

    @property
    def outside(self) -> str:
        """Where the machine's settings are set, if not here, as a sentence begins with it."""
        return fixes.outside(self.place)

    def sysctl(self, name: str, value: int) -> str:
        """Return how a sysctl is set, for now and for good."""
        return (
            f"{self.outside}run 'sudo sysctl {name}={value}'; "
            f"to keep it, write the line '{name} = {value}' into /etc/sysctl.d/90-realtime.conf"
        )

    def sysfs(self, path: str, value: str) -> str:
        """Return how a file of /sys is written, for now and for good."""
        return (
            f"{self.outside}run 'echo {value} | sudo tee {path}'; "
            f"to keep it, write the line 'w {path} - - - - {value}' into /etc/tmpfiles.d/realtime.conf"
        )
