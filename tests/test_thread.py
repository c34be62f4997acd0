"""start_thread: a small stack, locked while the target runs, and a thread as any other besides."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import lockedarray as la
from forks import told_by_child
from lockedarray.limits import limit_counts
from places import run
from smaps import PAGE, vm_lck
from thread_settings import stack_size, unchanged
from thread_stack import locked, stack

KiB = 1 << 10
SIZE = 256 * KiB
MOST = 4  # times what was asked: the C library hands out stacks again, of threads that have ended
locks_stack = pytest.mark.locks(SIZE + PAGE)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.enumerate()
    with unchanged():
        yield
        gc.collect()
    assert threading.enumerate() == before


class Seen:
    """What a thread finds of its own stack."""

    def __call__(self) -> None:
        self.stack = stack()
        self.locked = locked(*self.stack)
        self.vm_lck = vm_lck()


@locks_stack
def test_the_stack_is_locked_while_the_target_runs() -> None:
    before, seen = vm_lck(), Seen()
    la.start_thread(seen).join()
    assert seen.locked == {True}
    assert 0 < seen.vm_lck - before <= MOST * SIZE
    assert vm_lck() == before
    assert locked(*seen.stack) == {False}
    control = Seen()
    thread = threading.Thread(target=control)
    thread.start()
    thread.join()
    assert control.locked == {False}


@pytest.mark.parametrize("size", [32 * KiB, 100_001, SIZE, 1 << 20])
def test_the_stack_is_as_small_as_asked(size: int) -> None:
    seen = Seen()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", la.LockWarning)
        la.start_thread(seen, stack_bytes=size, on_error="warn").join()
    assert size - PAGE < seen.stack[1] <= MOST * size


@locks_stack
@pytest.mark.parametrize("before", [0, 128 * KiB])
def test_others_keep_their_size(before: int) -> None:
    seen, other = Seen(), Seen()
    own = threading.stack_size(before)
    try:
        la.start_thread(seen).join()
        assert stack_size() == before
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(ValueError, match="32768"):
            la.start_thread(seen, stack_bytes=32 * KiB - 1)
        assert stack_size() == before
    finally:
        threading.stack_size(own)
    assert other.stack[1] <= MOST * before or before == 0
    assert other.stack[1] >= (before or 1 << 20)
    assert other.locked == {False}


@locks_stack
def test_as_threads_are() -> None:
    calls: list[Any] = []

    def target(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs, threading.current_thread()))

    kwargs = {"c": 3}
    thread = la.start_thread(target, iter([1, "b"]), kwargs, name="voice", daemon=True)
    assert isinstance(thread, threading.Thread)
    assert (thread.name, thread.daemon) == ("voice", True)
    thread.join()
    assert calls == [((1, "b"), {"c": 3}, thread)]
    ordinary = la.start_thread(target)
    assert not ordinary.daemon
    assert ordinary.name.startswith("Thread-")
    ordinary.join()
    assert calls[1][:2] == ((), {})


@locks_stack
def test_it_returns_before_the_target_does() -> None:
    go = threading.Event()
    thread = la.start_thread(go.wait, (10,))
    assert thread.is_alive()
    go.set()
    thread.join()


@locks_stack
@pytest.mark.parametrize("error", [KeyError("theirs"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_exceptions_go_to_the_hook_and_the_lock_is_released(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    hooked: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda said: hooked.append((said.exc_value, vm_lck())))
    before, inside = vm_lck(), []

    def target() -> None:
        inside.append(vm_lck())
        raise error

    la.start_thread(target).join()
    assert inside[0] > before
    assert hooked == [(error, before)]
    assert vm_lck() == before


@locks_stack
def test_many_at_once() -> None:
    seen = [Seen() for _ in range(8)]
    size = 64 * KiB if limit_counts() else SIZE
    started: list[threading.Thread] = []

    def start(each: Seen) -> None:
        started.append(la.start_thread(each, stack_bytes=size))

    starters = [threading.Thread(target=start, args=(each,)) for each in seen[:4]]
    for starter in starters:
        starter.start()
    for each in seen[4:]:
        start(each)
    for thread in [*starters, *started]:
        thread.join()
    assert all(each.locked == {True} for each in seen)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"stack_bytes": 0}, ValueError, "stack_bytes must be 32768 or more, not 0"),
    ({"stack_bytes": -1}, ValueError, "stack_bytes"),
    ({"stack_bytes": 1e6}, TypeError, "float"),
    ({"on_error": "ignore"}, ValueError, "on_error must be 'raise' or 'warn', not 'ignore'"),
    ({"args": 5}, TypeError, "int"),
    ({"target": None}, TypeError, "must be callable, not NoneType"),
    ({"kwargs": 5}, TypeError, "int"),
    ({"stack_bytes": 1 << 62}, MemoryError, "cannot lock 4 EiB"),
]


@pytest.mark.parametrize(("arguments", "error", "says"), BAD, ids=[str(arguments) for arguments, *_ in BAD])
def test_what_cannot_be_started(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    called: list[int] = []
    with pytest.raises(error, match=says):
        la.start_thread(**{"target": called.append, "args": (1,)} | arguments)
    assert called == []


UNDER_A_LIMIT = """
import threading, warnings
import lockedarray as la
from smaps import vm_lck
from thread_settings import stack_size
from thread_stack import locked, stack
called = []
def target():
    called.append(locked(*stack()))
def nothing_left():
    assert threading.enumerate() == [threading.main_thread()]
    assert stack_size() == 0 and vm_lck() == 0
try:
    la.start_thread(target)
except la.LockError as error:
    assert 'RLIMIT_MEMLOCK is' in str(error) and 'memlock' in error.fix, error
    assert 200 << 10 < error.requested <= 260 << 10, error.requested
else:
    raise SystemExit('not refused')
assert called == []
nothing_left()
try:  # warnings are errors
    la.start_thread(target, on_error='warn')
except la.LockWarning:
    pass
else:
    raise SystemExit('no warning')
assert called == []
nothing_left()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    la.start_thread(target, on_error='warn').join()
assert called == [{False}], called
assert [(w.category, w.filename) for w in caught] == [(la.LockWarning, '<string>')], caught
assert 'not locked, only resident' in str(caught[0].message)
nothing_left()
"""


@pytest.mark.parametrize("kib", [0, 64])
@pytest.mark.parametrize("who", ["ordinary", "namespace"])
def test_a_refused_lock(who: str, kib: int) -> None:
    run(UNDER_A_LIMIT, who=who, limits=f"ulimit -l {kib}")


def test_more_than_there_is() -> None:
    """Not tried without a limit: where memory is not looked at first, the system would end processes."""
    program = """
import re
import lockedarray as la
available = int(re.search(r'MemAvailable: *(\\d+)', open('/proc/meminfo').read())[1]) * 1024
try:
    la.start_thread(print, ('called',), stack_bytes=available + (64 << 20))
except (MemoryError, RuntimeError) as error:
    print(type(error).__name__, error)
"""
    said = run(program, who="ordinary", limits="ulimit -l 64")
    assert said.startswith(("MemoryError", "RuntimeError can't start")), said


@locks_stack
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_starts_one() -> None:
    """It finds neither the other's mutex nor the small size."""
    done = threading.Event()

    def keep_starting() -> None:
        while not done.is_set():
            la.start_thread(int).join()

    def child() -> object:
        seen: list[int] = []
        usual = stack_size()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            la.start_thread(seen.append, (1,), on_error="warn").join()
        return [usual, stack_size(), seen]

    thread = threading.Thread(target=keep_starting)
    thread.start()
    try:
        for _ in range(50):
            assert told_by_child(child) == [0, 0, [1]]
    finally:
        done.set()
        thread.join()
