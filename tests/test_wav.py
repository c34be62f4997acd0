"""wav.py of the examples: what it reads, what it writes, and what it refuses."""

from __future__ import annotations

import os
import shutil
import struct
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wav_files import chunk, form, noise, wav

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))  # programs, not a package

from wav import WavError, WavReader, WavWriter  # noqa: E402

VOICE = EXAMPLES / "data" / "voice.wav"
Float32 = NDArray[np.float32]


def read(path: Path) -> Float32:
    with WavReader(path) as file:
        return file.read()


@given(
    st.integers(1, 3), st.integers(1, 300), st.integers(1, 97), st.integers(1, 97), st.integers(0, 2**32 - 1)
)
@settings(deadline=None, max_examples=60)
def test_floats_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    channels: int,
    frames: int,
    out_step: int,
    in_step: int,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    bits = np.random.default_rng(seed).integers(0, 2**32, (frames, channels), dtype=np.uint32)
    samples = bits.view(np.float32)
    with WavWriter(path, 44100, channels) as writer:
        for at in range(0, frames, out_step):
            writer.write(samples[at : at + out_step])
            with WavReader(path) as half:  # complete after every block
                assert half.frames == min(frames, at + out_step)
    block = np.empty((in_step, channels), np.float32)
    back = []
    with WavReader(path) as reader:
        assert (reader.rate, reader.channels, reader.frames) == (44100, channels, frames)
        while taken := reader.read_into(block):
            back.append(block[:taken].copy())
    assert np.array_equal(np.concatenate(back).view(np.uint32), bits)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=200))
@settings(deadline=None, max_examples=30)
def test_int16_comes_back(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    samples = (np.array(values) / 32768).astype(np.float32)
    with WavWriter(path, 8000, encoding="16-bit") as writer:
        writer.write(samples)
    assert path.read_bytes()[-2 * len(values) :] == np.array(values, "<i2").tobytes()
    assert np.array_equal(read(path)[:, 0], samples)


def test_int16_clips(tmp_path: Path) -> None:
    with WavWriter(tmp_path / "x.wav", 8000, encoding="16-bit") as writer:
        writer.write(np.array([1.0, 9.0, -9.0, np.inf, np.nan], np.float32))
    assert (tmp_path / "x.wav").read_bytes()[-10:] == np.array(
        [32767, 32767, -32768, 32767, 0], "<i2"
    ).tobytes()


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("extensible", [False, True])
def test_reads(tmp_path: Path, bits: int, size: int | None, extensible: bool) -> None:
    """Sizes that nobody filled in, odd and unknown chunks, a part of a frame at the end."""
    data, samples = noise(101, 2, bits)
    fmt = form(44100, 2, bits, 3 if bits == 32 else 1, extensible)
    head = chunk(b"junk", b"odd") + chunk(b"fmt ", fmt) + chunk(b"note", b"")
    if size is None:
        file = wav(head, chunk(b"data", data), chunk(b"LIST", b"after"))
    else:
        file = (
            b"RIFF"
            + struct.pack("<I", size)
            + b"WAVE"
            + head
            + b"data"
            + struct.pack("<I", size)
            + data
            + b"\1"
        )
    (tmp_path / "x.wav").write_bytes(file)
    assert np.array_equal(read(tmp_path / "x.wav"), samples)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_whatever_a_file_holds_it_is_sound_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    file = bytearray(wav(chunk(b"fmt ", form(48000, 2, 24, 1, True)), chunk(b"data", bytes(90))))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(file[: data.draw(st.integers(0, len(file)))])
    with suppress(WavError), WavReader(path) as reader:
        samples = reader.read()
        assert samples.shape == (reader.frames, reader.channels)
        assert samples.size > 0


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    shutil.copy(VOICE, path)
    with WavReader(path) as reader:
        os.truncate(path, 1000)
        with pytest.raises(WavError, match="shorter"):
            reader.read()
