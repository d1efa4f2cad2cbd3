"""Section: dichotomous difficulty."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, paragraph
from visual_memory_benchmarks.report.published import DIFFICULTY_PERCENT
from visual_memory_benchmarks.report.section import Blocks

NAME = "dichotomy"


def write(findings: Findings) -> Blocks:
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
                "trivial": "trivial",
                "impossible": "impossible",
                "rest": "rest",
                "κ, all pictures": "error_consistency",
                "κ, the rest": "error_consistency_of_rest",
            },
        ),
    ]
