"""Section: four votings over the number of neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, columns, interval, number, paragraph
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars, logarithmic
from visual_memory_benchmarks.report.section import Blocks

NAME = "votings"


def write(findings: Findings) -> Blocks:
    tables = findings.tables(NAME)
    fixed = findings.parameter(NAME, "fixed_ks")
    [fit] = tables["reliability"]
    return [
        paragraph(
            "k is chosen on a quarter of the pictures and accuracy measured on another. Hindsight "
            "is what the best k for the measured pictures themselves would give: that much too "
            "high is an accuracy whose k was chosen on the test set."
        ),
        Picture(
            "votings",
            "Left, accuracy over k for four votings: "
            + "; ".join(
                f"{row['voting']} {row['accuracy']['value']:.3f} at the chosen k"
                for row in tables["chosen"]
            )
            + f". Right, accuracy of the label of each neighbour by rank, and {fit['law']} fitted.",
            (9, 3.8),
            lambda canvas: draw(canvas, findings),
        ),
        columns(
            tables["chosen"],
            {
                "voting": "voting",
                "accuracy, k chosen on others": "accuracy",
                "chosen k (seeds)": lambda row: _often(row["chosen_ks"]),
                "hindsight − chosen": lambda row: change(row["optimism"]),
                **{f"k = {k}": f"accuracy_at_{k}" for k in fixed},
            },
        ),
        paragraph(
            "Each picture of the whole memory against all others, rank votes: "
            + ", ".join(
                f"{interval(row['accuracy'], 4)} at k = {row['k']}"
                for row in tables["leave_one_out"]
            )
            + ". Accuracy of the label of the j-th neighbour follows "
            f"{fit['law']} with a = {interval(fit['a'])} and b = {interval(fit['b'])}; over "
            f"{fit['ranks']} ranks this explains {number(fit['explained'], 2)} of the variance."
        ),
    ]


def draw(canvas: Canvas, findings: Findings) -> None:
    tables = findings.tables(NAME)
    left, right = canvas.figure.subplots(1, 2, sharey=True)
    rules = list(dict.fromkeys(row["voting"] for row in tables["curves"]))
    ks = sorted({row["k"] for row in tables["curves"]})
    for rule, look in canvas.series(rules):
        found = [row for row in tables["curves"] if row["voting"] == rule]
        places = [row["k"] for row in found]
        error_bars(left, places, [row["accuracy"] for row in found], look.plotted, label=rule)
    logarithmic(left, [k for k in ks if k in (1, 2, 5, 10, 20, 50, 100)] or ks)
    left.set_xlabel("k, neighbours that vote")
    left.set_ylabel("accuracy, 95 %")
    left.set_title(f"four votings, {findings.sample(NAME)}")
    left.legend(loc="lower left")
    ranks = [row["rank"] for row in tables["ranks"]]
    (look,) = canvas.theme.series(1)
    accuracies = [row["accuracy"] for row in tables["ranks"]]
    error_bars(right, ranks, accuracies, look.dotted, label="measured")
    [fit] = tables["reliability"]
    line = fit["a"]["value"] * np.log(ranks) + fit["b"]["value"]
    right.plot(ranks, line, color=canvas.theme.ink, linestyle="--", label=fit["law"])
    right.set_xlabel("j, rank of the neighbour")
    right.set_title(f"label of the j-th neighbour, {findings.size('natural16')}")
    right.set_xticks(ranks[::2])
    right.legend(loc="lower left")


def _often(ks: Sequence[int]) -> str:
    return ", ".join(f"{k} ({count})" for k, count in sorted(Counter(ks).items()))
