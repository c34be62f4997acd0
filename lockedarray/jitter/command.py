"""``lockedarray jitter``: its options, and a measurement from beginning to end."""

from __future__ import annotations

import argparse
import json
import math
import sys

from ..terminal import columns, has_blocks
from . import plot, report
from .live import Live
from .measure import Measurement
from .options import LONGEST_S, LONGEST_US, MOST_THREADS, SHORTEST_US, Options

_EPILOG = """\
Each thread is a loop over lockedarray.Periodic: absolute deadlines, and one that has passed is
missed, counted and skipped. A latency is the time from a deadline to the moment at which Python
code runs again, the wait for the GIL included, which threads share.

By default lockedarray.realtime sets each thread up; what it cannot achieve is said, with the fix.
--compare measures that and plain threads in turns, each kind for the whole duration.

exit status: 0 measured, whatever was achieved; 1 it could not be measured, or the picture could
not be written after all; 2 wrong arguments; 130 Ctrl-C, and the report is of what was measured
until then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.epilog = _EPILOG
    standard = Options()
    parser.add_argument(
        "--threads", type=_threads, default=standard.threads, metavar="N", help="how many (default: 1)"
    )
    parser.add_argument(
        "--priority", type=_priority, metavar="P", help="SCHED_FIFO, 1 to 99 (default: ordinary scheduling)"
    )
    parser.add_argument(
        "--interval",
        type=_interval,
        default=standard.interval_us,
        metavar="US",
        help="the period (default: 1000)",
    )
    parser.add_argument(
        "--duration", type=_duration, default=standard.duration, metavar="S", help="seconds (default: 10)"
    )
    parser.add_argument(
        "--cpus", type=_cpus, default=(), metavar="LIST", help="as 0,2-3: the threads take them in turn"
    )
    parser.add_argument(
        "--synth",
        type=_frames,
        nargs="?",
        const=64,
        metavar="FRAMES",
        help="load: a block of a synthesizer's voice each period (default: none; without a number 64 frames)",
    )
    parser.add_argument(
        "--lock",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="lock all memory (default); --no-lock leaves just that out",
    )
    parser.add_argument("--compare", action="store_true", help="measure plain threads too, in turns")
    parser.add_argument(
        "--plot", type=_picture, metavar="FILE", help="draw the latencies: .png, .svg or .pdf, by matplotlib"
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Measure and report; return the exit status."""
    settings = Options(
        arguments.threads,
        arguments.priority,
        arguments.interval,
        arguments.duration,
        arguments.cpus,
        arguments.synth,
        arguments.lock,
    )
    live = Live(settings.duration * (2 if arguments.compare else 1), silent=arguments.json)
    measurement = Measurement(settings, live)
    runs = measurement.compare() if arguments.compare else measurement.run()
    if arguments.json:
        print(json.dumps(report.record(settings, runs, measurement.interrupted), indent=2))
    else:
        if measurement.interrupted:
            print("stopped early; the report is of what was measured until then")
        for line in report.lines(settings, runs, columns(), has_blocks()):
            print(line)
    if arguments.plot:
        try:
            title = report.title(settings, runs, measurement.interrupted, plot.TITLE)
            plot.draw(arguments.plot, settings, runs, title)
        except OSError as error:
            print(f"lockedarray jitter: cannot draw {arguments.plot!r}: {error}", file=sys.stderr)
            return 1
    if measurement.interrupted:
        raise KeyboardInterrupt  # the command's end: what was measured is told
    return 0


def _whole(text: str, least: int, most: int, what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{what} is {least} to {most}, not {number}")
    return number


def _number(text: str, least: float, most: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{what} is {least:g} to {most:.10g}, not {text}")
    return number


def _threads(text: str) -> int:
    return _whole(text, 1, MOST_THREADS, "the number of threads")


def _priority(text: str) -> int:
    return _whole(text, 1, 99, "a priority")


def _frames(text: str) -> int:
    return _whole(text, 1, 65536, "a block's number of frames")


def _interval(text: str) -> float:
    return _number(text, SHORTEST_US, LONGEST_US, "a period in us")


def _duration(text: str) -> float:
    return _number(text, 0.01, LONGEST_S, "a duration in seconds")


def _picture(text: str) -> str:
    if problem := plot.impossible(text):
        raise argparse.ArgumentTypeError(problem)
    return text


def _cpus(text: str) -> tuple[int, ...]:
    """Return the CPUs of a list as taskset takes it."""
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or not text.isascii():
            raise argparse.ArgumentTypeError(f"{text!r} is no list of CPUs, as 0,2-3")
        bounds = int(first), int(last) if dash else int(first)
        if not bounds[0] <= bounds[1] < 8192:
            raise argparse.ArgumentTypeError(f"{part!r} is no range of CPUs")
        cpus.extend(range(bounds[0], bounds[1] + 1))
    return tuple(dict.fromkeys(cpus))
