"""Where a process runs, from the files that tell it, and what raises the limit there."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from lockedarray import place
from lockedarray.place import Place

EVERYONE = "0 0 4294967295\n"
ROOTLESS = "0 1000 1\n1 100000 65536\n"
NAME = pwd.getpwuid(os.geteuid()).pw_name
DOCKER = "4:memory:/docker/01ab\n1:name=systemd:/docker/01ab\n"
SCOPE = "0::/user.slice/user-1000.slice/session-2.scope\n"
USER_UNIT = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/synth.service\n"
TERMINAL = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-term.scope\n"


def root_with(directory: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/uid_map": EVERYONE, **files}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "environ", "kind", "name", "fix"),
    [
        ({}, {}, "login", NAME, f"'{NAME} - memlock unlimited'"),
        ({"proc/self/cgroup": SCOPE}, {}, "login", NAME, "limits.d"),
        ({"proc/self/cgroup": TERMINAL}, {}, "login", NAME, "log out"),
        ({"proc/self/cgroup": "0::/system.slice/synth.service\n"}, {}, "service", "synth.service",
         "systemctl edit synth.service', write LimitMEMLOCK=infinity"),
        ({"proc/self/cgroup": "12:cpu:/\n1:name=systemd:/system.slice/old.service\n0::/\n"}, {}, "service",
         "old.service", "systemctl restart old.service"),
        ({"proc/self/cgroup": "0::/system.slice/docker.service\n"}, {}, "service", "docker.service",
         "systemctl edit docker.service"),
        ({"proc/self/cgroup": USER_UNIT}, {}, "user service", "user@1000.service",
         "systemctl edit user@1000.service"),
        ({".dockerenv": ""}, {}, "docker", "", "docker run --ulimit memlock=-1:-1"),
        ({"proc/self/cgroup": DOCKER}, {}, "docker", "", "--cap-add IPC_LOCK"),
        ({"run/.containerenv": ""}, {}, "podman", "", "podman run --ulimit memlock=-1:-1"),
        ({"proc/self/cgroup": "0::/user.slice/libpod-12ab.scope\n"}, {}, "podman", "", "podman run"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1\n"}, {}, "kubernetes", "", "IPC_LOCK"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", "", "containerd"),
        ({}, {"container": "systemd-nspawn"}, "container", "", "LimitMEMLOCK=infinity for systemd-nspawn"),
        ({"proc/self/cgroup": "0::/lxc/box\n"}, {}, "container", "", "lxc.prlimit.memlock"),
        ({}, {"container": "wsl"}, "login", NAME, "limits.d"),
    ],
)  # fmt: skip
def test_places(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], kind: str, name: str, fix: str
) -> None:
    found = place.find(root_with(tmp_path, files), environ)
    assert (found.kind, found.name, found.user_namespace) == (kind, name, False)
    assert fix in found.fix


@pytest.mark.parametrize(
    ("files", "environ"),
    [({}, {}), ({".dockerenv": ""}, {}), ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})],
)
def test_in_a_user_namespace_no_capability_helps(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str]
) -> None:
    found = place.find(root_with(tmp_path, {**files, "proc/self/uid_map": ROOTLESS}), environ)
    assert found.user_namespace
    assert "no way past the limit" in found.fix


@pytest.mark.parametrize(
    ("found", "limit", "fix"),
    [
        (Place("login", "ada"), "rtprio", "'ada - rtprio 99' into /etc/security/limits.d/95-rtprio.conf"),
        (Place("login", "ada"), "rttime", "'sudo prlimit --pid $$ --rttime=unlimited:unlimited'"),
        (Place("login", "ada", True), "rtprio", "CAP_SYS_NICE is no way past the limit"),
        (Place("login", "ada", True), "rttime", "; do so outside of this user namespace"),
        (Place("service", "synth.service"), "rtprio", "edit synth.service', write LimitRTPRIO=99"),
        (Place("service", "synth.service"), "rttime", "edit synth.service', write LimitRTTIME=infinity"),
        (Place("service", "synth.service"), "rttime", "'sudo systemctl restart synth.service'"),
        (Place("user service", "user@1000.service"), "rtprio", "user@1000.service', write LimitRTPRIO=99"),
        (Place("docker"), "rtprio", "'docker run --ulimit rtprio=99:99'"),
        (Place("docker"), "rtprio", "'ulimits: {rtprio: 99}'"),
        (Place("podman"), "rtprio", "'--cap-add SYS_NICE' if it runs as root"),
        (Place("podman"), "rttime", "'podman run --ulimit rttime=-1:-1' (in a compose file: "),
        (Place("podman", "", True), "rtprio", "'USER - rtprio 99' in /etc/security/limits.d on the host"),
        (Place("kubernetes"), "rtprio", "{capabilities: {add: [SYS_NICE]}} and let it run as root"),
        (Place("kubernetes"), "rtprio", "restart that and make the pod anew"),
        (Place("kubernetes"), "rttime", "set LimitRTTIME=infinity in the unit of the node's"),
        (Place("kubernetes", "", True), "rtprio", "set LimitRTPRIO=99 in the unit"),
        (Place("container"), "rtprio", "lxc.prlimit.rtprio = 99 for LXC, LimitRTPRIO=99 for systemd-nspawn)"),
        (Place("container"), "rttime", "lxc.prlimit.rttime = unlimited for LXC"),
    ],
)  # fmt: skip
def test_other_limits_are_raised_the_same_way(found: place.Place, limit: place.Limit, fix: str) -> None:
    assert fix in found.fix_for(limit)
    assert "memlock" not in found.fix_for(limit).lower()
    assert limit not in found.fix_for("memlock").lower()
    assert found.fix == found.fix_for("memlock")


def test_a_capability_counts_in_the_first_namespace_only(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"proc/self/status": "Name:\tpython\nCapEff:\t0000000000004000\n"})
    assert place.capable(place.CAP_IPC_LOCK, root)
    assert not place.capable(place.CAP_FOWNER, root)
    root_with(tmp_path, {"proc/self/uid_map": ROOTLESS})
    assert not place.capable(place.CAP_IPC_LOCK, root)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    found = place.find(tmp_path / "not there", {})
    assert (found.kind, found.user_namespace) == ("login", False)
    assert not place.capable(place.CAP_IPC_LOCK, tmp_path / "not there")


def test_a_user_without_a_name_is_a_number(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"proc/self/uid_map": f"{os.geteuid()} 3999999999 1\n"})
    assert place.find(root, {}).name == ":3999999999"


@pytest.mark.parametrize("limit", ["memlock", "rtprio", "rttime"])
def test_a_fix_names_no_option_of_another_place(limit: place.Limit) -> None:
    for kind in "container", "kubernetes", "service", "user service", "login":
        for namespace in False, True:
            assert "--cap-add" not in place.Place(kind, "name", namespace).fix_for(limit)
    for kind in "docker", "podman":
        assert ("--cap-add" in place.Place(kind).fix_for(limit)) == (limit != "rttime")
        assert "CAP_ " not in place.Place(kind, "", True).fix_for(limit)
