"""A callback in C beside a busy Python thread: sound goes to it and back, and it never waits for the GIL.

    python examples/c_callback.py --seconds 5

Compiles c_callback.c, an audio driver in small, starts it, and feeds it from a generator in Python; what the
driver records is compared with what was sent.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import lockedarray as la
from arguments import duration, exit_with

SOURCE = Path(__file__).with_name("c_callback.c")


class Report(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("periods", "underruns", "overruns", "worst_ns")]


def compiled() -> ctypes.CDLL:
    """Compile the driver and load it."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "c_callback.so"
        options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread"]
        try:
            subprocess.run([*compiler, *options, f"-I{la.get_include()}", SOURCE, "-o", library], check=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            sys.exit(f"c_callback.py needs a C compiler: {error}")
        driver = ctypes.CDLL(str(library))
    driver.driver_start.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int64]
    driver.driver_start.restype = ctypes.c_void_p
    driver.driver_stop.argtypes = [ctypes.c_void_p, ctypes.POINTER(Report)]
    driver.driver_stop.restype = None
    return driver


def keep_busy(done: threading.Event) -> None:
    """Hold the GIL as much as Python lets a thread."""
    while not done.is_set():
        sum(range(10_000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=duration, default=5.0)
    parser.add_argument("--rate", type=int, default=48_000)
    parser.add_argument("--frames", type=int, default=64, help="of a period")
    parser.add_argument("--latency", type=duration, default=0.2, help="seconds that the rings hold")
    options = parser.parse_args()
    if not (1 <= options.frames <= 4096 and options.rate > 0 and 0 <= options.latency <= 60):
        parser.error("--frames must be 1 to 4096, --rate positive, --latency 0 to 60 seconds")
    try:
        return play(compiled(), options)
    except la.LockError as error:
        print(f"c_callback: {error}", file=sys.stderr)
        return 1


def play(driver: ctypes.CDLL, options: argparse.Namespace) -> int:
    """Send, receive and count beside the busy thread, and return the exit status."""
    held = max(int(options.rate * options.latency), 2 * options.frames)
    playback, capture = la.RingBuffer(held, 2), la.RingBuffer(held, 2)
    block, recorded = la.zeros((options.frames, 2), "float32"), la.zeros((held, 2), "float32")
    sent = got = wrong = 0

    def send() -> None:
        """Write blocks of frames that tell their number, until the ring is full."""
        nonlocal sent
        while playback.write_available >= len(block):
            block[:] = (np.arange(sent, sent + len(block)) % 65535 + 1)[:, None]
            sent += playback.write(block)

    def receive() -> None:
        """Count the frames that follow one another; silence stands for what came too late."""
        nonlocal got, wrong
        frames = recorded[: capture.read_into(recorded), 0]
        heard = frames[frames != 0]
        steps = np.diff(heard)
        wrong += int(np.count_nonzero((steps != 1) & (steps != -65534)))
        got += len(frames)

    send()
    handle = driver.driver_start(playback.address, capture.address, options.frames, options.rate)
    if not handle:
        sys.exit("the driver does not start")
    done = threading.Event()
    busy = threading.Thread(target=keep_busy, args=(done,))
    busy.start()
    try:
        until = time.monotonic() + options.seconds
        while time.monotonic() < until:
            send()
            receive()
            capture.wait_read(min(4 * options.frames, held), 0.1)
    finally:
        report = Report()
        driver.driver_stop(handle, ctypes.byref(report))
        done.set()
        busy.join()
    receive()
    print(f"periods: {report.periods} of {options.frames} frames, beside a busy Python thread")
    print(f"xruns: {report.underruns} underruns, {report.overruns} overruns")
    print(f"frames: {sent} sent, {got} recorded, {playback.frames_missed} missed, {capture.frames_lost} lost")
    print(f"out of order: {wrong}")
    print(f"worst time inside the callback: {report.worst_ns / 1000:.1f} us")
    agreed = playback.underruns == report.underruns and capture.overruns == report.overruns
    return 0 if agreed and (wrong == 0 or report.overruns) and capture.eof else 1


if __name__ == "__main__":
    exit_with(main)
