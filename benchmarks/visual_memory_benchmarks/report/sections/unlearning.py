"""Whether a class that was unlearned leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import interval, paragraph, table
from visual_memory_benchmarks.report.section import Block, Section

NAME = "unlearning"


def write(findings: Findings) -> Sequence[Block]:
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
        table(
            (
                "unlearned",
                "entries",
                "same digest",
                "decisions that differ",
                "certified",
                "its pictures are called",
                "still called so",
            ),
            [
                (
                    row["label"],
                    row["entries"],
                    _yes(row["same_digest"]),
                    f"{row['other_decisions']} of {row['decisions']:,}",
                    _yes(row["certified"]),
                    ", ".join(f"{label} {count}" for label, count in row["called"].items()),
                    interval(row["still_called"]),
                )
                for row in rows
            ],
        ),
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


UNLEARNING = Section(
    "Unlearning a class, exactly", (8,), (NAME,), f"visual-memory-bench experiment {NAME}", write
)
