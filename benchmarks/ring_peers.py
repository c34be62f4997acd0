"""A block through our ring, against the same through everybody else's.

    python benchmarks/ring_peers.py [--quick] [--check] [--environment DIR]

The other packages are no dependencies of ours: those that cannot be imported are named and left out.
`--environment` makes a virtual environment there, installs them and this project into it, and measures in it.

All do the same: what is in one array of the writer's goes to one of the reader's, through a ring that has
room for two blocks and holds one, made before. deque and SimpleQueue carry copies; that the reader copies
once more, into its own array, is half of their time. pa-ringbuffer needs its C compiled: rtmixer brings it.
numpy-ringbuffer and dvg-ringbuffer give back one frame after the other, or what they hold; timed is a copy of
the newest block, which stays in.
"""

from __future__ import annotations

import argparse
import collections
import os
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ring import Blocks, half_full, on_one_thread
from timing import Line, measure, rows

PACKAGES = ("pa-ringbuffer", "rtmixer", "shm-ring-buffer", "numpy-ringbuffer", "dvg-ringbuffer")

Peer = tuple[str, Any]  # a statement about src, dst and `peer`; and that


def deque(frames: int) -> Peer:
    held = np.zeros((frames, 2), "f4")
    return "peer.append(src.copy()); dst[:] = peer.popleft()", collections.deque([held], 2)


def simple_queue(frames: int) -> Peer:
    blocks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    blocks.put(np.zeros((frames, 2), "f4"))
    return "peer.put(src.copy()); dst[:] = peer.get()", blocks


def pa_ringbuffer(frames: int) -> Peer:
    import _rtmixer
    import pa_ringbuffer

    ring = pa_ringbuffer.init(_rtmixer.ffi, _rtmixer.lib)(8, 2 * frames)
    ring.write(np.zeros((frames, 2), "f4"))
    return "peer.write(src); peer.readinto(dst)", ring


def shm_ring_buffer(frames: int) -> Peer:
    from ring_buffer.numpy import NumpyShmRingBuffer

    names = [f"lockedarray-{what}-{frames}-{os.getpid()}" for what in ("blocks", "read", "written")]
    ring = NumpyShmRingBuffer(2, *names, create=True, dtype=np.dtype("f4"), shape=(frames, 2))
    ring.write(np.zeros((frames, 2), "f4"))
    return "peer.write(src); dst[:] = peer.read(); peer.release()", ring


def numpy_ringbuffer(frames: int) -> Peer:
    from numpy_ringbuffer import RingBuffer

    return f"peer.extend(src); dst[:] = peer[-{frames}:]", RingBuffer(2 * frames, ("f4", 2))


def dvg_ringbuffer(frames: int) -> Peer:
    from dvg_ringbuffer import RingBuffer

    return f"peer.extend(src); dst[:] = peer[-{frames}:]", RingBuffer(2 * frames, ("f4", 2))


PEERS: tuple[tuple[str, Callable[[int], Peer], float], ...] = (
    ("deque", deque, 1 / 4),
    ("SimpleQueue", simple_queue, 1 / 4),
    ("pa-ringbuffer", pa_ringbuffer, 1 / 8),
    ("shm-ring-buffer", shm_ring_buffer, 1 / 10),
    ("numpy-ringbuffer", numpy_ringbuffer, 1 / 20),
    ("dvg-ringbuffer", dvg_ringbuffer, 1 / 20),
)


def lines(quick: bool) -> Iterator[Line]:
    number = 200 if quick else 4000
    for name, make, bound in PEERS:
        for frames in (64, 256, 1024):
            try:
                code, peer = make(frames)
            except ImportError as error:
                print(f"{name} is not measured: {error}", file=sys.stderr)
                break
            blocks, rb = Blocks(frames), half_full(frames, 1)
            yield Line(
                f"ring against {name}, {frames} frames",
                on_one_thread("rb.write(src); rb.read_into(dst)", number, blocks, rb=rb),
                on_one_thread(code, number, blocks, peer=peer),
                name,
                bound,
            )
            if hasattr(peer, "close"):
                peer.close()


def make_environment(directory: str) -> Path:
    """Install the other packages, and this project, into an environment of their own; return its Python."""
    python = Path(directory, "bin", "python")
    pip = [python, "-m", "pip", "install", "-q"]
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    subprocess.run([*pip, "numpy", "cffi", Path(__file__).resolve().parents[1]], check=True)
    # Without what rtmixer itself needs, a sound library: its compiled ring needs none.
    subprocess.run([*pip, "--no-deps", *PACKAGES], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? its figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bound is missed")
    parser.add_argument("--environment", metavar="DIR", help="make a virtual environment, and measure in it")
    args = parser.parse_args()
    if args.environment:
        options = [f"--{name}" for name in ("quick", "check") if getattr(args, name)]
        return subprocess.run([make_environment(args.environment), __file__, *options]).returncode
    results = [measure(line, 5 if args.quick else 21) for line in lines(args.quick)]
    print("\n".join(rows(results)))
    return 1 if args.check and not all(r.met for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
