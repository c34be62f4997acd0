"""A control loop at 1 kHz that logs every period, and never waits for the log.

The loop writes one record a period into a ring; another process takes them from there and writes a CSV file,
in its own time. A record that does not fit is lost and counted; if the logger dies, the loop goes on.

python control_loop.py [--seconds 1.5] [-o control_loop.csv]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time

import numpy as np

import lockedarray as la
from arguments import duration

PERIOD = 1e-3
STEP = 250  # periods from one set point to the next
LOG = np.dtype([("deadline", "i8"), ("latency", "i8"), ("set_point", "f8"), ("value", "f8")])  # times in ns
LOG_HELD = 512  # records: what the logger may be late by, in periods
GATHERED = 100  # records that the logger takes at a time
PATIENCE = 10.0  # seconds for the logger to start


def logger(log: la.RingBuffer, trial: la.RingBuffer, path: str) -> None:
    """Write records to a file until the ring is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop, which closes the ring
    try:
        with open(path, "w") as file:
            file.write(",".join(LOG.names or ()) + "\n")
            trial.read(1)  # says that the logger is there
            for records in log.blocks(GATHERED):
                np.savetxt(file, records, fmt=["%d", "%d", "%.3f", "%.6f"], delimiter=",")
    except OSError as error:
        sys.exit(f"control_loop: cannot write {path!r}: {(error.strerror or str(error)).lower()}")


class Controller:
    """A proportional-integral controller, and the simulated heater that it holds at its set point."""

    def __init__(self) -> None:
        self.record = la.zeros(1, LOG)
        self.fields = [self.record[name] for name in LOG.names or ()]  # views, made once
        self.value = self.integral = 0.0
        self.unlogged = 0  # records after the logger's death

    def run(self, beats: la.Periodic, log: la.RingBuffer, periods: int) -> None:
        deadlines, latencies, set_points, values = self.fields
        for k, deadline in enumerate(beats):
            if k >= periods:
                return
            deadlines[0] = deadline
            latencies[0] = time.monotonic_ns() - deadline
            set_point = 1.0 if k // STEP % 2 == 0 else 0.5
            deviation = set_point - self.value
            self.integral += deviation * PERIOD
            drive = 5.0 * deviation + 100.0 * self.integral
            self.value += (drive - self.value) * PERIOD * 10
            set_points[0] = set_point
            values[0] = self.value
            try:
                log.write(self.record, drop=True)
            except BrokenPipeError:
                self.unlogged += 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A control loop at 1 kHz and its log.")
    parser.add_argument("-o", "--output", default="control_loop.csv", help="default: %(default)s")
    parser.add_argument("--seconds", type=duration, default=1.5, help="default: %(default)s")
    args = parser.parse_args()
    try:
        log = la.RingBuffer(LOG_HELD, dtype=LOG)
        trial = la.RingBuffer(1, dtype=LOG)
        controller = Controller()
        beats, practice = la.Periodic(PERIOD, history=0), la.Periodic(PERIOD, history=0)
        open(args.output, "w").close()
    except (la.LockError, OSError) as error:
        print(f"control_loop: {error}", file=sys.stderr)
        return 1
    writer = multiprocessing.get_context("spawn").Process(target=logger, args=(log, trial, args.output))
    trial.write(controller.record)  # full
    writer.start()  # before the scheduler: it is to be an ordinary process
    if not trial.wait_write(1, timeout=PATIENCE):
        log.close()  # should it start yet, it ends
        print("control_loop: the logger did not start", file=sys.stderr)
        return 1
    faults = la.page_faults()
    try:
        with la.realtime(priority=50) as rt:
            print(rt)
            controller.run(practice, trial, 50)  # what faults on its first call, faults now
            controller.value = controller.integral = 0.0
            with faults:
                controller.run(beats, log, round(args.seconds / PERIOD))
    except KeyboardInterrupt:
        print("stopped")
    finally:
        log.close()
    writer.join()
    sent, lost, unlogged = log.frames_written, log.frames_lost, controller.unlogged
    print(
        f"loop:      {sent + lost + unlogged} periods of 1 ms, {beats.missed} missed, "
        f"page faults {faults.total} (counted by {faults.source})"
    )
    if writer.exitcode:
        print(
            f"control_loop: the logger died: {sent - log.frames_read} records were left in the ring, "
            f"{lost} did not fit, {unlogged} came after its end",
            file=sys.stderr,
        )
        return 1
    print(f"log:       {log.frames_read} records in {args.output}, {lost} lost, eof is {log.eof}")
    if log.frames_read:
        table = np.loadtxt(args.output, delimiter=",", skiprows=1, ndmin=2)
        late = np.percentile(table[:, 1], [50, 99, 100]) / 1000
        print("latency:   p50 {:.0f}, p99 {:.0f}, max {:.0f} us".format(*late))
        print(f"value:     {table[-1, 3]:.3f} at a set point of {table[-1, 2]:.1f}")
    return 0 if lost == 0 and log.frames_read == sent else 1


if __name__ == "__main__":
    sys.exit(main())
