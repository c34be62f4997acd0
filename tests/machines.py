"""Trees of /proc and /sys as machines show them, to be examined."""

from __future__ import annotations

from pathlib import Path

from lockedarray.doctor import Check, Report, Trials, examine

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max locked memory         {memlock:<20} {memlock_hard:<20} bytes
Max realtime priority     {rtprio:<20} {rtprio_hard:<20}
Max realtime timeout      {rttime:<20} {rttime_hard:<20} us
"""
READY = {"memlock": "unlimited", "rtprio": "99", "rttime": "unlimited"}
WORKED = Trials(memlock_lifted=True, lock_page=0, fifo=0, cpu_dma_latency=0, latency_us=2_000_000_000)
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
GOVERNOR = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"

# A machine on which everything is well.
WELL = {
    "proc/self/uid_map": "0 0 4294967295\n",
    "proc/self/cgroup": "0::/system.slice/synth.service\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "proc/self/status": "Name:\tpython\nVmLck:\t    2048 kB\nCapEff:\t0000000000000000\n",
    "proc/self/maps": "00400000-00401000 r--p 00000000 00:00 0\n" * 9,
    "proc/self/smaps": "00400000-00401000 r--p 00000000 00:00 0\nSize: 4 kB\nKernelPageSize:        4 kB\n",
    "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n",
    "proc/swaps": SWAPS,
    "proc/version": "Linux version 6.12.0 (builder) #1 SMP PREEMPT_RT Debian 6.12.0-1\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/sys/vm/compact_unevictable_allowed": "0\n",
    "proc/sys/vm/compaction_proactiveness": "0\n",
    "proc/sys/vm/max_map_count": "65530\n",
    "proc/sys/kernel/numa_balancing": "0\n",
    "proc/sys/kernel/sched_rt_runtime_us": "950000\n",
    "proc/sys/kernel/sched_rt_period_us": "1000000\n",
    "sys/kernel/realtime": "1\n",
    "sys/kernel/mm/ksm/run": "0\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    GOVERNOR.format(0): "performance\n",
}


def limits(**raised: str) -> str:
    """The text of /proc/self/limits; a hard limit is the soft one if not told."""
    soft = READY | raised
    return LIMITS.format(**{f"{name}_hard": value for name, value in soft.items()} | soft)


def machine(directory: Path, files: dict[str, str | None]) -> Path:
    """Write a machine on which all is well but for these files; None takes one away."""
    for name, text in {"proc/self/limits": limits(), **WELL, **files}.items():
        if text is not None:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return directory


def checked(report: Report, name: str) -> Check:
    """The check of that name."""
    (check,) = (check for check in report.checks if check.name == name)
    return check


def examined(directory: Path, files: dict[str, str | None], trials: Trials = WORKED) -> Report:
    """What the doctor says of such a machine."""
    return examine(machine(directory, files), {}, trials)
