"""Section: four votings over the number of neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import change, interval, number, paragraph, table
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import error_bars, logarithmic
from visual_memory_benchmarks.report.section import Block, of_experiment
from visual_memory_benchmarks.report.theme import Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "votings"


def write(findings: Findings) -> Sequence[Block]:
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
            + f". Right, accuracy of the label of each neighbour by rank, and {_law(fit)} fitted.",
            (9, 3.8),
            lambda figure, theme: draw(figure, theme, findings),
        ),
        table(
            (
                "voting",
                "accuracy, k chosen on others",
                "chosen k (seeds)",
                "hindsight − chosen",
                *(f"k = {k}" for k in fixed),
            ),
            [
                (
                    row["voting"],
                    interval(row["accuracy"]),
                    _often(row["chosen_ks"]),
                    change(row["optimism"]),
                    *(interval(row.get(f"accuracy_at_{k}")) for k in fixed),
                )
                for row in tables["chosen"]
            ],
        ),
        paragraph(
            "Each picture of the whole memory against all others, rank votes: "
            + ", ".join(
                f"{interval(row['accuracy'], 4)} at k = {row['k']}"
                for row in tables["leave_one_out"]
            )
            + ". Accuracy of the label of the j-th neighbour follows "
            f"{_law(fit)} with a = {interval(fit['a'])} and b = {interval(fit['b'])}; over "
            f"{fit['ranks']} ranks this explains {number(fit['explained'], 2)} of the variance."
        ),
    ]


def draw(figure: Figure, theme: Theme, findings: Findings) -> None:
    tables = findings.tables(NAME)
    left, right = figure.subplots(1, 2, sharey=True)
    rules = list(dict.fromkeys(row["voting"] for row in tables["curves"]))
    ks = sorted({row["k"] for row in tables["curves"]})
    for rule, look in zip(rules, theme.series(len(rules)), strict=True):
        found = [row for row in tables["curves"] if row["voting"] == rule]
        places = [row["k"] for row in found]
        error_bars(left, places, [row["accuracy"] for row in found], look.plotted, label=rule)
    logarithmic(left, [k for k in ks if k in (1, 2, 5, 10, 20, 50, 100)] or ks)
    left.set_xlabel("k, neighbours that vote")
    left.set_ylabel("accuracy, 95 %")
    left.set_title(f"four votings, {findings.sample(NAME)}")
    left.legend(loc="lower left")
    ranks = [row["rank"] for row in tables["ranks"]]
    (look,) = theme.series(1)
    accuracies = [row["accuracy"] for row in tables["ranks"]]
    error_bars(right, ranks, accuracies, look.dotted, label="measured")
    [fit] = tables["reliability"]
    line = fit["a"]["value"] * np.log(ranks) + fit["b"]["value"]
    right.plot(ranks, line, color=theme.ink, linestyle="--", label=_law(fit))
    right.set_xlabel("j, rank of the neighbour")
    right.set_title(f"label of the j-th neighbour, {findings.size('natural16')}")
    right.set_xticks(ranks[::2])
    right.legend(loc="lower left")


def _often(ks: Sequence[int]) -> str:
    return ", ".join(f"{k} ({count})" for k, count in sorted(Counter(ks).items()))


def _law(fit: Mapping[str, Any]) -> str:
    return str(fit["law"])


VOTINGS = of_experiment("Votings over k", (8,), NAME, write)
