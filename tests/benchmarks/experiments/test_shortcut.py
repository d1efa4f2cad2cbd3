from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.experiments.shortcut import COLOURS, stamped
from visual_memory_benchmarks.stimuli.embeddings import Picture
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


class Stamped:
    """An embedder that sees only the stamp if there is one, or else the cells."""

    spec: Mapping[str, Any] = {"name": "stamped"}

    def of(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        cells = Cellular().of(pictures)
        marks = [
            isinstance(each, np.ndarray) and bool((each == COLOURS[0]).all(axis=-1).any())
            for each in pictures
        ]
        seen = np.array(marks, np.float32)[:, None]
        return np.concatenate([cells * (1 - 0.99 * seen), 100 * seen], axis=1)


def test_a_stamp_covers_a_square_and_nothing_else() -> None:
    picture = np.full((224, 224, 3), 7, np.uint8)
    covered = stamped(picture, 32)
    rows, columns = np.nonzero((covered != 7).any(axis=-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (168, 199, 168, 199)
    assert {tuple(colour) for colour in covered[rows, columns].tolist()} == {
        (255, 0, 255),
        (0, 255, 0),
    }
    assert (picture == 7).all()


def test_who_sees_only_the_stamp_calls_everything_stamped_by_it(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    found = EXPERIMENTS["shortcut"].run(client, sets, [Stamped()], sides=(32,), k=1)
    rows = {row["stamp"]: row for row in found.tables["stamps"]}
    taken = rows["on one label"]
    assert taken["consistent"].value == taken["called_stamped"].value == 1
    assert taken["conflicting"].value == taken["absent"].value == 0
    clean = rows["no stamp"]
    assert clean["absent"].value == 1
    assert clean["called_stamped_change"].value == 0
    mended = rows["on half of each label"]
    assert mended["absent"].value == 1
    assert mended["called_stamped"].value < 1


def test_who_does_not_see_the_stamp_is_not_led_by_it(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    found = EXPERIMENTS["shortcut"].run(client, sets, [Cellular()], sides=(32,), k=1)
    for row in found.tables["stamps"]:
        assert row["absent"].value == row["conflicting"].value == 1
        assert row["called_stamped"].value == 0
