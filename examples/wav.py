"""WAV files block by block: read into float32 arrays of the caller's, written so that they play.

Reads 16- and 24-bit PCM and 32-bit float, plain or WAVE_FORMAT_EXTENSIBLE; writes 32-bit float
and 16-bit PCM. A file is never trusted: whatever is wrong with it is one `WavError`, a sentence.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Path = str | os.PathLike[str]

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ENCODINGS = {(PCM, 16): "16-bit", (PCM, 24): "24-bit", (FLOAT, 32): "32-bit float"}
# What follows the format's tag in a WAVE_FORMAT_EXTENSIBLE GUID.
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
INT16_SCALE = np.float32(1 / 32768)
# 24-bit samples are read into the upper three bytes of an int32: 1 / 8388608 / 256.
INT24_SCALE = np.float32(1 / 2147483648)

MAX_CHANNELS = 256
MAX_RATE = 1_000_000
MAX_CHUNKS = 1000
# Sizes left behind by writers that could not seek back (the second is sox's).
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFF000)


class WavError(ValueError):
    """A WAV file that cannot be read or written, and why."""


class WavReader:
    """A WAV file open for reading: `rate`, `channels`, `frames`, `encoding`, and its samples."""

    def __init__(self, path: Path) -> None:
        self.path = os.fspath(path)
        try:
            # Asked before opening: the opening of a named pipe would wait for its writer.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise self._error("it is not a regular file")
            self._file = open(self.path, "rb")  # noqa: SIM115  closed by close()
        except OSError as error:
            raise self._error(_reason(error)) from error
        try:
            self._bytes = os.fstat(self._file.fileno()).st_size
            self._read_header()
        except BaseException:
            self._file.close()
            raise
        self.position = 0
        self._raw = np.empty(0, np.uint8)
        self._wide = np.empty(0, np.int32)

    def read_into(self, out: Float32) -> int:
        """Fill `out`, (frames,) or (frames, channels), and return how many frames there were.

        Fewer than asked only at the end. Nothing is allocated once the largest `out` was seen.
        """
        if out.dtype != np.float32 or not out.flags.c_contiguous or not out.flags.writeable:
            raise TypeError("out must be a writable C-contiguous float32 array")
        if out.shape[1:] != (self.channels,) and (out.ndim != 1 or self.channels != 1):
            raise ValueError(f"out must have {self.channels} channels, not shape {out.shape}")
        frames: int = min(len(out), self.frames - self.position)
        samples = frames * self.channels
        raw = self._read_raw(samples)
        flat = out.reshape(-1)[:samples]
        if self.encoding == "16-bit":
            np.copyto(flat, raw.view("<i2"))
            np.multiply(flat, INT16_SCALE, out=flat)
        elif self.encoding == "24-bit":
            wide = self._wide[:samples]
            wide.view(np.uint8).reshape(-1, 4)[:, 1:] = raw.reshape(-1, 3)
            np.copyto(flat, wide, casting="same_kind")
            np.multiply(flat, INT24_SCALE, out=flat)
        else:
            np.copyto(flat, raw.view("<f4"))
        self.position += frames
        return frames

    def read(self) -> Float32:
        """Return all frames that are left as a new array, (frames, channels)."""
        out = np.empty((self.frames - self.position, self.channels), np.float32)
        self.read_into(out)
        return out

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _error(self, reason: str) -> WavError:
        return WavError(f"cannot read {self.path!r}: {reason}")

    def _read_raw(self, samples: int) -> NDArray[np.uint8]:
        nbytes = samples * self._sample_bytes
        if nbytes > self._raw.size:
            self._raw = np.empty(nbytes, np.uint8)
            if self.encoding == "24-bit":
                self._wide = np.zeros(samples, np.int32)
        raw = self._raw[:nbytes]
        try:
            got = self._file.readinto(raw.data)
        except OSError as error:
            raise self._error(_reason(error)) from error
        if got != nbytes:
            raise self._error("it became shorter while it was read")
        return raw

    def _take(self, nbytes: int, what: str) -> bytes:
        try:
            data = self._file.read(nbytes)
        except OSError as error:
            raise self._error(_reason(error)) from error
        if len(data) < nbytes:
            raise self._error(f"it ends inside its {what}")
        return data

    def _read_header(self) -> None:
        """Walk the chunks up to the samples and leave the file standing at the first one."""
        head = self._file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise self._error("it is not a WAV file")
        riff_size = int.from_bytes(head[4:8], "little")
        known = False
        for _ in range(MAX_CHUNKS):
            name, size = struct.unpack("<4sI", self._take(8, "chunk headers, before any samples"))
            start = self._file.tell()
            if name == b"data":
                if not known:
                    raise self._error("its samples come before their format")
                self._read_extent(size, self._bytes - start, riff_size + 8 - start)
                return
            if size > self._bytes - start:
                raise self._error(
                    f"its {name.decode('latin-1')!r} chunk promises {size} bytes, "
                    f"and {self._bytes - start} are there: truncated, or no WAV file"
                )
            if name == b"fmt ":
                self._read_format(self._take(min(size, 40), "format"))
                known = True
            self._file.seek(start + size + size % 2)
        raise self._error(f"it has no samples in its first {MAX_CHUNKS} chunks")

    def _read_format(self, fmt: bytes) -> None:
        if len(fmt) < 16:
            raise self._error(f"its format has {len(fmt)} bytes, and 16 are the least")
        tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
        if tag == EXTENSIBLE and fmt[26:] == GUID_TAIL:
            tag = int.from_bytes(fmt[24:26], "little")
        if (tag, bits) not in ENCODINGS:
            raise self._error(
                f"samples of {bits} bits in format {tag:#x} are not among those read "
                "here (16- and 24-bit PCM, 32-bit float)"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise self._error(f"a file with {channels} channels cannot be")
        if not 1 <= rate <= MAX_RATE:
            raise self._error(f"a rate of {rate} frames a second cannot be")
        if frame_bytes != channels * bits // 8:
            raise self._error(f"{channels} x {bits} bits are no frame of {frame_bytes} bytes")
        self.rate: int = rate
        self.channels: int = channels
        self.encoding = ENCODINGS[tag, bits]
        self._sample_bytes = bits // 8

    def _read_extent(self, size: int, there: int, promised: int) -> None:
        """Set `frames` from the size of the data chunk and the bytes that are really there."""
        frame_bytes = self.channels * self._sample_bytes
        # Nobody came back to fill in the size: what is there is the sound, up to a whole frame.
        # A size of 0 is meant so only where the file as a whole promises nothing after it either.
        if size in UNKNOWN_SIZES or (size == 0 and promised <= 0):
            size = there
        if size > there:
            raise self._error(f"its header promises {size} bytes of samples and {there} are there: truncated")
        self.frames: int = size // frame_bytes
        if self.frames == 0:
            raise self._error("it holds no frames")


class WavWriter:
    """A WAV file open for writing.

    The header is brought up to date after every block, so the file plays from whatever moment the
    writing ended at: close, an exception, or a signal that nothing can catch.
    """

    def __init__(
        self,
        path: Path,
        rate: int,
        channels: int = 1,
        encoding: Literal["32-bit float", "16-bit"] = "32-bit float",
    ) -> None:
        if not 1 <= channels <= MAX_CHANNELS or not 1 <= rate <= MAX_RATE:
            raise WavError(f"cannot write {channels} channels at {rate} frames a second")
        self.path = os.fspath(path)
        self.frames = 0
        self.rate = rate
        self.channels = channels
        self.encoding = encoding
        tag, bits = next(key for key, name in ENCODINGS.items() if name == encoding)
        self._frame_bytes = channels * bits // 8
        self._header = bytearray(
            struct.pack(
                "<4sI4s4sIHHIIHHH4sII4sI",
                b"RIFF",
                0,
                b"WAVE",
                b"fmt ",
                18,
                tag,
                channels,
                rate,
                rate * self._frame_bytes,
                self._frame_bytes,
                bits,
                0,
                b"fact",
                4,
                0,
                b"data",
                0,
            )
        )
        self._scratch = np.empty(0, np.float32)
        self._pcm = np.empty(0, np.int16)
        try:
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115  closed by close()
        except OSError as error:
            raise self._error(_reason(error)) from error
        try:
            self._put(memoryview(self._header), 0)
        except BaseException:
            self._file.close()
            raise

    def write(self, block: Float32) -> None:
        """Append float32 frames, (frames,) or (frames, channels)."""
        if block.dtype != np.float32:
            raise TypeError(f"block must be float32, not {block.dtype}")
        if block.shape[1:] != (self.channels,) and (block.ndim != 1 or self.channels != 1):
            raise ValueError(f"block must have {self.channels} channels, not shape {block.shape}")
        end = len(self._header) + self.frames * self._frame_bytes
        if end + len(block) * self._frame_bytes > 0xFFFFFFFF:
            raise self._error("a WAV file ends at 4 GiB")
        if not len(block):
            return
        flat = np.ascontiguousarray(block).reshape(-1)
        raw = self._quantised(flat) if self.encoding == "16-bit" else flat.view(np.uint8)
        self._put(raw.data, end)
        # The samples first, the promise after them: the header never claims what is not there.
        self.frames += len(block)
        data_bytes = self.frames * self._frame_bytes
        struct.pack_into("<I", self._header, 4, len(self._header) - 8 + data_bytes)
        struct.pack_into("<I", self._header, len(self._header) - 12, self.frames)
        struct.pack_into("<I", self._header, len(self._header) - 4, data_bytes)
        self._put(memoryview(self._header), 0)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _error(self, reason: str) -> WavError:
        return WavError(f"cannot write {self.path!r}: {reason}")

    def _put(self, data: memoryview[Any], offset: int) -> None:
        try:
            while data:
                done = os.pwrite(self._file.fileno(), data, offset)
                data, offset = data[done:], offset + done
        except OSError as error:
            raise self._error(_reason(error)) from error

    def _quantised(self, flat: Float32) -> NDArray[np.uint8]:
        if flat.size > self._scratch.size:
            self._scratch = np.empty(flat.size, np.float32)
            self._pcm = np.empty(flat.size, "<i2")
        scratch, pcm = self._scratch[: flat.size], self._pcm[: flat.size]
        np.multiply(flat, np.float32(32768), out=scratch)
        np.rint(scratch, out=scratch)
        np.clip(scratch, -32768, 32767, out=scratch)
        np.copyto(scratch, 0, where=np.isnan(scratch))
        np.copyto(pcm, scratch, casting="unsafe")
        return pcm.view(np.uint8)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
