from __future__ import annotations

from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.metrics.confusion import confusion
from visual_memory_benchmarks.trials.panel import panels


def test_answers_are_counted_by_what_was_shown() -> None:
    answers = {"a": ["cat", "cat", "na"], "b": ["dog", "dog", "dog"]}
    [panel] = panels(to_trials(answers, ["cat", "dog", "dog"]))
    cat, dog = panel.categories.index("cat"), panel.categories.index("dog")

    found = confusion(panel)

    assert found.shape == (2, 16, 17)
    assert (found[0, cat, cat], found[0, dog, cat], found[0, dog, -1]) == (1, 1, 1)
    assert (found[1, cat, dog], found[1, dog, dog]) == (1, 2)
    assert found.sum(axis=(1, 2)).tolist() == [3, 3]
