"""``lockedarray doctor``: the report in a terminal, or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys

from ..terminal import columns
from .examination import doctor
from .table import table

_EPILOG = """\
It tries what can be tried (locks a page, asks for SCHED_FIFO in a thread of its own, opens
/dev/cpu_dma_latency), undoes all of it and changes nothing. What it says holds for a program that
is started in the same way: in the same shell, unit or container, by the same user.

exit status: 0 nothing fails, whatever the warnings; 1 something fails; 2 wrong arguments."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.epilog = _EPILOG
    parser.add_argument("--all", action="store_true", help="explain what is well too")
    parser.add_argument("--json", action="store_true", help="everything as JSON, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Examine and print; return the exit status."""
    report = doctor()
    if arguments.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        text = table(report, columns(), _has_colours(), arguments.all)
        encoding = (
            getattr(sys.stdout, "encoding", None) or "ascii"
        )  # a user's name may be more than it can take
        print(text.encode(encoding, "replace").decode(encoding))
    return 0 if report.ok else 1


def _has_colours() -> bool:
    """Return whether standard output is a terminal whose user has nothing against colours (no-color.org)."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
