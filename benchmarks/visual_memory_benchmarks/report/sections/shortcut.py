"""Section: a stamp as a shortcut."""

from __future__ import annotations

import numpy as np

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "shortcut"
CONDITIONS = {
    "consistent": "stamp as in the memory",
    "absent": "no stamp",
    "conflicting": "stamp of another label",
}


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["stamps"]
    return [
        paragraph(
            "A chequered stamp lies on every picture of one label of the memory, or on half of all "
            "pictures. Asked without the stamp or with it on pictures of other labels, a memory "
            "that took the shortcut errs."
        ),
        Picture(
            "shortcut",
            "Accuracy with the stamp as in memory, absent and conflicting. "
            + " ".join(
                f"{row['side']} pixels, {row['stamp']}: "
                + ", ".join(f"{key} {row[key]['value']:.3f}" for key in CONDITIONS)
                + "."
                for row in rows
            ),
            (10, 3.8),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            rows,
            {
                "stamp, pixels": lambda row: f"{row['side']} × {row['side']}",
                "in memory": "stamp",
                **{title: key for key, title in CONDITIONS.items()},
                "change, stamp of another label": lambda row: change(row["conflicting_change"]),
                "called the stamped label, with a stamp": lambda row: interval(
                    row["called_stamped"], 4
                ),
                "the same, without": lambda row: interval(row["called_unstamped"], 4),
            },
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = findings.tables(NAME)["stamps"]
    sides = sorted({row["side"] for row in rows})
    kinds = list(dict.fromkeys(row["stamp"] for row in rows))
    all_axes = np.atleast_1d(canvas.figure.subplots(1, len(sides), sharey=True))
    for axes, side in zip(all_axes, sides, strict=True):
        for at, (kind, look) in enumerate(canvas.series(kinds)):
            [row] = [each for each in rows if each["side"] == side and each["stamp"] == kind]
            places = [
                place + (at - (len(kinds) - 1) / 2) * 0.15 for place in range(len(CONDITIONS))
            ]
            error_bars(
                axes,
                places,
                [row[key] for key in CONDITIONS],
                look.dotted,
                label=f"in memory: {kind}",
            )
        axes.set_xticks(range(len(CONDITIONS)), [_wrapped(each) for each in CONDITIONS.values()])
        axes.set_title(f"stamp of {side} × {side} pixels")
    all_axes[0].set_ylabel(f"accuracy, {findings.size('natural16')}, 95 %")
    canvas.legend_below(all_axes[0], len(kinds))


def _wrapped(text: str) -> str:
    head, _, rest = text.partition(" of " if " of " in text else " as ")
    return f"{head}\n{text[len(head) + 1 :]}" if rest else text
