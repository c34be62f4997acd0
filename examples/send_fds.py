"""A ring between two programs that know nothing of each other but a Unix socket.

The server makes the ring and sends its descriptor; the client attaches, and says so by one byte. The socket's
name is gone as soon as they have met, and the ring never had one: nothing is left, however they end. Whoever
gets the descriptor has the ring: the socket's permissions are the ring's.

python send_fds.py                          both, each a program of its own
python send_fds.py --serve PATH
python send_fds.py --connect PATH
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import lockedarray as la
from arguments import exit_with

CAPACITY, BLOCK = 2048, 512
FRAMES = 480_000
PATIENCE = 5.0  # seconds for the other program


def serve(path: str) -> str:
    """Give a ring to the first that connects, and send it numbers."""
    ring = la.RingBuffer(CAPACITY, dtype="f8")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(path)
        listener.listen(1)
        try:
            connection, _ = listener.accept()
        finally:
            os.unlink(path)
    with connection:
        connection.settimeout(PATIENCE)
        socket.send_fds(connection, [b"ring"], [ring.fileno()])
        if not connection.recv(1):
            raise ConnectionError("the client did not attach")
    for first in range(0, FRAMES, BLOCK):
        block = np.arange(first, min(first + BLOCK, FRAMES), dtype="f8")
        if not ring.wait_write(len(block), timeout=PATIENCE):
            raise ConnectionError(f"the client stopped at frame {ring.frames_read}")
        ring.write(block)
    ring.close()
    return f"server {os.getpid()}: sent {ring.frames_written} frames"


def connect(path: str) -> str:
    """Take the ring that is offered at the path, and read it to its end."""
    with socket.socket(socket.AF_UNIX) as connection:
        until = time.monotonic() + PATIENCE
        while error := connection.connect_ex(path):  # the server may not be there yet
            if time.monotonic() > until:
                raise ConnectionError(f"nobody serves at {path}: {os.strerror(error).lower()}")
            time.sleep(0.01)
        connection.settimeout(PATIENCE)
        _, fds, _, _ = socket.recv_fds(connection, 16, 1)
        if not fds:
            raise ConnectionError("the server sent no ring")
        try:
            ring = la.RingBuffer.attach(fds[0])
        finally:
            os.close(fds[0])  # the ring has its own
        connection.send(b"!")
    expected = 0
    for block in ring.blocks(BLOCK):
        if not np.array_equal(block, np.arange(expected, expected + len(block))):
            raise ValueError(f"the block at frame {expected} is not what was sent")
        expected += len(block)
    if expected != FRAMES:
        raise ConnectionError(f"the server stopped at frame {expected}")
    return f"client {os.getpid()}: read {expected} frames in order, eof is {ring.eof}"


def both() -> int:
    with tempfile.TemporaryDirectory() as directory:  # which nobody else may enter
        path = str(Path(directory) / "ring")
        me = [sys.executable, *(f"-W{each}" for each in sys.warnoptions), __file__]
        with (
            subprocess.Popen([*me, "--serve", path]) as server,
            subprocess.Popen([*me, "--connect", path]) as client,
        ):
            if server.wait():
                client.terminate()  # nobody is there to wait for
            return 1 if client.wait() or server.returncode else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="A ring between two programs, by a Unix socket.")
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--serve", metavar="PATH", help="make a ring, and offer it at a socket")
    side.add_argument("--connect", metavar="PATH", help="take the ring that is offered there")
    args = parser.parse_args()
    if not (args.serve or args.connect):
        return both()
    try:
        said = serve(args.serve) if args.serve else connect(args.connect)
        print(f"{said}\n", end="")  # in one piece: two programs write here
    except (la.LockError, OSError, ValueError) as error:
        print(f"send_fds: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    exit_with(main)
