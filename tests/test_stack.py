"""prefault_stack: calls below take no fault, and never a crash, however deep was asked and the stack is."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lockedarray as la
from places import run
from smaps import PAGE

DEEP = """
int deep(long bytes)
{
    volatile char frame[1000];
    frame[0] = 1;
    return frame[0] + (bytes > 0 ? deep(bytes - (long)sizeof frame) : 0);
}
"""


@pytest.fixture(scope="module")
def deep() -> Iterator[str]:
    """A function of C that calls itself until its frames take so many bytes; every user may load it."""
    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        library = f"{directory}/deep.so"
        command = ["gcc", "-O1", "-fPIC", "-shared", "-x", "c", "-", "-o", library]
        try:
            subprocess.run(command, input=DEEP, text=True, check=True)
        except FileNotFoundError:
            pytest.skip("needs gcc")
        yield library


NESTED = """
import ctypes, threading, warnings
import lockedarray as la
warnings.simplefilter('ignore', la.LockWarning)
deep = ctypes.CDLL({library!r}).deep
def count():
    deep(0)
    {before}
    with la.page_faults() as faults:
        deep(1000 << 10)
    print(faults.total)
{start}
"""
MAIN = "count()"
OTHER = """
threading.stack_size(4 << 20)
thread = threading.Thread(target=count)
thread.start()
thread.join()
"""
PREFAULT = "la.prefault_stack()"
REALTIME = "held = la.realtime(lock_memory=False); held.__enter__()"


@pytest.mark.parametrize(
    ("start", "before"),
    [
        (MAIN, PREFAULT),
        (MAIN, REALTIME),
        (OTHER, PREFAULT),
        (OTHER, REALTIME),
        ("la.start_thread(count, stack_bytes=2 << 20, on_error='warn').join()", "pass"),
    ],
    ids=["main", "main, realtime", "another", "another, realtime", "start_thread"],
)
def test_nested_calls_fault_at_least_8_times_less(deep: str, start: str, before: str) -> None:
    faults = int(run(NESTED.format(library=deep, start=start, before=before)))
    assert control(deep, MAIN if start == MAIN else OTHER) >= max(8 * faults, 200)


def test_also_where_start_thread_could_not_lock_it(deep: str) -> None:
    start = "la.start_thread(count, stack_bytes=2 << 20, on_error='warn').join()"
    program = NESTED.format(library=deep, start=start, before="assert la.locked_bytes() == 0")
    faults = int(run(program, who="ordinary", limits="ulimit -l 0"))
    assert control(deep, OTHER) >= 8 * faults


@functools.cache
def control(deep: str, start: str) -> int:
    return int(run(NESTED.format(library=deep, start=start, before="pass")))


@given(st.integers(0, 3 << 20))
def test_it_touches_whole_pages(nbytes: int) -> None:
    assert la.prefault_stack(nbytes) == nbytes // PAGE * PAGE


@pytest.mark.parametrize(
    ("nbytes", "error", "says"),
    [
        (-1, ValueError, "cannot be negative: -1"),
        (1.5, TypeError, "float"),
        ("1", TypeError, "str"),
    ],
)
def test_what_cannot_be_meant(nbytes: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        la.prefault_stack(nbytes)


@pytest.mark.parametrize("nbytes", [1 << 40, 1 << 62, 1 << 80])
def test_it_ends_where_the_stack_ends(nbytes: int) -> None:
    program = f"import lockedarray as la; print(la.prefault_stack({nbytes}))"
    assert (480 << 10) < int(run(program, limits="ulimit -s 512")) < (512 << 10)
    program = f"""
import lockedarray as la
try:
    la.prefault_stack({nbytes})
except MemoryError as error:
    print(error)
"""
    assert "of memory are available" in run(program, limits="ulimit -s unlimited")


SIZES = """
import json, sys, threading
import lockedarray as la
from smaps import PAGE
from thread_stack import stack
ASKED = 0, 1, PAGE - 1, PAGE, 100_001, 1 << 20, 8 << 20, 64 << 20
{before}
def touch():
    for asked in ASKED:
        touched = la.prefault_stack(asked)
        assert touched % PAGE == 0 and 0 <= touched <= asked, (asked, touched)
        told.append(touched)
    assert told == sorted(told)
for size in (32 << 10, 100_000, 256 << 10, 1 << 20, {largest}):
    told = []
    threading.stack_size(size)
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    assert told[3:4] == [PAGE] and size // 2 - PAGE < told[-1] <= 4 * size, (size, told)
told = []
touch()
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("kib", "least", "most"),
    [("256", 64, 256), ("1024", 512, 1024), ("8192", 4096, 8192), ("unlimited", 8192, 65536)],
)
def test_never_a_crash(kib: str, least: int, most: int) -> None:
    told = json.loads(run(SIZES.format(before="", largest="8 << 20"), limits=f"ulimit -s {kib}"))
    assert told[:4] == [0, 0, 0, PAGE]
    assert least <= told[-1] >> 10 <= most


@pytest.mark.parametrize("kib", ["256", "8192"])
def test_never_a_crash_under_lock_all_and_a_limit(kib: str) -> None:
    before = "everything = la.lock_all(current=False, force=True)"
    program = SIZES.format(before=before, largest="2 << 20")
    run(program, who="ordinary", limits=f"ulimit -l 8192 && ulimit -s {kib}")


def test_a_locked_stack_grows_to_the_limit_on_locked_memory() -> None:
    program = """
import ctypes
import lockedarray as la
from pathlib import Path
line = next(line for line in Path('/proc/self/maps').read_text().splitlines() if line.endswith('[stack]'))
start, end = (int(bound, 16) for bound in line.split()[0].split('-'))
assert ctypes.CDLL(None).mlock(ctypes.c_void_p(start), ctypes.c_size_t(end - start)) == 0
print(la.prefault_stack(8 << 20), la.locked_bytes())
"""
    limits = "ulimit -l 2048 && ulimit -s 16384"
    touched, locked = map(int, run(program, who="ordinary", limits=limits).split())
    assert touched < locked
    assert (2 << 20) - PAGE <= locked <= 2 << 20
