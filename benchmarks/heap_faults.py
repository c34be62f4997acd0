"""What still takes page faults with a heap: operations of NumPy, each in a process of its own.

    python benchmarks/heap_faults.py [--json] [--thread] [WORD ...]

The first call is not counted; of five more stand the median and, in brackets, the most. Each operation has a
process of its own, and inputs that were made in a heap: malloc learns from what is freed, and what others
taught it would be counted for the operation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np

import lockedarray as la

MODES = ("NumPy's own", "heap", "heap, tuned")
CALLS = 5
WIDE = "random = np.random.default_rng(1); a, b, c, d = (random.random(n, 'f4') for _ in range(4))"
MANY = f"""{WIDE}
f8, i2 = random.random(n), (a * 30000).astype('i2')
index, mask, few = random.permutation(n), a > 0.5, (a * 1000).astype('i4')
masked, rows = np.ma.array(a, mask=mask), a.reshape(16, -1)
windows = np.lib.stride_tricks.sliding_window_view(a, 8)
"""
SQUARE = "random = np.random.default_rng(1); m, v = random.random((n, n)) + n * np.eye(n), random.random(n)"
SIGNAL = "random = np.random.default_rng(1); f8 = random.random(n); f4 = f8.astype('f4')"
SIGNAL += "; z = random.random(n // 2 + 1) + 1j; z4 = z.astype('c8')"
TEXT = """random = np.random.default_rng(1)
import io, os, tempfile
f8 = random.random(n)
words = np.array([f'word {k % 1000}' for k in range(n)])
lines = [f'{x:.6f} {x:.3f}' for x in f8]
file = os.memfd_create('numbers')
os.write(file, ' '.join(f'{x:.6f}' for x in f8).encode())
path = f'/proc/self/fd/{file}'
records = np.zeros(n, [('key', 'i4'), ('value', 'f8')])
records['key'] = random.permutation(n)
"""
# What is made first, sizes, statements.
OPERATIONS: tuple[tuple[str, tuple[int, ...], tuple[str, ...]], ...] = (
    (WIDE, (256, 4096, 1 << 18, 1 << 20, 1 << 24), ("a*b + c*d",)),
    (
        MANY,
        (1 << 16, 1 << 20),
        (
            "np.sort(a)",
            "np.sort(a, kind='stable')",
            "np.sort(i2, kind='stable')",
            "np.argsort(a)",
            "np.argsort(a, kind='stable')",
            "np.lexsort((a, few))",
            "a.sum()",
            "a.mean()",
            "a.std()",
            "i2.sum(dtype='f8')",
            "i2.mean(dtype='f8')",
            "i2.std(dtype='f8')",
            "rows.sum(axis=0)",
            "np.cumsum(a)",
            "np.convolve(a, a[:16])",
            "np.correlate(a, a[:16])",
            "a[index]",
            "a[mask]",
            "np.take(a, index)",
            "np.where(mask, a, b)",
            "np.nonzero(mask)",
            "np.concatenate([a, b])",
            "np.stack([a, b], axis=1)",
            "np.unique(few)",
            "np.unique(index)",
            "np.bincount(few)",
            "np.histogram(a, 50)",
            "np.searchsorted(f8, a)",
            "i2 + f8",
            "a.astype('f8')",
            "np.add(i2, f8, dtype='f4', casting='unsafe')",
            "a[::-1] + 0",
            "np.clip(a, 0.2, 0.8)",
            "np.tanh(a) * np.sqrt(a)",
            "np.einsum('i,i->', a, b)",
            "np.einsum('i,i->i', a, b)",
            "np.einsum('i,i->', i2, f8)",
            "a @ b",
            "rows @ rows.T",
            "i2 @ i2",
            "np.interp(a, f8[:100], f8[:100])",
            "np.pad(a, 64, mode='reflect')",
            "np.roll(a, 5)",
            "np.diff(a)",
            "np.random.default_rng(1).standard_normal(n)",
            "random.permutation(a)",
            "np.linspace(0, 1, n)",
            "np.arange(n)",
            "np.percentile(a, 90)",
            "np.median(a)",
            "np.partition(a, n // 2)",
            "windows.sum(axis=1)",
            "windows.std(axis=1)",
            "masked * 2 + masked",
            "masked.sum()",
            "a.tobytes()",
            "a.tolist()",
        ),
    ),
    (
        SQUARE,
        (64, 500),
        (
            "m @ m",
            "m @ v",
            "m.T + m",
            "np.linalg.solve(m, v)",
            "np.linalg.inv(m)",
            "np.linalg.svd(m)",
            "np.linalg.eigh(m)",
            "np.linalg.qr(m)",
            "np.linalg.lstsq(m, v)",
            "np.fft.fft2(m)",
        ),
    ),
    (
        SIGNAL,
        (1024, 1 << 16, 1 << 20),
        (
            "np.fft.rfft(f8)",
            "np.fft.rfft(f4)",
            "np.fft.irfft(z)",
            "np.fft.irfft(z4)",
            "np.fft.fft(f8)",
            "np.fft.ifft(z)",
        ),
    ),
    (SIGNAL, (65521,), ("np.fft.rfft(f8)",)),  # a prime: by Bluestein's way
    (
        TEXT,
        (1 << 15,),
        (
            "np.strings.upper(words)",
            "np.strings.add(words, words)",
            "words == 'word 5'",
            "np.sort(words)",
            "words.astype('T')",
            "words.astype(object)",
            "np.sort(records, order='key')",
            "records['value'] * 2",
            "np.loadtxt(lines)",
            "np.fromfile(path, sep=' ')",
            "np.array(lines)",
            "f8.astype('U12')",
        ),
    ),
)


def cases(words: list[str]) -> Iterator[tuple[int, int, int]]:
    """Yield where each operation stands: its group, size and statement."""
    for g, (_, sizes, statements) in enumerate(OPERATIONS):
        for k, statement in enumerate(statements):
            for n in sizes:
                if not words or any(word in f"{statement} {n}" for word in words):
                    yield g, n, k


def count(mode: str, g: int, n: int, k: int) -> list[int]:
    """Return the page faults of each call but the first, in this process and thread."""
    if mode == MODES[2]:
        la.tune_malloc()
    setup, _, statements = OPERATIONS[g]
    names: dict[str, object] = {"np": np, "n": n}
    active = la.Heap(n * 50 + (96 << 20)).activate()
    exec(setup, names)
    if mode == MODES[0]:
        active.__exit__(None, None, None)
    code = compile(statements[k], "statement", "eval")
    counts = []
    names["kept"] = eval(code, names)
    for _ in range(CALLS):
        names["kept"] = None  # as a loop drops what its last turn has made
        with la.page_faults() as faults:
            names["kept"] = eval(code, names)
        counts.append(faults.total)
    return counts


def one(mode: str, g: int, n: int, k: int, thread: bool) -> None:
    """Print the counts of one operation; the work of a child."""
    counts: list[int] = []
    if thread:
        worker = threading.Thread(target=lambda: counts.extend(count(mode, g, n, k)))
        worker.start()
        worker.join()
    else:
        counts = count(mode, g, n, k)
    print(json.dumps(counts))


def in_child(mode: str, g: int, n: int, k: int, thread: bool) -> list[int]:
    """Return the counts of one operation in a process that did nothing before."""
    # One thread of BLAS: only the faults of the thread that counts are seen.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    arguments = [__file__, "--one", json.dumps([mode, g, n, k, thread])]
    ran = subprocess.run([sys.executable, "-P", *arguments], env=environment, stdout=subprocess.PIPE)
    if ran.returncode:
        sys.exit(ran.returncode)
    counts: list[int] = json.loads(ran.stdout)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="only operations that hold one, as 'fft'")
    parser.add_argument("--thread", action="store_true", help="in a second thread, not in the first")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        try:
            one(*json.loads(args.one))
        except la.LockError as error:
            print(f"heap_faults: {error}", file=sys.stderr)
            return 1
        return 0
    chosen = list(cases(args.words))
    if not chosen:
        parser.error(f"no operation holds {' or '.join(args.words)}")
    results = []
    for g, n, k in chosen:
        name = f"{OPERATIONS[g][2][k]}  {n:,}"
        if sys.stderr.isatty():
            print(f"\r{name:60.60}", end="\r", file=sys.stderr, flush=True)
        counts = {mode: in_child(mode, g, n, k, args.thread) for mode in MODES}
        results.append((OPERATIONS[g][2][k], n, counts))
    if args.json:
        print(json.dumps([{"statement": s, "n": n, "faults": counts} for s, n, counts in results], indent=1))
        return 0
    with la.page_faults() as faults:
        pass
    print(f"{platform.machine()}, Linux {platform.release()}, {' '.join(platform.libc_ver())}, ", end="")
    print(f"NumPy {np.__version__}; page faults of a call, counted by {faults.source}")
    print(f"{'':56}" + "".join(f"{mode:>16}" for mode in MODES))
    for statement, n, counts in results:
        cells = (f"{statistics.median(c):.0f} ({max(c)})" for c in counts.values())
        print(f"{statement:46}{n:>10,}" + "".join(f"{cell:>16}" for cell in cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
