"""When the calling thread runs: its policy, its processors, its timers, and how deep processors sleep."""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from . import fixes, place
from ._native import ffi, lib
from .fixes import CPU_DMA_LATENCY
from .setting import Refused, Setting

if TYPE_CHECKING:
    from ._native import _Scheduling

POLICIES = {"fifo": os.SCHED_FIFO, "rr": os.SCHED_RR, "deadline": 6}
_NAMES = {
    os.SCHED_OTHER: "SCHED_OTHER",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
    **{number: f"SCHED_{name.upper()}" for name, number in POLICIES.items()},
}
_RESET_ON_FORK = 1


class Scheduler(Setting):
    """Policy and priority of the thread, or runtime, deadline and period (ns) of SCHED_DEADLINE."""

    name = "scheduler"

    def __init__(self, policy: str, priority: int, times: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._wanted = _new(policy=POLICIES[policy], priority=priority)
        self._wanted.runtime, self._wanted.deadline, self._wanted.period = times
        self.asked = _described(self._wanted)
        self._before: _Scheduling | None = None
        self._slack = 0

    def now(self) -> str:
        return _described(_current())

    def take(self) -> None:
        self._slack = lib.os_timer_slack()
        self._before = _current()
        self._wanted.flags = self._before.flags & _RESET_ON_FORK  # which not everybody may take away
        if (error := lib.os_schedule(self._wanted)) < 0:
            self._before = None
            raise self._refused(-error)

    def undo(self) -> None:
        before = self._before
        if before is None:
            return
        error = lib.os_schedule(before)
        if self._slack > 0:  # which a real-time policy takes away, and another sets to its default
            lib.os_set_timer_slack(self._slack)
        self._before = None
        if error < 0:
            raise OSError(
                -error, f"cannot set the scheduler back to {_described(before)}: {os.strerror(-error)}"
            )

    def _refused(self, code: int) -> Refused:
        reason = f"the kernel refuses {self.asked} to this thread"
        if self._wanted.policy == POLICIES["deadline"]:
            return _deadline_refused(code, reason)
        soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
        wanted = self._wanted.priority
        figures = f"RLIMIT_RTPRIO is {_bound(soft)} (hard limit {_bound(hard)})"
        if soft != resource.RLIM_INFINITY and wanted > soft and not place.capable(place.CAP_SYS_NICE):
            if hard == resource.RLIM_INFINITY or wanted <= hard:
                fix = fixes.soft_limit("rtprio", hard)
            else:
                fix = f"to raise the limit, {place.find().fix_for('rtprio')}"
            return Refused(code, f"{reason}: {figures}", fix)
        return Refused(
            code,
            f"{reason}, though {figures}: its control group or a seccomp filter does",
            "Where cpu.rt_runtime_us of its control group (version 1) is 0, write 950000 to it; in a "
            "container allow the system call sched_setattr",
        )


class Affinity(Setting):
    """The processors that the thread may run on."""

    name = "processors"

    def __init__(self, cpus: Iterable[int]) -> None:
        self._wanted = set(cpus)
        self.asked = _listed(self._wanted)
        self._before: set[int] | None = None

    def now(self) -> str:
        return _listed(os.sched_getaffinity(0))

    def take(self) -> None:
        self._before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, self._wanted)
        except (OSError, OverflowError) as error:
            self._before = None
            raise self._refused(getattr(error, "errno", errno.EINVAL)) from error
        if os.sched_getaffinity(0) != self._wanted:
            self.undo()
            raise self._refused(errno.EINVAL)

    def undo(self) -> None:
        if self._before is not None:
            os.sched_setaffinity(0, self._before)
            self._before = None

    def _refused(self, code: int) -> Refused:
        if code == errno.EBUSY:
            return Refused(code, "the thread runs at SCHED_DEADLINE, on all processors", "Leave cpus out")
        usable = _usable()
        fix = f"Choose of {_listed(usable)}"
        if len(usable) < (os.cpu_count() or 1):
            fix += ", or widen its cpuset ('docker run --cpuset-cpus', AllowedCPUs= of a unit)"
        missing = _listed(self._wanted - usable)
        return Refused(code, f"this process may not run on {missing}, only on {_listed(usable)}", fix)


class TimerSlack(Setting):
    """How late, in ns, the kernel may wake an ordinary thread to save a wake-up. Real-time ones have none."""

    name = "timer slack"

    def __init__(self, slack: int) -> None:
        self._slack = slack
        self.asked = f"{slack} ns"
        self._before = 0

    def now(self) -> str:
        return f"{lib.os_timer_slack()} ns"

    def take(self) -> None:
        before = lib.os_timer_slack()
        if before > self._slack:  # not under a real-time policy, where it is 0
            self._before = before
            lib.os_set_timer_slack(self._slack)

    def undo(self) -> None:
        if self._before > 0:
            lib.os_set_timer_slack(self._before)
            self._before = 0


class IdleLatency(Setting):
    """How long, in us, a processor may take to wake from idling: held for as long as a file is open."""

    name = "idle latency"

    _held: ClassVar[set[BinaryIO]] = set()

    def __init__(self, microseconds: int) -> None:
        self._microseconds = microseconds
        self.asked = f"{microseconds} us"
        self._file: BinaryIO | None = None

    def now(self) -> str:
        return self.asked if self._file in IdleLatency._held else "not held"

    def take(self) -> None:
        try:
            self._file = open(CPU_DMA_LATENCY, "r+b", buffering=0)  # noqa: SIM115
            IdleLatency._held.add(self._file)
            self._file.write(struct.pack("=i", self._microseconds))
        except OSError as error:
            self.undo()
            raise _latency_refused(error.errno or errno.EACCES) from error

    def undo(self) -> None:
        if self._file is not None:
            IdleLatency._held.discard(self._file)
            self._file.close()
            self._file = None

    @staticmethod
    def _let_go() -> None:
        """A forked child holds nothing: it would go on holding what its parent has let go of."""
        for file in IdleLatency._held:
            file.close()
        IdleLatency._held.clear()


os.register_at_fork(after_in_child=IdleLatency._let_go)


def _new(policy: int = 0, priority: int = 0) -> _Scheduling:
    scheduling = ffi.new("struct scheduling *", {"policy": policy, "priority": priority})
    scheduling.size = ffi.sizeof("struct scheduling")
    return scheduling


def _current() -> _Scheduling:
    scheduling = _new()
    if (error := lib.os_scheduling(scheduling)) < 0:
        raise OSError(-error, f"sched_getattr: {os.strerror(-error)}")
    return scheduling


def _described(scheduling: _Scheduling) -> str:
    name = _NAMES.get(scheduling.policy, f"policy {scheduling.policy}")
    if scheduling.policy == POLICIES["deadline"]:
        times = scheduling.runtime, scheduling.deadline, scheduling.period
        return name + " {:g} of {:g} us, every {:g} us".format(*(time / 1000 for time in times))
    if scheduling.policy in (os.SCHED_FIFO, os.SCHED_RR):
        return f"{name}, priority {scheduling.priority}"
    return name


def _deadline_refused(code: int, reason: str) -> Refused:
    if code == errno.EBUSY:
        return Refused(
            code,
            f"{reason}: its runtimes and those of others would take more than 95 % of the processors",
            "Ask for less runtime in a period",
        )
    if code == errno.EINVAL:
        return Refused(
            code,
            f"{reason}: the times are out of its bounds",
            "Take a runtime from 1.024 us on and a period from 100 us to 4.19 s "
            "(kernel.sched_deadline_period_min_us and _max_us)",
        )
    if code == errno.EPERM and place.capable(place.CAP_SYS_NICE):
        return Refused(
            code,
            f"{reason}, which may not run on all processors",
            "Leave cpus out, and the process in the root cpuset: SCHED_DEADLINE chooses processors itself",
        )
    return Refused(
        code,
        f"{reason}: it takes CAP_SYS_NICE, which no limit replaces",
        "Run as root (in a container: '--cap-add SYS_NICE'), or take policy='fifo'",
    )


def _latency_refused(code: int) -> Refused:
    here = place.find()
    if code in (errno.EMFILE, errno.ENFILE):
        return Refused(
            code, "there is no descriptor left to hold it by", "Close files, or raise RLIMIT_NOFILE"
        )
    if code == errno.ENOENT and here.kind in ("login", "service", "user service"):
        return Refused(
            code,
            f"this kernel has no {CPU_DMA_LATENCY} (CONFIG_PM_QOS, CONFIG_CPU_IDLE)",
            "Leave the step out (cpu_dma_latency=None)",
        )
    return Refused(
        code,
        f"the device {CPU_DMA_LATENCY} cannot be opened here ({os.strerror(code)})",
        fixes.cpu_dma_latency(here),
    )


def _bound(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def _usable() -> set[int]:
    """Return the processors that this thread may choose from: those there are, within its cpuset."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, range(os.sysconf("SC_NPROCESSORS_CONF")))
        return os.sched_getaffinity(0)
    finally:
        os.sched_setaffinity(0, before)


def _listed(cpus: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))
