"""The result as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visual_memory_benchmarks.edits.analysis import ALPHA


def to_markdown(result: Mapping[str, Any], k: int) -> str:
    """Make a row for each edit and dose, a column for each outcome that is tested.

    Differences from the control, with intervals; bold where the p-value adjusted for all of them is
    below ``ALPHA``.
    """
    tested = [name for name, outcome in result["outcomes"].items() if outcome["tested"]]
    cells = {
        (row["kind"], row["dose"], row["outcome"]): _cell(row)
        for row in result["contrasts"]
        if row["k"] == k
    }
    lines = [
        ["edit", "dose", "entries", *tested],
        ["---"] * (3 + len(tested)),
        ["before any edit", "", "", *(_level(result, name, k) for name in tested)],
    ]
    for edit in result["edits"]:
        kind, dose = edit["kind"], edit["dose"]
        found = [cells[kind, dose, name] for name in tested]
        lines.append([kind, f"{dose:g}", _sizes(edit["sizes"]), *found])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _level(result: Mapping[str, Any], outcome: str, k: int) -> str:
    [found] = [row for row in result["before"] if row["k"] == k and row["outcome"] == outcome]
    return _interval(found, "")


def _cell(row: Mapping[str, Any]) -> str:
    text = _interval(row["difference"], "+")
    return f"**{text}**" if row["p_holm"] is not None and row["p_holm"] < ALPHA else text


def _interval(found: Mapping[str, Any], sign: str) -> str:
    if found["value"] is None or found["low"] is None:
        return "–"
    value, low, high = (
        f"{round(found[key], 3) + 0.0:{sign}.3f}" for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]".replace("-", "−")


def _sizes(sizes: list[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low}–{high}"
