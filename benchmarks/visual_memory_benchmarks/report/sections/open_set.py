"""Section: distances of unknown classes."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import columns, interval, number, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "open_set"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    [service] = tables["service"]
    ranked = sorted(tables["classes"], key=lambda row: row["auroc"]["value"])
    return [
        paragraph(
            "Pictures of 20 unknown classes against those of the 16 that the memory holds, by "
            "their distance to its entries. AUROC is 1 where all unknown ones lie farther; FPR95 "
            "is the share of unknown pictures that are nearer than the limit which keeps 95 % of "
            "the known. The service's own calibration rejects where the mean of the distances to "
            "the nearest entry and to the nearest class mean is beyond "
            f"{number(service['rejection_distance'])}: {interval(service['rejected_of_known'])} of "
            f"the known and {interval(service['rejected_of_unknown'])} of the unknown."
        ),
        columns(
            tables["scores"],
            {
                "score": "score",
                "of the nearest": "neighbors",
                "AUROC": "auroc",
                "FPR95": "fpr95",
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
            lambda canvas: draw(canvas, findings),
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = sorted(findings.tables(NAME)["classes"], key=lambda row: row["auroc"]["value"])
    (look,) = canvas.theme.series(1)
    axes = canvas.figure.subplots()
    auroc = [row["auroc"] for row in rows]
    error_bars(axes, range(len(rows)), auroc, look.dotted, label="", horizontal=True)
    axes.set_yticks(range(len(rows)), [f"{row['unknown']} (n = {row['pictures']})" for row in rows])
    axes.set_xlabel("AUROC of the nearest distance against known pictures, 95 %")
