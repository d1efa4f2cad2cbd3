"""Leaderboards: models ranked by one metric and by several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visual_memory_benchmarks.metrics.consistency import mean

Scores = NDArray[np.float64]

METRICS = MappingProxyType(
    {
        "ood_accuracy": 1,
        "accuracy_difference": -1,
        "observed_consistency": 1,
        "error_consistency": 1,
        "shape_bias": 1,
    }
)
"""The metrics to aggregate, each with the sign that makes larger better."""

HUMAN_LIKENESS = ("accuracy_difference", "observed_consistency", "error_consistency")


def ranks(scores: ArrayLike) -> Scores:
    """Rank each column of (models, metrics), 1 for the largest; equals share their mean rank."""
    table = np.asarray(scores, np.float64)
    larger = (table[None, :, :] > table[:, None, :]).sum(axis=1)
    equal = (table[None, :, :] == table[:, None, :]).sum(axis=1)
    shared: Scores = larger + (equal + 1) / 2
    return shared


def oriented(rows: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> Scores:
    """Return ``rows`` as an array (models, metrics), signed so that larger is better."""
    return np.array([[METRICS[name] * row[name] for name in metrics] for row in rows.values()])


def human_likeness(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return each model's mean rank over HUMAN_LIKENESS; a lower rank is more like people."""
    found = ranks(oriented(rows, HUMAN_LIKENESS)).mean(axis=1)
    return dict(zip(rows, found.tolist(), strict=True))


def aggregate(scores: Scores) -> dict[str, Scores]:
    """Combine scores (models, metrics), signed as by ``oriented``, to one for each model (models,).

    The three ways order models differently, and so are given together: ``mean`` follows the metric
    that varies most; ``z_mean`` leaves out metrics that do not vary, and is in standard deviations
    of the population, not of a sample; in ``mean_rank`` lower is better.
    """
    spread = scores.std(axis=0)
    centred = scores - scores.mean(axis=0)
    z = np.divide(centred, spread, out=np.full_like(scores, np.nan), where=_varies(scores))
    return {
        "mean": scores.mean(axis=1),
        "z_mean": mean(z, axis=1),
        "mean_rank": ranks(scores).mean(axis=1),
    }


def correlations(scores: Scores) -> Scores:
    """Return Pearson's correlations of metrics over models; nan for a metric that does not vary."""
    centred = scores - scores.mean(axis=0)
    products = centred.T @ centred
    norms = np.sqrt(np.diag(products))
    varies = _varies(scores)
    found: Scores = np.full_like(products, np.nan)
    np.divide(products, np.outer(norms, norms), out=found, where=np.outer(varies, varies))
    return np.clip(found, -1, 1)


def mean_correlation(matrix: Scores) -> float:
    """Average the defined correlations of different metrics; nan if there are none."""
    return float(mean(matrix[np.triu_indices(len(matrix), 1)], axis=0))


def _varies(scores: Scores) -> NDArray[np.bool_]:
    """Return True for metrics that vary; the deviation of equal numbers need not be exactly 0."""
    varies: NDArray[np.bool_] = (scores != scores[:1]).any(axis=0)
    return varies
