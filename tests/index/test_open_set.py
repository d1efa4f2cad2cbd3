"""Unknown queries lie further away than known ones; how well that tells them apart."""

from __future__ import annotations

from itertools import product
from statistics import median as median_of

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index.errors import BadCoverage, TooFewItems
from visual_memory_index.open_set import (
    NEAREST_MAX,
    STRANGENESS,
    accepted,
    auroc,
    false_acceptance,
    kth,
    mean,
    median,
    threshold,
)

SCORES = st.lists(
    st.integers(0, 20).map(lambda tenth: tenth / 10) | st.floats(0, 2), min_size=1, max_size=30
)
NONE = np.array([], float)


def ascending(n: int, m: int) -> NDArray[np.float64]:
    return np.sort(np.random.default_rng(m).uniform(0, 2, (n, m)))


@pytest.mark.parametrize("m", [1, 2, 5, 99, 100, 101, 150])
def test_a_score_looks_at_the_first_hundred_distances(m: int) -> None:
    distances = ascending(4, m)

    scores = {name: score(distances) for name, score in STRANGENESS.items()}

    first = [row[:NEAREST_MAX] for row in distances.tolist()]
    assert scores["kth"].tolist() == [row[0] for row in first]
    assert scores["mean"] == pytest.approx([sum(row) / len(row) for row in first], rel=1e-14)
    assert scores["median"].tolist() == [median_of(row) for row in first]


def test_the_hundred_and_first_distance_changes_nothing() -> None:
    near, far = np.full((1, 101), 0.5), np.full((1, 101), 0.5)
    far[0, 100] = 2.0

    assert mean(near).tolist() == mean(far).tolist()
    assert median(near).tolist() == median(far).tolist()


@pytest.mark.parametrize(("k", "column"), [(1, 0), (3, 2), (5, 4), (6, 4), (1000, 4)])
def test_the_kth_neighbor_is_the_last_where_there_are_fewer(k: int, column: int) -> None:
    distances = ascending(3, 5)

    assert kth(distances, k).tolist() == distances[:, column].tolist()


@pytest.mark.parametrize("name", sorted(STRANGENESS))
def test_a_score_keeps_its_bits_whatever_rows_surround_it(name: str) -> None:
    distances = ascending(50, 77)

    together = STRANGENESS[name](distances)

    alone = [STRANGENESS[name](row[np.newaxis])[0] for row in distances]
    assert together.tolist() == STRANGENESS[name](np.asfortranarray(distances)).tolist() == alone


@pytest.mark.parametrize("name", sorted(STRANGENESS))
def test_a_score_leaves_the_distances_as_they_are(name: str) -> None:
    distances = ascending(3, 9)

    STRANGENESS[name](distances)

    assert np.array_equal(distances, ascending(3, 9))


@given(SCORES, st.integers(1, 99))
def test_the_threshold_is_the_least_score_that_keeps_enough(
    known: list[float], hundredths: int
) -> None:
    limit = threshold(np.array(known), hundredths / 100)

    keeps = [
        score
        for score in known
        if 100 * sum(each <= score for each in known) >= hundredths * len(known)
    ]
    assert limit == min(keeps)


def test_a_query_is_accepted_up_to_the_threshold() -> None:
    assert accepted(np.array([0.1, 0.5, 0.6]), 0.5).tolist() == [True, True, False]


@given(SCORES, SCORES)
def test_auroc_counts_the_pairs_in_the_right_order(
    known: list[float], unknown: list[float]
) -> None:
    area = auroc(np.array(known), np.array(unknown))

    won = [1 if far > near else 0.5 if far == near else 0 for near, far in product(known, unknown)]
    assert area == sum(won) / len(won)


def test_false_acceptance_is_the_share_of_unknown_queries_below_the_threshold() -> None:
    known, unknown = np.arange(1, 21) / 20, np.array([0.9, 0.95, 0.96, 1.5])

    assert false_acceptance(known, unknown) == 0.5
    assert false_acceptance(known, unknown, kept=0.99) == 0.75


@pytest.mark.parametrize("measure", [auroc, false_acceptance])
@pytest.mark.parametrize(
    ("known", "unknown", "missing"), [(NONE, np.ones(1), "known"), (np.ones(1), NONE, "unknown")]
)
def test_of_one_kind_alone_nothing_is_measured(
    measure: object, known: NDArray[np.float64], unknown: NDArray[np.float64], missing: str
) -> None:
    assert callable(measure)
    with pytest.raises(TooFewItems, match=f"At least 1 {missing} queries are needed") as refusal:
        measure(known, unknown)

    assert (refusal.value.got, refusal.value.needed) == (0, 1)


def test_a_threshold_needs_a_known_query() -> None:
    with pytest.raises(TooFewItems):
        threshold(NONE)


def test_a_threshold_keeps_neither_all_nor_none() -> None:
    with pytest.raises(BadCoverage, match=r"1\.0"):
        threshold(np.ones(5), kept=1.0)
