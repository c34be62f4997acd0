"""The control of realtime_voice.py: sound in memory that is not locked, pushed out before it plays.

Without swap an ordinary user can still show what a lock prevents: the pages of a mapped file of
one's own can be pushed out (MADV_PAGEOUT), and come back one fault at a time.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

import lockedarray as la

Float32 = NDArray[np.float32]

MADV_PAGEOUT = 21  # linux/mman.h; the mmap module has no name for it
FAULT_AROUND = 16  # pages that the kernel may map at one fault, if it has them in its cache


class MappedVoice:
    """Frames in a mapped file, read as if from a ring that was closed when all was in it."""

    closed = True

    def __init__(self, samples: Float32, directory: str) -> None:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(samples.tobytes())
            file.flush()
            os.fsync(file.fileno())  # only clean pages can be pushed out
            self.memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.memory.madvise(mmap.MADV_RANDOM)  # no read-ahead: each page for itself
        self.samples: Float32 = np.frombuffer(self.memory, np.float32).reshape(samples.shape)
        self.position = 0

    @property
    def read_available(self) -> int:
        return len(self.samples) - self.position

    def read_into(self, out: Float32) -> int:
        frames = min(len(out), self.read_available)
        np.copyto(out[:frames], self.samples[self.position : self.position + frames])
        self.position += frames
        return frames

    def push_out(self) -> int:
        """Ask for every page to leave memory; return how many did."""
        self.memory[:: mmap.PAGESIZE]  # only pages that this process has mapped are considered
        with suppress(OSError):  # refused for locked pages; the residency tells
            self.memory.madvise(MADV_PAGEOUT)
        return int(np.count_nonzero(~la.residency(self.samples)))

    def push_out_locked(self) -> str:
        """Try the same under a lock, and return what came of it as a sentence."""
        try:
            with la.lock(self.samples):
                return f"The same pages under a lock: {self.push_out()} could be pushed out."
        except la.LockError as error:
            return f"The same pages could not be locked here: {error}"


def pushed_out(samples: Float32, directories: list[str]) -> tuple[MappedVoice | None, int]:
    """Return the samples in a mapped file whose pages are out of memory, and how many are.

    A directory in RAM (tmpfs) has nowhere to push a page to; the next one is tried then.
    """
    for directory in directories:
        try:
            voice = MappedVoice(samples, directory)
        except OSError:
            continue
        if pages := voice.push_out():
            return voice, pages
    return None, 0


def shown(faults: int, pages: int) -> bool:
    """Return whether so many faults can only be the pages coming back."""
    return faults > 0 and faults * FAULT_AROUND >= pages
