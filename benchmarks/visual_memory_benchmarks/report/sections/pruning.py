"""Section: accuracy of pruned memories."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.section import Blocks

NAME = "pruning"
ASIDE = 0.6  # between methods, in %, so that no interval hides another


def write(findings: Findings) -> Blocks:
    rows = findings.tables(NAME)["prunes"]
    [unpruned] = findings.tables(NAME)["unpruned"]
    ranked = sorted(rows, key=lambda row: -(row["gain_over_random"]["value"] or 0))
    return [
        paragraph(
            "Every way to prune that the service has, each against a random prune of as many "
            f"entries. With all entries {interval(unpruned['all'])} are right; with votes weighed "
            f"by reliability (soft pruning) {interval(unpruned['soft'])}, a change of "
            f"{change(unpruned['soft_gain'])}."
        ),
        Picture(
            "pruning",
            "Accuracy over the share of entries kept, for every way to prune. Furthest above "
            + " and ".join(
                f"random: {row['method']} with {row['kept']['value']:.0%} kept, "
                f"{row['gain_over_random']['value']:+.3f}"
                for row in ranked[:1]
            )
            + "; furthest below: "
            + "".join(
                f"{row['method']} with {row['kept']['value']:.0%} kept, "
                f"{row['gain_over_random']['value']:+.3f}."
                for row in ranked[-1:]
            ),
            (9, 4.6),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            rows,
            {
                "prune": "method",
                "amount": lambda row: (
                    f"v ≥ {row['threshold']}" if "threshold" in row else f"{row['fraction']:.0%}"
                ),
                "kept": lambda row: interval(row["kept"], 2),
                "labels left": lambda row: interval(row["labels_left"], 1),
                "accuracy": "accuracy",
                "random, as many": "random_accuracy",
                "gain over random": lambda row: change(row["gain_over_random"]),
            },
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    rows = findings.tables(NAME)["prunes"]
    [unpruned] = findings.tables(NAME)["unpruned"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    axes = canvas.figure.subplots()
    looks = canvas.theme.series(len(methods))
    for at, (method, look) in enumerate(zip(methods, looks, strict=True)):
        found = sorted(
            (row for row in rows if row["method"] == method), key=lambda row: row["kept"]["value"]
        )
        aside = ASIDE * (at - (len(methods) - 1) / 2)
        kept = [100 * row["kept"]["value"] + aside for row in found]
        error_bars(axes, kept, [row["accuracy"] for row in found], look.plotted, label=method)
    axes.axhline(
        unpruned["all"]["value"],
        color=canvas.theme.ink,
        linewidth=1,
        linestyle=":",
        label="all entries",
    )
    axes.set_xlabel("entries kept, % (methods side by side)")
    axes.set_ylabel("accuracy, 95 %")
    axes.set_title(f"k = {findings.parameter(NAME, 'k')}, {findings.sample(NAME)}")
    canvas.legend_below(axes, 4)
