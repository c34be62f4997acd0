"""The floor under a ring between two threads: memcpy into memory and out of it, in turns, and no more."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct turns {
    char *between;
    size_t bytes, blocks;
    int count;
    _Atomic int turn;
};

struct side {
    struct turns *turns;
    int me, cpu;
    double ns;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void *take_turns(void *argument)
{
    struct side *side = argument;
    struct turns *turns = side->turns;
    size_t bytes = turns->bytes, all = 2 * turns->blocks * bytes, at = side->me ? 0 : all / 2;
    char *own = calloc(1, bytes);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(side->cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    for (int turn = 0; own != NULL && turn < turns->count; turn++) {
        while (atomic_load(&turns->turn) != side->me)
            sched_yield();
        double begin = now();
        for (size_t k = 0; k < turns->blocks; k++, at = (at + bytes) % all)
            if (side->me == 0)
                memcpy(turns->between + at, own, bytes);
            else
                memcpy(own, turns->between + at, bytes);
        atomic_thread_fence(memory_order_seq_cst); /* until the stores are done */
        side->ns += now() - begin;
        atomic_store(&turns->turn, 1 - side->me);
    }
    free(own);
    return NULL;
}

double in_turns(size_t bytes, size_t blocks, int count, int writer_cpu, int reader_cpu)
{
    struct turns turns = {calloc(2 * blocks, bytes), bytes, blocks, count, 0};
    struct side sides[2] = {{&turns, 0, writer_cpu, 0}, {&turns, 1, reader_cpu, 0}};
    pthread_t threads[2];
    double none = 1e9; /* what timing nothing takes */
    for (int k = 0; k < 100; k++) {
        double begin = now(), ns = now() - begin;
        none = ns < none ? ns : none;
    }
    for (int k = 0; k < 2; k++)
        if (turns.between == NULL || pthread_create(&threads[k], NULL, take_turns, &sides[k]) != 0)
            abort();
    for (int k = 0; k < 2; k++)
        pthread_join(threads[k], NULL);
    free(turns.between);
    return (sides[0].ns + sides[1].ns - 2 * none * count) / ((double)count * blocks);
}
"""


def memcpy_in_turns(nbytes: int, blocks: int, turns: int, cpus: tuple[int, int]) -> Callable[[], float]:
    """Return a batch: ns for one block in and out, through memory that holds twice as many as a turn has."""
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory, "turns.c"), Path(directory, "turns.so")
        source.write_text(SOURCE)
        subprocess.run(["cc", "-O2", "-pthread", "-shared", "-fPIC", source, "-o", library], check=True)
        call = ctypes.CDLL(str(library)).in_turns
    call.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    call.restype = ctypes.c_double

    def batch() -> float:
        ns: float = call(nbytes, blocks, turns, *cpus)
        return ns

    return batch
