"""The kernel's books on this process, page by page: the tests' own reading, not the library's."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import numpy as np

PAGE = resource.getpagesize()


def vm_lck() -> int:
    """Bytes of VmLck."""
    return int(Path("/proc/self/status").read_text().split("VmLck:")[1].split()[0]) * 1024


def mappings() -> int:
    """How many mappings there are."""
    return Path("/proc/self/maps").read_text().count("\n")


def locked_pages(start: int, nbytes: int) -> list[bool]:
    """For each page of a range, whether it lies in a mapping that smaps calls locked."""
    locked = [False] * (nbytes // PAGE)
    first = last = 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            first, last = (int(bound, 16) for bound in found.groups())
        elif line.startswith("VmFlags:") and " lo" in line:
            for page in range(max(first, start), min(last, start + nbytes), PAGE):
                locked[(page - start) // PAGE] = True
    return locked


def unlocked_mappings() -> list[str]:
    """The mappings that could be locked, by their first lines, and are not."""
    unlocked = []
    name = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            name = line
        elif line.startswith("VmFlags:"):
            flags = line.split()[1:]
            # What the kernel leaves out: its own pages, and what grows no pages.
            special = {"io", "pf", "de", "mm"} & set(flags) or name.endswith("[vsyscall]")
            if "lo" not in flags and not special:
                unlocked.append(name)
    return unlocked


def address(a: np.ndarray) -> int:
    """Where an array's data begins."""
    return int(a.__array_interface__["data"][0])
