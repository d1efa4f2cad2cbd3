from __future__ import annotations

import numpy as np
from tests.benchmarks.made import joined, to_trials

from visual_memory_benchmarks.metrics.accuracy import accuracy
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import panels


def test_trials_of_all_conditions_and_makers_are_pooled() -> None:
    colour = DATASETS["colour"]
    one = to_trials({"a": ["cat"], "b": ["na"]}, ["cat"], dataset=colour, condition="cr")
    other = to_trials(
        {"a": ["cat", "cat"], "b": ["cat", "dog"]}, ["cat", "dog"], dataset=colour, condition="bw"
    )
    both = panels(joined([one, other]))

    found = accuracy(both, [np.ones((1, len(panel.images))) for panel in both])

    assert found.tolist() == [4 / 6]


def test_pictures_that_weigh_nothing_have_no_accuracy() -> None:
    [panel] = panels(to_trials({"a": ["cat", "cat"]}, ["cat", "dog"]))

    found = accuracy([panel], [panel.members()])

    assert found[panel.categories.index("cat")] == 1
    assert found[panel.categories.index("dog")] == 0
    assert np.isnan(found).sum() == 14
