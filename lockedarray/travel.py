"""How memory that is shared travels to another process: by its descriptor, and never by its bytes."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any, NoReturn, SupportsIndex

import numpy as np


def write_dtype(dtype: np.dtype[Any]) -> bytes:
    """Return the text that names a dtype in a shared header: as ``.npy`` files have it."""
    if dtype.hasobject or dtype.metadata is not None:
        return b""  # refused later; and metadata is Python's own, which no header can hold
    try:
        return repr(np.lib.format.dtype_to_descr(dtype)).encode("ascii")
    except (ValueError, UnicodeEncodeError):
        return b""  # fields that overlap, or names beyond ASCII: it stays at home


def read_dtype(text: bytes) -> np.dtype[Any]:
    """Return the dtype that a shared header names; a ValueError for whatever else stands there."""
    try:
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text.decode("ascii")))
    except Exception as error:  # NumPy's own refusals of what nobody would write are of any kind
        raise ValueError(f"the shared header names no dtype: {text[:80]!r}") from error
    if dtype.hasobject or dtype.subdtype is not None:
        raise ValueError(f"the shared header names a dtype that no such memory can have: {dtype}")
    return dtype


def described(what: tuple[int, int | None, int, bytes]) -> tuple[int, int | None, np.dtype[Any], bytes]:
    """Return frames, channels, dtype and its text, of what a shared header says."""
    frames, channels, item_bytes, text = what
    dtype = read_dtype(text)
    if dtype.itemsize != item_bytes:
        raise ValueError(f"the shared header names {dtype}, but items of {item_bytes} bytes")
    return frames, channels, dtype, text


def _arrive(attach: Callable[..., Any], on_error: str, ticket: Any, event_tickets: list[Any]) -> Any:
    """Attach in the other process; the descriptors that came with the message are closed again."""
    opened = []
    try:
        opened.append(ticket.detach())
        opened.extend(each.detach() for each in event_tickets)
        events = {"eventfds": tuple(opened[1:])} if event_tickets else {}
        return attach(opened[0], on_error=on_error, **events)
    finally:
        for fd in opened:
            os.close(fd)


def _depart(shared: Any) -> tuple[Any, ...]:
    tickets = [DupFd(fd) for fd in (shared.fileno(), *(getattr(shared, "eventfds", None) or ()))]
    on_error = "raise" if shared.locked else "warn"  # what is good enough here is so there
    return _arrive, (type(shared).attach, on_error, tickets[0], tickets[1:])


class Travels:
    """Memory that multiprocessing sends by its descriptor, and that nobody pickles; so are its subclasses."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        ForkingPickler.register(cls, _depart)  # it alone can send descriptors

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"a {name} is memory, and pickle sends values: give it to a multiprocessing.Process as an "
            f"argument, send it through a multiprocessing connection, or send {name}.fileno() with "
            f"socket.send_fds and call {name}.attach there"
        )
