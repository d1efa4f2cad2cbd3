"""Section: calibration of confidences and label sets."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, number, paragraph
from visual_memory_benchmarks.report.section import Blocks

NAME = "calibration"
COVERAGE_BY = {"all": "all queries", "label": "each label's"}


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    [errors] = tables["errors"]
    return [
        paragraph(
            f"Expected calibration error in {errors['bins']} equal bins, where confidence is the "
            f"share of the votes: {interval(errors['before'])} before calibration and "
            f"{interval(errors['after'])} after it, a change of {change(errors['change'])}. Label "
            "sets are to hold the right label as often as wanted:"
        ),
        columns(
            tables["coverage"],
            {
                "sets": "conformal",
                "on average over": lambda row: COVERAGE_BY[row["coverage_by"]],
                "may be empty": lambda row: "yes" if row["allow_empty"] else "no",
                "wanted": lambda row: f"{row['wanted']:.0%}",
                "covered": "covered",
                "the least covered label": lambda row: (
                    f"{number(row['least_covered']['covered'])} {row['least_covered']['label']}"
                ),
                "labels in a set": lambda row: interval(row["set_size"], 2),
            },
        ),
    ]
