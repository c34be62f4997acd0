"""Where the calling thread's stack lies, by the C library and the kernel: the tests' own reading."""

from __future__ import annotations

import ctypes

from smaps import PAGE, locked_pages
from thread_settings import LIBC

LIBC.pthread_self.restype = ctypes.c_void_p


def stack() -> tuple[int, int]:
    """The lowest address, and how many bytes."""
    attributes = ctypes.create_string_buffer(64)
    lowest, nbytes = ctypes.c_void_p(), ctypes.c_size_t()
    assert LIBC.pthread_getattr_np(ctypes.c_void_p(LIBC.pthread_self()), attributes) == 0
    assert LIBC.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(nbytes)) == 0
    LIBC.pthread_attr_destroy(attributes)
    assert lowest.value is not None
    return lowest.value, nbytes.value


def locked(lowest: int, nbytes: int) -> set[bool]:
    """{True} where all of its whole pages are locked."""
    start = -(-lowest // PAGE) * PAGE
    return set(locked_pages(start, (lowest + nbytes) // PAGE * PAGE - start))
