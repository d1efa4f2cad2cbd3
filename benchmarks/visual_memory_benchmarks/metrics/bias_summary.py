"""The summary of cue-conflict trials: shape bias, by category and decision maker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visual_memory_benchmarks.metrics.bootstrap import Resampling, estimate
from visual_memory_benchmarks.metrics.consistency import mean
from visual_memory_benchmarks.metrics.dataset_summary import Draws, Json
from visual_memory_benchmarks.metrics.shape_bias import Conflict, Votes, conflict, votes
from visual_memory_benchmarks.trials.panel import Panel
from visual_memory_benchmarks.trials.trials import is_person


@dataclass(frozen=True, slots=True, eq=False)
class BiasSummary:
    """A summary of shape bias as JSON, and the bias of each model.

    ``models`` has the biases by name, one for each row of bootstrap weights: (rows,).
    """

    models: Mapping[str, Draws]
    json: Json


def summarise_bias(panel: Panel, resampling: Resampling) -> BiasSummary:
    """Summarise the shape bias of a panel of cue-conflict pictures.

    Raises BadTrials if a picture's name has no texture category.
    """
    conflicting = conflict(panel)
    weights = resampling.weights(conflicting.panel)
    people = [maker for maker in panel.makers if is_person(maker)]
    models = [maker for maker in panel.makers if maker not in people]
    counted = votes(conflicting, weights)
    return BiasSummary(
        models={name: counted.bias[panel.makers.index(name)] for name in models},
        json={
            "images": len(panel.images),
            "conflict_images": len(conflicting.panel.images),
            "humans": _describe(conflicting, people, weights) if people else None,
            "models": {name: _describe(conflicting, [name], weights) for name in models},
        },
    )


def _describe(conflicting: Conflict, names: Sequence[str], weights: Draws) -> Json:
    """Summarise the answers of some decision makers together, by category, and of each maker."""
    chosen = conflicting.of(names)
    counted = votes(chosen, weights)
    members = {
        name: conflicting.panel.shown == at for at, name in enumerate(conflicting.panel.categories)
    }
    by_category = {
        name: votes(chosen.at(shown), weights[:, shown]) for name, shown in members.items()
    }
    biases = np.stack([each.pooled.bias[0] for each in by_category.values()])
    return {
        **_pooled(counted),
        "mean_over_subjects": estimate(mean(counted.bias, axis=0)).to_json(),
        "mean_over_categories": estimate(mean(biases, axis=0)).to_json(),
        "by_category": {
            name: {
                **_pooled(each),
                "mean_over_subjects": estimate(mean(each.bias, axis=0)).to_json(),
            }
            for name, each in by_category.items()
        },
        "by_subject": {
            name: _pooled(Votes(*(each[[row]] for each in counted.columns)))
            for row, name in enumerate(names)
        },
    }


def _pooled(counted: Votes) -> Json:
    """Return all makers' answers by shape and by texture, their shares, and the shape bias.

    Shares are of all conflicting trials, None if there are none.
    """
    together = counted.pooled
    shape, texture, trials = (int(each[0, 0]) for each in together.columns)
    return {
        "shape": shape,
        "texture": texture,
        "trials": trials,
        "shape_share": shape / trials if trials else None,
        "texture_share": texture / trials if trials else None,
        "bias": estimate(together.bias[0]).to_json(),
    }
