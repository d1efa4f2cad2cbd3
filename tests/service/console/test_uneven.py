"""A hint names a command where a memory is uneven, and says nothing elsewhere."""

from __future__ import annotations

import pytest

from visual_memory_service.console.uneven import hint


@pytest.mark.parametrize(
    ("sizes", "accuracy", "macro", "hinted"),
    [
        ({"a": 30, "b": 3}, 0.9, 0.9, True),
        ({"a": 29, "b": 3}, 0.9, 0.9, False),
        ({"a": 5, "b": 5}, 0.9, 0.849, True),
        ({"a": 5, "b": 5}, 0.849, 0.9, True),
        ({"a": 5, "b": 5}, 0.9, 0.86, False),
        ({"a": 500}, 1.0, 1.0, False),
        ({"a": 300, "b": 3}, 1.0, 1.0, False),
        ({}, 0.0, 0.0, False),
    ],
)
def test_sizes_or_accuracies_that_differ_much_are_remarked(
    sizes: dict[str, int], accuracy: float, macro: float, hinted: bool
) -> None:
    assert (hint(sizes, accuracy, macro, "pets") is not None) is hinted


def test_the_hint_names_sizes_accuracy_and_command() -> None:
    assert hint({"a": 1234, "b": 3}, 0.9, 0.7, "pets") == (
        "Labels have 3 to 1,234 entries, and the mean of their accuracies is 70.00%: "
        "visual-memory tune pets   looks for a rule that does better."
    )
