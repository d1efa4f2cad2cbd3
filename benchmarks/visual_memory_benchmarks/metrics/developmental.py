"""Shape bias and accuracy of children (Huber, Geirhos and Wichmann, 2022).

Different children saw different pictures, so trials are pooled and no error consistency is given.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.errors import BadFile, BadTrials
from visual_memory_benchmarks.metrics.shape_bias import texture_category
from visual_memory_benchmarks.trials.categories import CATEGORIES, NO_ANSWER

HEADER = (
    "subj",
    "trial",
    "rt",
    "object_response",
    "category",
    "imagename",
    "age",
    "block",
    "difficulty",
)
CONFLICT = "1"  # the level of cue-conflict pictures; level 0 are the originals


@dataclass(frozen=True, slots=True)
class ShapeBias:
    """Answers by shape and by texture among conflicting pictures.

    ``subjects`` and the mean over them are None for models.
    """

    subjects: int | None
    trials: int
    shape: int
    texture: int
    mean_over_subjects: float | None

    @property
    def pooled(self) -> float | None:
        """Return the pooled shape bias; None where neither shape nor texture was answered."""
        total = self.shape + self.texture
        return self.shape / total if total else None


@dataclass(frozen=True, slots=True)
class Level:
    """The accuracy at one strength of a distortion."""

    accuracy: float
    trials: int


SHAPE_BIAS = MappingProxyType(
    {
        "4_6": ShapeBias(21, 775, 415, 59, 0.8555405092),
        "7_9": ShapeBias(11, 1212, 795, 80, 0.9002891753),
        "10_12": ShapeBias(12, 1248, 924, 64, 0.9339799067),
        "13_15": ShapeBias(8, 1356, 1040, 76, 0.9217593273),
        "adults": ShapeBias(3, 576, 472, 16, 0.9672933785),
        "model_bitm": ShapeBias(None, 240, 95, 75, None),
        "model_resnext": ShapeBias(None, 240, 83, 62, None),
        "model_swag": ShapeBias(None, 240, 37, 108, None),
        "model_swsl": ShapeBias(None, 240, 90, 110, None),
        "model_vgg19": ShapeBias(None, 240, 16, 185, None),
    }
)
"""By group; ages in years."""


LEVELS = MappingProxyType(
    {
        ("eidolon", "4_6"): {
            "0": Level(0.77152, 302),
            "4": Level(0.63816, 304),
            "8": Level(0.55263, 304),
            "16": Level(0.29276, 304),
        },
        ("eidolon", "7_9"): {
            "0": Level(0.91461, 445),
            "4": Level(0.86292, 445),
            "8": Level(0.69888, 445),
            "16": Level(0.42921, 445),
        },
        ("eidolon", "10_12"): {
            "0": Level(0.93846, 455),
            "4": Level(0.87253, 455),
            "8": Level(0.70989, 455),
            "16": Level(0.45055, 455),
        },
        ("eidolon", "13_15"): {
            "0": Level(0.96235, 425),
            "4": Level(0.88, 425),
            "8": Level(0.79294, 425),
            "16": Level(0.52941, 425),
        },
        ("eidolon", "adults"): {
            "0": Level(0.9875, 240),
            "4": Level(0.92083, 240),
            "8": Level(0.88333, 240),
            "16": Level(0.54583, 240),
        },
        ("eidolon", "model_bitm"): {
            "0": Level(1.0, 80),
            "4": Level(0.8875, 80),
            "8": Level(0.5, 80),
            "16": Level(0.175, 80),
        },
        ("eidolon", "model_resnext"): {
            "0": Level(0.9875, 80),
            "4": Level(0.9, 80),
            "8": Level(0.5, 80),
            "16": Level(0.2625, 80),
        },
        ("eidolon", "model_swag"): {
            "0": Level(1.0, 80),
            "4": Level(0.95, 80),
            "8": Level(0.6875, 80),
            "16": Level(0.225, 80),
        },
        ("eidolon", "model_swsl"): {
            "0": Level(1.0, 80),
            "4": Level(0.9125, 80),
            "8": Level(0.6125, 80),
            "16": Level(0.175, 80),
        },
        ("eidolon", "model_vgg19"): {
            "0": Level(0.9625, 80),
            "4": Level(0.7, 80),
            "8": Level(0.3, 80),
            "16": Level(0.1, 80),
        },
        ("noise", "4_6"): {
            "0.0": Level(0.70645, 310),
            "0.1": Level(0.56129, 310),
            "0.2": Level(0.58065, 310),
            "0.35": Level(0.30645, 310),
        },
        ("noise", "7_9"): {
            "0.0": Level(0.90652, 460),
            "0.1": Level(0.70652, 460),
            "0.2": Level(0.66087, 460),
            "0.35": Level(0.45435, 460),
        },
        ("noise", "10_12"): {
            "0.0": Level(0.92979, 470),
            "0.1": Level(0.7234, 470),
            "0.2": Level(0.66383, 470),
            "0.35": Level(0.45745, 470),
        },
        ("noise", "13_15"): {
            "0.0": Level(0.94375, 320),
            "0.1": Level(0.78438, 320),
            "0.2": Level(0.73438, 320),
            "0.35": Level(0.50938, 320),
        },
        ("noise", "adults"): {
            "0.0": Level(0.95833, 240),
            "0.1": Level(0.8375, 240),
            "0.2": Level(0.71667, 240),
            "0.35": Level(0.52917, 240),
        },
        ("noise", "model_bitm"): {
            "0.0": Level(0.9875, 80),
            "0.1": Level(0.9, 80),
            "0.2": Level(0.7875, 80),
            "0.35": Level(0.5875, 80),
        },
        ("noise", "model_resnext"): {
            "0.0": Level(0.9875, 80),
            "0.1": Level(0.7, 80),
            "0.2": Level(0.2875, 80),
            "0.35": Level(0.075, 80),
        },
        ("noise", "model_swag"): {
            "0.0": Level(1.0, 80),
            "0.1": Level(0.975, 80),
            "0.2": Level(0.9625, 80),
            "0.35": Level(0.7625, 80),
        },
        ("noise", "model_swsl"): {
            "0.0": Level(1.0, 80),
            "0.1": Level(0.9, 80),
            "0.2": Level(0.7125, 80),
            "0.35": Level(0.475, 80),
        },
        ("noise", "model_vgg19"): {
            "0.0": Level(0.975, 80),
            "0.1": Level(0.15, 80),
            "0.2": Level(0.0625, 80),
            "0.35": Level(0.075, 80),
        },
    }
)
"""By distortion (eidolon: reach; noise: share of salt and pepper) and group; five decimals."""


@dataclass(frozen=True, slots=True, eq=False)
class ChildTrials:
    """Trials of a group, a row each; ``levels`` are the strengths of the distortion, as text."""

    subjects: NDArray[np.str_]
    responses: NDArray[np.str_]
    categories: NDArray[np.str_]
    levels: NDArray[np.str_]
    names: NDArray[np.str_]


def read(path: Path) -> ChildTrials:
    """Read one table of the study, in which the fourth part of an image's name is the level.

    Raises BadTrials with the line, BadFile.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        if sorted(header) != sorted(HEADER):
            raise BadFile(path, "the header is another", f"write {','.join(HEADER)}")
        rows = []
        for row in filter(None, reader):
            named = dict(zip(header, row, strict=False))
            if problem := _problem(header, row, named):
                raise BadTrials(f"{path}, line {reader.line_num}", problem, "correct or remove it")
            rows.append(named)
    if not rows:
        raise BadFile(path, "it has no trials", "fetch it again")
    return ChildTrials(
        subjects=np.array([row["subj"] for row in rows]),
        responses=np.array([row["object_response"] for row in rows]),
        categories=np.array([row["category"] for row in rows]),
        levels=np.array([row["imagename"].split("_")[3] for row in rows]),
        names=np.array([row["imagename"] for row in rows]),
    )


def _problem(header: list[str], row: list[str], named: dict[str, str]) -> str | None:
    if len(row) != len(header):
        return f"{len(row)} fields where the header has {len(header)}"
    if named["category"] not in CATEGORIES:
        return f"the category {named['category']!r} is unknown"
    if named["object_response"] not in (*CATEGORIES, NO_ANSWER):
        return f"the response {named['object_response']!r} is unknown"
    if named["imagename"].count("_") < 3:
        return f"the image name {named['imagename']!r} has no fourth part, which is the level"
    return None


def shape_bias(trials: ChildTrials) -> ShapeBias:
    """Return the shape bias over the conflicting pictures."""
    chosen = trials.levels == CONFLICT
    subjects, responses = trials.subjects[chosen], trials.responses[chosen]
    textures = np.array([texture_category(name) for name in trials.names[chosen]], np.str_)
    differ = trials.categories[chosen] != textures
    shape, texture = (
        differ & (responses == trials.categories[chosen]),
        differ & (responses == textures),
    )
    by_subject = [
        shape[subjects == each].sum() / total
        for each in np.unique(subjects)
        if (total := (shape | texture)[subjects == each].sum())
    ]
    return ShapeBias(
        subjects=len(np.unique(subjects)),
        trials=int(differ.sum()),
        shape=int(shape.sum()),
        texture=int(texture.sum()),
        mean_over_subjects=float(np.mean(by_subject)) if by_subject else None,
    )
