"""Experiments on a running service: effects of edits, votings, embedders and distortions.

A module each; imports laboratory and below. Alone: ``make test ROOM=benchmarks/experiments``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from visual_memory_benchmarks.experiments import (
    augmentation,
    calibration,
    class_addition,
    dichotomy,
    distortions,
    embedders,
    label_noise,
    open_set,
    pruning,
    scaling,
    shortcut,
    steering,
    triplets,
    unlearning,
    votings,
)
from visual_memory_benchmarks.laboratory.experiment import Experiment

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        each.name: each
        for each in (
            votings.votings,
            class_addition.class_addition,
            scaling.scaling,
            label_noise.label_noise,
            pruning.pruning,
            open_set.open_set,
            calibration.calibration,
            unlearning.unlearning,
            embedders.embedders,
            shortcut.shortcut,
            augmentation.augmentation,
            steering.steering,
            triplets.triplets,
            dichotomy.dichotomy,
            distortions.distortions,
        )
    }
)
