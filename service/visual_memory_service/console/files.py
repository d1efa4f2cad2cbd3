"""Files of commands: ids to read, one a line, and outputs, which only ``--force`` replaces."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from visual_memory.terminal.output import printable
from visual_memory.terminal.refused import Refused, listed

IDS_MAX = 1_000_000
CHARACTERS_MAX = 1 << 28  # a device may have no end
NO_LINE = re.compile("[\n\r]|^\ufeff")  # a file may begin with U+FEFF, the byte order mark
STANDARD_INPUT = Path("-")


def read_ids(file: Path) -> list[str]:
    """Return the ids in a file, one a line, each once, in ascending order.

    Raises Refused if the file cannot be read, mixes line ends, or names no id or too many.
    """
    text = read_text(file)
    if "\0" in text:
        raise Refused(f"{file} is no text; wanted is one id a line.")
    *lines, last = text.split("\n")
    ends = {line.endswith("\r") for line in lines if line.strip("\r")}
    if len(ends) > 1:
        raise Refused(
            f"{file} has lines that end with a carriage return and lines that do not: save it with "
            "one kind of line end, or name ids that have one in Python."
        )
    ids = sorted({line.removesuffix("\r") for line in (*lines, last)} - {""})
    if not ids:
        raise Refused(f"{file} names no id; wanted is one id a line.")
    if len(ids) > IDS_MAX:
        raise Refused(f"{file} names {len(ids):,} ids; at most {IDS_MAX:,} are taken at once.")
    return ids


def print_ids(ids: Iterable[str]) -> int:
    """Print ids, one a line, as ``read_ids`` reads them, and return their number.

    Raises Refused before any is printed if one cannot be read from a line.
    """
    ids = list(ids)
    if odd := [id for id in ids if NO_LINE.search(id)]:
        raise Refused(
            f"Ids with a line break cannot be written one a line, so none is: {listed(odd)}; name "
            "such ids in Python."
        )
    for id in ids:
        print(printable(id) if sys.stdout.isatty() else id)
    return len(ids)


def no_data_folder(folder: Path, error: OSError) -> str:
    """Return a sentence on a folder that cannot be a data folder because of an error."""
    problem = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    if isinstance(error, PermissionError):
        return (
            f"{folder} cannot be the data folder: {problem}; let the server read and write there."
        )
    return f"{folder} cannot be the data folder: {problem or error}."


def read_text(file: Path) -> str:
    """Read text in UTF-8 from a file, or standard input for ``-``.

    Raises Refused if it cannot be read, is not UTF-8, or exceeds CHARACTERS_MAX.
    """
    place = 0 if file == STANDARD_INPUT else file
    try:
        with open(place, encoding="utf-8-sig", newline="", closefd=place != 0) as opened:
            text = opened.read(CHARACTERS_MAX + 1)
    except UnicodeDecodeError:
        raise Refused(f"{file} cannot be read: it is no text in UTF-8; save it as such.") from None
    except OSError as problem:
        raise Refused(f"{file} cannot be read: {problem.strerror}.") from None
    if len(text) > CHARACTERS_MAX:
        raise Refused(f"{file} has more than {CHARACTERS_MAX:,} characters, so it is another file.")
    return text


def add_force(parser: ArgumentParser, what: str) -> None:
    """Add --force; ``what`` is the file that its help names."""
    parser.add_argument("--force", action="store_true", help=f"overwrite {what}")


def refuse(path: Path, *, force: bool) -> None:
    """Raise Refused if no file may be written at ``path``; call this before any work."""
    if path.is_dir():
        raise Refused(f"{path} is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise Refused(f"{path} is no file that could be replaced; name another.")
    if os.path.lexists(path) and not force:
        raise Refused(f"{path} exists already; use --force to overwrite it.")
    if not path.resolve().parent.is_dir():
        raise Refused(f"There is no folder for {path}.")
