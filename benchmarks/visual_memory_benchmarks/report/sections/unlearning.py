"""Section: traces of an unlearned class."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, paragraph
from visual_memory_benchmarks.report.section import Blocks

NAME = "unlearning"


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["classes"]
    same = sum(row["same_digest"] for row in rows)
    return [
        paragraph(
            f"{len(rows)} memories each unlearn one label and stand beside one that never held it. "
            f"{same} of {len(rows)} have the same digest; of "
            f"{sum(row['decisions'] for row in rows):,} decisions (label, confidence, scores and "
            f"all neighbours) {sum(row['other_decisions'] for row in rows)} differ; "
            f"{sum(row['certified'] for row in rows)} certificates were verified."
        ),
        columns(
            rows,
            {
                "unlearned": "label",
                "entries": "entries",
                "same digest": lambda row: _yes(row["same_digest"]),
                "decisions that differ": lambda row: (
                    f"{row['other_decisions']} of {row['decisions']:,}"
                ),
                "certified": lambda row: _yes(row["certified"]),
                "its pictures are called": lambda row: ", ".join(
                    f"{label} {count}" for label, count in row["called"].items()
                ),
                "still called so": "still_called",
            },
        ),
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"
