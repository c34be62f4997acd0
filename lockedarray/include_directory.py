"""Where the headers for C, C++ and Cython are."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """Return the directory that a C compiler needs to find ``lockedarray/ring.h``.

    Examples
    --------
    >>> import lockedarray as la, os
    >>> os.path.exists(os.path.join(la.get_include(), "lockedarray", "ring.h"))
    True
    """
    return str(Path(__file__).parent / "include")
