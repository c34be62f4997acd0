"""The equaliser in plain NumPy: is it one; and the example that runs it with a heap and without."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import lockedarray as la
from test_examples import EXAMPLES, VOICE, read, run
from wav_files import chunk, form, wav

import equaliser  # isort: skip  test_examples has made the examples' directory known
from overlap_add import Band, Equaliser, curve, impulse_response  # isort: skip

RATE = 48000
BANDS: list[Band] = [(200.0, -20.0), (400.0, 6.0), (4000.0, 6.0), (8000.0, -40.0)]
LOCKS = pytest.mark.locks(equaliser.heap_bytes(65536, 1) + (1 << 16))


def filtered(samples: np.ndarray, block: int, equaliser: Equaliser) -> np.ndarray:
    return np.concatenate([equaliser.process(samples[k : k + block]) for k in range(0, len(samples), block)])


def noise(frames: int, channels: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((frames, channels)).astype(dtype)


# The equaliser


@pytest.mark.parametrize(("dtype", "error"), [("f4", 1e-5), ("f8", 1e-13)])
@pytest.mark.parametrize(("block", "taps", "channels"), [(64, 255, 1), (1000, 255, 2), (4096, 2049, 3)])
def test_it_is_the_convolution_of_the_whole(
    block: int, taps: int, channels: int, dtype: str, error: float
) -> None:
    samples = noise(block * 9, channels, dtype)
    out = filtered(samples, block, Equaliser(BANDS, RATE, block, taps, dtype))
    response = impulse_response(BANDS, RATE, taps)
    expected = np.stack([np.convolve(channel, response)[: len(out)] for channel in samples.T.astype("f8")])
    assert out.dtype == dtype
    assert np.abs(out - expected.T).max() < error


def test_a_transform_too_short_is_another_filter() -> None:
    samples = noise(9000, 1, "f8")
    equaliser = Equaliser(BANDS, RATE, 1000, 255, "f8")
    right = filtered(samples, 1000, equaliser)
    equaliser = Equaliser(BANDS, RATE, 1000, 255, "f8")
    equaliser.size = 1200
    equaliser.response = np.fft.rfft(impulse_response(BANDS, RATE, 255), 1200)[:, np.newaxis]
    assert np.abs(filtered(samples, 1000, equaliser) - right).max() > 1e-3


def test_flat_gains_only_delay() -> None:
    samples = noise(8000, 2, "f8")
    equaliser = Equaliser([(1000.0, 0.0)], RATE, 1000, 255, "f8")
    out = filtered(samples, 1000, equaliser)
    assert equaliser.delay == 127
    assert np.abs(out[127:] - samples[:-127]).max() < 1e-13
    assert np.abs(out[:127]).max() < 1e-13


@pytest.mark.parametrize(("hz", "db"), [(80.0, -20.0), (1000.0, 6.0), (2000.0, 6.0), (15000.0, -40.0)])
def test_a_sine_gets_its_gain(hz: float, db: float) -> None:
    frames = 8 * 4096
    sine = np.sin(2 * np.pi * hz / RATE * np.arange(frames))[:, np.newaxis]
    equaliser = Equaliser(BANDS, RATE, 4096, 4097, "f8")
    out = filtered(sine, 4096, equaliser)[4096:]
    expected = 10 ** (db / 20) * sine[4096 - equaliser.delay : frames - equaliser.delay]
    assert np.abs(out - expected).max() < 0.01 * 10 ** (db / 20)


def test_the_curve_is_straight_in_octaves() -> None:
    bands = [(4000.0, 12.0), (1000.0, 0.0)]
    gains = curve(bands, np.array([0.0, 500.0, 1000.0, 2000.0, 4000.0, 20000.0]))
    assert np.allclose(20 * np.log10(gains), [0, 0, 0, 6, 12, 12])


def test_it_does_not_know_the_library() -> None:
    run("-c", "import sys; sys.modules['lockedarray'] = None; import overlap_add", cwd=EXAMPLES)


@pytest.mark.locks(3 << 20)
def test_same_bits_in_a_heap() -> None:
    samples = noise(80_000, 2, "f4")
    plain = filtered(samples, 8000, Equaliser(BANDS, RATE, 8000))
    heap = la.Heap(2 << 20)
    with heap.activate():
        unchanged = Equaliser(BANDS, RATE, 8000)
        last = [unchanged.process(samples[k : k + 8000]) for k in range(0, 80_000, 8000)][-1]
        assert heap.owns(last.base)
        assert la.is_locked(last)
    assert last.tobytes() == plain[-8000:].tobytes()


# The program


def rows(out: str) -> dict[str, tuple[int, ...]]:
    """Return for each mode blocks, faults and, in us, p50, p99 and max."""
    row = r"^(plain NumPy|heap, malloc tuned|heap) +(\d+) +(\d+) +[\d.]+ +(\d+) +(\d+) +(\d+)$"
    return {name: tuple(map(int, numbers)) for name, *numbers in re.findall(row, out, re.MULTILINE)}


@LOCKS
def test_the_heap_takes_the_faults_away(tmp_path: Path) -> None:
    output, picture = tmp_path / "out.wav", tmp_path / "picture.svg"
    args = ("--block", 65536, "--passes", 4, "-o", output, "--plot", picture)
    out, err = run(EXAMPLES / "equaliser.py", *args)
    assert err == ""
    assert "equal, bit for bit" in out
    plain, heap, tuned = (rows(out)[mode] for mode in equaliser.MODES)
    for blocks, _, p50, p99, worst in (plain, heap, tuned):
        assert blocks == 4 * 4 - equaliser.WARM_UP
        assert 0 < p50 <= p99 <= worst
    if platform.libc_ver()[0] == "glibc":
        assert plain[1] > 100 * plain[0], "the control"
        assert 50 * heap[0] < heap[1] < 0.8 * plain[1], "pocketfft's own"
        assert tuned[1] == 0
    samples, response = read(VOICE)[:, 0], impulse_response(equaliser.BANDS, RATE, equaliser.TAPS)
    size = len(samples) + len(response) - 1
    whole = np.fft.irfft(np.fft.rfft(samples.astype("f8"), size) * np.fft.rfft(response, size), size)
    assert np.abs(read(output)[:, 0] - whole[equaliser.TAPS // 2 :][: len(samples)]).max() < 1e-5
    words = "".join(ElementTree.parse(picture).getroot().itertext())
    assert all(mode in words for mode in equaliser.MODES)


@LOCKS
def test_several_channels_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    data = np.random.default_rng(1).integers(-9000, 9000, 3 * 5000).astype("<i2").tobytes()
    path.write_bytes(wav(chunk(b"fmt ", form(44100, 3, 16)), chunk(b"data", data)))
    args = ("--block", 512, 3000, "--passes", 3, "--band", 100, -6, "--band", 5000, 6)
    out, _ = run(EXAMPLES / "equaliser.py", path, *args)
    assert re.findall(r"^blocks of (\d+) frames", out, re.MULTILINE) == ["512", "3000"]
    assert "equal, bit for bit" in out


def test_help() -> None:
    out, _ = run(EXAMPLES / "equaliser.py", "--help")
    assert "--band HZ DB" in out
    assert "exit status: 0" in out


@pytest.mark.parametrize(
    "args",
    [
        ("--block", "0"),
        ("--block", "many"),
        ("--band", "0", "3"),
        ("--band", "nan", "3"),
        ("--band", "100", "inf"),
        ("--passes", "0"),
    ],
)
def test_arguments_that_are_none(args: tuple[str, ...]) -> None:
    _, err = run(EXAMPLES / "equaliser.py", *args, status=2)
    assert f"error: argument {args[0]}: " in err or f"error: {args[0]} " in err


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("missing.wav",), "no such file"),
        (("-o", "missing/out.wav"), "no such file or directory"),
        (("--passes", "1", "--block", "65536"), "is too short: 4 blocks, and 4 are not counted"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, args: tuple[str, ...], reason: str) -> None:
    _, err = run(EXAMPLES / "equaliser.py", *args, status=2, cwd=tmp_path)
    assert err.count("\n") == 1
    assert reason in err
    assert list(tmp_path.iterdir()) == []


def test_input_is_never_the_output(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    shutil.copy(VOICE, path)
    _, err = run(EXAMPLES / "equaliser.py", path, "-o", path, status=2)
    assert "it is the file that is read" in err
    assert path.read_bytes() == VOICE.read_bytes()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="needs setpriv (util-linux)"
)
@pytest.mark.locks(16 << 10)
def test_refused_in_one_sentence() -> None:
    without = ["setpriv", "--bounding-set=-ipc_lock"] if os.geteuid() == 0 else []
    command = [*without, sys.executable, "-W", "error", str(EXAMPLES / "equaliser.py"), "--passes", "2"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -l 16 && exec "$@"', "sh", *command], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "equaliser: cannot lock " in done.stderr
    assert "RLIMIT_MEMLOCK is 16 KiB" in done.stderr


@LOCKS
def test_stopped_by_hand() -> None:
    # As a terminal does it: the signal goes to the workers too.
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / "equaliser.py"), "--passes", "10000"],
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
