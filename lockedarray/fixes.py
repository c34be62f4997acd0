"""What a person does about a limit or a setting, in the words that errors, realtime and the doctor share.

Each is a sentence without its stop, and begins small.
"""

from __future__ import annotations

import resource

from .place import Limit, Place

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
    infinity = "resource.RLIM_INFINITY"
    if limit == "memlock":
        call = f"lockedarray.set_memlock_limit({infinity if unlimited else hard})"
        shell = f"-l {'unlimited' if unlimited else hard // 1024}"
    elif limit == "rtprio":
        most = 99 if unlimited else hard
        call, shell = f"resource.setrlimit(resource.RLIMIT_RTPRIO, ({most}, {hard}))", f"-r {most}"
    else:
        most_time = infinity if unlimited else hard
        call = f"resource.setrlimit(resource.RLIMIT_RTTIME, ({most_time}, {most_time}))"
        shell = f"-R {'unlimited' if unlimited else hard}"
    return f"call {call} first, or run 'ulimit -S {shell}' in the shell that starts the program"


def no_limit(place: Place, limit: Limit, hard: int) -> str:
    """Return how a limit is lifted altogether: a hard one that ends somewhere has to go first."""
    return soft_limit(limit, hard) if hard == resource.RLIM_INFINITY else place.fix_for(limit)


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
