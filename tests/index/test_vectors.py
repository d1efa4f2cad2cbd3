"""Whatever is scanned how, the nearest rows are among the candidates."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import tune, unit_rows
from visual_memory_index.distances import exact_distances, score_error
from visual_memory_index.vectors import SCANNED_MAX, Rows, VectorIndex

SMALL_BLOCK = 8


class SmallBlocks(VectorIndex):
    """Has several blocks from nine rows on."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self._block_rows = SMALL_BLOCK

    def leftovers(self) -> NDArray[np.float32]:
        """What stands in the last block beyond the published rows."""
        return self._blocks[-1][self.count - SMALL_BLOCK * (len(self._blocks) - 1) :]


@pytest.fixture(autouse=True)
def _tuned() -> Iterator[None]:
    tune(2)
    yield
    tune(2)


def filled(vectors: NDArray[np.float32], index: VectorIndex | None = None) -> VectorIndex:
    index = index or VectorIndex(vectors.shape[1])
    index.append(vectors, 0)
    index.publish(len(vectors))
    return index


def misses(query: NDArray[np.float32], index: VectorIndex, k: int, rows: Rows, found: Rows) -> bool:
    """Whether a row of ``rows`` as near as the k-th nearest is not ``found``."""
    distances = exact_distances(query, index.gather(rows))
    furthest = np.sort(distances)[min(k, len(rows)) - 1] if len(rows) else 0
    return not set(rows[distances <= furthest]) <= set(found)


@st.composite
def crowds(draw: st.DrawFn) -> NDArray[np.float32]:
    """Unit vectors that lie close: equal, nearly so, or in clusters, and some a little long."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, d = draw(st.integers(1, 60)), draw(st.sampled_from([1, 2, 3, 16, 64]))
    centres = rng.standard_normal((draw(st.integers(1, 5)), d))
    spread = draw(st.sampled_from([0, 1e-8, 1e-7, 1e-6, 1e-3, 1]))
    rows = centres[rng.integers(len(centres), size=m)] + spread * rng.standard_normal((m, d))
    units = unit_rows(rows.astype(np.float32))
    if draw(st.booleans()):
        units = (units * (1 + rng.uniform(-9e-7, 9e-7, (m, 1)))).astype(np.float32)
    return units


@settings(max_examples=200, deadline=None)
@given(crowds(), st.integers(1, 70), st.booleans(), st.data())
def test_the_nearest_are_always_among_the_candidates(
    vectors: NDArray[np.float32], k: int, small: bool, data: st.DataObject
) -> None:
    index = filled(vectors, SmallBlocks(vectors.shape[1]) if small else None)
    queries = np.concatenate([vectors[:3], -vectors[:1]])
    some = st.sets(st.integers(0, len(vectors) - 1), max_size=len(vectors))
    excluded = np.array(sorted(data.draw(some)), dtype=np.intp)
    others = np.setdiff1d(np.arange(len(vectors)), excluded)

    found = index.candidates(queries, [k] * len(queries), [excluded] * len(queries))
    among = index.candidates_among(queries, k, others)

    for query, rows, same_rows in zip(queries, found, among, strict=True):
        assert not set(rows) & set(excluded)
        assert not misses(query, index, k, others, rows)
        assert set(same_rows) <= set(others)
        assert not misses(query, index, k, others, same_rows)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 50, 900, SCANNED_MAX, 1500, 4000]))
def test_a_scan_of_many_rows_finds_the_nearest_for_every_k(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, 16))
    rows = centres[rng.integers(20, size=3000)] + 10 ** rng.uniform(-8, 0) * rng.standard_normal(16)
    index = filled(unit_rows(rows.astype(np.float32)))
    queries = unit_rows(rng.standard_normal((3, 16)).astype(np.float32))

    found = index.candidates(queries, [k, 1, k], [np.arange(0), np.arange(7), np.arange(100)])

    for number, (wanted, start) in enumerate([(k, 0), (1, 7), (k, 100)]):
        assert not misses(queries[number], index, wanted, np.arange(start, 3000), found[number])


@settings(max_examples=50, deadline=None)
@given(crowds(), st.booleans())
def test_every_row_is_reached_that_a_vector_scores_the_floor_of(
    vectors: NDArray[np.float32], small: bool
) -> None:
    index = filled(vectors, SmallBlocks(vectors.shape[1]) if small else None)
    asked = vectors[::3]
    best = (vectors.astype(np.float64) @ asked.astype(np.float64).T).max(axis=1)
    error = score_error(vectors.shape[1])

    for shift, expected in ((-2 * error, True), (2 * error, False)):
        floors = (best + shift).astype(np.float32)
        assert (index.reached(asked, floors) == expected).all()


def test_few_candidates_are_left_where_vectors_are_apart() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((5000, 64)).astype(np.float32))

    (found,) = filled(vectors).candidates(vectors[:1], [50], [np.arange(0)])

    assert 50 <= len(found) <= 55


def test_rows_of_a_little_more_than_unit_length_are_not_nearer() -> None:
    vectors = np.array([[1.0], [1 + 9e-7], [-1.0], [-1 - 9e-7]] * 10, np.float32)

    nearest, others = filled(vectors).candidates(
        np.array([[1], [1]], np.float32), [1, 21], [np.arange(0)] * 2
    )

    assert set(nearest) == {row for row in range(40) if row % 4 < 2}
    assert len(others) == 40


def test_an_empty_index_has_no_candidates() -> None:
    found = VectorIndex(2).candidates(np.ones((2, 2), np.float32), [1, 1], [np.arange(0)] * 2)

    assert [rows.tolist() for rows in found] == [[], []]


def test_rows_are_found_once_they_are_published() -> None:
    index = filled(np.eye(3, dtype=np.float32))
    index.append(np.eye(3, dtype=np.float32), 3)

    before = index.candidates(np.eye(3, dtype=np.float32)[:1], [9], [np.arange(0)])[0].tolist()
    index.publish(6)
    after = index.candidates(np.eye(3, dtype=np.float32)[:1], [9], [np.arange(0)])[0].tolist()

    assert (before, after) == ([0, 1, 2], [0, 1, 2, 3, 4, 5])


@given(st.integers(1, 30), st.data())
def test_removing_keeps_the_other_rows_and_wipes_the_place_that_gets_free(
    m: int, data: st.DataObject
) -> None:
    vectors = np.arange(1, 1 + 2 * m, dtype=np.float32).reshape(m, 2)
    index, model = SmallBlocks(2), vectors.tolist()
    filled(vectors, index)
    index.leftovers()[:] = 0

    for _ in range(data.draw(st.integers(1, m))):
        row = data.draw(st.integers(0, len(model) - 1))
        index.swap_remove(row)
        model[row] = model[-1]
        model.pop()

        assert index.gather(np.arange(len(model))).tolist() == model
        assert not index.leftovers().any()


def test_a_removed_index_takes_rows_again() -> None:
    index = SmallBlocks(2)
    filled(np.ones((20, 2), np.float32), index)
    for _ in range(20):
        index.swap_remove(0)

    filled(np.eye(2, dtype=np.float32), index)

    assert index.gather(np.arange(2)).tolist() == [[1, 0], [0, 1]]


def test_parts_are_scanned_by_as_many_threads_as_told_each_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32))
    index, seen, knn = filled(vectors, SmallBlocks(4)), [], faiss.knn

    def recorded(*arguments: Any) -> Any:
        seen.append((threading.get_ident(), faiss.omp_get_max_threads()))
        return knn(*arguments)

    monkeypatch.setattr(faiss, "knn", recorded)
    tune(3)
    index.candidates(vectors[:1], [1], [np.arange(0)])

    assert len(seen) == 13
    assert len({thread for thread, _ in seen}) <= 3
    assert {threads for _, threads in seen} == {1}
