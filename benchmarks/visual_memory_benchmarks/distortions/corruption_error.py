"""Metrics of performance under corruption: mPC, rPC, mCE and relative mCE.

Performance is accuracy at each of five severities, clean pictures excluded. Every mean over the
fifteen includes frost, whose crystals are not the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from visual_memory_benchmarks.distortions.errors import CannotDistort

# Of AlexNet, means over the severities, on the 1000 classes of ImageNet: for no other labels.
ALEXNET_ERRORS = {
    "imagenet-c-gaussian-noise": 0.886428,
    "imagenet-c-shot-noise": 0.894468,
    "imagenet-c-impulse-noise": 0.922640,
    "imagenet-c-defocus-blur": 0.819880,
    "imagenet-c-glass-blur": 0.826268,
    "imagenet-c-motion-blur": 0.785948,
    "imagenet-c-zoom-blur": 0.798360,
    "imagenet-c-snow": 0.866816,
    "imagenet-c-frost": 0.826572,
    "imagenet-c-fog": 0.819324,
    "imagenet-c-brightness": 0.564592,
    "imagenet-c-contrast": 0.853204,
    "imagenet-c-elastic-transform": 0.646056,
    "imagenet-c-pixelate": 0.717840,
    "imagenet-c-jpeg-compression": 0.606500,
}
COMMON = tuple(ALEXNET_ERRORS)  # the fifteen that count; the other four are for choosing parameters
SEVERITIES = 5


def mean_performance(performance: Mapping[str, Sequence[float]]) -> float:
    """mPC: the mean over severities, then over the fifteen corruptions."""
    return fmean(_means(performance).values())


def relative_performance(performance: Mapping[str, Sequence[float]], clean: float) -> float:
    """rPC: the share of the clean performance that is left."""
    return mean_performance(performance) / clean


def mean_error(
    performance: Mapping[str, Sequence[float]], baseline: Mapping[str, float] = ALEXNET_ERRORS
) -> float:
    """mCE, as a fraction: the mean of errors relative to the mean errors of a baseline."""
    return fmean((1 - mean) / baseline[name] for name, mean in _means(performance).items())


def relative_mean_error(
    performance: Mapping[str, Sequence[float]],
    clean: float,
    baseline: Mapping[str, float],
    baseline_clean_error: float,
) -> float:
    """Relative mCE, as a fraction: the growth of errors relative to the baseline's."""
    return fmean(
        (clean - mean) / (baseline[name] - baseline_clean_error)
        for name, mean in _means(performance).items()
    )


def _means(performance: Mapping[str, Sequence[float]]) -> dict[str, float]:
    wrong = [name for name in COMMON if len(performance.get(name, ())) != SEVERITIES]
    if wrong:
        raise CannotDistort(
            f"A mean over corruptions needs {SEVERITIES} severities of each of the fifteen: "
            f"look at {', '.join(wrong)}."
        )
    return {name: fmean(performance[name]) for name in COMMON}
