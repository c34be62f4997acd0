"""A thread made ready for a real-time loop, step by step, and set back."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Literal, Self, SupportsFloat, SupportsIndex

from .footing import AllMemory, Denormals, Stack
from .interpreter import NoCollection, SwitchInterval
from .scheduling import Affinity, IdleLatency, Scheduler, TimerSlack
from .setting import Setting, Step

_PATIENCE = 100  # interruptions of one exit
Policy = Literal["fifo", "rr", "deadline"]


class Realtime:
    """What `realtime` returns: a context manager for the thread that enters it.

    Attributes
    ----------
    steps : tuple of Step
        What was asked, what is in force, and where that is less: why, and what to do. Empty before
        entry.
    ok : bool
        Whether every step is in force as asked, or as far as there is anything to have: of a stack
        that is smaller than `stack`, all.
    """

    def __init__(self, settings: list[Setting], strict: bool) -> None:
        self._settings = settings
        self._strict = strict
        self._taken: list[Setting] = []
        self._thread: int | None = None
        self.steps: tuple[Step, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every step is in force."""
        return all(step.ok for step in self.steps)

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("this realtime() has been entered already; take another for another thread")
        self._thread = threading.get_ident()
        self.steps = ()
        try:
            for setting in self._settings:
                self._taken.append(setting)  # first: it undoes nothing where nothing was done
                self.steps += (self._take(setting),)
        except BaseException as error:
            self._set_back(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread != threading.get_ident():
            late = RuntimeError("realtime() must be left in the thread that entered it. Nothing was changed")
            if error is None:
                raise late
            error.add_note(str(late))
            return
        self._set_back(error)

    def _take(self, setting: Setting) -> Step:
        reason = fix = ""
        try:
            setting.take()
        except (OSError, MemoryError) as refusal:
            if self._strict:
                raise
            reason = _sentence(getattr(refusal, "reason", str(refusal)))
            memory = isinstance(refusal, MemoryError)
            otherwise = "Free memory, or ask for less" if memory else "Leave the step out"
            fix = _sentence(getattr(refusal, "fix", otherwise))
        return Step(setting.name, setting.asked, setting.now(), not reason, reason, fix)

    def _set_back(self, error: BaseException | None) -> None:
        """Undo every step, the last one first, whatever comes in between; then say so."""
        failures: list[OSError] = []
        interruptions: list[BaseException] = []
        while self._taken:
            try:
                try:
                    self._taken[-1].undo()
                except OSError as refusal:
                    failures.append(refusal)
                self._taken.pop()
            except BaseException as interruption:  # as a Ctrl-C: it has to wait until all is set back
                interruptions.append(interruption)
                if len(interruptions) >= _PATIENCE:
                    raise
        self._thread = None
        first = interruptions[0] if interruptions else error or next(iter(failures), None)
        if first is None:
            return
        for failure in failures:
            if failure is not first:
                first.add_note(f"also: {failure!r}")
        if first is not error:
            raise first

    def __str__(self) -> str:
        return "\n".join(_lines(self.steps)) if self.steps else "realtime, not entered"

    def __repr__(self) -> str:
        if not self.steps:
            return "<realtime, not entered>"
        refused = ", ".join(step.name for step in self.steps if not step.ok)
        return f"<realtime, {f'without {refused}' if refused else 'all as asked'}>"


def realtime(
    priority: SupportsIndex | None = None,
    cpus: SupportsIndex | Iterable[SupportsIndex] | None = None,
    *,
    policy: Policy = "fifo",
    runtime: SupportsFloat | None = None,
    deadline: SupportsFloat | None = None,
    period: SupportsFloat | None = None,
    timer_slack: SupportsIndex | None = 1,
    cpu_dma_latency: SupportsIndex | None = 0,
    collect: bool = False,
    switch_interval: SupportsFloat | None = 1e-4,
    flush_denormals: bool = True,
    stack: SupportsIndex | None = 1 << 20,
    lock_memory: bool = True,
    strict: bool = False,
) -> Realtime:
    """Make the calling thread ready for a real-time loop, as far as this place allows, and undo it on exit.

    The steps, in this order, and undone in the other: memory, stack, garbage collection, switch
    interval, idle latency, timer slack, denormals, processors, scheduler. What cannot be had is left
    as it is, and `Realtime.steps` says why and what to do. Collection, switch interval and memory
    belong to the process: the first thread in sets them, the last one out restores them. Objects
    that were frozen (`gc.freeze`) stay so. A stack that was touched stays touched. A thread or
    process that is started in the block inherits scheduler, processors, timer slack and
    flush-to-zero from this thread: start the others before.

    Entering takes as long as `lock_all` does for memory, and a collection; system calls; allocates.

    Parameters
    ----------
    priority : int, optional
        1 to 99, for `policy` "fifo" or "rr". By default the scheduler is left alone. Audio servers run
        at 70 to 90; above them only what may starve them.
    cpus : int or iterable of int, optional
        The processors to run on.
    policy : {"fifo", "rr", "deadline"}
        The last with `runtime`, `deadline` and `period`: so much time, before each deadline. Under it
        the kernel lets a thread start neither threads nor processes.
    runtime, deadline, period : float, optional
        Seconds.
    timer_slack : int, optional
        Nanoseconds by which an ordinary thread may be woken late (usually 50,000).
    cpu_dma_latency : int, optional
        Microseconds that a processor may take to wake up: /dev/cpu_dma_latency is held, for the machine.
    collect : bool
        Whether garbage is still collected. Otherwise what there is, is collected first.
    switch_interval : float, optional
        Seconds for which another thread may keep the interpreter from this one (usually 0.005).
    flush_denormals : bool
        See the function of that name.
    stack : int, optional
        Bytes, see `prefault_stack`; less where the thread's stack ends before.
    lock_memory : bool
        All of the process, see `lock_all`.
    strict : bool
        Raise where a step cannot be had.

    Returns
    -------
    Realtime
        A context manager with ``.steps`` and ``.ok``; printed, it is a table.

    Raises
    ------
    TypeError, ValueError
        Arguments that cannot be meant, before anything is set.
    OSError
        On entry with `strict`: the first step that cannot be had, after the ones before are undone.
        On exit: something could not be set back, after the rest has been.
    RuntimeError
        Entered twice, or left in another thread.

    See Also
    --------
    lock_all, prefault_stack, flush_denormals, Periodic, doctor
    sched(7), prctl(2), the kernel's PM Quality of Service interface

    Examples
    --------
    >>> import lockedarray as la
    >>> with la.realtime(lock_memory=False, cpu_dma_latency=None) as rt:
    ...     rt.ok
    True
    """
    settings: list[Setting] = []
    if lock_memory:
        settings.append(AllMemory())
    if stack is not None:
        settings.append(Stack(_bounded("stack", stack, 0)))
    if not collect:
        settings.append(NoCollection())
    if switch_interval is not None:
        settings.append(SwitchInterval(_seconds("switch_interval", switch_interval, 1e-6)))
    if cpu_dma_latency is not None:
        settings.append(IdleLatency(_bounded("cpu_dma_latency", cpu_dma_latency, 0, 2**31 - 1)))
    if timer_slack is not None:
        settings.append(TimerSlack(_bounded("timer_slack", timer_slack, 1)))
    if flush_denormals:
        settings.append(Denormals())
    if cpus is not None:
        settings.append(_affinity(cpus))
    settings.extend(_scheduler(policy, priority, (runtime, deadline, period)))
    return Realtime(settings, strict)


def _scheduler(
    policy: str, priority: SupportsIndex | None, times: tuple[SupportsFloat | None, ...]
) -> Iterator[Scheduler]:
    if policy not in ("fifo", "rr", "deadline"):
        raise ValueError(f"policy must be 'fifo', 'rr' or 'deadline', not {policy!r}")
    given = [
        _seconds(name, time)
        for name, time in zip(("runtime", "deadline", "period"), times, strict=True)
        if time is not None
    ]
    if policy != "deadline":
        if given:
            raise ValueError("runtime, deadline and period are for policy='deadline'")
        if priority is not None:
            yield Scheduler(policy, _bounded("priority", priority, 1, 99))
        return
    if priority is not None or len(given) != 3:
        raise ValueError("policy='deadline' takes runtime, deadline and period, all three, and no priority")
    if not given[0] <= given[1] <= given[2]:
        raise ValueError(f"runtime <= deadline <= period must hold, not {given[0]}, {given[1]}, {given[2]}")
    yield Scheduler(policy, 0, (round(given[0] * 1e9), round(given[1] * 1e9), round(given[2] * 1e9)))


def _affinity(cpus: SupportsIndex | Iterable[SupportsIndex]) -> Affinity:
    wanted = {_whole("cpus", cpu) for cpu in (cpus if isinstance(cpus, Iterable) else (cpus,))}
    if not wanted or min(wanted) < 0:
        raise ValueError(f"cpus must name at least one processor, and all from 0 on, not {sorted(wanted)}")
    return Affinity(wanted)


def _whole(name: str, value: SupportsIndex) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None


def _bounded(name: str, value: SupportsIndex, least: int, most: int = 2**62) -> int:
    number = _whole(name, value)
    if not least <= number <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {number}")
    return number


def _seconds(name: str, value: SupportsFloat, least: float = 1e-9) -> float:
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    seconds = float(value)
    if not least <= seconds < 1e6:
        raise ValueError(f"{name} must be in seconds, from {least:g} to below a million, not {seconds:g}")
    return seconds


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _lines(steps: tuple[Step, ...]) -> Iterator[str]:
    widths = max(len(step.name) for step in steps), max(len(step.asked) for step in steps)
    for step in steps:
        line = f"{step.name:{widths[0]}}  {step.asked:{widths[1]}}  "
        if step.ok:
            yield line + ("yes" if step.achieved == step.asked else f"yes: {step.achieved}")
        else:
            yield line + f"no: {step.achieved}"
            yield f"{'':{widths[0]}}  {step.reason} {step.fix}"
