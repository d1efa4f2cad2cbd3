"""Section: the published leaderboard, and combined metrics."""

from __future__ import annotations

from visual_memory_benchmarks.report.findings import Findings
from visual_memory_benchmarks.report.markdown import interval, number, paragraph, table
from visual_memory_benchmarks.report.published import LEADERBOARD as ROWS
from visual_memory_benchmarks.report.published import MEAN_CORRELATION, OOD_ACCURACY
from visual_memory_benchmarks.report.section import Blocks


def write(findings: Findings) -> Blocks:
    humans = findings.summary["humans"]
    return [
        paragraph(
            f"Over all {humans['datasets']} sets, as published (seeds 1 and 15): the rows of "
            "models are copied, not recomputed; the row of people is computed from their tables. "
            "The pictures of 14 of the sets do not lie here, so no memory has a row; whoever has "
            "them gets it by the same command."
        ),
        table(
            (
                "who",
                "accuracy difference ↓",
                "observed consistency ↑",
                "κ ↑",
                "mean rank ↓",
                "from",
            ),
            [
                (
                    "people",
                    interval(humans["accuracy_difference"], 4),
                    interval(humans["observed_consistency"]),
                    interval(humans["error_consistency"]),
                    "",
                    "trials",
                ),
                *(
                    (
                        row.model,
                        number(row.accuracy_difference),
                        number(row.observed_consistency),
                        number(row.error_consistency),
                        f"{row.mean_rank:g}",
                        "published",
                    )
                    for row in ROWS
                ),
            ],
        ),
        paragraph(
            f"Accuracy over the sets: people {interval(humans['ood_accuracy'])}, from trials; "
            "published: "
            + ", ".join(f"{name} {value:.3f}" for name, value in OOD_ACCURACY.items())
            + "."
        ),
    ]


def write_aggregates(findings: Findings) -> Blocks:
    found = findings.summary["aggregation"]
    metrics = found["metrics"]
    names = sorted(found["mean_rank"], key=found["mean_rank"].__getitem__)
    memories = len(set(names).intersection(findings.memories))
    likeness = {
        row["model"]: row["mean_rank"] for row in findings.summary["leaderboard"]["human_likeness"]
    }
    return [
        paragraph(
            "Five metrics over the three sets that memories and networks both answered, made one "
            "number in three ways. They are shown side by side, because they order models "
            "differently: the mean follows the metric that varies most, the z-mean (standard "
            f"deviation of the {found['standard_deviation']}) weighs all alike, the mean rank "
            "forgets distances. Ranks are among these rows only."
        ),
        table(
            ("who", "mean ↑", "z-mean ↑", "mean rank ↓", "human-like mean rank ↓"),
            [
                (
                    name,
                    number(found["mean"][name]),
                    number(found["z_mean"][name], 3, "+"),
                    number(found["mean_rank"][name], 2),
                    number(likeness.get(name), 2),
                )
                for name in names
            ],
        ),
        paragraph(
            f"Correlations of the metrics over these {len(names)} rows; their mean is "
            f"{number(found['mean_correlation'], 2)} (published for 80 models and 69 metrics: "
            f"{MEAN_CORRELATION:g}). {memories} of the rows are memories of the same pictures, by "
            "networks of one family, and err on much the same pictures; so these are far from "
            f"{len(names)} independent models. The correlations describe these rows, and say "
            "nothing of the metrics for others."
        ),
        table(
            ("", *metrics),
            [
                (metric, *(number(each, 2) for each in row))
                for metric, row in zip(metrics, found["correlations"], strict=True)
            ],
        ),
    ]
