"""The contract of every index: candidates include the nearest, and rows keep their bits.

Written against ``vectors.VectorIndex`` alone; the oracle is every exact distance.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.conformance.implementations import INDEXES, THREADS, NewIndex
from tests.index.crowds import crowds

from visual_memory_index import unit_rows
from visual_memory_index.codes.planes import Planes
from visual_memory_index.rows.distances import exact_distances, fixed_sum
from visual_memory_index.rows.rows import RowBits, Rows
from visual_memory_index.scan.scanned_index import ScannedIndex
from visual_memory_index.scan.stored_rows import StoredRows
from visual_memory_index.scan.vectors import VectorIndex

each_index = pytest.mark.parametrize("new_index", INDEXES.values(), ids=INDEXES.keys())


def filled(index: VectorIndex, vectors: NDArray[np.float32]) -> VectorIndex:
    index.append(vectors)
    return index


def misses(query: NDArray[np.float32], index: VectorIndex, k: int, rows: Rows, found: Rows) -> bool:
    """Return True if a row of ``rows`` at most as far as the k-th nearest is not in ``found``."""
    distances = exact_distances(query, index.gather(rows))
    furthest = np.sort(distances)[min(k, len(rows)) - 1] if len(rows) else 0
    return not set(rows[distances <= furthest]) <= set(found)


@each_index
@settings(max_examples=100)
@given(crowds(), st.integers(1, 70), st.data())
def test_the_nearest_are_always_among_the_candidates(
    new_index: NewIndex, vectors: NDArray[np.float32], k: int, data: st.DataObject
) -> None:
    index = filled(new_index(vectors.shape[1]), vectors)
    queries = np.concatenate([vectors[:3], -vectors[:1]])
    some = st.sets(st.integers(0, len(vectors) - 1), max_size=len(vectors))
    excluded = np.array(sorted(data.draw(some)), dtype=np.intp)
    others = np.setdiff1d(np.arange(len(vectors)), excluded)

    found = index.candidates(queries, [k] * len(queries), [excluded] * len(queries))
    among = index.candidates_among(queries, k, RowBits.of_rows(others, len(vectors)))

    for query, rows, same_rows in zip(queries, found, among, strict=True):
        assert not set(rows) & set(excluded)
        assert not misses(query, index, k, others, rows)
        assert set(same_rows) <= set(others)
        assert not misses(query, index, k, others, same_rows)


@each_index
@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from([1, 50, 900, 1024, 1500, 4000]))
def test_a_scan_of_many_rows_finds_the_nearest_for_every_k(
    new_index: NewIndex, seed: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, 16))
    rows = centres[rng.integers(20, size=3000)] + 10 ** rng.uniform(-8, 0) * rng.standard_normal(16)
    index = filled(new_index(16), unit_rows(rows.astype(np.float32)))
    queries = unit_rows(rng.standard_normal((3, 16)).astype(np.float32))

    found = index.candidates(queries, [k, 1, k], [np.arange(0), np.arange(7), np.arange(100)])

    for number, (wanted, start) in enumerate([(k, 0), (1, 7), (k, 100)]):
        assert not misses(queries[number], index, wanted, np.arange(start, 3000), found[number])


@each_index
@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 3, 16, 77, 768]))
def test_distances_of_pairs_are_the_exact_ones_bit_for_bit(
    new_index: NewIndex, seed: int, d: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit_rows(rng.standard_normal((200, d)).astype(np.float32))
    queries = unit_rows(rng.standard_normal((3, d)).astype(np.float32))
    index = filled(new_index(d), vectors)
    count = int(rng.choice([0, 1, 7, 500]))
    numbers, rows = rng.integers(3, size=count), rng.integers(200, size=count)

    found = index.distances(queries, numbers, rows)

    pairs = zip(queries[numbers], vectors[rows], strict=True)
    assert found.tolist() == [
        np.clip(1.0 - fixed_sum(query.astype(np.float64) * row), 0.0, 2.0) for query, row in pairs
    ]


@each_index
def test_codes_may_come_with_their_vectors(new_index: NewIndex) -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32))
    given, made = new_index(20), filled(new_index(20), vectors)

    given.append(vectors[:7], given.encode(vectors[:7]))
    given.append(vectors[7:], given.encode(vectors)[7:])

    everyone = np.arange(50)
    assert given.codes(everyone).tobytes() == made.codes(everyone).tobytes()
    assert given.gather(everyone).tobytes() == vectors.tobytes()
    assert given.holds(everyone, vectors)


@each_index
def test_rows_of_a_little_more_than_unit_length_are_not_nearer(new_index: NewIndex) -> None:
    vectors = np.array([[1.0], [1 + 9e-7], [-1.0], [-1 - 9e-7]] * 10, np.float32)

    nearest, others = filled(new_index(1), vectors).candidates(
        np.array([[1], [1]], np.float32), [1, 21], [np.arange(0)] * 2
    )

    assert set(nearest) == {row for row in range(40) if row % 4 < 2}
    assert len(others) == 40


@each_index
def test_an_empty_index_has_no_candidates(new_index: NewIndex) -> None:
    found = new_index(2).candidates(np.ones((2, 2), np.float32), [1, 1], [np.arange(0)] * 2)

    assert [rows.tolist() for rows in found] == [[], []]


@each_index
def test_rows_are_found_once_they_are_appended(new_index: NewIndex) -> None:
    index = filled(new_index(3), np.eye(3, dtype=np.float32))
    index.reserve(6)

    before = index.candidates(np.eye(3, dtype=np.float32)[:1], [9], [np.arange(0)])[0].tolist()
    index.append(np.eye(3, dtype=np.float32))
    after = index.candidates(np.eye(3, dtype=np.float32)[:1], [9], [np.arange(0)])[0].tolist()

    assert (before, after) == ([0, 1, 2], [0, 1, 2, 3, 4, 5])


@each_index
@given(st.integers(1, 30), st.data())
def test_rows_stay_dense_and_the_last_one_moves_into_a_hole(
    new_index: NewIndex, m: int, data: st.DataObject
) -> None:
    vectors = np.arange(1, 1 + 2 * m, dtype=np.float32).reshape(m, 2)
    index, model = filled(new_index(2), vectors), vectors.tolist()

    for _ in range(data.draw(st.integers(1, m))):
        row = data.draw(st.integers(0, len(model) - 1))
        index.remove(np.array([row]))
        model[row] = model[-1]
        model.pop()

        assert index.count == len(model)
        assert index.gather(np.arange(len(model))).tolist() == model
        assert [row for block in index.blocks() for row in block.tolist()] == model


@each_index
@given(st.integers(1, 40), st.data())
def test_of_many_that_go_the_last_that_stay_move_into_the_holes(
    new_index: NewIndex, m: int, data: st.DataObject
) -> None:
    vectors = np.arange(1, 1 + 2 * m, dtype=np.float32).reshape(m, 2)
    index = filled(new_index(2), vectors)
    gone = sorted(data.draw(st.sets(st.integers(0, m - 1))))
    model = {row: vectors[row].tolist() for row in range(m) if row not in gone}
    for hole in [row for row in gone if row < len(model)]:
        model[hole] = model.pop(min(row for row in model if row >= m - len(gone)))

    index.remove(np.array(gone, dtype=np.intp))

    assert index.count == len(model)
    assert index.gather(np.arange(index.count)).tolist() == [
        row for _, row in sorted(model.items())
    ]


@each_index
def test_rows_are_gathered_in_whatever_order_and_as_often_as_asked(new_index: NewIndex) -> None:
    index = filled(new_index(2), np.arange(60, dtype=np.float32).reshape(30, 2))

    gathered = index.gather(np.array([29, 0, 8, 8]))

    assert gathered.dtype == np.float32
    assert gathered.tolist() == [[58, 59], [0, 1], [16, 17], [16, 17]]


@each_index
def test_an_index_that_was_emptied_takes_rows_again(new_index: NewIndex) -> None:
    index = filled(new_index(2), np.ones((20, 2), np.float32))
    for _ in range(20):
        index.remove(np.array([0]))

    filled(index, np.eye(2, dtype=np.float32))

    assert index.gather(np.arange(2)).tolist() == [[1, 0], [0, 1]]


@each_index
@settings(max_examples=50)
@given(crowds(), st.data())
def test_the_nearest_others_are_resolved_or_among_the_candidates(
    new_index: NewIndex, vectors: NDArray[np.float32], data: st.DataObject
) -> None:
    vectors = np.concatenate([vectors, vectors[:1]])
    m = len(vectors)
    index, k = filled(new_index(vectors.shape[1]), vectors), data.draw(st.integers(1, m - 1))
    rows = np.array(data.draw(st.lists(st.integers(0, m - 1), min_size=1, unique=True)))

    lists, _, resolved, unresolved = index.nearest_others(rows, k)
    candidates = {number: among for numbers, among in unresolved for number in numbers}

    assert lists.shape == (len(rows), k)
    assert sorted(candidates) == np.flatnonzero(~resolved).tolist()
    for number, row in enumerate(rows):
        others = np.delete(np.arange(m), row)
        found = lists[number] if resolved[number] else candidates[number]
        assert not misses(vectors[row], index, k, others, found)
        assert not resolved[number] or row not in found


@each_index
@settings(max_examples=50)
@given(crowds(), st.data())
def test_a_row_is_affected_by_what_belongs_among_its_nearest_whatever_came_and_went(
    new_index: NewIndex, vectors: NDArray[np.float32], data: st.DataObject
) -> None:
    vectors = np.concatenate([vectors, vectors[:1]])
    m = len(vectors)
    index, k = filled(new_index(vectors.shape[1]), vectors), data.draw(st.integers(1, m - 1))
    score_bounds = index.nearest_others(np.arange(m), k).score_bounds
    kth = [
        np.sort(exact_distances(row, np.delete(vectors, at, axis=0)))[k - 1]
        for at, row in enumerate(vectors)
    ]
    came = vectors[data.draw(st.lists(st.integers(0, m - 1), min_size=1, max_size=3))]
    index.append(came)
    gone = data.draw(st.integers(0, m - 1))
    index.remove(np.array([gone]))
    index.remove(np.array([gone]))

    left = index.gather(np.arange(index.count))
    before = [np.flatnonzero((vectors == row).all(axis=1))[0] for row in left]
    affected = index.affected_rows(came, score_bounds[before])

    for row, at, is_affected in zip(left, before, affected, strict=True):
        belongs = exact_distances(row, came).min() <= kth[at]
        assert is_affected or not belongs


@each_index
@given(crowds(), st.data())
def test_codes_follow_from_the_vectors_and_move_with_their_rows(
    new_index: NewIndex, vectors: NDArray[np.float32], data: st.DataObject
) -> None:
    index = filled(new_index(vectors.shape[1]), vectors)
    some = st.sets(st.integers(0, len(vectors) - 1), max_size=len(vectors))
    index.remove(np.array(sorted(data.draw(some)), dtype=np.intp))
    rows = np.arange(index.count)[::-1]

    codes = index.codes(rows)

    assert codes.shape == (len(rows), index.code_bytes)
    assert codes.tobytes() == index.encode(index.gather(rows)).tobytes()
    assert index.holds(rows, index.gather(rows))


@given(crowds())
def test_an_index_of_codes_alone_finds_the_nearest(vectors: NDArray[np.float32]) -> None:
    whole = filled(INDEXES["scanned"](vectors.shape[1]), vectors)
    read = vectors.__getitem__
    index = ScannedIndex(StoredRows(vectors.shape[1], read), Planes(vectors.shape[1]), THREADS)

    for part in np.array_split(whole.encode(vectors), 3):
        index.append_codes(part)

    assert index.count == len(vectors)
    assert index.holds(np.arange(len(vectors)), vectors)
    nobody = [np.empty(0, np.intp)] * len(vectors)
    ks = [min(5, len(vectors))] * len(vectors)
    for query, found in zip(vectors, index.candidates(vectors, ks, nobody), strict=True):
        assert not misses(query, index, ks[0], np.arange(len(vectors)), found)
