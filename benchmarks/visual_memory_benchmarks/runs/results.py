"""The results of one run, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from visual_memory_benchmarks.metrics.accuracy import accuracy
from visual_memory_benchmarks.metrics.bias_summary import summarise_bias
from visual_memory_benchmarks.metrics.bootstrap import COVERAGE, Resampling, estimate
from visual_memory_benchmarks.metrics.confusion import confusion, response_entropy
from visual_memory_benchmarks.metrics.shape_bias import DATASET
from visual_memory_benchmarks.runs.session import Answer
from visual_memory_benchmarks.trials.datasets import NO_ANSWER
from visual_memory_benchmarks.trials.panel import Panel, panels
from visual_memory_benchmarks.trials.trials import Trials

Json: TypeAlias = dict[str, Any]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def results(trials: Trials, answers: Sequence[Answer], resampling: Resampling) -> Json:
    """Compute a decision maker's accuracy, confusions, distances and, if measurable, shape bias.

    Conditions that a limited run left out are left out here, too.
    """
    found = panels(trials)
    kept = [panel for panel in found if panel.condition in trials.dataset.kept]
    confusions = np.sum([confusion(panel) for panel in kept], axis=0)
    (maker,) = found[0].makers
    return {
        "resampling": {**asdict(resampling), "coverage": COVERAGE},
        "trials": len(trials),
        "trials_used": sum(len(panel.images) for panel in kept),
        "no_answer": int((trials.responses == NO_ANSWER).sum()),
        "accuracy": _accuracy(kept, resampling),
        "mean_over_categories": _by_category_mean(kept, resampling),
        "response_entropy": float(response_entropy(confusions)[0]),
        "by_condition": {
            panel.condition: {
                "excluded": panel.condition in trials.dataset.excluded,
                "trials": len(panel.images),
                "accuracy": _accuracy([panel], resampling),
            }
            for panel in found
        },
        "by_category": _by_category(kept),
        "confusion": _named(confusions[0], trials.dataset.categories),
        "nearest_distance": _spread(each.distance for each in answers),
        "confidence": _spread(each.confidence for each in answers),
        "shape_bias": (
            summarise_bias(found[0], resampling).json["models"][maker]
            if trials.dataset.name == DATASET
            else None
        ),
    }


def _accuracy(found: Sequence[Panel], resampling: Resampling) -> Json:
    return estimate(accuracy(found, [resampling.weights(panel) for panel in found])).to_json()


def _by_category_mean(found: Sequence[Panel], resampling: Resampling) -> Json:
    """Return the mean of the accuracies on each category shown, with its interval."""
    weights = [resampling.weights(panel) for panel in found]
    shown = sorted({int(each) for panel in found for each in panel.shown})
    rates = [
        accuracy(found, [w * (p.shown == at) for p, w in zip(found, weights, strict=True)])
        for at in shown
    ]
    return estimate(np.mean(rates, axis=0)).to_json()


def _by_category(found: Sequence[Panel]) -> Json:
    """Return accuracy by category; pictures are too few for intervals."""
    shown = np.concatenate([panel.shown for panel in found])
    right = np.concatenate([panel.correct[0] for panel in found])
    return {
        found[0].categories[at]: {
            "trials": int((shown == at).sum()),
            "correct": int(right[shown == at].sum()),
            "accuracy": float(right[shown == at].mean()),
        }
        for at in np.unique(shown).tolist()
    }


def _named(counts: np.ndarray[Any, np.dtype[np.int64]], categories: Sequence[str]) -> Json:
    """Map category shown → answer → number of trials, without zeros."""
    names = [*categories, NO_ANSWER]
    return {
        category: {names[at]: int(row[at]) for at in np.flatnonzero(row).tolist()}
        for category, row in zip(categories, counts, strict=True)
        if row.any()
    }


def _spread(values: Iterable[float]) -> Json:
    numbers = np.array(list(values))
    quantiles = np.quantile(numbers, QUANTILES).tolist()
    return {
        "mean": float(numbers.mean()),
        "quantiles": {str(q): each for q, each in zip(QUANTILES, quantiles, strict=True)},
    }
