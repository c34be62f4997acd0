"""How the examples are started, and stopped by hand."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

LONGEST = 7 * 24 * 3600.0


def duration(text: str) -> float:
    """Return a number of seconds from a command line; argparse shows what is wrong with others."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST:.0f} seconds, a week")
    return seconds


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would meet the clearing up
    raise KeyboardInterrupt


def exit_with(main: Callable[[], int]) -> NoReturn:
    """End with main's status; after Ctrl-C as a shell expects it, without a word."""
    signal.signal(signal.SIGINT, _stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
