"""Programs in processes of their own: what they may not do, or what runs beside them."""

from __future__ import annotations

import os
import subprocess
import sys

STRICT = """
import ctypes, gc, os
import numpy as np, lockedarray as la
{setup}
gc.disable()
use(1000)
prctl = ctypes.CDLL(None).prctl
prctl(22, 1)  # PR_SET_SECCOMP, SECCOMP_MODE_STRICT: read, write and exit are left
{do}
os.write(1, b'done')
"""

BUSY = """
import sys, threading, time
import numpy as np, lockedarray as la
{setup}
done = False
def busy():
    while not done:
        pass
sys.setswitchinterval({interval})
thread = threading.Thread(target=busy, daemon=True)
thread.start()
def timed(do):
    time.sleep(0.01)  # comes back with a whole interval of its own
    start = time.perf_counter()
    do()
    return time.perf_counter() - start
print(timed(lambda: {do}), timed(lambda: {control}))
done = True
thread.join()
"""


def makes_no_system_call(setup: str, do: str) -> bool:
    """Run `do` where any system call kills, after the `setup`, which defines use(count); did it finish?"""
    program = STRICT.format(setup=setup, do=do)
    # Strict mode kills a thread, and NumPy's others would keep the process.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, env=environment, timeout=60
    )
    assert ran.returncode < 0  # Python's own exit is more than strict mode allows
    return ran.stdout == b"done"


def beside_busy_thread(setup: str, interval: float, do: str, control: str) -> tuple[float, float]:
    """Return the seconds of two expressions beside a thread that gives the GIL up once an interval."""
    program = BUSY.format(setup=setup, interval=interval, do=do, control=control)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, check=True, text=True, timeout=60
    )
    first, second = map(float, ran.stdout.split())
    return first, second
