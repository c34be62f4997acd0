"""``lockedarray map``: what of a process is locked and resident, drawn."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from .memory_map import MemoryMap, Row, merged, read
from .sizes import spoken
from .terminal import columns, has_blocks, wrapped

_NARROWEST, _NARROWEST_SINGLY = 56, 72  # columns
SHOWN = 20  # rows; smaller ones are one together
_BLOCKS, _ASCII = "█▒░·", "#+o."
_PARTS = ("locked and resident", "resident", "locked, not resident", "neither")
_EPILOG = """\
A mapping under a lock is resident as a whole, unless it is inaccessible (a reservation, a guard
page) or was locked "on fault". The limit counts mappings under a lock, whatever is resident.

exit status: 0 shown; 1 the process cannot be read, and why; 2 wrong arguments; 130 Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.epilog = _EPILOG
    parser.add_argument("pid", metavar="PID|self", type=_pid, help="self: this command's own process")
    parser.add_argument("--all", action="store_true", help="every mapping by itself, by address")
    parser.add_argument("--json", action="store_true", help="sizes in bytes, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Show it; return the exit status."""
    itself = arguments.pid == "self"
    try:
        process = read(os.getpid() if itself else arguments.pid)
    except (ProcessLookupError, PermissionError, ValueError) as error:
        sentence = getattr(error, "strerror", None) or str(error)
        print(f"lockedarray map: {_printable(sentence)}", file=sys.stderr)
        return 1
    rows = process.rows if arguments.all else merged(process.rows)
    if arguments.json:
        print(json.dumps(_figures(process, rows), indent=2))
        return 0
    name = f"process {process.pid} ({_printable(process.command)})"
    print(f"{name}, which is this command itself" if itself else name)
    for line in draw(process, rows, columns(), has_blocks(), singly=arguments.all):
        print(line)
    return 0


def draw(process: MemoryMap, rows: Sequence[Row], width: int, blocks: bool, singly: bool) -> Iterator[str]:
    """Yield the lines of the picture: a row a mapping, or a name; the total; what the signs mean."""
    signs = _BLOCKS if blocks else _ASCII
    space = max(width, _NARROWEST_SINGLY if singly else _NARROWEST) - 3 * 10 - 2  # but for the figures
    picture = min(32, space // 3)
    names = space - picture - 1
    yield f"{'':{names}}{'size':>10}{'resident':>10}{'locked':>10}  {'share':{picture}}".rstrip()
    for row in rows if singly else _foremost(rows):
        before = f"{row.start:x} {row.permissions} " if singly else ""
        after = f" ({row.mappings})" if row.mappings > 1 else ""
        name = before + _fitted(row.name, names - len(before) - len(after)) + after
        sizes = "".join(f"{_short(size):>10}" for size in (row.size, row.resident, row.locked))
        yield f"{name:{names}}{sizes}  {_shares(row, picture, signs)}"
    totals = sum(row.size for row in rows), process.resident, process.locked
    yield f"{'all (VmRSS, VmLck)':{names}}" + "".join(f"{_short(size):>10}" for size in totals)
    limit = f"limit on locked memory: {spoken(process.soft)}"
    if process.soft != process.hard:
        limit += f", which the process can raise to {spoken(process.hard)}"
    yield from wrapped(limit, width)
    yield from wrapped(", ".join(map(" ".join, zip(signs, _PARTS, strict=True))), width)


def _foremost(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the first rows, and the others as one."""
    if len(rows) <= SHOWN + 1:
        yield from rows
        return
    yield from rows[:SHOWN]
    others = sum(rows[SHOWN + 1 :], rows[SHOWN])
    yield Row(
        f"{len(rows) - SHOWN} smaller ones (--all: each)",
        others.start,
        others.end,
        "",
        1,
        others.size,
        others.resident,
        others.locked,
        others.resident_locked,
    )


def _shares(row: Row, width: int, signs: str) -> str:
    """Return a row's size as so many signs; what is there at all has one at least."""
    parts = [row.resident_locked, row.resident - row.resident_locked, row.locked - row.resident_locked]
    parts.append(row.size - sum(parts))
    counts = [max(1, part * width // row.size) if part > 0 else 0 for part in parts]
    counts[counts.index(max(counts))] += width - sum(counts)
    return "".join(sign * count for sign, count in zip(signs, counts, strict=True))


def _short(nbytes: int) -> str:
    """Return a size in a table's few characters: 4 KiB, 1.5 MiB."""
    size, unit = nbytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size < 1000:
            break
        size, unit = size / 1024, larger
    return "0" if nbytes == 0 else f"{size:.0f} {unit}" if unit == "KiB" else f"{size:.1f} {unit}"


def _fitted(name: str, width: int) -> str:
    """Return a name of at most so many characters: of a long path its last part, or the beginning of that."""
    name = _printable(name)
    if len(name) > width and name.startswith("/"):
        name = name.rpartition("/")[2]
    return name if len(name) <= width else name[: width - 3] + "..."


def _printable(text: str) -> str:
    """Return a file's or a process's name as any terminal can take it."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return shown.encode(encoding, "replace").decode(encoding)


def _figures(process: MemoryMap, rows: Sequence[Row]) -> dict[str, object]:
    """Return what --json shows; a limit that is none is null."""
    return {
        "pid": process.pid,
        "command": process.command,
        "rows": [asdict(row) | {"name": _printable(row.name)} for row in rows],
        "locked": process.locked,
        "resident": process.resident,
        "limit": {
            "soft": None if process.soft < 0 else process.soft,
            "hard": None if process.hard < 0 else process.hard,
        },
    }


def _pid(text: str) -> int | str:
    if text == "self":
        return text
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a process's number nor 'self'")
