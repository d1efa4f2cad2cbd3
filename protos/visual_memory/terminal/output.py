"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TextIO

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
BLANK = "\\x20"
ERASE_LINE = "\r\033[K"  # of a terminal
BOLD, END_BOLD = "\033[1m", "\033[22m"
CELL_MIN = 3  # columns, also if the terminal is narrower


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in aligned columns, numbers to the right.

    Texts that differ are printed differently. On a terminal the longest texts are cut in the middle
    to its width, numbers never, and the headers are bold.
    """
    from wcwidth import ljust, rjust, width

    rows = list(rows)
    shown = distinguishable(cell for row in rows for cell in row if isinstance(cell, str))
    cells = [list(headers)]
    cells += [
        [with_ends(shown[c]) if isinstance(c, str) else printable(c) for c in row] for row in rows
    ]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(headers))]
    if sys.stdout.isatty():
        widths = fitted(widths, shutil.get_terminal_size().columns, right if rows else ())
    bold = is_colored(sys.stdout)
    for number, row in enumerate(cells):
        columns = zip(row, widths, right, strict=True)
        aligned = ((rjust if r else ljust)(shorten(cell, w), w) for cell, w, r in columns)
        line = "  ".join(aligned).rstrip()
        print(f"{BOLD}{line}{END_BOLD}" if bold and not number else line)


def fitted(widths: Sequence[int], room: int, whole: Sequence[bool] = ()) -> list[int]:
    """Return the widths of columns, the widest cut to no less than 3 until all fit ``room``.

    Columns for which ``whole`` is True keep their width.
    """
    kept = [*whole, *[False] * (len(widths) - len(whole))]
    free = [each for each, keep in zip(widths, kept, strict=True) if not keep]
    room -= sum(widths) - sum(free) + 2 * (len(widths) - 1)
    most = max(free, default=0)
    while most > CELL_MIN and sum(min(each, most) for each in free) > room:
        most -= 1
    return [each if keep else min(each, most) for each, keep in zip(widths, kept, strict=True)]


def shorten(text: str, most: int) -> str:
    """Cut the middle of a text that takes more than ``most`` columns, and put ``…`` there."""
    from wcwidth import clip, width

    whole = width(text)
    if whole <= most:
        return text
    end = (most - 1) // 2
    return f"{clip(text, 0, most - 1 - end)}…{clip(text, whole - end, whole)}"


def is_colored(stream: TextIO) -> bool:
    """Return True for a terminal that shows bold, where ``NO_COLOR`` is not set."""
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return stream.isatty() and not dumb and not os.environ.get("NO_COLOR")


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print each of ``lines`` on one line, with control characters escaped.

    Where standard error is a terminal, the lines take the place of a progress line.
    """
    if file is sys.stderr and file.isatty():
        print(ERASE_LINE, end="", file=file)
    print(*map(printable, lines), sep="\n", file=file)


def printable(value: object) -> str:
    """Format a value as text, with control characters escaped: ``\\n``, ``\\x1b``, ``\\u202e``.

    Floats have 4 decimals, datetimes whole seconds.
    """
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = str(value)
    if text.isprintable():
        return text
    return "".join(each if is_shown(each) else ascii(each)[1:-1] for each in text)


def distinguishable(texts: Iterable[str]) -> dict[str, str]:
    """Map each text to the form to print, so that different texts look different.

    Of texts with the same NFC form, those that are not in NFC are escaped.
    """
    alike = defaultdict[str, set[str]](set)
    for text in texts:
        alike[unicodedata.normalize("NFC", text)].add(text)
    return {
        text: printable(text) if len(same) == 1 or text == form else ascii(text)[1:-1]
        for form, same in alike.items()
        for text in same
    }


def with_ends(text: str) -> str:
    """Return a text with each space at its ends written as ``\\x20``."""
    inner = text.strip(" ")
    if not inner:
        return BLANK * len(text)
    before, _, after = text.partition(inner)
    return f"{BLANK * len(before)}{inner}{BLANK * len(after)}"


def is_shown(character: str) -> bool:
    """Return True for a character that a terminal shows, or a space of some width."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def print_json(value: Any) -> None:
    """Print one JSON value, times in ISO 8601."""
    print(to_json(value, indent=2))


def print_json_array(values: Iterable[Any]) -> None:
    """Print a JSON array item by item, so that it need not fit into RAM."""
    separator = "["
    for value in values:
        print(separator, to_json(value), sep="\n", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON with letters as they are; characters that a terminal does not show are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=plain)
    if text.replace("\n", "").isprintable():
        return text
    shown = (each if is_shown(each) or each == "\n" else json.dumps(each)[1:-1] for each in text)
    return "".join(shown)


def plain(value: object) -> str:
    """Convert a datetime to ISO 8601, for JSON. Raises TypeError for other types."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no form in JSON")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 entry``, ``2 entries``, ``2 classes``."""
    stem, end = (noun[:-1], "ies") if noun.endswith("y") else (noun, "s")
    return f"{count:,} {noun if count == 1 else stem + ('es' if noun.endswith('s') else end)}"


def percent(part: int, whole: int) -> str:
    """Format ``part`` of ``whole`` as a percentage, or as a dash if ``whole`` is 0."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def size(count: int) -> str:
    """Format a number of bytes as MiB, or as KiB if it is less than a tenth of one."""
    if 10 * count < MEBIBYTE:
        return f"{count / KIBIBYTE:.1f} KiB"
    return f"{count / MEBIBYTE:,.1f} MiB"
