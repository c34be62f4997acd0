"""The command line: ``lockedarray doctor``, ``lockedarray jitter``, ``lockedarray map``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

# Where each command lives: a module with add_arguments(parser) and run(arguments) -> exit status.
_COMMANDS = {
    "doctor": ("lockedarray.doctor.command", "what of this machine stands in a real-time loop's way"),
    "jitter": ("lockedarray.jitter.command", "how late periodic threads wake up here"),
    "map": ("lockedarray.map_command", "what of a process is locked and resident"),
}
_INTERRUPTED = 130  # as a shell tells of a program that Ctrl-C ended
_READER_GONE = 141  # and of one that wrote to a closed pipe


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit status; wrong arguments exit with 2.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if sys.stderr is None:
        # Or print() takes standard output for it.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("lockedarray: standard output is closed: there is nowhere to report to", file=sys.stderr)
        return 1
    try:
        arguments = _parser(words).parse_args(words)
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # what cannot be written fails here, not at the interpreter's exit
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _give_output_up()
        return _READER_GONE
    except (OSError, MemoryError) as error:
        _give_output_up()
        sentence = getattr(error, "strerror", None) or str(error) or "out of memory"
        print(f"lockedarray: {sentence}", file=sys.stderr)
        return 1


def _give_output_up() -> None:
    """Write what is left of the output, or drop it: the interpreter would fail over it again, at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; only a command that is named is imported."""
    parser = argparse.ArgumentParser(
        prog="lockedarray", description="Is this machine, and is this program, ready for real time?"
    )
    version = metadata.version("lockedarray")
    parser.add_argument("--version", action="version", version=f"lockedarray {version}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"Shows {summary}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in words:
            chosen = import_module(module)
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    return parser
