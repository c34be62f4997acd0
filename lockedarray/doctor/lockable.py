"""What of memory this process may lock, and what decides over it."""

from __future__ import annotations

import re
from resource import RLIM_INFINITY

from .. import fixes, room
from ..place import CAP_IPC_LOCK
from ..proc_text import status_bytes
from ..sizes import spoken
from .machine import Machine
from .question import Question, Verdict
from .trials import UNTRIED, named

_SMALL = 1 << 20  # less to lock than this, and ordinary rings do not fit

_PLACES = {
    "login": "a login of the user {}",
    "service": "the service {}",
    "user service": "a service of a user, under {}",
    "docker": "a container of Docker",
    "podman": "a container of Podman",
    "kubernetes": "a pod of Kubernetes",
    "container": "a container",
}


def soft_limit(machine: Machine) -> Verdict:
    return _judged(machine, _memlock(machine)[0], _lifted(machine))


def hard_limit(machine: Machine) -> Verdict:
    _, hard = _memlock(machine)
    return _judged(machine, hard, machine.place.fix)


def _judged(machine: Machine, limit: int, fix: str) -> Verdict:
    if limit == RLIM_INFINITY:
        return Verdict("ok", "unlimited")
    if _limitless(machine):
        return Verdict("ok", f"{spoken(limit)}, which a capability lifts (tried)")
    if limit == 0:
        return Verdict("fail", "0: nothing can be locked", fix)
    return Verdict("warn", spoken(limit), fix)


def locked(machine: Machine) -> Verdict:
    return Verdict("ok", f"{spoken(_locked(machine))} (VmLck)")


def left(machine: Machine) -> Verdict:
    if _limitless(machine):
        return Verdict("ok", "no limit ends it")
    soft, hard = _memlock(machine)
    rest = max(0, soft - _locked(machine))
    if rest >= _SMALL:
        return Verdict("ok", f"{spoken(rest)} of {spoken(soft)}")
    return Verdict("warn", f"{spoken(rest)} of {spoken(soft)}", _raised(machine, soft, hard))


def capability(machine: Machine) -> Verdict:
    if _memlock(machine)[0] == RLIM_INFINITY:
        return Verdict("ok", "not needed: there is no limit")
    if machine.trials.memlock_lifted:
        return Verdict("ok", "lifts the limit (tried)")
    shown = re.search(r"^CapEff:\s*([0-9a-f]{1,16})$", machine.text("proc/self/status"), re.MULTILINE)
    held = shown is not None and int(shown[1], 16) >> CAP_IPC_LOCK & 1
    finding = "shown, and lifts nothing (tried)" if held else "missing: the limit counts (tried)"
    return Verdict("warn", finding, _lifted(machine))


def page(machine: Machine) -> Verdict:
    error = machine.trials.lock_page
    if error == 0:
        return Verdict("ok", "locked, and released again (tried)")
    if error == UNTRIED:
        return Verdict("unknown", "it could not be tried")
    finding = f"refused: {named(error)}"
    soft, hard = _memlock(machine)
    if not _limitless(machine):
        return Verdict("fail", finding, _raised(machine, soft, hard))
    return Verdict(
        "fail",
        f"{finding}, though no limit counts",
        "free memory, or raise the memory limit of the control group; "
        "else look for a security module that forbids mlock",
    )


def user_namespace(machine: Machine) -> Verdict:
    machine.text("proc/self/uid_map")  # without which nothing is known
    if not machine.place.user_namespace:
        return Verdict("ok", "the machine's own")
    return Verdict(
        "warn",
        "another than the machine's own: capabilities do not count",
        "raise the limits of the user who starts it, or start the program outside of the namespace",
    )


def place(machine: Machine) -> Verdict:
    machine.text("proc/self/cgroup")
    finding = _PLACES[machine.place.kind].format(machine.place.name)
    if machine.place.kind in ("docker", "podman", "kubernetes", "container"):
        finding += "; the machine's settings are its host's"
    return Verdict("ok", finding)


def control_group(machine: Machine) -> Verdict:
    machine.text("proc/meminfo")
    tightest = min(room.bounds(machine.root), default=None)
    if tightest is None:
        raise ValueError("/proc/meminfo has no MemAvailable")
    if tightest.left >= room.LARGE:
        return Verdict("ok", tightest.sentence)
    return Verdict(
        "warn",
        tightest.sentence,
        "end what else takes memory there, or raise the limit of that control group "
        "('--memory' of docker and podman, resources.limits.memory of a pod, MemoryMax of a unit)",
    )


def _memlock(machine: Machine) -> tuple[int, int]:
    return machine.limit("Max locked memory")


def _limitless(machine: Machine) -> bool:
    return _memlock(machine)[0] == RLIM_INFINITY or machine.trials.memlock_lifted


def _locked(machine: Machine) -> int:
    return status_bytes(machine.text("proc/self/status"), "VmLck")


def _raised(machine: Machine, soft: int, hard: int) -> str:
    """Return how the soft limit is raised: up to the hard one anyone may."""
    return machine.place.fix if soft == hard else fixes.soft_limit("memlock", hard)


def _lifted(machine: Machine) -> str:
    return fixes.no_limit(machine.place, "memlock", _memlock(machine)[1])


QUESTIONS = (
    Question(
        "memlock soft limit",
        "Arrays, rings and locks together may not lock more, and under any limit lock_all() is "
        "refused, since it would let allocations fail later.",
        soft_limit,
    ),
    Question("memlock hard limit", "A process can raise its soft limit so far by itself.", hard_limit),
    Question("locked memory", "So much of this process stays in RAM; a ring counts twice.", locked),
    Question("left to lock", "An array may be so large, a ring half of that.", left),
    Question("CAP_IPC_LOCK", "With it no limit on locked memory counts.", capability),
    Question(
        "lock of a page", "What cannot be locked can be paged out, and then the loop waits for a disk.", page
    ),
    Question("user namespace", "In one of its own a process obeys its limits even as root.", user_namespace),
    Question("place", "Here it is decided how limits are raised.", place),
    Question(
        "memory for locks",
        "Locks beyond it stall, or call the OOM killer, which ends programs instead of refusing memory.",
        control_group,
    ),
)
