"""Locking a table and a ring only: kilobytes, where locking the whole process takes megabytes.

python table_and_ring.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import lockedarray as la


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def main() -> int:
    x = np.linspace(-1, 1, 1023)
    try:
        curve = la.LookupTable(np.tanh(3 * x).astype(np.float32), start=-1.0, stop=1.0)
        ring = la.RingBuffer(1024, channels=2)
    except la.LockError as error:
        print(f"table_and_ring: {error}", file=sys.stderr)
        return 1
    print(
        f"locked:   {la.locked_bytes() // 1024} KiB: a table of {curve.values.size} points, and "
        f"a ring of {ring.capacity} frames, which is mapped twice"
    )
    print(f"resident: {resident_bytes() // 1024} KiB in the whole process, the rest not locked")

    noise = np.random.default_rng(1).uniform(-1, 1, (256, 2)).astype(np.float32)
    block = np.empty_like(noise)

    def through_both(blocks: int) -> None:
        for _ in range(blocks):
            ring.write(noise)
            ring.read_into(block)
            curve(block, out=block)

    through_both(1)  # the code itself may fault the first time
    with la.page_faults() as faults:
        through_both(1000)
    print(
        f"1000 blocks through both: {1000 * len(block)} frames, largest {block.max():.3f}, "
        f"page faults {faults.total} (counted by {faults.source})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
