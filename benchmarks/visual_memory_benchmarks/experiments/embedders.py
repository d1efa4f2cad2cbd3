"""Embedders: are memories by several embedders right and wrong about the same pictures?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np

from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Texts
from visual_memory_benchmarks.laboratory.intervals import over_pictures, ratio
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables
from visual_memory_benchmarks.metrics import consistency
from visual_memory_benchmarks.metrics.bootstrap import estimate

MEMORY = "natural16"
ASKED = ("cue_conflict", "edges", "filled_silhouettes")


@partial(
    Experiment,
    "Embedder by embedder: accuracy, shape bias, and error consistency",
    papers=(26, 27, 31),
    data=(MEMORY, *ASKED),
    intervals=intervals.PICTURES,
    comparison=(
        "Shape bias, and accuracy on edges and silhouettes, are of the published pictures and may "
        "stand beside people and networks. Accuracy on natural16, parts of which the embedders "
        "were trained on, may not. A cue-conflict answer is right where it names the shape; the "
        "error consistency of published networks is of other pictures. Of labels with equal votes "
        "the service takes the one that had them first, other tables the first by alphabet."
    ),
    others=("efficientnet-lite1", "efficientnet-lite2"),
)
def embedders(laboratory: Laboratory, *, ks: Sequence[int] = (1, 10, 50)) -> Tables:
    """Classify each picture of natural16 by all others, with a memory for each embedder."""
    names = [str(each.spec["name"]) for each in laboratory.embedders]
    truth = {
        name: np.array([each.category for each in laboratory.sets[name].stimuli])
        for name in (MEMORY, *ASKED)
    }
    answers: dict[tuple[str, int], list[Texts]] = {}
    for at, name in enumerate(names):
        known = laboratory.gallery(MEMORY, at)
        memory = laboratory.memory(name, known)
        queries = {each: laboratory.gallery(each, at) for each in ASKED}
        for k in ks:
            ids = known.ids.tolist()
            found = {MEMORY: questions.classify_by_others(memory, ids, vectors=known.vectors, k=k)}
            found |= {
                each: questions.classify(memory, queried, k=k) for each, queried in queries.items()
            }
            for each, decisions in found.items():
                answers.setdefault((each, k), []).append(questions.labels(decisions))
    textures = laboratory.attribute("cue_conflict", "texture_category")
    return {
        "accuracy": [
            {
                "set": each,
                "k": k,
                "embedder": name,
                "pictures": len(truth[each]),
                "accuracy": over_pictures(found == truth[each]),
            }
            for (each, k), answered in answers.items()
            for name, found in zip(names, answered, strict=True)
        ],
        "shape_bias": [
            {"k": k, "embedder": name, **shape_bias(found, truth["cue_conflict"], textures)}
            for k in ks
            for name, found in zip(names, answers["cue_conflict", k], strict=True)
        ],
        "consistency": [
            {"set": each, "k": k, **row}
            for (each, k), answered in answers.items()
            for row in pairs(names, np.stack(answered), truth[each])
        ],
    }


def shape_bias(answers: Texts, shapes: Texts, textures: Texts) -> Row:
    """Count answers by shape and by texture where the two differ; estimate shape bias."""
    differ = shapes != textures
    shape, texture = ((answers == each)[differ] for each in (shapes, textures))
    return {
        "pictures": int(differ.sum()),
        "shape": int(shape.sum()),
        "texture": int(texture.sum()),
        "shape_bias": ratio(shape, shape | texture),
    }


def pairs(names: Sequence[str], answers: Texts, truth: Texts) -> list[Row]:
    """Compare the errors of every two of the m decision makers; ``answers`` are (m, n)."""
    found = list(combinations(range(len(names)), 2))
    if not found:
        return []
    first, second = (list(column) for column in zip(*found, strict=True))
    weights = intervals.weights(len(truth))
    measures = consistency.compare(answers == truth, first, second, weights)
    return [
        {
            "first": names[a],
            "second": names[b],
            "same_label": over_pictures(answers[a] == answers[b]),
            "observed": estimate(measures[consistency.OBSERVED, at]),
            "expected": estimate(measures[consistency.EXPECTED, at]),
            "error_consistency": estimate(measures[consistency.ERROR, at]),
        }
        for at, (a, b) in enumerate(found)
    ]
