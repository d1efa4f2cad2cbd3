"""A hint names the flags to try where a memory is uneven, and says nothing elsewhere."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

import pytest

from visual_memory import DefaultRule, MemoryInfo, Rule
from visual_memory_service.console.uneven import hint

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = Namespace(balance=None, head=None)


def info(
    labels: dict[str, int], pruned: dict[str, int] | None = None, rule: Rule | None = None
) -> MemoryInfo:
    return MemoryInfo(
        name="pets",
        dimension=4,
        embedder=None,
        create_time=NOW,
        count=sum(labels.values()),
        labels=labels,
        disk_bytes=0,
        default_rule=None if rule is None else DefaultRule(rule, NOW, 0),
        pruned_labels=pruned or {},
    )


@pytest.mark.parametrize(
    ("labels", "accuracy", "macro", "hinted"),
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
    labels: dict[str, int], accuracy: float, macro: float, hinted: bool
) -> None:
    assert (hint(info(labels), accuracy, macro, PLAIN) is not None) is hinted


def test_entries_that_do_not_vote_do_not_count() -> None:
    labels = {"a": 30, "b": 30, "c": 2}

    assert hint(info(labels, {"b": 27, "c": 2}), 0.9, 0.9, PLAIN)
    assert hint(info(labels, {"c": 2}), 0.9, 0.9, PLAIN) is None


BOTH = (
    "Labels have 3 to 1,234 entries, and the mean of their accuracies is 70.00%: a balance or a "
    "head may pay, try --balance 0.5 or --head means; visual-memory tune pets   compares them."
)
MEANS = Rule(50, "rank", None, 1.0, "means", None, 0.05, 0.5)


@pytest.mark.parametrize(
    ("balance", "head", "rule", "tries"),
    [
        (None, None, None, "a balance or a head may pay, try --balance 0.5 or --head means;"),
        (0.0, "none", None, "a balance or a head may pay, try --balance 0.5 or --head means;"),
        (0.5, None, None, ": a head may pay, try --head means;"),
        (None, "means", None, ": a balance may pay, try --balance 0.5;"),
        (1.0, "discriminants", None, None),
        (None, None, MEANS, None),
        (0.0, None, MEANS, ": a balance may pay, try --balance 0.5;"),
        (None, "none", MEANS, ": a head may pay, try --head means;"),
    ],
)
def test_what_the_rule_has_is_not_advised(
    balance: float | None, head: str | None, rule: Rule | None, tries: str | None
) -> None:
    uneven = info({"a": 1234, "b": 3}, rule=rule)

    found = hint(uneven, 0.9, 0.7, Namespace(balance=balance, head=head))

    assert found is None if tries is None else tries in (found or "")


def test_the_hint_is_a_sentence() -> None:
    assert hint(info({"a": 1234, "b": 3}), 0.9, 0.7, PLAIN) == BOTH
