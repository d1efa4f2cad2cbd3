"""Heads: their scores by formulas written out, and without an entry as if it had never been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import unit_rows
from visual_memory_index.heads.head import Head, fit
from visual_memory_index.heads.statistics import SCALE, Statistics, quantized

RIDGES = (None, 100.0, 1.0, 0.01)


def entries(
    seed: int, count: int, dimension: int, labels: str
) -> tuple[list[str], np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(len(labels), dimension))
    codes = rng.integers(0, len(labels), count)
    rows = unit_rows((places[codes] + rng.normal(size=(count, dimension))).astype(np.float32))
    return [labels[code] for code in codes], rows


def statistics_of(labels: Sequence[str], rows: np.ndarray) -> Statistics:
    statistics = Statistics(rows.shape[1], moment=True)
    statistics.add(labels, rows)
    return statistics


def by_formula(
    labels: Sequence[str], rows: np.ndarray, ridge: float | None, queries: np.ndarray
) -> np.ndarray:
    x, q = quantized(rows) / SCALE, quantized(queries) / SCALE
    names, codes = np.unique(labels, return_inverse=True)
    means = np.array([x[codes == code].mean(axis=0) for code in range(len(names))])
    around = x - means[codes]
    metric = np.eye(x.shape[1])
    if ridge is not None:
        metric = np.linalg.inv(around.T @ around + ridge * metric)
    directions, z = means - means.mean(axis=0), q - means.mean(axis=0)
    lengths = np.sqrt(np.einsum("ij,jk,ik->i", directions, metric, directions))
    own = np.sqrt(np.einsum("ij,jk,ik->i", z, metric, z))
    result: np.ndarray = z @ metric @ directions.T / lengths / own[:, np.newaxis]
    return result


@pytest.mark.parametrize("ridge", RIDGES)
def test_the_scores_are_those_of_the_formula(ridge: float | None) -> None:
    labels, rows = entries(0, 300, 40, "abcdefg")
    _, queries = entries(1, 20, 40, "abcdefg")

    head = fit(statistics_of(labels, rows), ridge)

    expected = by_formula(labels, rows, ridge, queries)
    np.testing.assert_allclose(head.compare(queries).scores, expected, atol=1e-9)
    assert head.labels == tuple("abcdefg")
    assert head.counts.tolist() == [labels.count(label) for label in "abcdefg"]


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_query_scores_alike_alone_and_among_others(ridge: float | None) -> None:
    labels, rows = entries(0, 300, 40, "abcdefg")
    head = fit(statistics_of(labels, rows), ridge)

    together = head.compare(rows).scores

    for at in (0, 1, 299):
        np.testing.assert_array_equal(head.compare(rows[at : at + 1]).scores, together[at : at + 1])


@pytest.mark.parametrize("ridge", RIDGES)
def test_equal_statistics_give_equal_bits(ridge: float | None) -> None:
    labels, rows = entries(0, 300, 40, "abcdefg")
    edited = statistics_of(labels, rows)
    edited.add(["h", "a"], rows[:2])
    edited.remove(["a", "h"], rows[[1, 0]])
    order = np.random.default_rng(2).permutation(len(rows))
    fresh = statistics_of([labels[at] for at in order], rows[order])

    np.testing.assert_array_equal(
        fit(edited, ridge).compare(rows).scores, fit(fresh, ridge).compare(rows).scores
    )


@pytest.mark.parametrize("ridge", RIDGES)
def test_the_distances_are_half_the_squares_in_the_metric(ridge: float | None) -> None:
    labels, rows = entries(0, 300, 40, "abcdefg")
    _, queries = entries(1, 20, 40, "abcdefg")
    x, q = quantized(rows) / SCALE, quantized(queries) / SCALE
    codes = np.array(["abcdefg".index(label) for label in labels])
    means = np.array([x[codes == code].mean(axis=0) for code in range(7)])
    around = x - means[codes]
    metric = np.eye(40)
    if ridge is not None:
        metric = np.linalg.inv(around.T @ around + ridge * metric)

    found = fit(statistics_of(labels, rows), ridge).compare(queries).distances

    gaps = q[:, np.newaxis] - means
    expected = np.einsum("qli,ij,qlj->ql", gaps, metric, gaps) / 2
    np.testing.assert_allclose(found, expected, atol=1e-9 * (1 + np.abs(metric).max()))


@given(st.integers(0, 10_000), st.sampled_from(RIDGES), st.integers(2, 8))
def test_without_an_entry_a_query_lies_as_if_it_had_never_been(
    seed: int, ridge: float | None, count: int
) -> None:
    labels, rows = entries(seed, count, 6, "abc")
    _, queries = entries(seed + 1, count, 6, "abc")
    whole = statistics_of(labels, rows)

    found = fit(whole, ridge).compare_without(queries, labels, rows)

    for at, label in enumerate(labels):
        statistics = whole.copy()
        statistics.remove([label], rows[[at]])
        head = fit(statistics, ridge)
        own = head.compare(queries[[at]])
        places = [head.labels.index(name) if name in head.labels else -1 for name in found.labels]
        for place, score, distance in zip(
            places, found.scores[at], found.distances[at], strict=True
        ):
            expected = (
                (own.scores[0, place], own.distances[0, place]) if place >= 0 else (-np.inf, np.inf)
            )
            assert (score, distance) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_mean_of_one_entry_is_at_the_distance_of_the_entry() -> None:
    _, rows = entries(0, 3, 50, "abc")

    found = fit(statistics_of(["a", "b", "c"], rows)).compare(rows).distances

    np.testing.assert_allclose(found, 1 - rows.astype(np.float64) @ rows.T, atol=1e-3)


def test_entries_are_scored_leave_one_out() -> None:
    labels, rows = entries(3, 200, 30, "abcd")
    head = fit(statistics_of(labels, rows), 1.0)

    left_out, known = head.compare_without(rows, labels, rows).scores, head.compare(rows).scores

    own = [head.labels.index(label) for label in labels]
    assert (left_out[range(200), own] < known[range(200), own]).all()


def test_one_label_and_one_entry_score() -> None:
    labels, rows = entries(0, 3, 4, "a")

    for ridge in RIDGES:
        head: Head = fit(statistics_of(labels, rows), ridge)
        assert head.compare(rows).scores.tolist() == [[0.0]] * 3
        alone = fit(statistics_of(labels[:1], rows[:1]), ridge)
        assert alone.compare_without(rows[:1], labels[:1], rows[:1]).scores.tolist() == [[-np.inf]]
