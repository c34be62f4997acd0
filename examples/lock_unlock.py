"""Locking an array that exists already, and giving it back.

python lock_unlock.py
"""

from __future__ import annotations

import sys

import numpy as np

import lockedarray as la


def main() -> int:
    samples = np.sin(np.arange(4096) / 10).astype(np.float32)  # any array, from anywhere
    print(f"before:  locked {la.is_locked(samples)}, {la.locked_bytes()} bytes in the process")
    try:
        lock = la.lock(samples)
    except la.LockError as error:
        print(f"lock_unlock: {error}", file=sys.stderr)
        return 1
    # Whole pages are locked, all that the array touches: a little more than samples.nbytes.
    print(
        f"after:   locked {la.is_locked(samples)}, {la.locked_bytes()} bytes in the process, "
        f"for an array of {samples.nbytes}"
    )
    with la.lock(samples[:1024]):
        print("         locks nest: this one covers a part of the first")
    print(f"nested:  locked {la.is_locked(samples)} when the inner lock is gone")
    lock.release()
    print(f"release: locked {la.is_locked(samples)}, {la.locked_bytes()} bytes in the process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
