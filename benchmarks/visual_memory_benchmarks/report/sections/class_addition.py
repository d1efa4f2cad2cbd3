"""Section: accuracy of old classes as new ones are added."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "class_addition"


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["doses"]
    last = [row for row in rows if row["exemplars"] == max(each["exemplars"] for each in rows)]
    return [
        paragraph(
            "Twenty classes of Caltech-101 are added to half of natural16 by a few exemplars each, "
            "nothing is trained, and both the new and the old are asked about."
        ),
        Picture(
            "class-addition",
            "Accuracy on new classes over exemplars of each, and the change of old ones. "
            + " ".join(
                f"k = {row['k']}, {row['exemplars']} exemplars: new "
                f"{row['new_accuracy']['value']:.3f}, old {row['old_change']['value']:+.3f}."
                for row in last
            ),
            (9, 3.9),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            rows,
            {
                "k": "k",
                "exemplars a class": "exemplars",
                "new classes": "new_accuracy",
                "old classes": "old_accuracy",
                "change of old": lambda row: change(row["old_change"]),
                "old called new": lambda row: interval(row["old_called_new"], 4),
            },
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = findings.tables(NAME)["doses"]
    ks = sorted({row["k"] for row in rows})
    exemplars = sorted({row["exemplars"] for row in rows})
    left, right = canvas.figure.subplots(1, 2)
    canvas.unchanged(right)
    for k, look in canvas.series(ks):
        found = [row for row in rows if row["k"] == k]
        places = [exemplars.index(row["exemplars"]) for row in found]
        for axes, key in ((left, "new_accuracy"), (right, "old_change")):
            error_bars(axes, places, [row[key] for row in found], look.plotted, label=f"k = {k}")
    for axes in (left, right):
        axes.set_xticks(range(len(exemplars)), [str(each) for each in exemplars])
        axes.set_xlabel("exemplars of each new class")
    left.set_ylabel("accuracy on new classes, 95 %")
    right.set_ylabel("change of accuracy on old classes, 95 %")
    left.set_title("new classes")
    right.set_title(f"old classes, {findings.sample(NAME)}")
    canvas.legend_below(left, len(ks))
