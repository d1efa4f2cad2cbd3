"""Section: accuracy on distorted pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.metrics import developmental
from visual_memory_benchmarks.report.findings import Findings, Json
from visual_memory_benchmarks.report.markdown import (
    Estimate,
    columns,
    folded,
    interval,
    number,
    paragraph,
    table,
)
from visual_memory_benchmarks.report.picture import Picture
from visual_memory_benchmarks.report.plots import Canvas, error_bars
from visual_memory_benchmarks.report.published import LAION_C_PERCENT
from visual_memory_benchmarks.report.section import Blocks
from visual_memory_benchmarks.trials.datasets import CATEGORIES, DATASETS

NAME = "distortions"
SALT = "salt-and-pepper"
UNITS = {
    "colour": "",
    "contrast": "contrast, %",
    "high-pass": "sigma, pixels",
    "low-pass": "sigma, pixels",
    "phase-scrambling": "noise width, °",
    "power-equalisation": "",
    "false-colour": "true colours",
    "rotation": "angle, °",
    "eidolonI": "reach, coherence 1",
    "eidolonII": "reach, coherence 0.3",
    "eidolonIII": "reach, coherence 0",
    "uniform-noise": "half width",
    SALT: "share of pixels",
}
CHANCE = 1 / 16
COLUMNS = 4  # of small plots
CHILDREN = {"4_6": "children, 4–6", "10_12": "children, 10–12", "adults": "adults"}
AGE_SETS = {"eidolon": "eidolon: reach", "noise": "salt and pepper: share of pixels"}
CONFUSED = "uniform-noise"
CONFUSED_AT = ("0.03", "0.2", "0.35")


def write_levels(findings: Findings) -> Blocks:
    shown = levels(findings)
    n = pictures(findings)
    return [
        paragraph(
            f"{n} photographs that the memory does not hold, under the twelve distortions of the "
            "benchmark and salt and pepper, made on the way into the service. Distortion for "
            "distortion and level for level they are made as the published ones were, but for "
            "phase-scrambling, which is the hermitian one and leaves contrast as it is, where the "
            "released code lowers it; and from other photographs: no picture may be compared with "
            "one that people saw, and a level only roughly. Undistorted the memory gets "
            f"{interval(clean(findings)['accuracy'])} right."
        ),
        Picture(
            "levels",
            "Accuracy of the memory over the levels of 13 distortions. " + _falls(shown),
            (9.5, 2.15 * _rows(shown) + 0.3),
            lambda canvas: draw_levels(canvas, shown, f"memory, n = {n} pictures a level", 0),
        ),
        paragraph(
            "The same of people, who saw other pictures, so they are drawn apart. Accuracy here is "
            "pooled over people, and all levels are shown, also those that the benchmark leaves "
            "out."
        ),
        Picture(
            "levels-people",
            "Accuracy of people over the levels of twelve distortions. "
            + _falls(of_people(findings)),
            (9.5, 2.15 * _rows(of_people(findings)) + 0.3),
            lambda canvas: draw_levels(
                canvas,
                of_people(findings),
                f"people, n = {_trials(findings)} trials a level",
                1,
            ),
        ),
        paragraph(
            "Children (Huber et al., seed 7; published trials, other pictures again): accuracy "
            "over reach and over the share of pixels replaced. Intervals are Wilson's, as if all "
            "trials were of one person."
        ),
        Picture(
            "levels-children",
            "Published accuracy of children and adults over eidolon reach and salt and pepper. "
            + " ".join(_ages(name) for name in AGE_SETS),
            (8, 3.4),
            draw_children,
        ),
        folded("All levels with intervals and response entropy", _all_levels(findings)),
    ]


def levels(findings: Findings) -> dict[str, dict[str, Estimate]]:
    """Return the accuracy of the memory by distortion of the Geirhos set, then level."""
    found: dict[str, dict[str, Estimate]] = {}
    for row in findings.tables(NAME)["levels"]:
        if row["family"] == "geirhos" and row["distortion"] in UNITS:
            found.setdefault(row["distortion"], {})[row["level"]] = row["accuracy"]
    return found


def of_people(findings: Findings) -> dict[str, dict[str, Estimate]]:
    """Return people's accuracy by distortion, then level, where people were shown it."""
    return {
        name: {
            level: findings.of_people(name)["by_condition"][level]["accuracy"]
            for level in DATASETS[name].conditions
        }
        for name in UNITS
        if name in DATASETS
    }


def clean(findings: Findings) -> Mapping[str, Any]:
    """Return the results on undistorted pictures."""
    return findings.tables(NAME)["clean"][0]


def pictures(findings: Findings) -> int:
    """Return the number of pictures classified under each level."""
    return int(clean(findings)["pictures"])


def draw_levels(
    canvas: Canvas,
    shown: Mapping[str, Mapping[str, Estimate]],
    who: str,
    look_at: int,
) -> None:
    look = canvas.theme.series(look_at + 1)[look_at]
    all_axes = canvas.figure.subplots(_rows(shown), COLUMNS, sharey=True).ravel()
    for axes, (name, found) in zip(all_axes, shown.items(), strict=False):
        places = list(range(len(found)))
        error_bars(axes, places, list(found.values()), look.plotted, label=who)
        axes.axhline(
            CHANCE, color=canvas.theme.faint, linestyle=":", linewidth=1.2, label="chance, 1/16"
        )
        axes.set_xticks(places, [_short(name, level) for level in found], rotation=45)
        axes.set_title(name)
        axes.set_xlabel(UNITS[name])
        axes.set_ylim(-0.03, 1.03)
    for axes in all_axes[::COLUMNS]:
        axes.set_ylabel("accuracy, 95 %")
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    canvas.legend_below(all_axes[0], 2)


def draw_children(canvas: Canvas) -> None:
    all_axes = canvas.figure.subplots(1, len(AGE_SETS), sharey=True)
    for axes, (name, unit) in zip(all_axes, AGE_SETS.items(), strict=True):
        for (group, who), look in canvas.series(CHILDREN.items()):
            found = developmental.LEVELS[name, group]
            trials = min(each.trials for each in found.values())
            error_bars(
                axes,
                range(len(found)),
                [wilson(each.accuracy, each.trials) for each in found.values()],
                look.plotted,
                label=f"{who} (n ≥ {trials} a level)",
            )
            axes.set_xticks(range(len(found)), list(found))
        axes.set_xlabel(unit)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower left")
    all_axes[0].set_ylabel("accuracy, 95 %")


def _rows(shown: Mapping[str, Any]) -> int:
    return -(-len(shown) // COLUMNS)


def _trials(findings: Findings) -> str:
    """Describe the fewest and the most trials of people at one level."""
    counts = [
        each["trials"]
        for name in of_people(findings)
        for each in findings.of_people(name)["by_condition"].values()
    ]
    return f"{min(counts):,} to {max(counts):,}"


def _short(name: str, level: str) -> str:
    if name.startswith("eidolon"):
        return level.partition("-")[0]
    return str(int(level[1:])) if name == "contrast" else level


def _falls(shown: Mapping[str, Mapping[str, Estimate]]) -> str:
    ends = {name: (next(iter(each.values())), [*each.values()][-1]) for name, each in shown.items()}
    return " ".join(
        f"{name}: from {number(first['value'], 2)} to {number(last['value'], 2)}."
        for name, (first, last) in ends.items()
    )


def wilson(share: float, trials: int) -> Estimate:
    """Return the 95 % interval of a share of independent trials (Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.975)
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = (share * (1 - share) / trials + (z / (2 * trials)) ** 2) ** 0.5
    half = z * reach / (1 + z**2 / trials)
    return {"value": share, "low": centre - half, "high": centre + half}


def _ages(name: str) -> str:
    parts = [
        f"{who} from {found[0].accuracy:.2f} to {found[-1].accuracy:.2f}"
        for group, who in CHILDREN.items()
        if (found := list(developmental.LEVELS[name, group].values()))
    ]
    return f"{AGE_SETS[name]}: {'; '.join(parts)}."


def _all_levels(findings: Findings) -> str:
    rows = []
    for row in findings.tables(NAME)["levels"]:
        if row["family"] != "geirhos":
            continue
        people: Json = {}
        if row["distortion"] in DATASETS:
            people = findings.of_people(row["distortion"])["by_condition"][row["level"]]
        rows.append(
            (
                row["distortion"],
                row["level"],
                interval(row["accuracy"]),
                number(row["response_entropy"], 2),
                interval(people.get("accuracy")),
                number(people.get("response_entropy"), 2),
            )
        )
    header = ("distortion", "level", "memory", "entropy, bits", "people", "entropy, bits")
    return table(header, rows)


def write_confusions(findings: Findings) -> Blocks:
    memory, people = of_memory(findings), findings.confusions(CONFUSED)
    header = ("uniform noise, half width", "memory", "entropy, bits", "people", "entropy, bits")
    return [
        paragraph(
            "As the signal gets weaker, people were found to spread their answers over the "
            "categories, and networks to fall into a few. Entropy of the answers is 4 bits where "
            "all 16 are given as often; the table names the answer given most. People's "
            "answers are pooled for it, and their entropy is the mean over people."
        ),
        Picture(
            "confusions",
            "Shares of answers to each category under uniform noise, memory above and people "
            "below. "
            + " ".join(
                f"Half width {at}: {_most(memory[at])} for the memory." for at in CONFUSED_AT
            ),
            (9, 6.2),
            lambda canvas: draw_confusions(canvas, memory, people),
        ),
        table(
            header,
            [
                (
                    row["level"],
                    _most(memory[row["level"]]),
                    number(row["response_entropy"], 2),
                    _most(people[row["level"]]),
                    number(
                        findings.of_people(CONFUSED)["by_condition"][row["level"]][
                            "response_entropy"
                        ],
                        2,
                    ),
                )
                for row in findings.tables(NAME)["levels"]
                if row["distortion"] == CONFUSED
            ],
        ),
    ]


def of_memory(findings: Findings) -> dict[str, NDArray[np.int64]]:
    """Return the memory's confusions by level: counts (shown, answered), ``na`` last."""
    found = {}
    for row in findings.tables(NAME)["confusions"]:
        if row["distortion"] == CONFUSED:
            counts = np.zeros((len(CATEGORIES), len(CATEGORIES) + 1), np.int64)
            for shown, answers in row["counts"].items():
                for answer, count in answers.items():
                    counts[CATEGORIES.index(shown), CATEGORIES.index(answer)] = count
            found[row["level"]] = counts
    return found


def draw_confusions(
    canvas: Canvas,
    memory: Mapping[str, NDArray[np.int64]],
    people: Mapping[str, NDArray[np.int64]],
) -> None:
    all_axes = canvas.figure.subplots(2, len(CONFUSED_AT), sharex=True, sharey=True)
    image = None
    for row, (who, counts) in zip(all_axes, (("memory", memory), ("people", people)), strict=True):
        for axes, level in zip(row, CONFUSED_AT, strict=True):
            shares = counts[level] / counts[level].sum(axis=1, keepdims=True)
            image = axes.imshow(shares[:, :-1], vmin=0, vmax=1, cmap="cividis")
            axes.grid(visible=False)
            axes.set_title(f"{who}, half width {level} (n = {counts[level].sum():,})", fontsize=9)
            axes.set_xticks(range(len(CATEGORIES)), CATEGORIES, rotation=90, fontsize=7)
            axes.set_yticks(range(len(CATEGORIES)), CATEGORIES, fontsize=7)
    for axes in all_axes[:, 0]:
        axes.set_ylabel("shown")
    for axes in all_axes[-1]:
        axes.set_xlabel("answered")
    assert image is not None
    canvas.figure.colorbar(
        image, ax=all_axes, label="share of the answers to a category", shrink=0.6
    )


def _most(counts: NDArray[np.int64]) -> str:
    totals = counts[:, :-1].sum(axis=0)
    return f"{CATEGORIES[totals.argmax()]} {totals.max() / counts.sum():.0%}"


def write_corruptions(findings: Findings) -> Blocks:
    rows = [row for row in findings.tables(NAME)["levels"] if row["family"] != "geirhos"]
    names = list(dict.fromkeys(row["distortion"] for row in rows))
    cells = {(row["distortion"], row["level"]): number(row["accuracy"]["value"], 2) for row in rows}
    severities = list(dict.fromkeys(row["level"] for row in rows))
    return [
        paragraph(
            "The 15 common and 4 further corruptions of ImageNet-C and the six distortions of "
            f"LAION-C, each at five severities, on the same {pictures(findings)} photographs. mPC "
            "is the mean accuracy over the 15 and their severities; rPC is what is left of the "
            "clean accuracy. Of LAION-C the mean over all 30 cells is given."
        ),
        columns(
            findings.tables(NAME)["means"],
            {
                "mean over": "of",
                "distortions": "distortions",
                "mean accuracy (mPC)": "mean_accuracy",
                "by clean accuracy (rPC)": "relative",
            },
        ),
        Picture(
            "corruptions",
            "Accuracy over severities one to five of each corruption; the mean of each: "
            + ", ".join(f"{name} {_mean(rows, name):.2f}" for name in names)
            + ".",
            (9, 9.5),
            lambda canvas: draw_corruptions(canvas, rows, findings),
        ),
        folded(
            "Every severity",
            table(
                ("distortion", *severities),
                [
                    (name, *(cells.get((name, severity), "") for severity in severities))
                    for name in names
                ],
            ),
        ),
        paragraph(
            "Published for LAION-C's own pictures of 16 other categories (seed 18; not comparable, "
            "never computed here), mean accuracy in %: "
            + ", ".join(f"{name} {value:g}" for name, value in LAION_C_PERCENT.items())
            + "."
        ),
    ]


def draw_corruptions(canvas: Canvas, rows: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    names = sorted({row["distortion"] for row in rows}, key=lambda name: (_mean(rows, name), name))
    looks = canvas.theme.series(2)
    axes = canvas.figure.subplots()
    n = pictures(findings)
    for family, look in zip(("imagenet-c", "laion-c"), looks, strict=True):
        found = [row for row in rows if row["family"] == family]
        error_bars(
            axes,
            [names.index(row["distortion"]) + 0.15 * (3 - int(row["level"])) for row in found],
            [row["accuracy"] for row in found],
            {**look.dotted, "markersize": 3, "alpha": 0.8, "capsize": 0},
            label=f"{family}, severity 1 above to 5 below (n = {n} each)",
            horizontal=True,
        )
    axes.plot(
        [_mean(rows, name) for name in names],
        range(len(names)),
        label="mean over severities",
        linestyle="none",
        marker="|",
        markersize=11,
        markeredgewidth=2,
        color=canvas.theme.ink,
    )
    axes.axvline(
        clean(findings)["accuracy"]["value"],
        color=canvas.theme.ink,
        linewidth=1,
        label="undistorted",
    )
    axes.axvline(
        CHANCE, color=canvas.theme.faint, linestyle=":", linewidth=1.2, label="chance, 1/16"
    )
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("accuracy, 95 %")
    axes.margins(y=0.02)
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.06), ncols=2)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    values = [row["accuracy"]["value"] for row in rows if row["distortion"] == name]
    return float(np.mean(values))
