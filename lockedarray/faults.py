"""Counting the page faults of a thread: the proof that locked memory is what it says."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Literal, Self

from ._native import ffi, lib
from .errors import PageFaultError, refused

Source = Literal["perf", "perf-user", "rusage"]


class PageFaults:
    """The page faults of the thread that entered it; see `page_faults`.

    Attributes
    ----------
    minor, major, total : int
        Faults since entry; live within the block, fixed after it, 0 before.
    source : str
        What counts: ``"perf"`` accesses that faulted, in the kernel's work for the thread too;
        ``"perf-user"`` those of user code only; ``"rusage"`` also pages that a system call brought
        in, as mlock does. "" before entry.
    """

    def __init__(self) -> None:
        # The descriptors are closed on exit, or when this object is dropped.
        closed = {"minor_fd": -1, "major_fd": -1}
        self._faults = ffi.gc(ffi.new("struct faults *", closed), lib.faults_close)
        self._thread = 0
        self._active = False
        self.source: Source | Literal[""] = ""

    def __enter__(self) -> Self:
        if self._active:
            raise RuntimeError("this page_faults() has been entered already; take another")
        lib.faults_open(self._faults)
        perf: Source = "perf" if self._faults.kernel else "perf-user"
        self.source = perf if self._faults.minor_fd >= 0 else "rusage"
        self._thread = threading.get_ident()
        self._active = True
        # Whatever a first reading would bring in is brought in before the count begins.
        self._begin()
        self._read()
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        at_home = threading.get_ident() == self._thread
        try:
            if at_home or self.source != "rusage":
                self._read()
        finally:
            self._active = False
            lib.faults_close(self._faults)
        if not at_home and kind is None:
            raise RuntimeError(
                "page_faults() must be left in the thread that entered it, whose faults it counts"
            )

    @property
    def minor(self) -> int:
        """Faults that needed no disk."""
        self._read()
        return self._faults.minor

    @property
    def major(self) -> int:
        """Faults that waited for a disk."""
        self._read()
        return self._faults.major

    @property
    def total(self) -> int:
        """All faults."""
        self._read()
        return self._faults.minor + self._faults.major

    def __repr__(self) -> str:
        if not self.source:
            return "<page_faults, not entered>"
        return f"<page_faults, minor {self.minor}, major {self.major}, source {self.source!r}>"

    def _begin(self) -> None:
        if (error := lib.faults_begin(self._faults)) < 0:
            raise refused("read", -error, 0)

    def _read(self) -> None:
        if not self._active:
            return
        if self.source == "rusage" and threading.get_ident() != self._thread:
            raise RuntimeError("getrusage counts for the calling thread only: read it there")
        if (error := lib.faults_read(self._faults)) < 0:
            raise refused("read", -error, 0)


class NoPageFaults(PageFaults):
    """A `PageFaults` that raises on exit if there were any; see `no_page_faults`."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is None and self.total:
            raise PageFaultError(self.minor, self.major, self.source)


def page_faults() -> PageFaults:
    """Return a context manager that counts the page faults of this thread.

    Entering opens two perf events (kept until exit); where perf is not to be had getrusage counts.
    The block itself is not slowed down. Reading a count is a system call, 0.5 us, and takes no
    fault. An empty block counts zero, Python's own work of a longer one may not: the interpreter's
    memory is not locked.

    Returns
    -------
    PageFaults
        With ``.minor``, ``.major``, ``.total`` and ``.source``.

    See Also
    --------
    no_page_faults
    perf_event_open(2), getrusage(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> block = la.zeros(48000)
    >>> block += 1  # what runs for the first time may fault
    >>> with la.page_faults() as faults:
    ...     block += 1
    >>> faults.total
    0
    """
    return PageFaults()


def no_page_faults() -> NoPageFaults:
    """Return a context manager that raises if this thread takes a page fault in it.

    For tests of code that must not wait. An exception that the block raises itself goes first.

    Raises
    ------
    PageFaultError
        On exit: how many faults, what counted them, and what usually causes them.

    See Also
    --------
    page_faults

    Examples
    --------
    >>> import lockedarray as la
    >>> block = la.zeros(48000)
    >>> block += 1  # what runs for the first time may fault
    >>> with la.no_page_faults():
    ...     block += 1
    """
    return NoPageFaults()
