"""WAV files put together by hand, chunk by chunk."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

# What follows the format's tag in a WAVE_FORMAT_EXTENSIBLE GUID.
GUID_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def form(
    rate: int = 48000, channels: int = 1, bits: int = 16, tag: int = 1, extensible: bool = False
) -> bytes:
    frame = channels * bits // 8
    head = struct.pack("<HIIHH", channels, rate, rate * frame % 2**32, frame, bits)
    if extensible:
        return struct.pack("<H", 0xFFFE) + head + struct.pack("<HHIH", 22, bits, 0, tag) + GUID_TAIL
    return struct.pack("<H", tag) + head


def wav(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def noise(frames: int, channels: int, bits: int) -> tuple[bytes, Float32]:
    """Return random PCM samples as a file holds them, and what they mean."""
    random = np.random.default_rng(bits)
    if bits == 32:
        floats = random.uniform(-1.5, 1.5, (frames, channels)).astype(np.float32)
        return floats.astype("<f4").tobytes(), floats
    whole = random.integers(-(1 << bits - 1), 1 << bits - 1, (frames, channels), dtype=np.int32)
    packed = whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8]
    return packed.tobytes(), (whole / (1 << bits - 1)).astype(np.float32)
