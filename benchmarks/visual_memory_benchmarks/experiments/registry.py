"""The table of experiments."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from visual_memory_benchmarks.experiments.augmentation import augmentation
from visual_memory_benchmarks.experiments.calibration import calibration
from visual_memory_benchmarks.experiments.class_addition import class_addition
from visual_memory_benchmarks.experiments.dichotomy import dichotomy
from visual_memory_benchmarks.experiments.distortions import distortions
from visual_memory_benchmarks.experiments.embedders import embedders
from visual_memory_benchmarks.experiments.label_noise import label_noise
from visual_memory_benchmarks.experiments.open_set import open_set
from visual_memory_benchmarks.experiments.pruning import pruning
from visual_memory_benchmarks.experiments.scaling import scaling
from visual_memory_benchmarks.experiments.shortcut import shortcut
from visual_memory_benchmarks.experiments.steering import steering
from visual_memory_benchmarks.experiments.triplets import triplets
from visual_memory_benchmarks.experiments.unlearning import unlearning
from visual_memory_benchmarks.experiments.votings import votings
from visual_memory_benchmarks.laboratory.experiment import Experiment

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        each.name: each
        for each in (
            votings,
            class_addition,
            scaling,
            label_noise,
            pruning,
            open_set,
            calibration,
            unlearning,
            embedders,
            shortcut,
            augmentation,
            steering,
            triplets,
            dichotomy,
            distortions,
        )
    }
)
