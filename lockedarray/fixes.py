"""What a person does about a limit or a setting, in the words that errors, realtime and the doctor share.

Each is a sentence without its stop, and begins small.
"""

from __future__ import annotations

import resource

from .place import NODES_RUNTIME, Limit, Place

CPU_DMA_LATENCY = "/dev/cpu_dma_latency"


def outside(place: Place) -> str:
    """Return where the machine's settings are set, if not here, as a sentence begins with it."""
    if place.kind == "kubernetes":
        return "on the node, "
    if place.kind in ("docker", "podman", "container"):
        return "on the host, "
    return "outside of this user namespace, " if place.user_namespace else ""


def soft_limit(limit: Limit, hard: int) -> str:
    """Return how a process raises a soft limit of its own as far as the hard one, which anyone may."""
    unlimited = hard == resource.RLIM_INFINITY
    if limit == "memlock":
        call = f"lockedarray.set_memlock_limit({'resource.RLIM_INFINITY' if unlimited else hard})"
        shell = f"-l {'unlimited' if unlimited else hard // 1024}"
    else:
        most = 99 if unlimited else hard
        call, shell = f"resource.setrlimit(resource.RLIMIT_RTPRIO, ({most}, {hard}))", f"-r {most}"
    return f"call {call} first, or run 'ulimit -S {shell}' in the shell that starts the program"


def cpu_dma_latency(place: Place) -> str:
    """Return how a process gets to hold /dev/cpu_dma_latency there."""
    if place.kind in ("docker", "podman"):
        return (
            f"start the container as root with '{place.kind} run --device {CPU_DMA_LATENCY}' (another user "
            "can open it where the host gives it to a group of that user's)"
        )
    if place.kind == "kubernetes":
        return f"give a privileged container {CPU_DMA_LATENCY} of the node, as a hostPath volume"
    rule = 'KERNEL=="cpu_dma_latency", GROUP="audio", MODE="0660"'
    return (
        f"{outside(place)}write the line '{rule}' into /etc/udev/rules.d/99-cpu-dma-latency.rules, run "
        "'sudo udevadm trigger --name-match=cpu_dma_latency', and have the user in the group audio"
    )


def endless_real_time(place: Place) -> str:
    """Return how a program is started there without RLIMIT_RTTIME, if its hard limit ends somewhere."""
    if place.kind == "login":
        run = "run 'sudo prlimit --pid $$ --rttime=unlimited:unlimited' in the shell that starts the program"
        return outside(place) + run
    if place.kind in ("service", "user service"):
        return place.edited("LimitRTTIME=infinity")
    if place.kind in ("docker", "podman"):
        return f"start the container with '{place.kind} run --ulimit rttime=-1:-1'"
    if place.kind == "kubernetes":
        return f"set LimitRTTIME=infinity {NODES_RUNTIME}"
    return "set lxc.prlimit.rttime = unlimited for LXC, LimitRTTIME=infinity for systemd-nspawn"
