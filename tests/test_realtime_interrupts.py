"""Ctrl-C at any point of entering and leaving: nothing stays changed."""

from __future__ import annotations

import json

import pytest

from places import run

BEGIN = """
import json, os, signal, sys, time
import lockedarray as la
from thread_settings import changed, settings
package = os.path.dirname(la.__file__)
"""

# The interpreter looks for signals when a call of C returns and when a function of Python begins. A profiler
# that raises there does what a signal would, and at each point in turn.
INJECT = """
arguments = dict(priority=1, cpus=min(os.sched_getaffinity(0)), lock_memory={lock_memory})
def attempt(count, leaving):
    'Raise at the so-manieth point of the call; where that was, or None behind the last.'
    where = None
    def profile(frame, event, arg):
        nonlocal count, where
        if event not in ('call', 'c_return') or not frame.f_code.co_filename.startswith({within}):
            return
        if frame.f_code.co_name == '__exit__' or (frame.f_code.co_name, event) == ('_set_back', 'call'):
            return  # nothing has begun yet
        count -= 1
        if count == 0:
            name = os.path.basename(frame.f_code.co_filename)
            where = name + ', line ' + str(frame.f_lineno) + ', ' + getattr(arg, '__name__', 'a call')
            raise KeyboardInterrupt
    rt = la.realtime(**arguments)
    try:
        if leaving:
            rt.__enter__()
            sys.setprofile(profile)
            rt.__exit__(None, None, None)
        else:
            sys.setprofile(profile)
            rt.__enter__()
            sys.setprofile(None)
            rt.__exit__(None, None, None)
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return where
attempt(0, {leaving})
before = settings()
points = 0
left = {{}}
while (where := attempt(points + 1, {leaving})) is not None:
    points += 1
    if names := changed(before):
        left[where] = sorted(names)
        break
print(json.dumps([points, left]))
"""

TIMER = """
import random
random.seed(5)
longest = 0.0
hits = 0
def enter():
    with la.realtime(priority=1, cpus=min(os.sched_getaffinity(0))):
        signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.default_int_handler)
before = settings()
for trial in range(60):
    start = time.perf_counter()
    try:
        if trial > 2:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, longest))
        enter()
        longest = longest or time.perf_counter() - start
    except KeyboardInterrupt:
        hits += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    if names := changed(before):
        print(json.dumps([hits, sorted(names)]))
        raise SystemExit
print(json.dumps([hits, []]))
"""


@pytest.mark.parametrize("call", ["enter", "leave"])
def test_at_each_point(call: str) -> None:
    program = INJECT.format(leaving=call == "leave", lock_memory=False, within="package")
    points, left = json.loads(run(BEGIN + program))
    assert left == {}
    assert points > 40


@pytest.mark.no_limit
@pytest.mark.parametrize("call", ["enter", "leave"])
@pytest.mark.parametrize("file", ["process.py", "footing.py"])
def test_at_each_point_of_locking_memory(call: str, file: str) -> None:
    program = INJECT.format(leaving=call == "leave", lock_memory=True, within=f"package + '/{file}'")
    points, left = json.loads(run(BEGIN + program))
    assert left == {}
    assert points >= 2  # which are in this file


def test_it_goes_before_what_the_block_raised() -> None:
    """Else whoever handles that never hears of it."""
    program = """
def profile(frame, event, arg):
    if event == 'c_return' and arg.__name__ == 'os_set_timer_slack':
        sys.setprofile(None)
        raise KeyboardInterrupt
before = settings()
try:
    with la.realtime(lock_memory=False):
        sys.setprofile(profile)
        raise KeyError('theirs')
except BaseException as error:
    print(json.dumps([type(error).__name__, sorted(changed(before))]))
"""
    assert json.loads(run(BEGIN + program)) == ["KeyboardInterrupt", []]


def test_at_any_moment() -> None:
    hits, left = json.loads(run(BEGIN + TIMER))
    assert left == []
    assert hits > 5
