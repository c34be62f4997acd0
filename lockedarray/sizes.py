"""Numbers of bytes, as sentences say them."""

from __future__ import annotations

import operator
import resource
from typing import SupportsIndex

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def spoken(nbytes: int) -> str:
    """Return a byte count in words, with the exact figure where the words round.

    Examples
    --------
    >>> spoken(8 << 20), spoken((32 << 10) + 1)
    ('8 MiB', '32.0 KiB (32,769 bytes)')
    """
    if nbytes == resource.RLIM_INFINITY:
        return "unlimited"
    power = max(0, min((nbytes.bit_length() - 1) // 10, len(_UNITS) - 1))
    unit = 1 << (10 * power)
    if nbytes % unit == 0:
        return f"{nbytes // unit} {_UNITS[power]}"
    return f"{nbytes / unit:.1f} {_UNITS[power]} ({nbytes:,} bytes)"


def positive(nbytes: SupportsIndex) -> int:
    """Return a number of bytes that somebody asks for; ValueError where it is less than 1."""
    size = operator.index(nbytes)
    if size < 1:
        raise ValueError(f"nbytes must be at least 1, not {size}")
    return size
