"""What a terminal can show: bars of a width, in blocks or in ASCII."""

from __future__ import annotations

import shutil
import sys
import textwrap

_EIGHTHS = " ▏▎▍▌▋▊▉"


def columns() -> int:
    """Return the width to write for: the terminal's, or 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def wrapped(text: str, width: int) -> list[str]:
    """Return prose as lines; a word that is longer, as a path, stays whole."""
    return textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False)


def has_blocks() -> bool:
    """Return whether standard output can take the block characters."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return encoding.lower().replace("-", "") == "utf8"


def bar(length: float, blocks: bool) -> str:
    """Return a bar so many characters long, to an eighth; any that is not empty can be seen.

    Examples
    --------
    >>> bar(2.5, True), bar(2.5, False), bar(0.01, False)
    ('██▌', '##', '#')
    """
    if length <= 0:
        return ""
    if not blocks:
        return "#" * max(1, round(length))
    eighths = max(1, round(length * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
