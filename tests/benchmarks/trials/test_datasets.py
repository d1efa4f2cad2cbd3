from __future__ import annotations

import pytest

from visual_memory_benchmarks.trials.datasets import ALL, CATEGORIES, DATASETS


def test_there_are_17_of_three_kinds() -> None:
    kinds = [each.kind for each in DATASETS.values()]

    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "nonparametric": 5,
        "binary": 3,
        "parametric": 9,
    }


def test_there_are_16_categories_in_the_order_of_the_alphabet() -> None:
    assert len(set(CATEGORIES)) == 16
    assert list(CATEGORIES) == sorted(CATEGORIES)


def test_what_is_excluded_is_a_condition() -> None:
    assert all(set(each.excluded) < set(each.conditions) for each in DATASETS.values())


@pytest.mark.parametrize(
    ("name", "token", "condition"),
    [
        ("false-colour", "true", "True"),
        ("false-colour", "false", "False"),
        ("high-pass", "1", "1.0"),
        ("high-pass", "3", "3.0"),
        ("high-pass", "inf", "inf"),
        ("uniform-noise", "0.00", "0.0"),
        ("uniform-noise", "0.10", "0.1"),
        ("uniform-noise", "0.20", "0.2"),
        ("uniform-noise", "0.60", "0.6"),
        ("uniform-noise", "0.90", "0.9"),
        ("rotation", "90.0", "90"),
        ("power-equalisation", "pow", "pow"),
        ("eidolonI", "1-10-10", "1-10-10"),
        ("eidolonI", "1-3-10", None),
        ("contrast", "c5", None),
        ("high-pass", "nan", None),
    ],
)
def test_a_token_has_one_canonical_form(name: str, token: str, condition: str | None) -> None:
    assert DATASETS[name].canonical(token) == condition


@pytest.mark.parametrize("name", ["edge", "silhouette", "cue-conflict", "sketch", "stylized"])
@pytest.mark.parametrize("token", ["0", "3", "NaN", ""])
def test_where_there_is_one_condition_the_token_says_nothing(name: str, token: str) -> None:
    assert DATASETS[name].canonical(token) == ALL
