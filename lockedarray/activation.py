"""Where NumPy allocates in a heap: from here on in this context, until the end of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeVar

from ._native import Heap

H = TypeVar("H", bound=Heap)

# The activation that holds in a context, and by its `_outer` those that it lies in.
_present: ContextVar[Activation[Any] | None] = ContextVar("present", default=None)


class Activation(Generic[H]):
    """What `Heap.activate` returns: a context manager that ends it."""

    __slots__ = ("_before", "_ended", "_entered", "_failures", "_heap", "_outer")

    def __init__(self, heap: H) -> None:
        self._heap = heap
        self._failures = heap.failures
        self._entered = self._ended = False
        self._outer = _present.get()
        self._before = heap._activate()
        _present.set(self)

    def end(self) -> None:
        """Put back what NumPy allocated with before; again: nothing happens.

        Raises
        ------
        RuntimeError
            Another activation holds in this context; nothing has changed.
        """
        if _present.get() is self and self._heap._deactivate(self._before):
            _present.set(self._outer)
            self._ended = True
        elif not self._ended:
            raise RuntimeError(
                "this activation does not hold here: it ends in another thread, task or order than it began, "
                "as by a generator that yields inside of the with block. Nothing was changed"
            )

    def __enter__(self) -> H:
        if self._entered or self._ended:
            raise RuntimeError("an activation is for one block: call heap.activate() again")
        self._entered = True
        return self._heap

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._heap.failures > self._failures:
            _tell(error, str(self._heap._full()))
        try:
            self.end()
        except RuntimeError as late:
            if error is None or isinstance(error, GeneratorExit):
                raise
            error.add_note(str(late))  # what is on its way must not be lost: a Ctrl-C, a cancellation


def _tell(error: BaseException, figures: str) -> None:
    """Note a heap's figures on NumPy's MemoryErrors."""
    for each in _memory_errors(error):
        if _is_numpys(each) and figures not in getattr(each, "__notes__", ()):
            each.add_note(figures)


def _memory_errors(error: BaseException) -> Iterator[MemoryError]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _memory_errors(each)
    elif isinstance(error, MemoryError):
        yield error


def _is_numpys(error: MemoryError) -> bool:
    """Whether NumPy has raised it: by its own class, without a word, or by what resize says."""
    return type(error).__module__.startswith("numpy") or error.args in (
        (),
        ("cannot allocate memory for array",),
    )
