"""Section: label noise and pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars, legend_below, unchanged
from visual_memory_benchmarks.report.section import Block, of_experiment
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "label_noise"


def write(findings: Findings) -> Sequence[Block]:
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
            lambda figure, theme: draw(figure, theme, findings),
        ),
        columns(
            rows,
            {
                "wrong labels": lambda row: f"{row['wrong_labels']:.0%}",
                "method": "method",
                "accuracy": lambda row: interval(row["accuracy"]),
                "gain over nothing": lambda row: (
                    change(row["gain"]) if row["method"] != "none" else ""
                ),
                "pruned": lambda row: interval(row["pruned"], 2) if row["pruned"] else "",
            },
        ),
    ]


def draw(figure: Figure, theme: Theme, findings: Findings) -> None:
    rows = findings.tables(NAME)["noise"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    left, right = figure.subplots(1, 2)
    unchanged(right, theme)
    for method, look in zip(methods, theme.series(len(methods)), strict=True):
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
    legend_below(figure, left, 4)


LABEL_NOISE = of_experiment("Label noise", (8,), NAME, write)
