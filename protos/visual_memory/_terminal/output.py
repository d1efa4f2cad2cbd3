"""How a command answers: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

MEBIBYTE = 1 << 20


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns wide enough for their longest cell; numbers to the right."""
    rows = list(rows)
    cells = [list(headers), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(headers))]
    for row in cells:
        columns = zip(row, widths, right, strict=True)
        print("  ".join(f"{c:>{w}}" if r else f"{c:<{w}}" for c, w, r in columns).rstrip())


def printable(value: object) -> str:
    """A cell; what would move the cursor or colour the terminal is shown as a question mark."""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return "".join(each if each.isprintable() else "?" for each in str(value))


def print_json(value: Any) -> None:
    """One JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_array(values: Iterable[Any]) -> None:
    """A JSON array, item by item, so that it may be longer than the memory of this machine."""
    separator = "["
    for value in values:
        print(separator, json.dumps(value, ensure_ascii=False), sep="\n", end="")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def plural(count: int, noun: str) -> str:
    """``1 entry``, ``2 entries``, ``2 classes``."""
    stem, end = (noun[:-1], "ies") if noun.endswith("y") else (noun, "s")
    return f"{count:,} {noun if count == 1 else stem + ('es' if noun.endswith('s') else end)}"


def percent(part: int, whole: int) -> str:
    """A share for people."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / MEBIBYTE:,.1f} MiB"
