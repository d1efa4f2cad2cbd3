"""Whether confidences and label sets hold what they promise."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, interval, paragraph, table
from visual_memory_benchmarks.report.section import Block, Section

NAME = "calibration"


def write(findings: Findings) -> Sequence[Block]:
    tables = findings.tables(NAME)
    [errors] = tables["errors"]
    return [
        paragraph(
            f"Expected calibration error in {errors['bins']} equal bins, where confidence is the "
            f"share of the votes: {interval(errors['before'])} before calibration and "
            f"{interval(errors['after'])} after it, a change of {change(errors['change'])}. Label "
            "sets are to hold the right label as often as wanted:"
        ),
        table(
            ("sets", "may be empty", "wanted", "covered", "labels in a set"),
            [
                (
                    row["conformal"],
                    "yes" if row["allow_empty"] else "no",
                    f"{row['wanted']:.0%}",
                    interval(row["covered"]),
                    interval(row["set_size"], 2),
                )
                for row in tables["coverage"]
            ],
        ),
    ]


CALIBRATION = Section("Calibration", (8,), (NAME,), f"visual-memory-bench experiment {NAME}", write)
