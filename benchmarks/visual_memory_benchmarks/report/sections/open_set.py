"""Whether distances tell classes that a memory does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import interval, number, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars
from visual_memory_benchmarks.report.section import Block, Section
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "open_set"


def write(findings: Findings) -> Sequence[Block]:
    tables = findings.tables(NAME)
    [service] = tables["service"]
    told = sorted(tables["classes"], key=lambda row: row["auroc"]["value"])
    return [
        paragraph(
            "Pictures of 20 unknown classes against those of the 16 that the memory holds, by "
            "their distance to its entries. AUROC is 1 where all unknown ones lie farther; FPR95 "
            "is the share of unknown pictures that are nearer than the limit which keeps 95 % of "
            "the known. The service's own calibration rejects beyond a distance of "
            f"{number(service['rejection_distance'])}: {interval(service['rejected_of_known'])} of "
            f"the known and {interval(service['rejected_of_unknown'])} of the unknown."
        ),
        table(
            ("score", "of the nearest", "AUROC", "FPR95", "limit"),
            [
                (
                    row["score"],
                    row["neighbors"],
                    interval(row["auroc"]),
                    interval(row["fpr95"]),
                    number(row["limit"]),
                )
                for row in tables["scores"]
            ],
        ),
        Picture(
            "open-set",
            "How well the nearest distance tells each unknown class. Hardest: "
            + ", ".join(f"{row['unknown']} {row['auroc']['value']:.3f}" for row in told[:3])
            + "; easiest: "
            + ", ".join(f"{row['unknown']} {row['auroc']['value']:.3f}" for row in told[-3:])
            + ".",
            (7.5, 4.8),
            lambda figure, theme: draw(figure, theme, findings),
        ),
    ]


def draw(figure: Figure, theme: Theme, findings: Findings) -> None:
    rows = sorted(findings.tables(NAME)["classes"], key=lambda row: row["auroc"]["value"])
    (look,) = theme.series(1)
    axes = figure.subplots()
    auroc = [row["auroc"] for row in rows]
    error_bars(axes, range(len(rows)), auroc, look.dotted, label="", horizontal=True)
    axes.set_yticks(range(len(rows)), [f"{row['unknown']} (n = {row['pictures']})" for row in rows])
    axes.set_xlabel("AUROC of the nearest distance against known pictures, 95 %")


OPEN_SET = Section("Open set", (8,), (NAME,), f"visual-memory-bench experiment {NAME}", write)
