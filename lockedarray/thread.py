"""What a thread needs before its loop: a stack that is there, and sums that do not slow down near zero."""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self, SupportsIndex

from . import _native
from ._native import ffi, lib
from .errors import check_room, lock_or_warn, refused

_ALL_DENORMALS = 2**64 - 1  # every bit that the processor has for it
_SMALLEST_STACK = 32 << 10  # what threading.stack_size takes


class _Starting:
    """The one thread that is being started with a stack size of its own, and the stacks of those before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.before: int | None = None
        self.stacks: dict[int, _native.Lock] = {}  # that are locked, by their thread
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child: whoever was starting a thread stayed behind in the parent."""
        self.lock = threading.Lock()
        self._restore()
        for thread in set(self.stacks) - {threading.get_ident()}:
            self.stacks.pop(thread).release()  # the C library reuses its memory

    def _restore(self) -> None:
        if self.before is not None:
            threading.stack_size(self.before)
            self.before = None

    def start(self, thread: threading.Thread, stack_bytes: int) -> None:
        with self.lock:
            try:
                self.before = threading.stack_size()
                threading.stack_size(stack_bytes)
                thread.start()
            finally:
                self._restore()


_starting = _Starting()


def prefault_stack(nbytes: SupportsIndex = 1 << 20) -> int:
    """Touch the stack of the calling thread below where it stands: calls that go down there take no fault.

    Writes to each page, no deeper than the stack may go: its own size, for the main thread
    RLIMIT_STACK and what lies below, and where it is locked RLIMIT_MEMLOCK. What has been touched
    stays part of the stack; it stays resident where it is locked, by `lock_all` or `start_thread`.
    A system call a page, 0.3 ms for 1 MiB; without the GIL.

    Parameters
    ----------
    nbytes : int
        How deep, in bytes.

    Returns
    -------
    int
        How many bytes were touched, in whole pages: less than `nbytes` where the stack ends.

    Raises
    ------
    ValueError
        `nbytes` is negative.
    OSError
        Where the stack lies cannot be found out: for the main thread that takes /proc/self/maps.
    MemoryError
        The stack may grow by more than 64 MiB, and there is no memory for it.

    See Also
    --------
    lock_all, start_thread, realtime
    pthread_getattr_np(3)

    Examples
    --------
    >>> import lockedarray as la
    >>> la.prefault_stack(256 << 10)
    262144
    """
    depth = operator.index(nbytes)
    if depth < 0:
        raise ValueError(f"nbytes cannot be negative: {depth}")
    extent = ffi.new("uintptr_t[2]")
    touched = lib.stack_pages(extent)
    if touched == 0:
        check_room(min(depth, extent[1]))
        touched = lib.stack_prefault(min(depth, sys.maxsize))
    if touched < 0:
        raise refused("pthread_getattr_np", -touched, 0)
    return touched


class _Flushing(threading.local):
    """The blocks of a thread that flush denormals, and what it did before the first."""

    def __init__(self) -> None:
        self.blocks: set[FlushDenormals] = set()
        self.before = 0


class FlushDenormals:
    """What `flush_denormals` returns: in force in its thread until `end` or the end of ``with``."""

    def __init__(self) -> None:
        self._thread: int | None = None

    def _begin(self) -> None:
        flushes = lib.os_flushes_denormals()
        if flushes < 0:
            raise refused("flush_denormals on this processor", -flushes, 0)
        if not _flushing.blocks:
            _flushing.before = lib.os_denormals()
        self._thread = threading.get_ident()
        _flushing.blocks.add(self)
        lib.os_set_denormals(_ALL_DENORMALS)

    def end(self) -> None:
        """Set the thread back to what it did before, once; of several the last one does.

        Raises
        ------
        RuntimeError
            In another thread; nothing happens then.
        """
        if self._thread is None:
            return
        if self._thread != threading.get_ident():
            raise RuntimeError("flush_denormals() must be ended in the thread that it was called in")
        if _flushing.blocks <= {self}:
            lib.os_set_denormals(_flushing.before)
        _flushing.blocks.discard(self)
        self._thread = None  # last: interrupted before, it can be ended again

    def __enter__(self) -> Self:
        if self._thread is None:
            raise RuntimeError("this flush_denormals has ended: call flush_denormals() again")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


_flushing = _Flushing()


def flush_denormals() -> FlushDenormals:
    """Let the calling thread take numbers next to zero (denormals) for zero, and make none.

    A filter that rings out reaches them, and each operation then takes the processor 30 to 100
    times as long: an overload in a pause. They are -760 dB (float32) and below. In force when the
    call returns, in this thread only: NumPy's own worker threads (matrix products) keep what they
    had. The interpreter's floats are computed so too. Call it after the imports: what looks for the
    smallest number, as `numpy.finfo` does once, would find zero.

    Sets FTZ and DAZ of MXCSR on x86-64, FZ of FPCR on aarch64; 1 us, no system call.

    Returns
    -------
    FlushDenormals
        A context manager; `end` does the same by hand.

    Raises
    ------
    OSError
        ENOSYS: a processor of another kind.

    See Also
    --------
    realtime
    Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3 (MXCSR)

    Examples
    --------
    >>> import lockedarray as la, numpy as np
    >>> quiet = np.full(2, 1e-40, "float32")
    >>> with la.flush_denormals():
    ...     silence = quiet * np.float32(0.5)
    >>> float(silence[0])
    0.0
    """
    flushing = FlushDenormals()
    flushing._begin()
    return flushing


def start_thread(
    target: Callable[..., object],
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    daemon: bool | None = None,
    stack_bytes: SupportsIndex = 256 << 10,
    on_error: Literal["raise", "warn"] = "raise",
) -> threading.Thread:
    """Start a thread with a small stack, which is resident and locked before `target` is called.

    An ordinary thread has 8 MiB of stack that faults page by page, or under `lock_all` is locked as
    a whole. This one's is unlocked when it ends. For the moment of the start
    `threading.stack_size` is set for the process: a thread that other code starts at that very
    moment may get the small stack too.

    Parameters
    ----------
    target, args, kwargs, name, daemon
        As `threading.Thread` takes them.
    stack_bytes : int
        From 32 KiB on; the C library may reuse a stack of up to four times that. Python code that
        calls itself wants some 0.5 KiB a level, a regular expression or a call into other libraries
        more.
    on_error : {"raise", "warn"}
        What a refused lock means: with ``"warn"`` the stack is only resident.

    Returns
    -------
    threading.Thread
        Started.

    Raises
    ------
    TypeError
        `target` cannot be called.
    ValueError
        A stack of less than 32 KiB, or another `on_error`.
    LockError
        The lock was refused; `target` has not been called, and the thread has ended.
    MemoryError
        More than 64 MiB of stack, and there is no memory for it.
    RuntimeError
        No thread could be started.

    See Also
    --------
    prefault_stack, lock, realtime
    pthread_attr_setstacksize(3), mlock(2)

    Examples
    --------
    >>> import lockedarray as la
    >>> la.start_thread(print, ("from a locked stack",)).join()
    from a locked stack
    """
    if not callable(target):
        raise TypeError(f"target must be callable, not {type(target).__name__}")
    size = operator.index(stack_bytes)
    if size < _SMALLEST_STACK:
        raise ValueError(f"stack_bytes must be {_SMALLEST_STACK} or more, not {size}")
    check_room(size)
    arguments, keywords = tuple(args), dict(kwargs or {})

    def start(locked: bool) -> threading.Thread:
        ready = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                held = _lock_stack(locked)
            except BaseException as error:
                failure.append(error)
                return
            finally:
                ready.set()
            _starting.stacks[threading.get_ident()] = held
            try:
                target(*arguments, **keywords)
            finally:
                _starting.stacks.pop(threading.get_ident()).release()

        thread = threading.Thread(target=run, name=name, daemon=daemon)
        _starting.start(thread, size)
        ready.wait()
        if failure:
            thread.join()
            raise failure[0]
        return thread

    return lock_or_warn(on_error, start)


def _lock_stack(locked: bool) -> _native.Lock:
    """Lock the calling thread's stack, all of which is brought in by that, or bring it in."""
    extent = ffi.new("uintptr_t[2]")
    if (error := lib.stack_pages(extent)) < 0:
        raise refused("pthread_getattr_np", -error, 0)
    return _native.Lock(extent[0], extent[1], True, locked)
