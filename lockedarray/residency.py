"""The kernel's word for every page: is it locked, is it in memory?"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import place
from ._native import ffi, lib
from .errors import refused
from .extent import Extent, extent
from .mappings import mappings

if TYPE_CHECKING:
    from typing_extensions import Buffer

_DELETED = " (deleted)"


def is_locked(a: NDArray[Any] | Buffer) -> bool:
    """Return whether every page of `a` is locked and resident at this moment.

    The kernel is asked, not this library's books: also for memory that somebody else locked, or
    unlocked. Pages are taken from the lowest to the highest byte of `a`, gaps of a strided view
    included. Two system calls a page, about 0.2 us each, without the GIL.

    Parameters
    ----------
    a : array or buffer
        Any strides and any dtype; nothing needs to be writable.

    Returns
    -------
    bool
        True for an empty `a`. False for huge pages of hugetlbfs: they cannot leave memory, but the
        kernel does not count them as locked.

    Raises
    ------
    TypeError
        `a` is neither an array nor has it a buffer.

    See Also
    --------
    residency, lock
    mlock(2), msync(2), mincore(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> la.is_locked(la.zeros(1000))
    True
    """
    pages = extent(a)
    return pages.nbytes == 0 or lib.residency_locked(pages.start, pages.nbytes) == 1


def residency(a: NDArray[Any] | Buffer) -> NDArray[np.bool_]:
    """Return for every page of `a` whether it is in memory.

    Resident is what needs no disk: an untouched page of a file counts if it is in the page cache.
    Its first use can still take a minor fault; `is_locked` says whether it stays. Two system calls
    and a look into ``/proc/self/maps``; allocates the result.

    Parameters
    ----------
    a : array or buffer
        Any strides and any dtype; the pages run from its lowest to its highest byte.

    Returns
    -------
    ndarray of bool
        One element a page; shape ``(0,)`` for an empty `a`.

    Raises
    ------
    TypeError
        `a` is neither an array nor has it a buffer.
    PermissionError
        `a` lies in a file that one neither owns nor may write: the kernel then calls every page
        resident, true or not.

    See Also
    --------
    residency_map, is_locked
    mincore(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> bool(la.residency(la.zeros(1000)).all())
    True
    """
    pages = extent(a)
    resident = np.zeros(pages.pages, np.bool_)
    if pages.nbytes:
        for path in _secret_files(pages):
            raise PermissionError(
                errno.EACCES,
                "the kernel does not tell which pages of a file are in memory to those who "
                "neither own it nor may write to it",
                path,
            )
        error = lib.residency_read(pages.start, pages.nbytes, ffi.from_buffer("uint8_t[]", resident, True))
        if error < 0:
            raise refused("mincore", -error, pages.nbytes)
    return resident


def residency_map(a: NDArray[Any] | Buffer) -> str:
    """Return `residency` as text: a ``*`` for every resident page, a ``.`` for every other.

    Raises what `residency` raises; allocates.

    See Also
    --------
    residency
    mincore(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> import mmap
    >>> la.residency_map(la.zeros(2 * mmap.PAGESIZE, "u1"))
    '**'
    """
    return "".join(".*"[page] for page in residency(a).tolist())


def _secret_files(pages: Extent) -> Iterator[str]:
    """Yield the files among the mappings of these pages that mincore would lie about."""
    for mapping in mappings(pages):
        if mapping.is_file and not _is_open_to_us(mapping.path):
            yield mapping.path


def _is_open_to_us(path: str) -> bool:
    """Return whether a mapped file is ours or writable, as the kernel's can_do_mincore asks."""
    ways: list[Path] = [Path(path)]
    if path.endswith(_DELETED):
        # What has lost its name is still to be had where a descriptor of it is open.
        ways = [fd for fd in Path("/proc/self/fd").iterdir() if _target(fd) == path]
    return place.capable(place.CAP_FOWNER) or (bool(ways) and all(map(_is_ours_or_writable, ways)))


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # the descriptor of iterdir itself
        return ""


def _is_ours_or_writable(way: Path) -> bool:
    try:
        owner = way.stat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() or os.access(way, os.W_OK, effective_ids=True)
