"""Section: dichotomous difficulty."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, interval, paragraph
from visual_memory_benchmarks.report.published import DIFFICULTY_PERCENT
from visual_memory_benchmarks.report.section import Block, of_experiment

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
        columns(
            rows,
            {
                "set": "set",
                "n": lambda row: f"{row['pictures']:,}",
                "configurations": "configurations",
                "trivial": lambda row: interval(row["trivial"]),
                "impossible": lambda row: interval(row["impossible"]),
                "rest": lambda row: interval(row["rest"]),
                "κ, all pictures": lambda row: interval(row["error_consistency"]),
                "κ, the rest": lambda row: interval(row["error_consistency_of_rest"]),
            },
        ),
    ]


DICHOTOMY = of_experiment("Trivial, impossible and other pictures", (23,), NAME, write)
