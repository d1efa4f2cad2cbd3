"""How a command answers: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Estimate = Mapping[str, float | None]


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
    return "".join(each if each.isprintable() else "?" for each in str(value))


def print_json(value: Any) -> None:
    """One JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def interval(estimate: Estimate | None) -> str:
    """``.2150 [.1921, .2388]``, or a dash where it is undefined."""
    if estimate is None or estimate["value"] is None:
        return "–"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.4f}"
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"
