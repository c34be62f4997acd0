"""A voice through a real-time effect without a page fault, checked bit for bit.

A WAV file goes through a ring buffer to a real-time thread, there through a waveshaper and a
tremolo (two lookup tables), and through a second ring to a WAV file of 32-bit floats. All memory
of the loop comes from one locked pool.

    python realtime_voice.py [--fast] [--output OUT.wav] [IN.wav]
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # until main() takes over, Ctrl-C ends the imports without a traceback
    import os

    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import os
import resource
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lockedarray as la
from page_out import MappedVoice, pushed_out, shown
from voice_offline import process, same_bits
from voice_plot import draw
from voice_stream import Stream, pool_bytes
from wav import WavError, WavReader, WavWriter

Float32 = NDArray[np.float32]

VOICE = Path(__file__).parent / "data" / "voice.wav"
OUTPUT = "voice_out.wav"
TICK = 0.1  # seconds between two looks at the progress
EPILOG = """\
exit status: 0 the output equals the offline computation bit for bit and the loop took no page
fault; 1 it does not, or it did; 2 a file or an argument is wrong; 130 Ctrl-C (the output plays as
far as it got). With --no-lock, 0 means that the faults were shown and the output is right all the
same, 1 that they could not be shown or that it is not."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n    ")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "input",
        nargs="?",
        default=str(VOICE),
        help="a WAV file: 16- or 24-bit PCM or 32-bit float (default: %(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.wav",
        help=f"default: {OUTPUT} here; if one may not write here, a temporary file",
    )
    parser.add_argument(
        "--block", type=int, default=64, metavar="N", help="frames in a block (default: %(default)s)"
    )
    parser.add_argument("--fast", action="store_true", help="as fast as it goes, not paced")
    parser.add_argument(
        "--no-lock",
        action="store_true",
        help="the control: play the voice from memory that is not locked and was "
        "pushed out before, and show the page faults that this costs",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw waveforms and wake-up latencies (needs matplotlib)"
    )
    args = parser.parse_args(argv)
    if not 1 <= args.block <= 65536:
        parser.error(f"--block must be 1 to 65536 frames, not {args.block}")
    if args.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'lockedarray[plot]'")
    return args


def choose_output(wanted: str | None, source: str) -> str:
    """Return the path to write to; never that of the source."""
    if wanted is None and not os.access(OUTPUT if os.path.exists(OUTPUT) else ".", os.W_OK):
        file, wanted = tempfile.mkstemp(prefix="voice_out_", suffix=".wav")
        os.close(file)
    path = wanted or OUTPUT
    if os.path.exists(path) and os.path.samefile(path, source):
        raise WavError(f"cannot write {path!r}: it is the file that is read")
    return path


def open_pool(nbytes: int) -> la.Pool:
    """Return a locked pool; under a limit too low one that is resident only, and say so."""
    try:
        return la.Pool(nbytes)
    except la.LockError as error:
        print(
            f"NOT LOCKED, going on with memory that is resident but may be pushed out: "
            f"this example needs {nbytes // 1024} KiB locked. {error}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", la.LockWarning)
        return la.Pool(nbytes, on_error="warn")


def watch(stream: Stream, rate: int, frames: int) -> None:
    """Show the progress until the stream has ended: a moving line, or one for each quarter."""
    stream.ready.wait()
    print(f"real-time thread:\n{stream.realtime}")
    moving = sys.stdout.isatty()
    quarter = 0
    running = True
    while running:
        running = stream.running(TICK)
        done = stream.writer.frames
        line = f"{done / rate:.1f} s of {frames / rate:.1f} s"
        if moving:
            print(f"\r{line}", end="" if running else "\n", flush=True)
        elif 4 * done // frames > quarter:
            quarter = 4 * done // frames
            print(line, flush=True)


def run_stream(stream: Stream, rate: int, frames: int) -> None:
    """Run the stream to its end; Ctrl-C ends it early."""
    before = signal.signal(signal.SIGINT, lambda *_: stream.stop())
    try:
        stream.start()
        watch(stream, rate, frames)
    except BaseException:
        stream.stop()
        while stream.running(TICK):
            pass
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def report(stream: Stream, fast: bool) -> None:
    player, incoming, outgoing = stream.player, stream.incoming, stream.outgoing
    print(f"locked: {stream.locked_bytes} bytes, {stream.pool.in_use} of the pool's in use")
    for name, ring, waits, warmed in (
        ("incoming", incoming, stream.waits, stream.warmed[0]),
        ("outgoing", outgoing, player.overruns, stream.warmed[1]),
    ):
        if player.source is not incoming and ring is incoming:
            continue  # the control plays from a mapped file
        frames = ring.frames_written - warmed
        frame_bytes = ring.dtype.itemsize * (ring.channels or 1)
        wraps = frames * frame_bytes // (ring.nbytes - resource.getpagesize())  # but for its header
        print(
            f"{name} ring: {ring.capacity} frames; {frames} written, passed its end "
            f"{wraps} times; its writer found it full {waits} times; "
            f"{ring.frames_lost + ring.frames_missed} frames lost"
        )
    if fast:
        print("not paced: nothing can be late, and there are no latencies")
        return
    print(
        f"underruns: {player.underruns}, overruns: {player.overruns} (periods in which the loop "
        f"had to wait for a ring), missed periods: {stream.missed}"
    )
    if stream.latencies.size:
        p50, p99, p999, worst = np.percentile(stream.latencies, (50, 99, 99.9, 100)) / 1000
        print(
            f"wake-up latency: p50 {p50:.0f}, p99 {p99:.0f}, p99.9 {p999:.0f}, "
            f"max {worst:.0f} us ({stream.latencies.size} wake-ups)"
        )


def read_all(path: str) -> Float32:
    with WavReader(path) as reader:
        return reader.read()


def run(args: argparse.Namespace) -> int:
    mapped, pages = None, 0
    with WavReader(args.input) as reader:
        rate, channels, frames = reader.rate, reader.channels, reader.frames
        print(
            f"{args.input}: {frames / rate:.2f} s, {rate} Hz, {channels} channel(s), "
            f"{reader.encoding}; blocks of {args.block} frames, {args.block / rate * 1e3:.3f} ms"
        )
        output = choose_output(args.output, args.input)
        if args.no_lock:
            directories = [os.path.dirname(os.path.abspath(output)), "/var/tmp", tempfile.gettempdir()]
            mapped, pages = pushed_out(read_all(args.input), directories)
        with open_pool(pool_bytes(channels, args.block)) as pool, WavWriter(output, rate, channels) as writer:
            stream = Stream(reader, writer, pool, args.block, fast=args.fast, source=mapped)
            run_stream(stream, rate, frames)
            if stream.error is not None:
                raise stream.error
            if stream.stopped:
                print(f"stopped after {writer.frames / rate:.1f} s; {output} plays as far as that")
                return 130
            report(stream, args.fast)
    samples, written = read_all(args.input), read_all(output)
    if args.plot:
        draw(args.plot, rate, samples, written, stream.latencies)
    faults = stream.faults
    assert faults is not None  # the loop ran, or there was an error
    print(
        f"page faults in the loop: {faults.total} ({faults.minor} minor, {faults.major} major, "
        f"counted by {faults.source})"
    )
    equal = same_bits(written, process(samples, rate, args.block))
    print(
        f"{output}: {len(written)} frames, "
        + (
            "equal to the offline computation bit for bit"
            if equal
            else "which DIFFER from the offline computation"
        )
    )
    if args.no_lock:
        return 0 if control_verdict(mapped, pages, faults) and equal else 1
    return 0 if equal and faults.total == 0 else 1


def control_verdict(mapped: MappedVoice | None, pages: int, faults: la.page_faults) -> bool:
    """Say what the control showed, and return whether it did."""
    if mapped is None:
        print("control: NOT SHOWN, no page of a mapped file could be pushed out of memory here")
        return False
    if not shown(faults.total, pages):
        print(
            f"control: NOT SHOWN, {pages} pages of the voice were pushed out before the loop, "
            f"and it took only {faults.total} page faults"
        )
        return False
    print(
        f"control: {pages} pages of the voice, not locked, were pushed out before the loop and "
        f"came back in it with {faults.total} page faults. {mapped.push_out_locked()}"
    )
    return True


def main(argv: list[str] | None = None) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(parse(argv))
    except (WavError, MemoryError) as error:
        print(f"realtime_voice: {error or 'out of memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
