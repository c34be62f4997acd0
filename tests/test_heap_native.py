"""The allocator by itself, in C: random use, each block looked at; under sanitizers; with parts left out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CSRC = TESTS.parent / "lockedarray" / "csrc"
CORE = [
    f"{name}.c"
    for name in ("os", "os_files", "hold_tree", "registry", "region", "mirror", "pool", "heap", "tlsf")
]
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"]
TIMES = 20 if os.environ.get("LOCKEDARRAY_TESTS") == "full" else 1

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def compiled(directory: Path, *options: str, source: str = "heap_fuzz.c", core: Path = CSRC) -> Path:
    program = directory / Path(source).stem
    sources = [TESTS / "native" / source, *(core / name for name in CORE)]
    subprocess.run(["gcc", *WARNINGS, *options, "-I", core, *sources, "-o", program], check=True)
    return program


def run(*command: str | Path, seconds: int = 60) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=seconds * TIMES,
    )


@pytest.mark.full
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("percent", [50, 75, 100])
def test_random_use(tmp_path: Path, threads: int, percent: int) -> None:
    program = compiled(tmp_path, "-O2")
    for seed in range(TIMES):
        ran = run(program, "200000", str(threads), str(percent), str(seed + 1))
        assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("threads", [1, 8])
def test_under_address_sanitizer(tmp_path: Path, threads: int) -> None:
    program = compiled(tmp_path, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    ran = run(program, str(100_000 * TIMES), str(threads), "100")
    assert ran.returncode == 0, ran.stdout


@pytest.mark.full
def test_eight_threads_under_thread_sanitizer(tmp_path: Path, thread_sanitizer: list[str]) -> None:
    program = compiled(tmp_path, "-O1", "-g", "-fsanitize=thread")
    ran = run(*thread_sanitizer, program, str(50_000 * TIMES), "8", "75")
    assert ran.returncode == 0, ran.stdout


def test_children_forked_from_the_midst_of_it(tmp_path: Path) -> None:
    program = compiled(tmp_path, "-O2")
    ran = run(program, "60000", "4", "50", "1", str(100 * TIMES))
    assert ran.returncode == 0, ran.stdout


def mutant(directory: Path, file: str, old: str, new: str) -> Path:
    copy = directory / "csrc"
    shutil.copytree(CSRC, copy)
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{file} has changed: what is to be left out stands there no more"
    (copy / file).write_text(text.replace(old, new))
    return copy


LEFT_OUT = {
    "the header's room": ("tlsf.c", "(nbytes + HEADER + TLSF_GRAIN - 1)", "(nbytes + TLSF_GRAIN - 1)"),
    "the alignment": ("tlsf.c", "block_of((char *)memory + TLSF_GRAIN)", "(struct tlsf_block *)memory"),
    "merging with the one before": (
        "tlsf.c",
        "    if (before != NULL && is_free(before)) {",
        "    if (before != NULL && is_free(before) && size_of(before) > 64) {",
    ),
    "telling the next block": ("tlsf.c", "    after(block)->before = block;\n}", "}"),
    "the bit of an empty list": (
        "tlsf.c",
        "    if (*head == NULL) {",
        "    if (*head == NULL && place.row > 0) {",
    ),
    "the sum": ("tlsf.c", "tlsf->in_use += size - old;", "tlsf->in_use += size;"),
    "looking at the size on the shelf": (
        "shelf.h",
        "if (shelf_has_size(place, size) &&",
        "if (place != 0 && (shelf_has_size(place, size) || 1) &&",
    ),
    "looking only where a take looks": (
        "tlsf.c",
        "look < LOOKS && may_be_listed",
        "look < 99 && may_be_listed",
    ),
    "the zeros": ("heap.c", "return memset(payload, 0, total);", "return memset(payload, 0, total / 2);"),
    "the content that moves": (
        "heap.c",
        "kept < nbytes ? kept : nbytes",
        "kept < nbytes ? kept / 2 : nbytes / 2",
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_is_left_out_is_noticed(tmp_path: Path, what: str) -> None:
    program = compiled(tmp_path, "-O2", core=mutant(tmp_path, *LEFT_OUT[what]))
    assert run(program, "200000", "1", "100").returncode != 0


# Each order, and the mutex: eight threads would not notice on every processor, but ThreadSanitizer does.

RELAXED = {
    "take": ("shelf.h", "&place, 0, memory_order_acquire", "&place, 0, memory_order_relaxed"),
    "put": ("shelf.h", "&empty, place, memory_order_release", "&empty, place, memory_order_relaxed"),
    "clear": ("shelf.h", "(place, 0, memory_order_acquire)", "(place, 0, memory_order_relaxed)"),
    "put in a full row": ("shelf.h", "memory_order_acq_rel", "memory_order_relaxed"),
    "no mutex": ("heap.c", "pthread_mutex_lock(&heap->mutex) != 0", "heap == NULL"),
}


@pytest.mark.full
@pytest.mark.parametrize("what", RELAXED)
def test_a_relaxed_order_is_a_race(tmp_path: Path, thread_sanitizer: list[str], what: str) -> None:
    core = mutant(tmp_path, *RELAXED[what])
    program = compiled(tmp_path, "-O1", "-g", "-fsanitize=thread", core=core)
    ran = run(*thread_sanitizer, program, "200000", "8", "75")
    assert "WARNING: ThreadSanitizer" in ran.stdout


# Priority


def waited(directory: Path, core: Path = CSRC) -> float:
    """For how many ms a thread of high priority waited for one of low priority."""
    ran = run(compiled(directory, "-O2", source="heap_priority.c", core=core))
    if ran.returncode == 77:
        pytest.skip("needs the right to SCHED_FIFO: CAP_SYS_NICE, or RLIMIT_RTPRIO of 30")
    assert ran.returncode == 0, ran.stdout
    return float(ran.stdout)


def test_who_is_waited_for_gets_the_priority(tmp_path: Path) -> None:
    assert waited(tmp_path) < 200


def test_with_another_mutex_a_third_thread_is_waited_for(tmp_path: Path) -> None:
    core = mutant(tmp_path, "heap.c", "PTHREAD_PRIO_INHERIT", "PTHREAD_PRIO_NONE")
    assert waited(tmp_path, core) > 300
