"""Everything that cue-conflict trials say of shape and texture."""

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
    """``models`` are biases (r,)."""

    models: Mapping[str, Draws]
    json: Json


def summarise_bias(panel: Panel, resampling: Resampling) -> BiasSummary:
    """Of a panel of cue-conflict pictures. Raises BadTrials."""
    told = conflict(panel)
    weights = resampling.weights(told.panel)
    people = [maker for maker in panel.makers if is_person(maker)]
    models = [maker for maker in panel.makers if maker not in people]
    counted = votes(told, weights)
    return BiasSummary(
        models={name: counted.bias[panel.makers.index(name)] for name in models},
        json={
            "images": len(panel.images),
            "conflict_images": len(told.panel.images),
            "humans": _describe(told, people, weights) if people else None,
            "models": {name: _describe(told, [name], weights) for name in models},
        },
    )


def _describe(told: Conflict, names: Sequence[str], weights: Draws) -> Json:
    """Some decision makers taken together, and each by itself."""
    chosen = told.of(names)
    counted = votes(chosen, weights)
    members = {name: told.panel.shown == at for at, name in enumerate(told.panel.categories)}
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
    """Counts of the pictures as they are; shares of all conflicting trials, not of all trials."""
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
