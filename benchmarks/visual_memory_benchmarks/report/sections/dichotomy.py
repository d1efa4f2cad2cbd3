"""Pictures that all get right, that none does, and the rest."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import interval, paragraph, table
from visual_memory_benchmarks.report.published import DIFFICULTY_PERCENT
from visual_memory_benchmarks.report.section import Block, Section

NAME = "dichotomy"


def write(findings: Findings) -> Sequence[Block]:
    rows = findings.tables(NAME)["difficulty"]
    published = ", ".join(f"{value:g} % {kind}" for kind, value in DIFFICULTY_PERCENT.items())
    return [
        paragraph(
            "A picture is trivial where every configuration (embedder and voting) gets it right, "
            "impossible where none does. Only on the rest can configurations differ, so κ is given "
            f"there, too. Published for ImageNet (seed 23, not computed here): {published}."
        ),
        table(
            (
                "set",
                "n",
                "configurations",
                "trivial",
                "impossible",
                "rest",
                "κ, all pictures",
                "κ, the rest",
            ),
            [
                (
                    row["set"],
                    f"{row['pictures']:,}",
                    row["configurations"],
                    interval(row["trivial"]),
                    interval(row["impossible"]),
                    interval(row["rest"]),
                    interval(row["error_consistency"]),
                    interval(row["error_consistency_of_rest"]),
                )
                for row in rows
            ],
        ),
    ]


DICHOTOMY = Section(
    "Trivial, impossible and other pictures",
    (23,),
    (NAME,),
    f"visual-memory-bench experiment {NAME}",
    write,
)
