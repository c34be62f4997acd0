"""The yardstick of every allocation: the same system calls from C, without a library."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>

double lock_and_unmap(size_t bytes, int count)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < count; i++) {
        void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mlock(at, bytes) != 0 || munmap(at, bytes) != 0)
            return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / count;
}
"""


def lock_and_unmap(nbytes: int, count: int) -> Callable[[], float]:
    """Return a batch of mmap + mlock + munmap, compiled here and now."""
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory, "plain.c"), Path(directory, "plain.so")
        source.write_text(SOURCE)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
        call = ctypes.CDLL(str(library)).lock_and_unmap
    call.argtypes, call.restype = [ctypes.c_size_t, ctypes.c_int], ctypes.c_double

    def batch() -> float:
        ns: float = call(nbytes, count)
        if ns < 0:
            raise OSError("the yardstick could not map and lock: it needs the limit that ours needs")
        return ns

    return batch
