"""A process set up for a real-time loop: limit, pool, thread, deadlines.

The loop is a controller at 1 kHz: it holds a simulated temperature at its set point.

    python realtime_process.py [--seconds S]
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import lockedarray as la
from arguments import duration, exit_with

PERIOD = 1e-3
POOL_BYTES = 1 << 14
HISTORY = 1024  # latencies, the newest: two pages


def main() -> int:
    parser = argparse.ArgumentParser(description="A control loop set up for real time.")
    parser.add_argument("--seconds", type=duration, default=1.0, help="default: %(default)s")
    args = parser.parse_args()

    # 1. As much locked memory as one may have without asking anybody.
    la.set_memlock_limit(la.memlock_limit()[1])
    # 2. All memory before the loop, named, locked and touched.
    try:
        pool = la.Pool(POOL_BYTES)
    except la.LockError as error:
        print(f"realtime_process: {error}", file=sys.stderr)
        return 1
    state = pool.zeros(2)  # temperature, integral of the deviation
    gains = pool.array([2.0, 20.0])  # proportional, integral
    deviation = pool.zeros(2)  # now, and its integral
    print(f"memory:    {la.locked_bytes()} bytes locked, {pool.available} of the pool's left")

    def loop(beats: la.Periodic, periods: int) -> None:
        for _ in beats:
            deviation[0] = 1.0 - state[0]
            deviation[1] = state[1]
            state[1] += deviation[0] * PERIOD
            state[0] += (np.dot(gains, deviation) - state[0]) * PERIOD * 10
            periods -= 1
            if periods <= 0:
                return

    # 3. Memory, stack, garbage collector, scheduler and more, as far as one may: the table says.
    with la.realtime(priority=50) as rt:
        print(rt)
        # 4. What faults on its first call, faults now: the same steps as below, the counting too.
        with la.page_faults():
            loop(la.Periodic(PERIOD, history=HISTORY), 50)
        state[:] = 0
        # 5. The loop: absolute deadlines, and no page fault.
        beats = la.Periodic(PERIOD, history=HISTORY)
        with la.page_faults() as faults:
            loop(beats, round(args.seconds / PERIOD))
    print(
        f"loop:      {beats.wakeups} periods of 1 ms, {beats.missed} missed, page faults "
        f"{faults.total} (counted by {faults.source}), temperature {state[0]:.3f}"
    )
    print(
        f"wake-up:   p50 {np.percentile(beats.latencies, 50) / 1000:.0f}, "
        f"max {np.max(beats.latencies) / 1000:.0f} us late"
    )
    return 0


if __name__ == "__main__":
    exit_with(main)
