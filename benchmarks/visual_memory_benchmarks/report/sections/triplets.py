"""Section: triplets, which of two pictures is nearer to a third."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import interval, paragraph, table
from visual_memory_benchmarks.report.section import Blocks

NAME = "triplets"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    return [
        paragraph(
            "“Is o nearer to y or to z?”, answered from distances. By category the right answer is "
            "the picture of the same category; random triplets have no right answer, and ask how "
            "far embedders agree. No answers of people to such questions lie here: "
            "`visual-memory-bench triplets FILE.csv --memory NAME` reads them from a file where "
            "somebody has them."
        ),
        table(
            ("embedder", "nearer of the same category"),
            [(row["embedder"], interval(row["accuracy"])) for row in tables["category_triplets"]],
        ),
        table(
            ("triplets", "two embedders", "same answer"),
            [
                (row["triplets"], f"{row['first']} × {row['second']}", interval(row["agreed"]))
                for row in tables["ordinal_consistency"]
            ],
        ),
    ]
