"""Reading the limit on locked memory, and setting it for this process.

python memlock_limit.py [--lower KIB]
"""

from __future__ import annotations

import argparse
import resource
import sys

import lockedarray as la


def spoken(nbytes: int) -> str:
    return "unlimited" if nbytes == resource.RLIM_INFINITY else f"{nbytes // 1024} KiB"


def show(when: str) -> None:
    soft, hard = la.memlock_limit()
    print(f"{when}: soft {spoken(soft)}, hard {spoken(hard)}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Read and set the limit on locked memory.")
    parser.add_argument(
        "--lower", type=int, default=32, metavar="KIB", help="the soft limit to try (default: %(default)s)"
    )
    args = parser.parse_args()
    soft, hard = la.memlock_limit()
    show("as found")
    # Anyone may move the soft limit up to the hard one; the hard limit only goes down again.
    la.set_memlock_limit(hard)
    show("soft raised to hard")
    try:
        la.set_memlock_limit(args.lower * 1024)
    except (OSError, ValueError) as error:
        print(f"memlock_limit: {args.lower} KiB cannot be set: {error}", file=sys.stderr)
        return 1
    show("soft lowered")
    try:
        block = la.zeros(args.lower * 1024 + 1, "u1")
        print(f"{block.nbytes} bytes could be locked all the same: this process is privileged")
    except la.LockError as error:
        print(f"one byte more than that: {error}")
    la.set_memlock_limit(soft, hard)
    show("as found again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
