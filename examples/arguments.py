"""What the examples' command lines have in common."""

from __future__ import annotations

import argparse

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
