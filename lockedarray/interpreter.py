"""What belongs to the whole interpreter, and is set for as long as one thread needs it."""

from __future__ import annotations

import gc
import os
import sys
import threading
from abc import ABC, abstractmethod

from .setting import Setting


class _Shared(ABC):
    """A setting of the process that several threads may want at once.

    The first one's coming sets it, the last one's going restores what was before, unless somebody
    else has changed it meanwhile.
    """

    def __init__(self) -> None:
        self.wishes: dict[Setting, tuple[int, int]] = {}  # by whom: its thread, and what it wants
        self.before = 0
        self.lock = threading.RLock()  # a finalizer may leave a block while its thread is in here
        os.register_at_fork(after_in_child=self._keep_own)

    def _keep_own(self) -> None:
        """Forget the threads that a forked child does not have, and what they wished."""
        self.lock = threading.RLock()
        own = threading.get_ident()
        for who, (thread, _) in list(self.wishes.items()):
            if thread != own:
                self.remove(who)

    def add(self, who: Setting, wish: int) -> None:
        with self.lock:
            if not self.wishes:
                self.before = self.read()
            self.wishes[who] = threading.get_ident(), wish
            self.write(self._strongest())

    def remove(self, who: Setting) -> None:
        with self.lock:
            if who not in self.wishes:
                return
            if self.read() == self._strongest():
                self.write(self._strongest(but=who))
            del self.wishes[who]  # last: an exception that comes in before may be followed by another call

    def _strongest(self, but: Setting | None = None) -> int:
        wishes = [wish for who, (_, wish) in self.wishes.items() if who is not but]
        return min(wishes, default=self.before)

    @abstractmethod
    def read(self) -> int:
        """Return what is in force."""

    @abstractmethod
    def write(self, value: int) -> None:
        """Set it."""


class _Collection(_Shared):
    """1 where garbage is collected, 0 where it is not. What is frozen (`gc.freeze`) stays so."""

    def read(self) -> int:
        return gc.isenabled()

    def write(self, value: int) -> None:
        if value:
            gc.enable()
        else:
            gc.disable()


class _Switching(_Shared):
    """Microseconds after which a waiting thread is given the interpreter."""

    def read(self) -> int:
        return round(sys.getswitchinterval() * 1e6)

    def write(self, value: int) -> None:
        sys.setswitchinterval((value + 0.5) / 1e6)  # which cuts off what is no whole microsecond


_collection = _Collection()
_switching = _Switching()


class NoCollection(Setting):
    """No garbage collection in any thread."""

    name = "garbage collection"
    asked = "off"

    def now(self) -> str:
        return "on" if gc.isenabled() else "off"

    def take(self) -> None:
        if gc.isenabled():
            gc.collect()  # what there is now does not lie about until the end
        _collection.add(self, 0)

    def undo(self) -> None:
        _collection.remove(self)


class SwitchInterval(Setting):
    """How long a thread may keep another waiting for the interpreter; of several wishes the shortest."""

    name = "switch interval"

    def __init__(self, seconds: float) -> None:
        self._wish = round(seconds * 1e6)
        self.asked = f"{self._wish} us"

    def now(self) -> str:
        return f"{_switching.read()} us"

    def take(self) -> None:
        _switching.add(self, self._wish)

    def undo(self) -> None:
        _switching.remove(self)
