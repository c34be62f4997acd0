"""Where this process runs: a login, a service, a container; and how its limits are raised there.

Every function takes the root directory that it reads from, so that other places can be looked at too.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path("/")
CAP_FOWNER = 3
CAP_IPC_LOCK = 14
CAP_SYS_NICE = 23

Kind = Literal["login", "service", "user service", "docker", "podman", "kubernetes", "container"]

_ENGINES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("kubernetes", re.compile(r"/kubepods\b")),
    ("podman", re.compile(r"/libpod-")),
    ("docker", re.compile(r"/docker[-/]")),  # but not docker.service, the daemon
    ("container", re.compile(r"/lxc\b")),
)


class _Spelling(NamedTuple):
    """How a limit is written where it can be raised, and the capability that is a way past it, if one is."""

    value: str  # as limits.d writes it
    unit: str
    docker: str
    compose: str
    capability: str


Limit = Literal["memlock", "rtprio", "rttime"]

_SPELLINGS: dict[Limit, _Spelling] = {
    "memlock": _Spelling("unlimited", "LimitMEMLOCK=infinity", "-1:-1", "-1", "IPC_LOCK"),
    "rtprio": _Spelling("99", "LimitRTPRIO=99", "99:99", "99", "SYS_NICE"),
    "rttime": _Spelling("unlimited", "LimitRTTIME=infinity", "-1:-1", "-1", ""),
}


@dataclass(frozen=True)
class Place:
    """What decides over a process's limits.

    Attributes
    ----------
    kind : str
        "login", "service", "user service", "docker", "podman", "kubernetes" or "container".
    name : str
        The user of a login, the unit of a service, the user's manager of a user service.
    user_namespace : bool
        Whether capabilities count in here only: CAP_IPC_LOCK and CAP_SYS_NICE then lift nothing.
    """

    kind: Kind
    name: str = ""
    user_namespace: bool = False

    @property
    def fix(self) -> str:
        """What raises the hard limit on locked memory here, as a sentence without its stop."""
        return self.fix_for("memlock")

    def fix_for(self, limit: Limit) -> str:
        """Return what raises a hard limit here, as a sentence without its stop.

        Parameters
        ----------
        limit : {"memlock", "rtprio", "rttime"}
            On locked memory, on real-time priorities, on the time that real-time threads compute.
        """
        words = _SPELLINGS[limit]
        if self.kind == "login":
            return self._login(limit, words)
        if self.kind in ("service", "user service"):
            return self._service(words)
        if self.kind == "kubernetes":
            return self._pod(words)
        return self._container(limit, words)

    def _login(self, limit: Limit, words: _Spelling) -> str:
        if limit == "rttime":  # which limits.d does not know
            fix = "run 'sudo prlimit --pid $$ --rttime=unlimited:unlimited' in the shell of the program"
        else:
            fix = (
                f"put the line '{self.name} - {limit} {words.value}' into "
                f"/etc/security/limits.d/95-{limit}.conf, then log out of every session and in again"
            )
        if self.user_namespace:
            fix += "; do so outside of this user namespace"
            if words.capability:
                fix += f", in which CAP_{words.capability} is no way past the limit"
        return fix

    def _service(self, words: _Spelling) -> str:
        edit = f"run 'sudo systemctl edit {self.name}', write {words.unit} on a line below [Service], then "
        if self.kind == "user service":  # which cannot have more than its manager
            return edit + "log out of every session and in again"
        return edit + f"run 'sudo systemctl restart {self.name}'"

    def _pod(self, words: _Spelling) -> str:
        runtime = (
            f"set {words.unit} in the unit of the node's container runtime (containerd), restart that "
            "and make the pod anew"
        )
        if not words.capability:
            return f"{runtime}: a pod cannot set the limit itself"
        if self.user_namespace:
            return (
                f"{runtime}; in a pod with hostUsers: false "
                f"the capability {words.capability} is no way past the limit"
            )
        return (
            f"give the container securityContext: {{capabilities: {{add: [{words.capability}]}}}} and let "
            f"it run as root, or {runtime}: a pod cannot set the limit itself"
        )

    def _container(self, limit: Limit, words: _Spelling) -> str:
        if self.kind == "container":
            return (
                f"raise the limit where the container is configured (lxc.prlimit.{limit} = "
                f"{words.value} for LXC, {words.unit} for systemd-nspawn)"
            )
        start = (
            f"start the container with '{self.kind} run --ulimit {limit}={words.docker}' "
            f"(in a compose file: 'ulimits: {{{limit}: {words.compose}}}')"
        )
        if not words.capability:
            return start
        if not self.user_namespace:
            return f"{start}, or with '--cap-add {words.capability}' if it runs as root"
        return (
            f"{start}; in this user namespace '--cap-add {words.capability}' is no way past the limit, and "
            "a rootless container can have no more than the user who starts it: give that user a "
            f"line 'USER - {limit} {words.value}' in /etc/security/limits.d on the host"
        )


def find(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> Place:
    """Find out where this process runs."""
    namespace = in_user_namespace(root)
    path = _cgroup_of_systemd(root)
    engine = _engine(root, environ, path)
    if engine is not None:
        return Place(engine, "", namespace)
    kind, name = _unit(path)
    return Place(kind, name or _user(root), namespace)


def control_groups(root: Path = ROOT) -> dict[str, str]:
    """Return this process's path in each hierarchy by controller; version 2 goes by ""."""
    groups = {}
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, _, membership = line.partition(":")
        controllers, _, path = membership.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def in_user_namespace(root: Path = ROOT) -> bool:
    """Return whether this process is outside of the first user namespace, for all one can see."""
    return _uid_map(root) not in ([], [(0, 0, 2**32 - 1)])


def capable(capability: int, root: Path = ROOT) -> bool:
    """Return whether this process has a capability that counts on the whole machine.

    In a user namespace all are there and none counts.
    """
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", _read(root, "proc/self/status"), re.MULTILINE)
    held = effective is not None and bool(int(effective[1], 16) >> capability & 1)
    return held and not in_user_namespace(root)


def _read(root: Path, name: str) -> str:
    """Read a file that may be missing or closed to us, which then says nothing."""
    try:
        return (root / name).read_text(errors="replace")
    except OSError:
        return ""


def _cgroup_of_systemd(root: Path) -> str:
    groups = control_groups(root)
    paths = groups.get("", "/"), groups.get("name=systemd", "/")  # both, where version 1 is kept
    return max(paths, key=len)


def _engine(root: Path, environ: Mapping[str, str], path: str) -> Kind | None:
    """Return what made the container that this process is in, if it is in one."""
    name = environ.get("container") or _read(root, "run/systemd/container").strip()
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    if name == "podman" or (root / "run/.containerenv").exists():
        return "podman"
    for engine, pattern in _ENGINES:
        if pattern.search(path):
            return engine
    if name == "docker" or (root / ".dockerenv").exists():
        return "docker"
    return "container" if name not in ("", "wsl") else None


def _unit(path: str) -> tuple[Kind, str]:
    """Return the systemd unit that a control group belongs to; a scope is somebody's session."""
    parts = path.split("/")
    manager = next((part for part in parts if re.fullmatch(r"user@\d+\.service", part)), "")
    unit = next((part for part in reversed(parts) if part.endswith((".service", ".scope"))), "")
    if not unit.endswith(".service") or unit == manager:
        return "login", ""
    return ("user service", manager) if manager else ("service", unit)


def _uid_map(root: Path) -> list[tuple[int, int, int]]:
    row = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s*$", re.ASCII | re.MULTILINE)
    rows = row.findall(_read(root, "proc/self/uid_map"))
    return [(int(inside), int(outside), int(count)) for inside, outside, count in rows]


def _user(root: Path) -> str:
    """Return this process's user as limits.d names it, seen from outside of a user namespace."""
    uid = os.geteuid()
    for inside, outside, count in _uid_map(root):
        if inside <= uid < inside + count:
            uid += outside - inside
            break
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f":{uid}"
