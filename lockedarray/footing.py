"""What a thread stands on: the memory of its process, its stack, and how it computes next to zero."""

from __future__ import annotations

import resource

from ._native import lib
from .process import LockAll
from .setting import Refused, Setting
from .sizes import spoken
from .thread import FlushDenormals, prefault_stack


class AllMemory(Setting):
    """All of the process's memory, now and later."""

    name = "memory"
    asked = "all locked"

    def __init__(self) -> None:
        self._held: LockAll | None = None

    def now(self) -> str:
        return self.asked if self._held is not None and self._held.active else "not locked"

    def take(self) -> None:
        self._held = LockAll(True, True, False)  # first: what is interrupted is undone too
        self._held._begin()

    def undo(self) -> None:
        if self._held is not None:
            self._held.end()
            self._held = None


class Stack(Setting):
    """The thread's stack, touched."""

    name = "stack"

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self.asked = f"{spoken(nbytes)} touched"
        self._touched = 0
        self._is_all = False

    def now(self) -> str:
        return f"{spoken(self._touched)} touched" + ", to the stack's end" * self._is_all

    def take(self) -> None:
        self._touched = prefault_stack(self._nbytes)
        short = self._touched < self._nbytes - self._nbytes % resource.getpagesize()
        # No call can go deeper, and fault, where it ends here: mapped as a whole, it does not grow.
        self._is_all = short and not lib.stack_grows()
        if short and not self._is_all:
            raise Refused(
                0,
                "the stack may not grow further (RLIMIT_STACK, or where it is locked RLIMIT_MEMLOCK)",
                "Ask for less (stack=), or start the program after 'ulimit -s unlimited'",
            )

    def undo(self) -> None:
        """Nothing: what was touched stays part of the stack."""


class Denormals(Setting):
    """Numbers next to zero count as zero in this thread."""

    name = "denormals"
    asked = "flushed to zero"

    def __init__(self) -> None:
        self._held: FlushDenormals | None = None

    def now(self) -> str:
        return self.asked if lib.os_flushes_denormals() == 1 else "computed"

    def take(self) -> None:
        if lib.os_flushes_denormals() < 0:
            raise Refused(0, "this processor has no flush-to-zero that is known here", "Leave the step out")
        self._held = FlushDenormals()  # first: what is interrupted is undone too
        self._held._begin()

    def undo(self) -> None:
        if self._held is not None:
            self._held.end()
            self._held = None
