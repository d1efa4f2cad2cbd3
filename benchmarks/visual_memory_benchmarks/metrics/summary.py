"""The summary of folders of trial tables, as ``visual-memory-bench metrics`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from visual_memory_benchmarks.metrics import consistency
from visual_memory_benchmarks.metrics.bias_summary import BiasSummary, summarise_bias
from visual_memory_benchmarks.metrics.bootstrap import COVERAGE, Resampling, estimate, number
from visual_memory_benchmarks.metrics.consistency import MEASURES
from visual_memory_benchmarks.metrics.dataset_summary import (
    DatasetSummary,
    Draws,
    Json,
    Pair,
    Scores,
    measures_json,
    pairs_json,
    summarise_dataset,
)
from visual_memory_benchmarks.metrics.leaderboard import (
    HUMAN_LIKENESS,
    METRICS,
    aggregate,
    correlations,
    human_likeness,
    mean_correlation,
    oriented,
)
from visual_memory_benchmarks.metrics.shape_bias import DATASET
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import panels
from visual_memory_benchmarks.trials.trial_files import find, read


def summarise(*folders: Path, resampling: Resampling | None = None) -> Json:
    """Summarise all tables below the folders, comparing people and models with people.

    The folder of a table is named as its dataset. Numbers have their intervals, and are None where
    undefined; ``humans``, ``models`` and ``model_pairs`` are means over the datasets that each has
    trials of. Raises BadTrials, BadFile, NoTrials, UnmatchedImages, MissingConditions.
    """
    resampling = resampling or Resampling()
    datasets: dict[str, DatasetSummary] = {}
    bias = BiasSummary({}, {})
    for name, paths in find(folders).items():
        trials = read(paths, DATASETS[name])
        datasets[name] = summarise_dataset(trials, resampling)
        if name == DATASET:
            [panel] = panels(trials)
            bias = summarise_bias(panel, resampling)
    people = [each.people for each in datasets.values() if each.people]
    models = _models(datasets)
    rows = {
        name: _row(list(found.values()), bias.models.get(name)) for name, found in models.items()
    }
    names = {name for each in models.values() for name in each}
    short = {
        name: f"no trials of {', '.join(lacking)}"
        for name, found in models.items()
        if (lacking := sorted(names - set(found)))
    }
    return {
        "resampling": {**asdict(resampling), "coverage": COVERAGE},
        "humans": {"datasets": len(people), **_overall(people)} if people else None,
        "models": {
            name: {
                "datasets": list(found),
                "datasets_with_people": [each for each in found if datasets[each].people],
                **_overall(list(found.values())),
                "shape_bias": (
                    estimate(bias.models[name]).to_json() if name in bias.models else None
                ),
            }
            for name, found in models.items()
        },
        "model_pairs": _pairs(datasets),
        "leaderboard": _leaderboard(rows, short),
        "aggregation": _aggregation(rows, short),
        "shape_bias": bias.json or None,
        "datasets": {name: each.json for name, each in datasets.items()},
    }


def _models(datasets: Mapping[str, DatasetSummary]) -> dict[str, dict[str, Scores]]:
    """Group the scores by model, then by dataset."""
    names = sorted({model for each in datasets.values() for model in each.models})
    return {
        model: {name: each.models[model] for name, each in datasets.items() if model in each.models}
        for model in names
    }


def _averaged(found: Sequence[Scores]) -> Draws:
    """Average accuracy (row 0) and the four MEASURES over datasets: (5, rows of weights)."""
    stacked = np.stack([np.concatenate([each.accuracy[None], each.measures]) for each in found])
    return consistency.mean(stacked, axis=0)


def _overall(found: Sequence[Scores]) -> Json:
    draws = _averaged(found)
    return {"ood_accuracy": estimate(draws[0]).to_json(), **measures_json(draws[1:])}


def _row(found: Sequence[Scores], bias: Draws | None) -> dict[str, float]:
    """Return every metric of a model by name, nan where it is undefined.

    ``found`` are its scores on each dataset; ``bias`` is None without cue-conflict trials.
    """
    values = dict(zip(("ood_accuracy", *MEASURES), _averaged(found)[:, 0].tolist(), strict=True))
    return values | {"shape_bias": np.nan if bias is None else float(bias[0])}


def _pairs(datasets: Mapping[str, DatasetSummary]) -> list[Json]:
    """Return the measures of each pair of models, averaged over the datasets both answered."""
    found: dict[Pair, list[Draws]] = {}
    for each in datasets.values():
        for pair, draws in each.pairs.items():
            found.setdefault(pair, []).append(draws)
    means = {pair: consistency.mean(np.stack(each), axis=0) for pair, each in found.items()}
    counts = [{"datasets": len(each)} for each in found.values()]
    return [row | count for row, count in zip(pairs_json(means), counts, strict=True)]


def _compared(
    rows: Mapping[str, Mapping[str, float]], short: Mapping[str, str], metrics: Iterable[str]
) -> tuple[dict[str, Mapping[str, float]], dict[str, str]]:
    """Return the rows of the models that have every metric, and why others are left out.

    ``short`` has the reasons known already, by model.
    """
    left_out = dict(short)
    for name, row in rows.items():
        if lacking := [metric for metric in metrics if np.isnan(row[metric])]:
            left_out.setdefault(name, f"no {', '.join(lacking)}")
    return {name: row for name, row in rows.items() if name not in left_out}, left_out


def _leaderboard(rows: Mapping[str, Mapping[str, float]], short: Mapping[str, str]) -> Json | None:
    chosen, left_out = _compared(rows, short, HUMAN_LIKENESS)
    if not chosen:
        return None
    likeness = human_likeness(chosen)
    return {
        "human_likeness": [
            {"model": name, "mean_rank": likeness[name]}
            | {metric: chosen[name][metric] for metric in HUMAN_LIKENESS}
            for name in sorted(chosen, key=likeness.__getitem__)
        ],
        "ood_accuracy": [
            {"model": name, "ood_accuracy": chosen[name]["ood_accuracy"]}
            for name in sorted(chosen, key=lambda name: -chosen[name]["ood_accuracy"])
        ],
        "left_out": left_out,
    }


def _aggregation(rows: Mapping[str, Mapping[str, float]], short: Mapping[str, str]) -> Json | None:
    chosen, left_out = _compared(rows, short, METRICS)
    if len(chosen) < 2:
        return None
    scores = oriented(chosen, list(METRICS))
    matrix = correlations(scores)
    return {
        "metrics": [name if sign > 0 else f"-{name}" for name, sign in METRICS.items()],
        "standard_deviation": "population",
        **{
            key: {name: number(value) for name, value in zip(chosen, values, strict=True)}
            for key, values in aggregate(scores).items()
        },
        "correlations": [[number(value) for value in row] for row in matrix],
        "mean_correlation": number(mean_correlation(matrix)),
        "left_out": left_out,
    }
