"""Every test begins without what others left, and with as much memory to lock as it says it needs."""

from __future__ import annotations

import gc
import os
import subprocess

import pytest

import lockedarray as la
from lockedarray.limits import limit_counts


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "locks(nbytes): needs to lock so much memory")
    config.addinivalue_line("markers", "full: takes long; LOCKEDARRAY_TESTS=full runs it, as CI does")
    config.addinivalue_line("markers", "no_limit: needs to lock all of the process's memory")


def pytest_runtest_setup(item: pytest.Item) -> None:
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()  # what pytest itself is made of: a collection before each test would take 30 ms
    for marker in item.iter_markers("locks"):
        try:
            la.empty(marker.args[0], "u1")
        except la.LockError:
            pytest.skip(f"needs to lock {marker.args[0]:,} bytes")
    if item.get_closest_marker("full") and os.environ.get("LOCKEDARRAY_TESTS") != "full":
        pytest.skip("needs LOCKEDARRAY_TESTS=full, for it takes long")
    if item.get_closest_marker("no_limit") and limit_counts():
        pytest.skip("needs to lock without a limit: RLIMIT_MEMLOCK unlimited, or CAP_IPC_LOCK")


@pytest.fixture(scope="session")
def thread_sanitizer(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What comes before a program under ThreadSanitizer: it may need its addresses where they were."""
    directory = tmp_path_factory.mktemp("sanitizer")
    (directory / "nothing.c").write_text("int main(void) { return 0; }\n")
    nothing = [str(directory / "nothing")]
    build = ["gcc", "-fsanitize=thread", str(directory / "nothing.c"), "-o", *nothing]
    if subprocess.run(build, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("needs gcc's ThreadSanitizer: Debian's libtsan2, which libgcc-12-dev brings")
    for before in [], ["setarch", "-R"]:
        trials = [subprocess.run([*before, *nothing], stderr=subprocess.DEVNULL) for _ in range(8)]
        if all(trial.returncode == 0 for trial in trials):
            return before
    pytest.skip("needs the right to switch address randomization off (setarch -R), or vm.mmap_rnd_bits=28")


@pytest.fixture
def heap() -> la.Heap:
    """One of 1 MiB, which is not active."""
    return la.Heap(1 << 20)
