"""Classifiers of scikit-learn, trained on the vectors of a memory's entries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: `make compare` runs this in an environment with it."
    ) from None

Vectors = NDArray[np.float32]
Make = Callable[[], Any]  # of an estimator with fit and predict


def logistic(cost: float, weight: str | None = None) -> Make:
    """Return a maker of logistic regressions; ``cost`` is C, of vectors of length 1."""
    return partial(LogisticRegression, C=cost, class_weight=weight, max_iter=2000)


def ridge(alpha: float, weight: str | None = None) -> Make:
    return partial(RidgeClassifier, alpha=alpha, class_weight=weight)


def neighbors(k: int, weights: str) -> Make:
    return partial(KNeighborsClassifier, k, metric="cosine", weights=weights)


COSTS, ALPHAS, NEAREST = (1, 10, 100), (0.1, 1, 10), (1, 5, 10)

# Tried on development seeds. CLASSIFIERS are those of each kind that were best there, in the mean
# or in some cells.
CANDIDATES: dict[str, Make] = {
    **{f"logistic, C {cost:g}": logistic(cost) for cost in COSTS},
    **{f"logistic, balanced, C {cost:g}": logistic(cost, "balanced") for cost in COSTS},
    **{f"ridge, alpha {alpha:g}": ridge(alpha) for alpha in ALPHAS},
    **{f"ridge, balanced, alpha {alpha:g}": ridge(alpha, "balanced") for alpha in ALPHAS},
    "nearest centroid": NearestCentroid,
    **{f"k-NN, k {k}, by distance": neighbors(k, "distance") for k in NEAREST},
    **{f"k-NN, k {k}, alike": neighbors(k, "uniform") for k in NEAREST},
}
CHOSEN = (
    "logistic, C 10",
    "logistic, C 100",
    "logistic, balanced, C 1",
    "logistic, balanced, C 10",
    "ridge, alpha 1",
    "ridge, balanced, alpha 1",
    "ridge, balanced, alpha 10",
    "nearest centroid",
    "k-NN, k 5, by distance",
    "k-NN, k 10, by distance",
    "k-NN, k 10, alike",
)
CLASSIFIERS = {name: CANDIDATES[name] for name in CHOSEN}
