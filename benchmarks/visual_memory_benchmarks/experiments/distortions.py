"""Accuracy of a memory on distorted pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.registry import COMMON, DISTORTIONS, distort
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Mask, Texts, one_by_one
from visual_memory_benchmarks.laboratory.intervals import over_pictures, ratio
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables
from visual_memory_benchmarks.metrics.confusion import response_entropy

MEMORY, BANK = "natural16", "caltech20"
CLEAN = "clean"
SIGNALS = ("contrast", "uniform-noise", "eidolonI")
"""Distortions whose confusions are kept in the result."""


@partial(
    Experiment,
    "Every distortion at every level, from clean pictures into the service",
    papers=(7, 18, 29, 32, 33),
    data=(MEMORY, BANK),
    intervals=f"{intervals.PICTURES}; the same pictures under every distortion",
    comparison=(
        "People and published networks saw other pictures: none of these stands beside theirs, "
        "only the course over the levels does. Frost, mosaic and stickers are made of other "
        "materials than the published ones, and mCE is left out, for AlexNet's errors are those of "
        "1,000 classes."
    ),
)
def distortions(
    laboratory: Laboratory,
    *,
    names: Sequence[str] = tuple(DISTORTIONS),
    per_category: int = 5,
    k: int = 10,
    seed: int = 0,
) -> Tables:
    """Classify some pictures of each category, distorted, by a memory of all others."""
    gallery, pictures = laboratory.gallery(MEMORY), laboratory.pictures(MEMORY)
    held_out = one_by_one(gallery.labels, np.random.default_rng(seed)) < per_category
    memory = laboratory.memory("all others", gallery.at(~held_out))
    queries = gallery.at(held_out)
    shown = [pictures[at] for at in np.flatnonzero(held_out)]
    materials = Materials(Bank(laboratory.pictures(BANK)), mean_amplitudes(pictures))
    embed = laboratory.embedders[0].of

    def answers(name: str, level: str) -> Texts:
        seen = [
            distort(picture, name, level, seed=seed, picture_id=id, materials=materials)
            for picture, id in zip(shown, queries.ids.tolist(), strict=True)
        ]
        decisions = memory.classify(vectors=embed(seen), k=k, neighbors=0)
        return questions.labels(decisions)

    given = {
        (name, level): answers(name, level) for name in names for level in DISTORTIONS[name].levels
    }
    plain = questions.labels(memory.classify(vectors=embed(shown), k=k, neighbors=0))
    right = {at: found == queries.labels for at, found in given.items()}
    clean = plain == queries.labels
    return {
        "clean": [_row(CLEAN, CLEAN, "", plain, queries.labels)],
        "levels": [
            _row(DISTORTIONS[name].family, name, level, found, queries.labels)
            for (name, level), found in given.items()
        ],
        "means": [
            {"of": of, "distortions": len(found), **_mean(found, right, clean)}
            for of, found in _groups(names).items()
        ],
        "confusions": [
            {"distortion": name, "level": level, "counts": _counts(queries.labels, found)}
            for (name, level), found in given.items()
            if name in SIGNALS
        ],
    }


def _groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the distortions in each group to average over.

    A group is left out if any member is not among ``names``.
    """
    laion = [name for name, each in DISTORTIONS.items() if each.family == "laion-c"]
    groups = {"imagenet-c, the 15 common": list(COMMON), "laion-c": laion}
    return {of: found for of, found in groups.items() if set(found) <= set(names)}


def _mean(found: Sequence[str], right: Mapping[tuple[str, str], Mask], clean: Mask) -> Row:
    """Return the mean accuracy over all levels of some distortions, and its ratio to ``clean``.

    ``found`` names the distortions; ``right`` has right answers by distortion and level; ``clean``
    those to undistorted pictures.
    """
    scores = np.mean(
        [right[name, level] for name in found for level in DISTORTIONS[name].levels], axis=0
    )
    return {"mean_accuracy": over_pictures(scores), "relative": ratio(scores, clean)}


def _row(family: str, name: str, level: str, answers: Texts, truth: Texts) -> Row:
    return {
        "family": family,
        "distortion": name,
        "level": level,
        "pictures": len(truth),
        "accuracy": over_pictures(answers == truth),
        "response_entropy": _entropy(answers),
    }


def _entropy(answers: Texts) -> float:
    _, counts = np.unique(answers, return_counts=True)
    shares = np.append(counts, 0)  # every picture has an answer
    return float(response_entropy(shares[None, None])[0])


def _counts(truth: Texts, answers: Texts) -> dict[str, dict[str, int]]:
    """Count pictures by category shown, then by answer, without zeros."""
    found: dict[str, dict[str, int]] = {}
    for shown, answer in zip(truth.tolist(), answers.tolist(), strict=True):
        row = found.setdefault(shown, {})
        row[answer] = row.get(answer, 0) + 1
    return found
