"""Lock two pages, skip two: which pages of an array are in memory, as the kernel sees it.

python residency_map.py
"""

from __future__ import annotations

import mmap
import sys

import numpy as np

import lockedarray as la

PAGES = 16
PAGE = mmap.PAGESIZE


def main() -> int:
    # Fresh anonymous memory, in no page of which anybody has written yet.
    memory = mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)  # or one touch may bring in more than a page
    pages = np.frombuffer(memory, np.uint8).reshape(PAGES, PAGE)
    print(la.residency_map(pages), " untouched")
    try:
        locks = [la.lock(pages[first : first + 2]) for first in range(0, PAGES, 4)]
    except la.LockError as error:
        print(f"residency_map: {error}", file=sys.stderr)
        return 1
    print(la.residency_map(pages), " two locked, two skipped")
    pages[2] = 1
    print(la.residency_map(pages), " the third page written to")
    for lock in locks:
        lock.release()
    print(la.residency_map(pages), " unlocked: still there, until someone needs the memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
