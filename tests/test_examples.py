"""The examples as people start them: each a process of its own, judged by its words and status."""

from __future__ import annotations

import importlib.util
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wav_files import chunk, form, noise, wav

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))  # programs, not a package

import voice_offline  # noqa: E402
from wav import WavReader  # noqa: E402

VOICE = EXAMPLES / "data" / "voice.wav"
Float32 = NDArray[np.float32]


def start(*command: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start an example; warnings are errors in it, as they are here."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", *map(str, command)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )


def run(*command: object, status: int = 0, cwd: Path | None = None) -> tuple[str, str]:
    with start(*command, cwd=cwd) as process:
        out, err = process.communicate(timeout=50)
    assert process.returncode == status, f"status {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out, err


def realtime_voice(*args: object, status: int = 0) -> tuple[str, str]:
    return run(EXAMPLES / "realtime_voice.py", *args, status=status)


def read(path: Path) -> Float32:
    with WavReader(path) as file:
        return file.read()


def expected(path: Path, block: int = 64) -> Float32:
    with WavReader(path) as file:
        return voice_offline.process(file.read(), file.rate, block)


# The main program


def test_fast_run_equals_the_offline_computation(tmp_path: Path) -> None:
    out, _ = realtime_voice("--fast", "-o", tmp_path / "out.wav")
    assert "equal to the offline computation bit for bit" in out
    assert "page faults in the loop: 0 " in out
    wraps = [int(n) for n in re.findall(r"passed its end (\d+) times", out)]
    assert len(wraps) == 2
    assert min(wraps) > 200
    assert re.search(r"incoming .* found it full [1-9]\d\d+ times; 0 frames lost", out)
    assert voice_offline.same_bits(read(tmp_path / "out.wav"), expected(VOICE))


@pytest.mark.full
@pytest.mark.locks(64 << 10)
def test_paced_run(tmp_path: Path) -> None:
    begin = time.monotonic()
    out, _ = realtime_voice("-o", tmp_path / "out.wav")
    assert time.monotonic() - begin > 4.4
    assert "equal to the offline computation bit for bit" in out
    assert re.search(r"underruns: \d+, overruns: \d+ .* missed periods: \d+", out)
    assert re.search(r"wake-up latency: p50 \d+, p99 \d+, p99.9 \d+, max \d+ us", out)
    assert re.search(r"locked: [1-9]\d+ bytes", out)
    assert re.search(r"real-time thread:\n[\s\S]*^scheduler +SCHED_FIFO, priority 70 ", out, re.MULTILINE)
    assert read(tmp_path / "out.wav").shape == (216000, 1)


@pytest.mark.parametrize(
    ("bits", "tag", "channels", "rate", "extensible", "block"),
    [
        (16, 1, 2, 44100, False, 64),
        (24, 1, 1, 48000, False, 100),
        (24, 1, 3, 96000, True, 32),
        (32, 3, 2, 48000, True, 1000),
        (32, 3, 1, 8000, False, 65536),
    ],
)
def test_other_files(
    tmp_path: Path, bits: int, tag: int, channels: int, rate: int, extensible: bool, block: int
) -> None:
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    source.write_bytes(
        wav(
            chunk(b"fmt ", form(rate, channels, bits, tag, extensible)),
            chunk(b"data", noise(5001, channels, bits)[0]),
        )
    )
    realtime_voice("--fast", source, "-o", output, "--block", block)
    assert voice_offline.same_bits(read(output), expected(source, block))


BAD = {
    "text": (b"This is no sound, but a text of more than forty-four bytes.\n", "not a WAV file"),
    "empty": (b"", "not a WAV file"),
    "truncated": (VOICE.read_bytes()[:-1000], "truncated"),
    "header only": (VOICE.read_bytes()[:20], "truncated"),
    "no frames": (wav(chunk(b"fmt ", form()), chunk(b"data", b""), chunk(b"LIST", b"abcd")), "no frames"),
    "no format": (wav(chunk(b"data", bytes(64))), "before their format"),
    "no channels": (wav(chunk(b"fmt ", form(channels=0)), chunk(b"data", bytes(64))), "0 channels"),
    "rate 0": (wav(chunk(b"fmt ", form(rate=0)), chunk(b"data", bytes(64))), "rate of 0"),
    "rate 4 GHz": (wav(chunk(b"fmt ", form(rate=2**32 - 1)), chunk(b"data", bytes(64))), "rate of"),
    "8 bits": (wav(chunk(b"fmt ", form(bits=8)), chunk(b"data", bytes(64))), "8 bits"),
    "huge chunk": (wav(b"LIST\xf0\xff\xff\xff", chunk(b"fmt ", form())), "promises 4294967280"),
    "zeros": (wav(bytes(100_000)), "no samples"),
}


@pytest.mark.parametrize("name", [*BAD, "missing", "a directory"])
def test_bad_input_is_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path if name == "a directory" else tmp_path / "in.wav"
    reason = {"missing": "no such file", "a directory": "not a regular file"}.get(name, "")
    if name in BAD:
        data, reason = BAD[name]
        path.write_bytes(data)
    out, err = realtime_voice(path, "-o", tmp_path / "out.wav", status=2)
    assert out == ""
    assert err.count("\n") == 1
    assert reason in err
    assert str(path) in err
    assert not (tmp_path / "out.wav").exists()


def test_input_is_never_the_output(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    shutil.copy(VOICE, path)
    _, err = realtime_voice(path, "-o", tmp_path / "." / "in.wav", status=2)
    assert "it is the file that is read" in err
    assert path.read_bytes() == VOICE.read_bytes()


def test_output_that_cannot_be(tmp_path: Path) -> None:
    _, err = realtime_voice("-o", tmp_path / "missing" / "out.wav", status=2)
    assert err.count("\n") == 1
    assert "no such file or directory" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk() -> None:
    _, err = realtime_voice("--fast", "-o", "/dev/full", status=2)
    assert "no space left" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_stopped_early_still_plays(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "out.wav"
    with start(EXAMPLES / "realtime_voice.py", "-o", output) as process:
        until = time.monotonic() + 20
        while not output.exists() or output.stat().st_size < 50_000:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    written = read(output)
    assert 10_000 < len(written) < 216_000
    assert voice_offline.same_bits(written, expected(VOICE)[: len(written)])
    assert err == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "stopped after" in out


ALTERED = """
import sys
sys.path.insert(0, {examples!r})
import mmap, realtime_voice, voice_stream
{change}
sys.exit(realtime_voice.main(["--fast", "-o", {output!r}]))
"""


def altered(tmp_path: Path, change: str) -> str:
    code = ALTERED.format(examples=str(EXAMPLES), output=str(tmp_path / "out.wav"), change=change)
    return run("-c", code, status=1)[0]


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    out = altered(tmp_path, "voice_stream.TREMOLO_DEPTH *= 1 + 1e-6")
    assert "DIFFER from the offline computation" in out


def test_a_fault_in_the_loop_is_noticed(tmp_path: Path) -> None:
    out = altered(
        tmp_path,
        "process = voice_stream.Voice.process\n"
        "def faulting(self):\n"
        "    mmap.mmap(-1, 4096)[0] = 1\n"
        "    process(self)\n"
        "voice_stream.Voice.process = faulting",
    )
    assert int(re.findall(r"page faults in the loop: (\d+) ", out)[0]) > 1000
    assert "equal to the offline computation" in out


def test_control_shows_the_faults(tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    with start(EXAMPLES / "realtime_voice.py", "--no-lock", "--fast", "-o", output) as process:
        out, err = process.communicate(timeout=50)
    assert err == ""
    if "no page of a mapped file could be pushed out" in out:
        assert process.returncode == 1
        pytest.skip("needs a directory on a disk, where pages can be pushed out")
    assert process.returncode == 0, out
    pages, faults = map(int, re.findall(r"control: (\d+) pages .* with (\d+) page faults", out)[0])
    assert pages > 100
    assert faults >= pages / 16
    assert voice_offline.same_bits(read(output), expected(VOICE))


def test_plot(tmp_path: Path) -> None:
    picture = tmp_path / "plot.png"
    args = ("--fast", "-o", tmp_path / "out.wav", "--plot", picture)
    if importlib.util.find_spec("matplotlib") is None:
        _, err = realtime_voice(*args, status=2)
        assert "--plot needs matplotlib" in err
    else:
        realtime_voice(*args)
        assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("limit", [0, 64 << 10, 8 << 20])
def test_ordinary_user(tmp_path: Path, limit: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if hard != resource.RLIM_INFINITY and hard < limit:
        pytest.skip(f"needs a hard limit of {limit} bytes on locked memory")
    command = [
        sys.executable,
        "-W",
        "error",
        EXAMPLES / "realtime_voice.py",
        "--fast",
        "-o",
        tmp_path / "out.wav",
    ]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv (util-linux), to give up a privilege")
        command[:0] = ["setpriv", "--bounding-set=-ipc_lock"]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -l {limit // 1024} && exec "$@"', "sh", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "equal to the offline computation bit for bit" in done.stdout
    if limit == 0:
        assert done.stdout.count("NOT LOCKED") == 1
        assert "locked: 0 bytes" in done.stdout
    else:
        assert "NOT LOCKED" not in done.stdout
        assert re.search(r"locked: [1-9]\d+ bytes", done.stdout)


# The small programs


@pytest.mark.locks(64 << 10)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "lock_unlock",
            r"before: +locked False[\s\S]*after: +locked True[\s\S]*nested: +locked True"
            r"[\s\S]*release: +locked False, 0 bytes",
        ),
        ("memlock_limit", r"soft lowered: soft 32 KiB[\s\S]*as found again"),
        ("residency_map", r"\.{16}  untouched\n(\*\*\.\.){4}  two locked"),
        ("table_and_ring", r"locked: +\d+ KiB[\s\S]*256000 frames, .* page faults 0 "),
        (
            "realtime_process",
            r"scheduler +SCHED_FIFO[\s\S]*loop: +\d+ periods .* page faults 0 .* temperature (0.99|1.00)",
        ),
    ],
)
def test_small_program(tmp_path: Path, name: str, words: str) -> None:
    out, err = run(EXAMPLES / f"{name}.py", cwd=tmp_path)
    assert err == ""
    assert re.search(words, out), out


@pytest.mark.locks(64 << 10)
def test_oscillator(tmp_path: Path) -> None:
    run(EXAMPLES / "oscillator.py", "-o", tmp_path / "out.wav", "--seconds", "2")
    sound = read(tmp_path / "out.wav")[:, 0]
    assert sound.size == 96000
    spectrum = np.abs(np.fft.rfft(sound[-48000:] * np.hanning(48000)))
    assert set(np.argsort(spectrum)[-3:]) & {220, 277, 330} == {220, 277, 330}


# voice_offline.py and make_voice.py


def test_offline_by_hand() -> None:
    values = np.array([0, 1, 4], np.float32)
    x = np.array([-9, 0, 0.25, 1, 1.5, 2, 9, np.inf, np.nan], np.float32)
    assert np.array_equal(
        voice_offline.look_up(values, 0.0, 2.0, x),
        np.array([0, 0, 0.25, 1, 2.5, 4, 4, 4, np.nan], np.float32),
        equal_nan=True,
    )
    wave, phase = voice_offline.sweep(np.array([0, 1, 0, -1], np.float32), 5, 0.5, 0.125)
    assert wave.tolist() == [0, -0.5, -1, -0.5, 0]
    assert phase == 0.125
    assert voice_offline.sweep(values, 4, 0.0, -0.0625)[1] == 0.75


def test_offline_does_not_know_the_library() -> None:
    run("-c", "import sys; sys.modules['lockedarray'] = None; import voice_offline", cwd=EXAMPLES)


def test_the_voice_is_made_here(tmp_path: Path) -> None:
    run(EXAMPLES / "data" / "make_voice.py", tmp_path / "voice.wav")
    made, kept = read(tmp_path / "voice.wav"), read(VOICE)
    assert VOICE.stat().st_size < 450_000
    assert made.shape == kept.shape
    assert np.abs(made - kept).max() <= 1 / 32768  # a sine may differ by a bit elsewhere


WITH_SECONDS = sorted(path for path in EXAMPLES.glob("*.py") if '"--seconds"' in path.read_text())


@pytest.mark.parametrize("path", WITH_SECONDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seconds", ["nan", "-1", "1e30", "soon"])
def test_a_time_that_is_none(path: Path, seconds: str) -> None:
    _, err = run(path, f"--seconds={seconds}", status=2)
    assert "error: argument --seconds: " in err
    assert seconds in err


@pytest.mark.full
@pytest.mark.locks(1 << 20)
@pytest.mark.parametrize("name", ["c_callback", "history_readers", "parameters", "realtime_process"])
def test_stopped_by_hand(name: str) -> None:
    with start(EXAMPLES / f"{name}.py", "--seconds=600") as process:
        time.sleep(2.5)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")
