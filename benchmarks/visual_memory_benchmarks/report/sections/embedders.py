"""Section: memories by several embedders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visual_memory_benchmarks.report.findings import Findings, Rows
from visual_memory_benchmarks.report.markdown import columns, interval, paragraph, table
from visual_memory_benchmarks.report.section import Blocks

NAME = "embedders"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    names = list(dict.fromkeys(row["embedder"] for row in tables["accuracy"]))
    pairs = next(iter(_together(tables["consistency"]).values()))
    return [
        paragraph(
            "One memory of natural16 by each embedder. κ between two of them says whether they err "
            "on the same pictures; what people reach with each other stands in the first section. "
            "The first table is of cue-conflict pictures, the second of accuracy."
        ),
        columns(
            tables["shape_bias"],
            {
                "k": "k",
                "embedder": "embedder",
                "shape": "shape",
                "texture": "texture",
                "conflict pictures": lambda row: f"{row['pictures']:,}",
                "shape bias": lambda row: interval(row["shape_bias"], 4),
            },
        ),
        table(
            ("set", "n", "k", *names),
            [
                (
                    name,
                    f"{found[0]['pictures']:,}",
                    k,
                    *(interval(row["accuracy"]) for row in found),
                )
                for (name, k), found in _together(tables["accuracy"]).items()
            ],
        ),
        table(
            ("set", "k", *(f"κ, {row['first']} × {row['second']}" for row in pairs)),
            [
                (name, k, *(interval(row["error_consistency"]) for row in found))
                for (name, k), found in _together(tables["consistency"]).items()
            ],
        ),
    ]


def _together(rows: Rows) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """Group rows by set and k."""
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["set"], row["k"]), []).append(row)
    return found
