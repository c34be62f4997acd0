"""The doctor on this machine: its word against the kernel's, and each fix that can be applied, applied."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

import places
from lockedarray import place
from lockedarray.doctor import Trials, doctor, examine
from lockedarray.limits import memlock_lifted
from lockedarray.sizes import spoken
from machines import checked
from smaps import PAGE, mappings, vm_lck

EXAMINE = """
import json, os, sys
from pathlib import Path
from lockedarray.doctor import examine, try_out
report = examine(Path({root!r}), os.environ, try_out())
print(json.dumps({{check.name: [check.state, check.finding, check.fix] for check in report.checks}}))
"""
GROUP = Path("/sys/fs/cgroup/cpu/lockedarray-test")


def found(limits: str = "true", who: str = "ordinary", root: str = "/") -> dict[str, list[str]]:
    """State, finding and fix of each check in a process of its own."""
    program = EXAMINE.format(root=root)
    checks: dict[str, list[str]] = json.loads(places.run(program, who=who, limits=limits))
    return checks


@contextmanager
def setting(path: Path, value: str) -> Iterator[None]:
    """Have a setting of the machine at a value, and put it back; skips where it cannot be written."""
    if not path.exists():
        pytest.skip(f"needs a kernel with {path}")
    before = re.sub(r".*\[(\w+)\].*", r"\1", path.read_text().strip())
    try:
        path.write_text(value)
    except OSError:
        pytest.skip(f"needs to be allowed to write {path}")
    try:
        yield
    finally:
        path.write_text(before)


def apply(fix: str) -> None:
    """Run the command that a fix quotes, as whom the tests run."""
    quoted = re.search(r"run '([^']+)'", fix)
    assert quoted is not None, fix
    command = quoted[1].replace("sudo ", "")
    subprocess.run(["sh", "-ec", command], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("name", "path", "bad"),
    [
        ("compact_unevictable_allowed", "/proc/sys/vm/compact_unevictable_allowed", "1"),
        ("proactive compaction", "/proc/sys/vm/compaction_proactiveness", "20"),
        ("NUMA balancing", "/proc/sys/kernel/numa_balancing", "1"),
        ("KSM", "/sys/kernel/mm/ksm/run", "1"),
        ("transparent huge pages", "/sys/kernel/mm/transparent_hugepage/enabled", "always"),
        ("max_map_count", "/proc/sys/vm/max_map_count", "{mappings}"),
    ],
)
def test_the_fix_turns_it_green(name: str, path: str, bad: str) -> None:
    with setting(Path(path), bad.format(mappings=mappings() + 20)):
        before = checked(doctor(), name)
        assert before.state == "warn"
        apply(before.fix)
        assert checked(doctor(), name).state == "ok"


def test_less_than_the_ordinary_share_of_real_time() -> None:
    group = GROUP.parent / "cpu.rt_runtime_us"
    share = setting(group, "900000") if group.exists() else nullcontext()  # which may not have more
    with share, setting(Path("/proc/sys/kernel/sched_rt_runtime_us"), "940000"):
        before = checked(doctor(), "real-time throttling")
        assert before.state == "warn"
        apply(before.fix)
        assert checked(doctor(), "real-time throttling").state == "ok"


def test_swap_is_switched_off_and_swappiness_counts_while_it_is_there(tmp_path: Path) -> None:
    if Path("/proc/swaps").read_text().count("\n") > 1:
        pytest.skip("needs a machine without swap, which gets one of 1 MiB")
    if not (shutil.which("mkswap") and shutil.which("swapon") and os.geteuid() == 0):
        pytest.skip("needs to be root, mkswap and swapon")
    file = tmp_path / "swap"
    file.write_bytes(bytes(1 << 20))
    file.chmod(0o600)
    try:
        subprocess.run(["mkswap", file], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if subprocess.run(["swapon", file], stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip("needs the right to switch swap on (CAP_SYS_ADMIN), and temporary files on a disk")
        with setting(Path("/proc/sys/vm/swappiness"), "60"):
            swappiness = checked(doctor(), "swappiness")
            assert swappiness.state == "warn"
            apply(swappiness.fix)
            assert checked(doctor(), "swappiness").finding == "10"
        swap = checked(doctor(), "swap")
        assert swap.state == "warn"
        assert str(file) in swap.finding
        apply(swap.fix)
        assert checked(doctor(), "swap").state == "ok"
    finally:
        subprocess.run(["swapoff", file], stderr=subprocess.DEVNULL)
        file.unlink()


def test_a_control_group_without_real_time_gets_some(tmp_path: Path) -> None:
    if not (GROUP.parent / "cpu.rt_runtime_us").exists():
        pytest.skip("needs a kernel with CONFIG_RT_GROUP_SCHED, and the cpu controller of cgroup version 1")
    places.place("root")
    for name in "proc", "sys":  # this machine, and no container, which would have another fix
        (tmp_path / name).symlink_to(f"/{name}")
    try:
        GROUP.mkdir()
    except OSError:
        pytest.skip(f"needs to be allowed to make {GROUP}")
    try:
        inside = f"echo $$ > {GROUP}/cgroup.procs"
        refused = found(inside, "root", str(tmp_path))
        assert refused["SCHED_FIFO"][0] == refused["real time of the group"][0] == "fail"
        assert refused["RLIMIT_RTPRIO"][0] == "ok", "root has the right; it is the group"
        assert refused["SCHED_FIFO"][2] == refused["real time of the group"][2]
        apply(refused["SCHED_FIFO"][2])
        allowed = found(inside, "root", str(tmp_path))
        assert allowed["SCHED_FIFO"][0] == allowed["real time of the group"][0] == "ok"
    finally:
        GROUP.rmdir()


@pytest.mark.parametrize(
    ("kibibytes", "soft", "left", "page"),
    [("0", "fail", "warn", "fail"), ("64", "warn", "warn", "ok"), ("8192", "warn", "ok", "ok")],
)
@pytest.mark.parametrize("who", ["ordinary", "namespace"])
def test_limits_on_locked_memory(who: str, kibibytes: str, soft: str, left: str, page: str) -> None:
    checks = found(f"ulimit -l {kibibytes}", who)
    assert checks["memlock soft limit"][0] == checks["memlock hard limit"][0] == soft
    assert checks["left to lock"][0] == left
    assert checks["lock of a page"][0] == page
    assert checks["CAP_IPC_LOCK"][0] == "warn"
    assert ("shown, and lifts nothing" in checks["CAP_IPC_LOCK"][1]) == (who == "namespace")
    assert checks["user namespace"][0] == "warn" or who == "ordinary"


def test_without_a_limit_on_locked_memory() -> None:
    checks = found("ulimit -l unlimited")
    for name in (
        "memlock soft limit",
        "memlock hard limit",
        "left to lock",
        "CAP_IPC_LOCK",
        "lock of a page",
    ):
        assert checks[name][0] == "ok"


def test_a_capability_lifts_the_limit() -> None:
    checks = found("ulimit -l 0", "root")
    assert checks["memlock soft limit"] == ["ok", "0 bytes, which a capability lifts (tried)", ""]
    assert checks["CAP_IPC_LOCK"][0] == checks["lock of a page"][0] == "ok"


def test_a_soft_limit_is_raised_as_the_fix_says() -> None:
    state, _, fix = found("ulimit -S -l 64")["memlock soft limit"]
    if "ulimit -S" not in fix:
        pytest.skip("needs a hard limit on locked memory above 64 KiB, and no capability past it")
    assert state == "warn"
    raised = re.search(r"run '(ulimit [^']+)'", fix)
    assert raised is not None
    before, after = found("ulimit -S -l 64"), found(f"ulimit -S -l 64; {raised[1]}")
    assert after["memlock soft limit"][1] == before["memlock hard limit"][1]


def test_priorities_are_allowed_as_the_fix_says() -> None:
    refused = found("ulimit -r 0")
    assert refused["SCHED_FIFO"][0] == refused["RLIMIT_RTPRIO"][0] == "fail"
    assert "rtprio" in refused["SCHED_FIFO"][2].lower()
    able = "ulimit -S -r 0; ulimit -H -r 99"
    low = found(able)
    assert low["SCHED_FIFO"][0] == "fail"
    raised = re.search(r"run '(ulimit [^']+)'", low["RLIMIT_RTPRIO"][2])
    assert raised is not None
    allowed = found(f"{able}; {raised[1]}")
    assert allowed["SCHED_FIFO"][0] == allowed["RLIMIT_RTPRIO"][0] == "ok"


def test_root_needs_no_limit_on_priorities() -> None:
    checks = found("ulimit -r 0", "root")
    assert checks["SCHED_FIFO"][0] == checks["RLIMIT_RTPRIO"][0] == "ok"
    assert "CAP_SYS_NICE" in checks["RLIMIT_RTPRIO"][1]


def test_a_limit_on_real_time() -> None:
    state, finding, fix = found("ulimit -S -R 200000")["RLIMIT_RTTIME"]
    assert (state, finding) == ("warn", "200,000 us")
    call = re.search(r"call (resource\.setrlimit\(.+\)) first", fix)
    if call is None:
        pytest.skip("needs a hard limit on real time of 'unlimited'")
    program = f"import resource; {call[1]}{EXAMINE.format(root='/')}"
    assert json.loads(places.run(program, limits="ulimit -S -R 200000"))["RLIMIT_RTTIME"][0] == "ok"


def test_cpu_dma_latency_for_a_group() -> None:
    device = Path("/dev/cpu_dma_latency")
    places.place("root")
    if places.place("ordinary") != places.USER:
        pytest.skip("needs to become another user, for whom this tree is readable")
    if not device.exists():
        pytest.skip(f"needs a kernel with {device}")
    before = device.stat()
    assert found()["cpu_dma_latency"][:2] == ["warn", "cannot be opened: Permission denied"]
    try:
        os.chown(device, before.st_uid, 1000)  # what the rule for udev does
        device.chmod(0o660)
        assert found()["cpu_dma_latency"][0] == "ok"
    finally:
        device.chmod(before.st_mode & 0o7777)
        os.chown(device, before.st_uid, before.st_gid)


def test_it_changes_nothing() -> None:
    doctor()  # what runs for the first time imports and maps
    before = state()
    for _ in range(3):
        doctor()
    assert state() == before


def state() -> dict[str, object]:
    """What a doctor might leave behind."""
    time.sleep(0.2)  # the kernel takes a moment to be rid of a thread that has ended
    tasks = sorted(map(int, os.listdir("/proc/self/task")))
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
        "locked": vm_lck(),
        "scheduler": [(task, os.sched_getscheduler(task), os.sched_getparam(task)) for task in tasks],
        "affinity": [os.sched_getaffinity(task) for task in tasks],
        "files": sorted(os.listdir("/proc/self/fd")),
    }


def test_no_file_can_be_opened() -> None:
    program = """
import resource
import lockedarray as la
resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
report = la.doctor()
resting = [check.name for check in report.checks if check.state != "unknown"]
print(*resting, sep=",")
"""
    resting = places.run(program).strip()
    assert set(filter(None, resting.split(","))) <= {"lock of a page", "SCHED_FIFO"}, "tried, without a file"


def test_no_thread_can_be_started() -> None:
    program = """
import resource, threading
import lockedarray as la
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
found = {check.name: check.finding for check in la.doctor().checks}
try:
    threading.Thread(target=int).start()
except RuntimeError:
    print(found["SCHED_FIFO"])
"""
    finding = places.run(program, who="ordinary").strip()
    if not finding:
        pytest.skip("needs to become another user, for whom this tree is readable")
    assert finding == "it could not be tried: no thread could be started"


def test_figures_are_the_kernels() -> None:
    report = doctor()
    assert checked(report, "locked memory").finding == f"{spoken(vm_lck())} (VmLck)"
    assert checked(report, "page size").finding == spoken(PAGE)
    made = int(checked(report, "max_map_count").finding.split()[0].replace(",", ""))
    assert abs(made - mappings()) < 20


def test_what_is_not_tried_is_not_known() -> None:
    """The control: the files of this machine alone do not tell."""
    untried = Trials(memlock_lifted=memlock_lifted())
    report = examine(place.ROOT, os.environ, untried)
    unknown = {check.name for check in report.checks if check.state == "unknown" and "tried" in check.finding}
    assert unknown == {"lock of a page", "SCHED_FIFO", "cpu_dma_latency"}
