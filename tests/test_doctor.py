"""Each check in each of its states, on machines that are trees of files."""

from __future__ import annotations

import errno
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockedarray.doctor import Trials, examine
from machines import GOVERNOR, SWAPS, WELL, WORKED, checked, examined, limits, machine

ORDINARY = replace(WORKED, memlock_lifted=False)
NO_FIFO = replace(ORDINARY, fifo=errno.EPERM)
LIMITED = {"proc/self/limits": limits(memlock="8388608")}
TIGHT = {"proc/self/limits": limits(memlock="2097152", memlock_hard="16777216")}
RAISABLE = {"proc/self/limits": limits(memlock="8388608", memlock_hard="16777216")}
NOTHING = {"proc/self/limits": limits(memlock="0")}
NO_PRIORITY = {"proc/self/limits": limits(rtprio="0")}
SYS_NICE = {"proc/self/status": "VmLck: 0 kB\nCapEff:\t0000000000800000\n"}
ROOTLESS = {"proc/self/uid_map": "0 1000 1\n"}
DOCKER = {"proc/self/cgroup": "0::/\n", ".dockerenv": ""}
CONTAINED = {"proc/self/cgroup": "4:cpu,cpuacct:/docker/01ab\n1:name=systemd:/docker/01ab\n"}
POD = {"proc/self/cgroup": "0::/kubepods/pod1\n"}
HURRIED = {"proc/self/limits": limits(rttime="200000")}
GROUP = {"proc/self/cgroup": "4:cpu,cpuacct:/band\n0::/\n"}
SHARE = "sys/fs/cgroup/cpu/band/cpu.rt_runtime_us"
SWAP = {"proc/swaps": SWAPS + "/dev/zram0 partition 8388608 0 100\n"}
UNSWAPPED = {"proc/swaps": SWAPS}
KERNEL = {"sys/kernel/realtime": None}
THP = "sys/kernel/mm/transparent_hugepage/enabled"
UNEVICTABLE = "proc/sys/vm/compact_unevictable_allowed"
RUNTIME = "proc/sys/kernel/sched_rt_runtime_us"
MANY = {"proc/self/maps": "mapping\n" * 95, "proc/sys/vm/max_map_count": "100"}
SMALL_GROUP = {
    "sys/fs/cgroup/system.slice/synth.service/memory.max": str(32 << 20),
    "sys/fs/cgroup/system.slice/synth.service/memory.current": str(30 << 20),
}

CASES = [
    ("memlock soft limit", {}, ORDINARY, "ok", "unlimited", ""),
    ("memlock soft limit", LIMITED, WORKED, "ok", "8 MiB, which a capability lifts", ""),
    ("memlock soft limit", LIMITED, ORDINARY, "warn", "8 MiB", "systemctl edit synth.service"),
    ("memlock soft limit", RAISABLE, ORDINARY, "warn", "8 MiB", "systemctl edit synth.service"),
    ("memlock soft limit", {"proc/self/limits": limits(memlock="0", memlock_hard="unlimited")}, ORDINARY,
     "fail", "0: nothing", "set_memlock_limit(resource.RLIM_INFINITY)"),
    ("memlock soft limit", NOTHING, ORDINARY, "fail", "nothing can be locked", "LimitMEMLOCK=infinity"),
    ("memlock soft limit", {"proc/self/limits": ""}, ORDINARY, "unknown", "no 'Max locked memory'", ""),
    ("memlock hard limit", RAISABLE, ORDINARY, "warn", "16 MiB", "LimitMEMLOCK=infinity"),
    ("memlock hard limit", {}, ORDINARY, "ok", "unlimited", ""),
    ("memlock hard limit", LIMITED | DOCKER, ORDINARY, "warn", "8 MiB", "docker run --ulimit memlock=-1:-1"),
    ("locked memory", {}, ORDINARY, "ok", "2 MiB", ""),
    ("locked memory", {"proc/self/status": None}, ORDINARY, "unknown", "No such file", ""),
    ("locked memory", {"proc/self/status": "Name: x\n"}, ORDINARY, "unknown", "no VmLck", ""),
    ("left to lock", {}, ORDINARY, "ok", "no limit", ""),
    ("left to lock", LIMITED, ORDINARY, "ok", "6 MiB of 8 MiB", ""),
    ("left to lock", {"proc/self/limits": limits(memlock="2097152")}, ORDINARY, "warn", "0 bytes", "MEMLOCK"),
    ("left to lock", TIGHT, ORDINARY, "warn", "0 bytes", "set_memlock_limit(16777216)"),
    ("left to lock", TIGHT, ORDINARY, "warn", "0 bytes", "'ulimit -S -l 16384'"),
    ("CAP_IPC_LOCK", {}, ORDINARY, "ok", "not needed", ""),
    ("CAP_IPC_LOCK", LIMITED, WORKED, "ok", "lifts", ""),
    ("CAP_IPC_LOCK", LIMITED, ORDINARY, "warn", "missing", "LimitMEMLOCK=infinity"),
    ("CAP_IPC_LOCK", LIMITED | {"proc/self/status": "CapEff:\t000001ffffffffff\n"}, ORDINARY, "warn",
     "shown, and lifts nothing", "LimitMEMLOCK"),
    ("lock of a page", {}, WORKED, "ok", "locked, and released", ""),
    ("lock of a page", NOTHING, replace(ORDINARY, lock_page=errno.EPERM), "fail", "EPERM", "LimitMEMLOCK"),
    ("lock of a page", {}, replace(ORDINARY, lock_page=errno.EAGAIN), "fail", "no limit", "free memory"),
    ("lock of a page", {}, Trials(), "unknown", "could not be tried", ""),
    ("user namespace", {}, WORKED, "ok", "the machine's own", ""),
    ("user namespace", ROOTLESS, WORKED, "warn", "do not count", "outside of the namespace"),
    ("user namespace", {"proc/self/uid_map": None}, WORKED, "unknown", "uid_map: No such file", ""),
    ("place", {}, WORKED, "ok", "the service synth.service", ""),
    ("place", DOCKER, WORKED, "ok", "a container of Docker; the machine's settings are its host's", ""),
    ("place", {"proc/self/cgroup": None}, WORKED, "unknown", "No such file", ""),
    ("memory for locks", {}, WORKED, "ok", "MemAvailable", ""),
    ("memory for locks", SMALL_GROUP, WORKED, "warn", "2 MiB are left", "MemoryMax"),
    ("memory for locks", {"proc/meminfo": "MemAvailable: 1024 kB\n"}, WORKED, "warn", "1 MiB", "end what"),
    ("memory for locks", {"proc/meminfo": None}, WORKED, "unknown", "meminfo: No such file", ""),
    ("memory for locks", {"proc/meminfo": ""}, WORKED, "unknown", "no MemAvailable", ""),
    ("swap", {}, WORKED, "ok", "none", ""),
    ("swap", SWAP, WORKED, "warn", "8 GiB on /dev/zram0", "swapoff -a"),
    ("swap", SWAP | {"sys/module/zswap/parameters/enabled": "Y\n"}, WORKED, "warn", "zswap", "lock_all()"),
    ("swap", SWAP | DOCKER, WORKED, "warn", "zram0", "on the host, run 'sudo swapoff -a'"),
    ("swap", {"proc/swaps": None}, WORKED, "unknown", "swaps: No such file", ""),
    ("swappiness", {}, WORKED, "ok", "60, of no effect without swap", ""),
    ("swappiness", SWAP, WORKED, "warn", "60", "sysctl vm.swappiness=10'; to keep it, write the line"),
    ("swappiness", SWAP | {"proc/sys/vm/swappiness": "10"}, WORKED, "ok", "10", ""),
    ("swappiness", {"proc/sys/vm/swappiness": "many"}, WORKED, "unknown", "not a number: 'many'", ""),
    ("transparent huge pages", {}, WORKED, "ok", "madvise", ""),
    ("transparent huge pages", {THP: "[always] madvise never"}, WORKED, "warn", "always", f"tee /{THP}"),
    ("transparent huge pages", {THP: "always madvise [never]"}, WORKED, "ok", "never", ""),
    ("transparent huge pages", {THP: "perhaps"}, WORKED, "unknown", "no word in brackets", ""),
    ("transparent huge pages", {THP: None}, WORKED, "ok", "this kernel has none", ""),
    ("compact_unevictable_allowed", {}, WORKED, "ok", "0", ""),
    ("compact_unevictable_allowed", {UNEVICTABLE: "1"}, WORKED, "warn", "1",
     "'vm.compact_unevictable_allowed = 0' into /etc/sysctl.d/"),
    ("compact_unevictable_allowed", POD | {UNEVICTABLE: "1"}, WORKED,
     "warn", "1", "on the node, run"),
    ("compact_unevictable_allowed", {UNEVICTABLE: "1", "proc/self/cgroup": "", **ROOTLESS}, WORKED, "warn",
     "1", "outside of this user namespace, run"),
    ("compact_unevictable_allowed", {UNEVICTABLE: None}, WORKED, "ok", "no such thing", ""),
    ("proactive compaction", {"proc/sys/vm/compaction_proactiveness": "20"}, WORKED, "warn", "20",
     "sysctl vm.compaction_proactiveness=0'"),
    ("NUMA balancing", {"proc/sys/kernel/numa_balancing": "1"}, WORKED, "warn", "1",
     "sysctl kernel.numa_balancing=0'"),
    ("NUMA balancing", {"proc/sys/kernel/numa_balancing": None}, WORKED, "ok", "no such thing", ""),
    ("KSM", {}, WORKED, "ok", "off (0)", ""),
    ("KSM", {"sys/kernel/mm/ksm/run": "1"}, WORKED, "warn", "on", "echo 2 | sudo tee /sys/kernel/mm/ksm/run"),
    ("KSM", {"sys/kernel/mm/ksm/run": "2"}, WORKED, "ok", "off (2)", ""),
    ("KSM", {"sys/kernel/mm/ksm/run": None}, WORKED, "ok", "no such thing", ""),
    ("max_map_count", {}, WORKED, "ok", "9 mappings of 65,530", ""),
    ("max_map_count", MANY, WORKED, "warn", "95 mappings of 100", "sysctl vm.max_map_count=262144"),
    ("max_map_count", {"proc/self/maps": None}, WORKED, "unknown", "No such file", ""),
    ("page size", {}, WORKED, "ok", "4 KiB", ""),
    ("page size", {"proc/self/smaps": "KernelPageSize: 64 kB\n"}, WORKED, "ok", "64 KiB", ""),
    ("page size", {"proc/self/smaps": ""}, WORKED, "unknown", "no KernelPageSize", ""),
    ("SCHED_FIFO", {}, WORKED, "ok", "granted", ""),
    ("SCHED_FIFO", NO_PRIORITY, NO_FIFO, "fail", "EPERM); RLIMIT_RTPRIO is 0", "LimitRTPRIO=99"),
    ("SCHED_FIFO", {}, NO_FIFO, "fail", "though limits allow it", "seccomp"),
    ("SCHED_FIFO", NO_PRIORITY | SYS_NICE, NO_FIFO, "fail", "though limits allow it", "seccomp"),
    ("SCHED_FIFO", GROUP | {SHARE: "0"}, NO_FIFO, "fail", "no real time", f"echo 100000 | sudo tee /{SHARE}"),
    ("SCHED_FIFO", {}, Trials(), "unknown", "no thread", ""),
    ("RLIMIT_RTPRIO", {}, NO_FIFO, "ok", "up to priority 99", ""),
    ("RLIMIT_RTPRIO", {"proc/self/limits": limits(rtprio="unlimited")}, NO_FIFO, "ok", "99", ""),
    ("RLIMIT_RTPRIO", NO_PRIORITY, ORDINARY, "ok", "which a capability lifts", ""),
    ("RLIMIT_RTPRIO", NO_PRIORITY | SYS_NICE, NO_FIFO, "ok", "which a capability lifts", ""),
    ("RLIMIT_RTPRIO", NO_PRIORITY, NO_FIFO, "fail", "0 (hard limit 0)", "LimitRTPRIO=99"),
    ("RLIMIT_RTPRIO", {"proc/self/limits": limits(rtprio="0", rtprio_hard="95")}, NO_FIFO, "fail",
     "0 (hard limit 95)", "'ulimit -S -r 95'"),
    ("RLIMIT_RTPRIO", NO_PRIORITY | SYS_NICE | ROOTLESS, NO_FIFO, "fail", "0", "RTPRIO"),
    ("RLIMIT_RTTIME", {}, WORKED, "ok", "unlimited", ""),
    ("RLIMIT_RTTIME", HURRIED, WORKED, "warn", "200,000 us", "write LimitRTTIME=infinity"),
    ("RLIMIT_RTTIME", {"proc/self/limits": limits(rttime="200000", rttime_hard="unlimited")}, WORKED, "warn",
     "200,000 us", "resource.setrlimit(resource.RLIMIT_RTTIME"),
    ("real time of the group", {}, WORKED, "ok", "not divided", ""),
    ("real time of the group", GROUP | {SHARE: "0"}, WORKED, "fail", "0 us", f"tee /{SHARE}"),
    ("real time of the group", GROUP | {SHARE: "0", RUNTIME: "-1"}, WORKED, "ok", "does not count", ""),
    ("real time of the group", GROUP | {SHARE: "9500"}, WORKED, "ok", "9,500 us", ""),
    ("real time of the group", CONTAINED | {"sys/fs/cgroup/cpu/cpu.rt_runtime_us": "0"}, WORKED,
     "fail", "0 us", "docker run --cpu-rt-runtime=100000"),
    ("real time of the group", {"proc/self/cgroup": None}, WORKED, "unknown", "No such file", ""),
    ("real-time throttling", {}, WORKED, "ok", "950,000 us of each 1,000,000 us", ""),
    ("real-time throttling", {RUNTIME: "-1"}, WORKED, "ok", "off", ""),
    ("real-time throttling", {RUNTIME: "500000"}, WORKED, "warn", "500,000", "sched_rt_runtime_us=950000"),
    ("real-time throttling", {RUNTIME: "0"}, WORKED, "fail", "0 us", "sched_rt_runtime_us=950000"),
    ("real-time throttling", {RUNTIME: None}, WORKED, "unknown", "No such file", ""),
    ("PREEMPT_RT", {}, WORKED, "ok", "a real-time kernel", ""),
    ("PREEMPT_RT", KERNEL, WORKED, "ok", "a real-time kernel", ""),
    ("PREEMPT_RT", KERNEL | {"proc/version": "Linux #1 SMP PREEMPT_DYNAMIC"}, WORKED, "warn",
     "ordinary kernel (PREEMPT_DYNAMIC)", "linux-image-rt-amd64"),
    ("PREEMPT_RT", KERNEL | {"proc/version": "Linux #1 SMP"}, WORKED, "warn", "no PREEMPT", "install"),
    ("PREEMPT_RT", KERNEL | {"proc/version": None}, WORKED, "unknown", "version: No such file", ""),
    ("CPU governor", {}, WORKED, "ok", "performance on 1 CPUs", ""),
    ("CPU governor", {GOVERNOR.format(1): "powersave"}, WORKED, "warn", "powersave on 1 CPUs",
     "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"),
    ("CPU governor", {GOVERNOR.format(0): None}, WORKED, "unknown", "virtual machine", ""),
    ("cpu_dma_latency", {}, WORKED, "ok", "can be held (opened and closed again)", ""),
    ("cpu_dma_latency", {}, replace(WORKED, latency_us=20), "ok", "20 us are demanded now", ""),
    ("cpu_dma_latency", {}, replace(WORKED, cpu_dma_latency=errno.EACCES), "warn", "Permission denied",
     'GROUP="audio"'),
    ("cpu_dma_latency", {}, replace(WORKED, cpu_dma_latency=errno.ENOENT), "unknown", "has no", ""),
    ("cpu_dma_latency", DOCKER, replace(WORKED, cpu_dma_latency=errno.ENOENT), "warn", "No such file",
     "--device /dev/cpu_dma_latency"),
    ("cpu_dma_latency", POD, replace(WORKED, cpu_dma_latency=errno.EPERM),
     "warn", "not permitted", "hostPath"),
    ("cpu_dma_latency", {}, replace(WORKED, cpu_dma_latency=errno.EMFILE), "unknown", "Too many", ""),
    ("cpu_dma_latency", {}, Trials(), "unknown", "not be tried", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "files", "trials", "state", "finding", "fix"),
    CASES,
    ids=[f"{case[0]}-{case[3]}-{number}" for number, case in enumerate(CASES)],
)
def test_each_state(
    tmp_path: Path,
    name: str,
    files: dict[str, str | None],
    trials: Trials,
    state: str,
    finding: str,
    fix: str,
) -> None:
    check = checked(examined(tmp_path, files, trials), name)
    assert check.state == state, check
    assert finding in check.finding
    assert fix in check.fix
    assert bool(check.fix) == (state in ("warn", "fail")), "whatever is not well has a fix, and nothing else"
    assert check.meaning.endswith(".")
    assert not check.fix.endswith(".")


def test_every_check_has_its_cases(tmp_path: Path) -> None:
    report = examined(tmp_path, {})
    assert {check.name for check in report.checks} == {case[0] for case in CASES}
    assert len({check.name for check in report.checks}) == len(report.checks)


def test_a_machine_on_which_all_is_well(tmp_path: Path) -> None:
    report = examined(tmp_path, {})
    assert [check for check in report.checks if check.state != "ok"] == []
    assert report.ok
    assert report.first is None


def test_a_failure_is_first_and_a_warning_is_no_failure(tmp_path: Path) -> None:
    warned = examined(tmp_path, {UNEVICTABLE: "1"})
    assert warned.ok
    assert warned.first == checked(warned, "compact_unevictable_allowed")
    failed = examined(tmp_path, {UNEVICTABLE: "1", **NO_PRIORITY}, NO_FIFO)
    assert not failed.ok
    assert failed.first == checked(failed, "SCHED_FIFO")


def test_nothing_can_be_read(tmp_path: Path) -> None:
    report = examine(tmp_path / "not there", {}, Trials())
    unread = [check.name for check in report.checks if check.state != "unknown"]
    assert unread == []
    assert report.ok, "what is not known has not failed"


def test_directories_in_place_of_files(tmp_path: Path) -> None:
    for name in WELL:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    assert {check.state for check in examine(tmp_path, {}, Trials()).checks} <= {"unknown", "warn"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_file_can_end_the_examination(data: st.DataObject) -> None:
    garbage = st.one_of(
        st.binary(max_size=40),
        st.text("0123456789 -:\n/max[]kB.", max_size=60).map(str.encode),
        st.sampled_from([text.encode() for text in WELL.values()] + [limits().encode()]),
    )
    with tempfile.TemporaryDirectory() as directory:
        root = machine(Path(directory), {})
        for name in [*WELL, "proc/self/limits", SHARE]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data.draw(garbage, label=name))
        outcome = st.sampled_from([-1, 0, errno.EPERM, errno.ENOENT, 9999])
        trials = Trials(
            data.draw(st.booleans()), *(data.draw(outcome) for _ in range(3)), data.draw(st.integers(-1, 50))
        )
        report = examine(root, {}, trials)
        assert len(report.checks) == 26
        assert str(report)
        for check in report.checks:
            assert check.finding
            assert bool(check.fix) == (check.state in ("warn", "fail"))
