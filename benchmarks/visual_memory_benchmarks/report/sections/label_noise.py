"""Section: label noise and pruning."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "label_noise"


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["noise"]
    most = max(row["wrong_labels"] for row in rows)
    return [
        paragraph(
            "A share of the labels of a memory is wrong, evenly over all others. Soft votes count "
            "an entry the less the more it misleads; a hard prune takes its vote; a random prune "
            "takes as many at random."
        ),
        Picture(
            "label-noise",
            f"Accuracy over the share of wrong labels. At {most:.0%}: "
            + ", ".join(
                f"{row['method']} {row['accuracy']['value']:.3f}"
                for row in rows
                if row["wrong_labels"] == most and row["accuracy"]["value"] is not None
            )
            + ".",
            (9, 3.9),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            rows,
            {
                "wrong labels": lambda row: f"{row['wrong_labels']:.0%}",
                "method": "method",
                "accuracy": "accuracy",
                "gain over nothing": lambda row: (
                    change(row["gain"]) if row["method"] != "none" else ""
                ),
                "pruned": lambda row: interval(row["pruned"], 2) if row["pruned"] else "",
            },
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = findings.tables(NAME)["noise"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    left, right = canvas.figure.subplots(1, 2)
    canvas.unchanged(right)
    for method, look in canvas.series(methods):
        found = [row for row in rows if row["method"] == method]
        places = [100 * row["wrong_labels"] for row in found]
        error_bars(left, places, [row["accuracy"] for row in found], look.plotted, label=method)
        if method != "none":
            error_bars(right, places, [row["gain"] for row in found], look.plotted, label=method)
    for axes in (left, right):
        axes.set_xlabel("wrong labels, %")
    left.set_ylabel("accuracy, 95 %")
    right.set_ylabel("gain over no pruning, 95 %")
    left.set_title(f"k = {findings.parameter(NAME, 'k')}, {findings.sample(NAME)}")
    right.set_title("the same, against no pruning")
    canvas.legend_below(left, 4)
