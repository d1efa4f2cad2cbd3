"""A hint names the flags to try where a memory is uneven, and says nothing elsewhere."""

from __future__ import annotations

from argparse import Namespace

import pytest

from visual_memory_service.console.uneven import hint

PLAIN = Namespace(balance=None, head=None)


@pytest.mark.parametrize(
    ("sizes", "accuracy", "macro", "hinted"),
    [
        ({"a": 30, "b": 3}, 0.9, 0.9, True),
        ({"a": 29, "b": 3}, 0.9, 0.9, False),
        ({"a": 5, "b": 5}, 0.9, 0.849, True),
        ({"a": 5, "b": 5}, 0.849, 0.9, True),
        ({"a": 5, "b": 5}, 0.9, 0.86, False),
        ({"a": 500}, 1.0, 1.0, False),
        ({}, 0.0, 0.0, False),
    ],
)
def test_sizes_or_accuracies_that_differ_much_are_remarked(
    sizes: dict[str, int], accuracy: float, macro: float, hinted: bool
) -> None:
    assert (hint(sizes, accuracy, macro, PLAIN) is not None) is hinted


def test_what_is_given_is_not_advised() -> None:
    sizes = {"a": 1234, "b": 3}
    given = [(None, None), (0.0, "none"), (0.5, None), (None, "means"), (1.0, "discriminants")]

    hints = [hint(sizes, 0.9, 0.7, Namespace(balance=b, head=h)) for b, h in given]

    both = (
        "Labels have 3 to 1,234 entries, and the mean of their accuracies is 70.00%: a balance or "
        "a head may pay, try --balance 0.5 or --head means."
    )
    assert hints[:2] == [both, both]
    assert (hints[2] or "").endswith(": a head may pay, try --head means.")
    assert (hints[3] or "").endswith(": a balance may pay, try --balance 0.5.")
    assert hints[4] is None
