"""The other side of a ring: forked children, unrelated programs, and what they must leave as it was."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smaps import vm_lck

FULL = os.environ.get("LOCKEDARRAY_TESTS") == "full"


def fork(do: Callable[[], object]) -> int:
    """Run `do` in a forked child, which ends with 0 if it comes back from there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's threads do nothing here
        child = os.fork()
    if child == 0:
        status = 1
        try:
            do()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return child


def end(child: int, sent: int = signal.SIGKILL) -> int:
    """Send a signal to a child, and return how it ended: a signal's number is negative."""
    os.kill(child, sent)
    return reap(child)


def reap(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def forked(do: Callable[[], object]) -> Iterator[int]:
    """A forked child that runs `do`; killed at the end, if it still lives."""
    child = fork(do)
    try:
        yield child
    finally:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


PROGRAM = """
import os, signal, socket, sys, time
import numpy as np, lockedarray as la
peer = socket.socket(fileno={number})
def receive(**options):
    _, fds, _, _ = socket.recv_fds(peer, 1, 3)
    rb = la.RingBuffer.attach(fds[0], **({{"eventfds": tuple(fds[1:])}} if fds[1:] else {{}}), **options)
    for fd in fds:
        os.close(fd)
    return rb
"""


class Program:
    """An unrelated program at the other end of a socket: `receive()` there is the ring `give`n here."""

    def __init__(self, text: str) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(30)
        with theirs:
            command = [sys.executable, "-P", "-c", PROGRAM.format(number=theirs.fileno()) + text]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def give(self, *fds: int) -> None:
        socket.send_fds(self.socket, [b"r"], list(fds))

    def say(self, text: bytes = b"g") -> None:
        self.socket.sendall(text)

    def hear(self, nbytes: int = 1) -> bytes:
        heard = b""
        while len(heard) < nbytes and (more := self.socket.recv(nbytes - len(heard))):
            heard += more
        return heard

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *raised: object) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()


def until(
    true: Callable[[], object],
    seconds: float = 10.0,
    found: Callable[[], str] = lambda: "it did not come true",
) -> float:
    """Seconds that it took until something was true."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, found()
        time.sleep(0.0005)
    return time.monotonic() - start


def context_switches() -> int:
    """Voluntary ones of this thread: how often it slept."""
    status = Path("/proc/thread-self/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])


def holdings() -> tuple[list[str], set[str], int]:
    """What a process may leak: descriptors by kind, named shared memory, locked bytes."""
    gc.collect()  # a caught exception keeps its frames, and they a ring
    kinds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            kinds.append(os.readlink(f"/proc/self/fd/{name}").split(":[")[0])
        except FileNotFoundError:  # the listing's own
            continue
    # Anybody's multiprocessing makes semaphores there; nothing of ours has such a name.
    names = {name for name in os.listdir("/dev/shm") if not name.startswith("sem.mp-")}
    return sorted(kinds), names, vm_lck()


def check_nothing_left(before: tuple[list[str], set[str], int]) -> None:
    """No descriptor and no name in /dev/shm is new, and VmLck is as it was."""

    def as_before() -> bool:
        descriptors, names, locked = holdings()
        # Fewer is well: what other programs have in /dev/shm goes, and so do multiprocessing's own helpers.
        more = Counter(descriptors) - Counter(before[0])
        return not more and names <= before[1] and locked == before[2]

    until(as_before, 5, lambda: f"{before} before, {holdings()} after")


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """The test leaves no descriptor, no name in /dev/shm and no locked memory behind."""
    before = holdings()
    yield
    check_nothing_left(before)
