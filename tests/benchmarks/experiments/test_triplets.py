from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.stimuli.embeddings import Picture
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


def test_pictures_of_a_category_are_nearer_and_twins_agree(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    same_content = [Cellular("first"), Cellular("second")]
    found = EXPERIMENTS["triplets"].run(client, sets, same_content, per_picture=2).tables
    assert [row["accuracy"].value for row in found["category_triplets"]] == [1, 1]
    agreed = {row["triplets"]: row["agreed"].value for row in found["ordinal_consistency"]}
    assert agreed == {"category": 1, "random": 1}


def test_a_tie_is_half_an_answer(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    """All distances are equal for an embedder that sees no difference."""

    class Blind(Cellular):
        def of(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
            return np.ones((len(pictures), 4), np.float32)

    found = EXPERIMENTS["triplets"].run(client, sets, [Blind("blind"), Cellular()]).tables
    blind, seeing = found["category_triplets"]
    assert (blind["accuracy"].value, seeing["accuracy"].value) == (0.5, 1)
    assert {row["agreed"].value for row in found["ordinal_consistency"]} == {0.5}
