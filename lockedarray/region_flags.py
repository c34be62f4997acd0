"""What a region can be asked to be, as bits for csrc/region_objects.h."""

from __future__ import annotations

from typing import Literal

GUARD, HUGE, SHARED, UNLOCKED = 1, 2, 4, 8


def region_flags(*, guard: bool = False, huge: bool = False, fork: Literal["copy", "share"] = "copy") -> int:
    """Return the bits for what users ask for; ValueError for another `fork`."""
    if fork == "copy":
        shared = 0
    elif fork == "share":
        shared = SHARED
    else:
        raise ValueError(f"fork must be 'copy' or 'share', not {fork!r}")
    return (GUARD if guard else 0) | (HUGE if huge else 0) | shared
