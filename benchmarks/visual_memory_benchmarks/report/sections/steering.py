"""Shape bias steered by what a memory may look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, interval, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars, legend_below, unchanged
from visual_memory_benchmarks.report.section import Block, Section
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "steering"
SHOWN = {
    "shape_bias_change": "shape bias",
    "shape_change": "share of shape answers",
    "natural_change": "accuracy on photographs",
    "filled_silhouettes_change": "accuracy on silhouettes",
}


def write(findings: Findings) -> Sequence[Block]:
    rows = findings.tables(NAME)["additions"]
    base, *added = rows
    return [
        paragraph(
            "One memory holds natural pictures and all additions; a filter says which of them "
            f"vote. With the natural ones alone shape bias is {interval(base['shape_bias'])}. No "
            "picture, shape or texture of the additions is asked about."
        ),
        Picture(
            "steering",
            "Changes of shape bias and accuracy by what else may vote. Shape bias: "
            + "; ".join(
                f"{row['added']}, {row['of_each_category']} a category "
                f"{row['shape_bias_change']['value']:+.3f}"
                for row in added
            )
            + ".",
            (10.5, 0.45 * len(_kinds(findings)) + 1.6),
            lambda figure, theme: draw(figure, theme, findings),
        ),
        table(
            (
                "may vote besides",
                "of each category",
                "shape bias",
                "answers by shape",
                "by texture",
                "change of shape bias",
                *(f"change of {name}" for name in list(SHOWN.values())[1:]),
            ),
            [
                (
                    row["added"],
                    row["of_each_category"],
                    interval(row["shape_bias"]),
                    interval(row["shape"]),
                    interval(row["texture"]),
                    *(change(row[key]) if row is not base else "" for key in SHOWN),
                )
                for row in rows
            ],
        ),
    ]


def draw(figure: Figure, theme: Theme, findings: Findings) -> None:
    rows = findings.tables(NAME)["additions"][1:]
    kinds = _kinds(findings)
    doses = sorted({row["of_each_category"] for row in rows})
    all_axes = figure.subplots(1, len(SHOWN), sharey=True)
    for axes, (key, title) in zip(all_axes, SHOWN.items(), strict=True):
        unchanged(axes, theme, horizontal=True)
        for at, (dose, look) in enumerate(zip(doses, theme.series(len(doses)), strict=True)):
            found = [row for row in rows if row["of_each_category"] == dose]
            places = [-kinds.index(row["added"]) - 0.22 * at for row in found]
            error_bars(
                axes,
                places,
                [row[key] for row in found],
                look.dotted,
                label=f"{dose} of each category, {findings.sample(NAME)}",
                horizontal=True,
            )
        axes.set_yticks([-at - 0.11 for at in range(len(kinds))], kinds)
        axes.set_title(title)
        axes.set_xlabel("change, 95 %")
    legend_below(figure, all_axes[0], len(doses))


def _kinds(findings: Findings) -> list[str]:
    rows = findings.tables(NAME)["additions"][1:]
    return list(dict.fromkeys(row["added"] for row in rows))


STEERING = Section(
    "Steering shape bias", (14, 31), (NAME,), f"visual-memory-bench experiment {NAME}", write
)
