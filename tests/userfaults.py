"""Memory whose first touch waits until a test lets it go on: man 2 userfaultfd."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import select
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest

NUMBERS = {"x86_64": 323, "aarch64": 282}
# linux/userfaultfd.h: what is asked (with the bytes of its structure), and who waits: whoever finds no page.
HANDSHAKE = 0xC018AA3F
REGISTER = 0xC020AA00
VERSION, MISSING = 0xAA, 1


@contextlib.contextmanager
def waiting(array: np.ndarray) -> Iterator[Callable[[], None]]:
    """Let each first touch of a page of `array` wait, the kernel's own too, until the block is left.

    Yields what returns as soon as somebody waits. `array` is private memory, page-aligned, untouched.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(NUMBERS.get(platform.machine(), -1), os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        pytest.skip("needs userfaultfd: to be root, or vm.unprivileged_userfaultfd=1")

    def wait() -> None:
        assert select.select([fd], [], [], 10)[0], "nobody touched the memory"

    try:
        fcntl.ioctl(fd, HANDSHAKE, bytearray(struct.pack("QQQ", VERSION, 0, 0)))
        fcntl.ioctl(fd, REGISTER, bytearray(struct.pack("QQQQ", array.ctypes.data, array.nbytes, MISSING, 0)))
        yield wait
    finally:
        os.close(fd)
