"""Section: shape bias steered by additions."""

from __future__ import annotations

from visual_memory_benchmarks.experiments.steering import BY_NEITHER, BY_SHAPE
from visual_memory_benchmarks.report.findings import Findings, Row, Rows
from visual_memory_benchmarks.report.markdown import change, columns, interval, number, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "steering"
SHOWN = {
    "shape_bias_change": "shape bias",
    "shape_change": "share of shape answers",
    "natural_change": "accuracy on photographs",
    "filled_silhouettes_change": "accuracy on silhouettes",
}


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["additions"]
    base, *added = rows
    return [
        paragraph(
            "One memory holds natural pictures and all additions; a filter says which of them "
            f"vote. With the natural ones alone shape bias is {interval(base['shape_bias'])}. No "
            "picture, shape or texture of the additions is asked about."
        ),
        *_against_control(rows),
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
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            [
                {**row, **{key: "" if row is base else change(row[key]) for key in SHOWN}}
                for row in rows
            ],
            {
                "may vote besides": "added",
                "of each category": "of_each_category",
                "shape bias": "shape_bias",
                "answers by shape": "shape",
                "by texture": "texture",
                **{f"change of {name}": key for key, name in SHOWN.items()},
            },
        ),
    ]


def _against_control(rows: Rows) -> list[str]:
    """Compare the change of shape bias by cue-conflict pictures with that under wrong labels."""
    base, *added = rows
    most = max(row["of_each_category"] for row in added)
    by_kind = {row["added"]: row for row in added if row["of_each_category"] == most}
    if not {BY_SHAPE, BY_NEITHER} <= by_kind.keys():
        return []
    named, wrong = by_kind[BY_SHAPE], by_kind[BY_NEITHER]
    lost, won = (
        sign * (base[cue]["value"] - named[cue]["value"])
        for cue, sign in (("texture", 1), ("shape", -1))
    )

    def share(row: Row, cue: str) -> str:
        return number(row[cue]["value"])

    return [
        paragraph(
            f"**What of it is shape:** {most} cue-conflict pictures of each category, called by "
            f"shape, change shape bias by {change(named['shape_bias_change'])}: answers by shape "
            f"go from {share(base, 'shape')} to {share(named, 'shape')} of all, those by texture "
            f"from {share(base, 'texture')} to {share(named, 'texture')}. The same pictures under "
            "labels that are neither their shape nor their texture change it by "
            f"{change(wrong['shape_bias_change'])}, with {share(wrong, 'shape')} by shape and "
            f"{share(wrong, 'texture')} by texture. So the change is to be held against that "
            f"control and not against 0: texture lost {number(lost)} of all answers, and shape won "
            f"{number(won)}."
        )
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = findings.tables(NAME)["additions"][1:]
    kinds = _kinds(findings)
    doses = sorted({row["of_each_category"] for row in rows})
    all_axes = canvas.figure.subplots(1, len(SHOWN), sharey=True)
    for axes, (key, title) in zip(all_axes, SHOWN.items(), strict=True):
        canvas.unchanged(axes, horizontal=True)
        for at, (dose, look) in enumerate(canvas.series(doses)):
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
    canvas.legend_below(all_axes[0], len(doses))


def _kinds(findings: Findings) -> list[str]:
    rows = findings.tables(NAME)["additions"][1:]
    return list(dict.fromkeys(row["added"] for row in rows))
