"""Section: distances of unknown classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, interval, number, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars
from visual_memory_benchmarks.report.section import Block, of_experiment
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "open_set"


def write(findings: Findings) -> Sequence[Block]:
    tables = findings.tables(NAME)
    [service] = tables["service"]
    ranked = sorted(tables["classes"], key=lambda row: row["auroc"]["value"])
    return [
        paragraph(
            "Pictures of 20 unknown classes against those of the 16 that the memory holds, by "
            "their distance to its entries. AUROC is 1 where all unknown ones lie farther; FPR95 "
            "is the share of unknown pictures that are nearer than the limit which keeps 95 % of "
            "the known. The service's own calibration rejects beyond a distance of "
            f"{number(service['rejection_distance'])}: {interval(service['rejected_of_known'])} of "
            f"the known and {interval(service['rejected_of_unknown'])} of the unknown."
        ),
        columns(
            tables["scores"],
            {
                "score": "score",
                "of the nearest": "neighbors",
                "AUROC": lambda row: interval(row["auroc"]),
                "FPR95": lambda row: interval(row["fpr95"]),
                "limit": lambda row: number(row["limit"]),
            },
        ),
        Picture(
            "open-set",
            "How well the nearest distance tells each unknown class. Hardest: "
            + ", ".join(f"{row['unknown']} {row['auroc']['value']:.3f}" for row in ranked[:3])
            + "; easiest: "
            + ", ".join(f"{row['unknown']} {row['auroc']['value']:.3f}" for row in ranked[-3:])
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


OPEN_SET = of_experiment("Open set", (8,), NAME, write)
