"""Where the headers for C, C++ and Cython are."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """Return the directory in which C, C++ and Cython find ``lockedarray/ring.h`` and ``history.h``.

    In Cython: ``cdef extern from "lockedarray/ring.h" nogil:``, this directory among the include
    directories, and ``la_ring_at(rb.address)``. Nothing has to be linked.

    Examples
    --------
    >>> import lockedarray as la, os
    >>> os.path.exists(os.path.join(la.get_include(), "lockedarray", "ring.h"))
    True
    """
    return str(Path(__file__).parent / "include")
