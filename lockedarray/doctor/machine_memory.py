"""The machine's settings that move, merge or page out memory."""

from __future__ import annotations

import re

from ..sizes import spoken
from .machine import Machine
from .question import Question, Verdict

_THP = "sys/kernel/mm/transparent_hugepage/enabled"
_KSM = "sys/kernel/mm/ksm/run"
_CALM = 10  # a swappiness up to which the kernel pages out files first
_FULL = 0.9


def swap(machine: Machine) -> Verdict:
    areas = _swaps(machine)
    if not areas:
        return Verdict("ok", "none")
    finding = ", ".join(f"{spoken(size)} on {name}" for name, size in areas)
    zswap = "sys/module/zswap/parameters/enabled"
    if (machine.root / zswap).exists() and machine.text(zswap) == "Y":
        finding += ", compressed in RAM first (zswap)"
    return Verdict(
        "warn",
        finding,
        f"lock what the loop touches (lockedarray.lock_all()); or {machine.outside}run 'sudo swapoff -a'; "
        "to keep it off, take its lines out of /etc/fstab or disable its unit (systemctl list-units -t swap)",
    )


def swappiness(machine: Machine) -> Verdict:
    value = machine.number("proc/sys/vm/swappiness")
    if not _swaps(machine):
        return Verdict("ok", f"{value}, of no effect without swap")
    if value <= _CALM:
        return Verdict("ok", str(value))
    return Verdict("warn", str(value), machine.sysctl("vm.swappiness", _CALM))


def huge_pages(machine: Machine) -> Verdict:
    if machine.lacks("sys/kernel/mm/transparent_hugepage"):
        return Verdict("ok", "this kernel has none")
    chosen = re.search(r"\[(\w+)\]", machine.text(_THP))
    if chosen is None:
        raise ValueError(f"/{_THP} has no word in brackets")
    if chosen[1] == "always":
        return Verdict("warn", "always", machine.sysfs(f"/{_THP}", "madvise"))
    return Verdict("ok", chosen[1])


def unevictable(machine: Machine) -> Verdict:
    return _zero(machine, "vm.compact_unevictable_allowed")


def proactive(machine: Machine) -> Verdict:
    return _zero(machine, "vm.compaction_proactiveness")


def numa_balancing(machine: Machine) -> Verdict:
    return _zero(machine, "kernel.numa_balancing")


def _zero(machine: Machine, sysctl: str) -> Verdict:
    """Judge a sysctl that should be 0."""
    file = f"proc/sys/{sysctl.replace('.', '/')}"
    if machine.lacks(file):
        return Verdict("ok", "this kernel has no such thing")
    value = machine.number(file)
    return Verdict("ok", "0") if value == 0 else Verdict("warn", str(value), machine.sysctl(sysctl, 0))


def ksm(machine: Machine) -> Verdict:
    if machine.lacks("sys/kernel/mm/ksm"):
        return Verdict("ok", "this kernel has no such thing")
    run = machine.number(_KSM)
    if run != 1:
        return Verdict("ok", f"off ({run})")
    return Verdict("warn", "on (1)", machine.sysfs(f"/{_KSM}", "2"))


def mappings(machine: Machine) -> Verdict:
    most = machine.number("proc/sys/vm/max_map_count")
    with open(machine.root / "proc/self/maps", "rb") as maps:
        made = sum(1 for _ in maps)
    finding = f"{made:,} mappings of {most:,}"
    if made < _FULL * most:
        return Verdict("ok", finding)
    return Verdict("warn", finding, machine.sysctl("vm.max_map_count", max(262144, 4 * most)))


def page_size(machine: Machine) -> Verdict:
    with open(machine.root / "proc/self/smaps", errors="replace") as smaps:  # the first mapping will do
        for line in smaps:
            if found := re.fullmatch(r"KernelPageSize:\s*(\d{1,10}) kB\s*", line, re.ASCII):
                return Verdict("ok", spoken(int(found[1]) * 1024))
    raise ValueError("/proc/self/smaps has no KernelPageSize")


def _swaps(machine: Machine) -> list[tuple[str, int]]:
    """Return each area's name and its size in bytes."""
    rows = [line.split() for line in machine.text("proc/swaps").splitlines()[1:]]
    return [(row[0], int(row[2]) * 1024) for row in rows if len(row) > 2]


QUESTIONS = (
    Question(
        "swap",
        "What is not locked can be paged out to it; the next touch waits for it, up to tens of milliseconds.",
        swap,
    ),
    Question("swappiness", "The higher, the sooner memory that is not locked goes to swap.", swappiness),
    Question(
        "transparent huge pages",
        "Under 'always' a first touch may clear 2 MiB at once, and khugepaged moves any program's pages.",
        huge_pages,
    ),
    Question(
        "compact_unevictable_allowed",
        "Under 1 compaction moves locked pages too; a loop that touches one meanwhile faults and waits.",
        unevictable,
    ),
    Question(
        "proactive compaction",
        "The kernel moves pages about in the background; a loop that touches one meanwhile faults and waits.",
        proactive,
    ),
    Question(
        "NUMA balancing",
        "It unmaps pages, locked ones too, to see by a minor fault which node's processor touches them.",
        numa_balancing,
    ),
    Question(
        "KSM",
        "It merges equal pages of programs that allow it; the next write to such a page is a minor fault.",
        ksm,
    ),
    Question(
        "max_map_count",
        "A process that has so many mappings can neither map nor lock, nor release a part of a mapping.",
        mappings,
    ),
    Question("page size", "Locks and arrays count in whole pages.", page_size),
)
