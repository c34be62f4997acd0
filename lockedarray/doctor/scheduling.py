"""When this process's threads run: what they may ask for, and what the machine grants."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from pathlib import Path
from resource import RLIM_INFINITY

from .. import fixes
from ..place import CAP_SYS_NICE, capable, control_groups
from .machine import Machine
from .question import Question, Verdict
from .trials import UNTRIED, named

_ORDINARY_SHARE = 0.95
_NO_DEMAND = 2_000_000_000  # us


def fifo(machine: Machine) -> Verdict:
    error = machine.trials.fifo
    if error == 0:
        return Verdict("ok", "granted to a thread (tried)")
    if error == UNTRIED:
        return Verdict("unknown", "it could not be tried: no thread could be started")
    finding = f"refused to a thread: {named(error)}"
    group = _real_time_file(machine)
    if group is not None and machine.number(group) == 0:
        return Verdict("fail", f"{finding}; the control group has no real time", _share_fix(machine, group))
    soft, hard = _rtprio(machine)
    if soft == 0 and not capable(CAP_SYS_NICE, machine.root):
        return Verdict("fail", f"{finding}; RLIMIT_RTPRIO is 0", _priority_fix(machine, hard))
    return Verdict(
        "fail",
        f"{finding}, though limits allow it",
        "look for a seccomp profile or a security module that forbids sched_setscheduler; where the kernel "
        "shares real time out to control groups (CONFIG_RT_GROUP_SCHED), "
        f"{machine.outside}run 'sudo sysctl kernel.sched_rt_runtime_us=-1'",
    )


def priority(machine: Machine) -> Verdict:
    soft, hard = _rtprio(machine)
    if soft > 0 or soft == RLIM_INFINITY:
        return Verdict("ok", f"up to priority {min(soft, 99) if soft > 0 else 99}")
    if machine.trials.fifo == 0 or capable(CAP_SYS_NICE, machine.root):
        return Verdict("ok", "0, which a capability lifts (CAP_SYS_NICE)")
    return Verdict("fail", f"0 (hard limit {max(0, hard)})", _priority_fix(machine, hard))


def time_limit(machine: Machine) -> Verdict:
    soft, hard = machine.limit("Max realtime timeout")
    if soft == RLIM_INFINITY:
        return Verdict("ok", "unlimited")
    return Verdict("warn", f"{soft:,} us", fixes.no_limit(machine.place, "rttime", hard))


def group_share(machine: Machine) -> Verdict:
    machine.text("proc/self/cgroup")
    group = _real_time_file(machine)
    if group is None:
        return Verdict("ok", "not divided among control groups")
    runtime = machine.number(group)
    if runtime != 0:
        return Verdict("ok", f"{runtime:,} us (/{group})")
    if _unthrottled(machine):
        return Verdict("ok", "0, which does not count while kernel.sched_rt_runtime_us is -1")
    return Verdict("fail", f"0 us (/{group})", _share_fix(machine, group))


def throttling(machine: Machine) -> Verdict:
    runtime = machine.number("proc/sys/kernel/sched_rt_runtime_us")
    period = machine.number("proc/sys/kernel/sched_rt_period_us")
    if runtime < 0:
        return Verdict("ok", "off: a loop that never waits takes its processor for ever")
    finding = f"{runtime:,} us of each {period:,} us"
    if runtime >= _ORDINARY_SHARE * period:
        return Verdict("ok", f"{finding}: ordinary, and a guard against loops that never wait")
    fix = machine.sysctl("kernel.sched_rt_runtime_us", int(_ORDINARY_SHARE * period))
    return Verdict("fail" if runtime == 0 else "warn", finding, fix)


def preempt_rt(machine: Machine) -> Verdict:
    if not machine.lacks("sys/kernel/realtime") and machine.text("sys/kernel/realtime") == "1":
        return Verdict("ok", "a real-time kernel")
    version = machine.text("proc/version")
    if re.search(r"\bPREEMPT_RT\b", version):
        return Verdict("ok", "a real-time kernel")
    kind = re.search(r"\bPREEMPT\w*", version)
    return Verdict(
        "warn",
        f"an ordinary kernel ({kind[0] if kind else 'no PREEMPT'})",
        f"{machine.outside}install a real-time kernel, if the loop may never be late by a millisecond "
        "(linux-image-rt-amd64 of Debian, 'sudo pro enable realtime-kernel' of Ubuntu, kernel-rt of Red Hat)",
    )


def governor(machine: Machine) -> Verdict:
    pattern = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
    files = sorted(machine.root.glob(pattern))
    if not files:
        return Verdict("unknown", "no frequency to be seen; in a virtual machine its host decides")
    governors = Counter(file.read_text(errors="replace").strip() for file in files)
    finding = ", ".join(f"{name} on {count} CPUs" for name, count in sorted(governors.items()))
    if set(governors) == {"performance"}:
        return Verdict("ok", finding)
    return Verdict("warn", finding, machine.sysfs(f"/{pattern.replace('[0-9]', '')}", "performance"))


def cpu_dma_latency(machine: Machine) -> Verdict:
    error = machine.trials.cpu_dma_latency
    if error == 0:
        now = machine.trials.latency_us
        held = f"; {now:,} us are demanded now" if 0 <= now < _NO_DEMAND else ""
        return Verdict("ok", f"can be held (opened and closed again){held}")
    if error == UNTRIED:
        return Verdict("unknown", "it could not be tried")
    if error == errno.ENOENT and not machine.outside:
        return Verdict("unknown", "this kernel has no /dev/cpu_dma_latency")
    finding = f"cannot be opened: {os.strerror(error)}"
    if error in (errno.EACCES, errno.EPERM, errno.ENOENT):
        return Verdict("warn", finding, fixes.cpu_dma_latency(machine.place))
    return Verdict("unknown", finding)


def _rtprio(machine: Machine) -> tuple[int, int]:
    return machine.limit("Max realtime priority")


def _unthrottled(machine: Machine) -> bool:
    return machine.number("proc/sys/kernel/sched_rt_runtime_us") < 0


def _priority_fix(machine: Machine, hard: int) -> str:
    return machine.place.fix_for("rtprio") if hard == 0 else fixes.soft_limit("rtprio", hard)


def _real_time_file(machine: Machine) -> str | None:
    """Return the file with the real time of this process's control group (version 1 alone has one)."""
    path = Path(control_groups(machine.root).get("cpu", "/").lstrip("/"))
    inside = path if ".." not in path.parts else Path()
    # In a container the mount may show its own group as the root.
    for group in (inside, Path()):
        name = Path("sys/fs/cgroup/cpu", group, "cpu.rt_runtime_us")
        if (machine.root / name).exists():
            return str(name)
    return None


def _share_fix(machine: Machine, group: str) -> str:
    if machine.place.kind in ("docker", "podman"):
        return (
            f"start the container with '{machine.place.kind} run --cpu-rt-runtime=100000' "
            "(and Docker's daemon with --cpu-rt-runtime=950000)"
        )
    return (
        f"{machine.outside}run 'echo 100000 | sudo tee /{group}', "
        "before it the same for the groups above that have less"
    )


QUESTIONS = (
    Question(
        "SCHED_FIFO",
        "Without it a loop waits for its turn among all other programs, for milliseconds under load.",
        fifo,
    ),
    Question("RLIMIT_RTPRIO", "So high a priority a thread may ask for.", priority),
    Question(
        "RLIMIT_RTTIME",
        "A real-time thread that computes so long without waiting gets SIGXCPU, which ends the program.",
        time_limit,
    ),
    Question(
        "real time of the group",
        "Where real time is shared out to control groups, nobody in a group without may use SCHED_FIFO.",
        group_share,
    ),
    Question(
        "real-time throttling",
        "Real-time threads together get no more of each processor while ordinary ones want it; "
        "a loop that waits each period never meets it.",
        throttling,
    ),
    Question(
        "CPU governor",
        "A processor that was slowed down takes longer for the same block, and time to get fast again.",
        governor,
    ),
    Question(
        "cpu_dma_latency",
        "Held at 0, as realtime() does, it keeps processors from deep sleep, out of which they wake slowly.",
        cpu_dma_latency,
    ),
    Question(
        "PREEMPT_RT",
        "On an ordinary kernel a wake-up can wait for whatever the kernel is at: mostly microseconds, "
        "at times milliseconds.",
        preempt_rt,
    ),
)
