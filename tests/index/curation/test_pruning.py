"""Counts and choices are those of a loop, and the order of the rows changes none of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import unit_rows
from visual_memory_index.curation import pruning
from visual_memory_index.errors import BadParameter
from visual_memory_index.rows.distances import exact_distances

COUNTS = st.lists(st.integers(0, 9), max_size=30)


def names(m: int) -> NDArray[np.object_]:
    return np.array([f"{row:03}" for row in range(m)], object)


def random_units(m: int, d: int = 8, seed: int = 0) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).standard_normal((m, d)).astype(np.float32))


def ints(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


@st.composite
def lists(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw neighbour lists (m, w) and labels (m,)."""
    m = draw(st.integers(1, 12))
    w = draw(st.integers(0, m - 1))
    others = [[other for other in range(m) if other != row] for row in range(m)]
    neighbors = [draw(st.permutations(row))[:w] for row in others]
    labels = draw(st.lists(st.integers(0, 3), min_size=m, max_size=m))
    return np.array(neighbors, np.int64).reshape(m, w), ints(labels)


@given(lists())
def test_an_entry_misleads_where_a_loop_says_so(case: tuple[Any, Any]) -> None:
    neighbors, labels = case

    v, c = pruning.misleading_counts(neighbors, labels)

    wrong, right = Counter[int](), Counter[int]()
    for row, near in enumerate(neighbors.tolist()):
        for other in near:
            (right if labels[row] == labels[other] else wrong)[other] += 1
    assert v.tolist() == [wrong[row] for row in range(len(labels))]
    assert c.tolist() == [right[row] for row in range(len(labels))]
    assert v.sum() + c.sum() == neighbors.size


def test_entries_that_are_more_than_are_counted_at_once_are_counted_all() -> None:
    m, w = 3000, 3
    neighbors = (np.arange(m)[:, np.newaxis] + np.arange(1, w + 1)) % m

    v, c = pruning.misleading_counts(neighbors, np.arange(m) % 3)

    assert v.dtype == c.dtype == np.int64
    assert v.tolist() == [2] * m
    assert c.tolist() == [1] * m


@given(COUNTS, st.integers(1, 9), st.data())
def test_hard_pruning_takes_who_reaches_the_threshold(
    v: list[int], threshold: int, data: st.DataObject
) -> None:
    c = data.draw(st.lists(st.integers(0, 9), min_size=len(v), max_size=len(v)))

    gross = pruning.prune_misleading(ints(v), ints(c), threshold=threshold)
    net = pruning.prune_misleading(ints(v), ints(c), threshold=threshold, net=True)

    assert gross.tolist() == [row for row, count in enumerate(v) if count >= threshold]
    assert net.tolist() == [row for row, count in enumerate(v) if count - c[row] >= threshold]


@given(st.permutations(range(12)), st.data())
def test_the_worthless_are_the_lowest_values_and_of_equals_the_first_ids(
    order: list[int], data: st.DataObject
) -> None:
    ids = names(12)[order]
    values = data.draw(st.lists(st.sampled_from([-1.5, 0.0, 0.25]), min_size=12, max_size=12))
    count = data.draw(st.integers(0, 12))

    pruned = pruning.prune_worthless(np.array(values), ids, count=count)

    assert pruned.tolist() == sorted(
        sorted(range(12), key=lambda at: (values[at], ids[at]))[:count]
    )


@pytest.mark.parametrize(
    ("fraction", "m", "count"), [(0, 9, 0), (1, 9, 9), (0.5, 5, 3), (0.29, 100, 29), (0.1, 4, 0)]
)
def test_a_portion_is_the_nearest_whole_number(fraction: float, m: int, count: int) -> None:
    assert pruning.portion(fraction, m) == count


@given(st.permutations(range(12)), st.integers(0, 2**64 - 1), st.integers(0, 12))
def test_chance_prunes_the_same_ids_in_whatever_order_they_stand(
    order: list[int], seed: int, count: int
) -> None:
    ids = names(12)

    sorted_rows = pruning.prune_random(ids, count=count, seed=seed)
    shuffled_rows = pruning.prune_random(ids[order], count=count, seed=seed)

    assert len(sorted_rows) == count
    assert set(ids[sorted_rows]) == set(ids[order][shuffled_rows])
    assert shuffled_rows.tolist() == sorted(shuffled_rows)


@pytest.mark.parametrize(
    ("seed", "rows"), [(0, [0, 5, 8, 10]), (1, [0, 4, 8, 9]), (2**40 + 3, [0, 1, 3, 6])]
)
def test_a_seed_prunes_the_same_entries_in_every_release(seed: int, rows: list[int]) -> None:
    assert pruning.prune_random(names(12), count=4, seed=seed).tolist() == rows


def test_chance_prunes_every_entry_about_equally_often() -> None:
    hits = Counter(
        row for seed in range(1000) for row in pruning.prune_random(names(10), count=3, seed=seed)
    )

    assert all(230 <= hits[row] <= 370 for row in range(10)), hits  # 300, five deviations wide


def test_a_larger_count_prunes_what_a_smaller_one_did() -> None:
    small = pruning.prune_random(names(50), count=10, seed=4)
    large = pruning.prune_random(names(50), count=20, seed=4)

    assert set(small) < set(large)


@pytest.mark.parametrize("keep", ["easy", "hard"])
@given(data=st.data())
def test_difficulty_pruning_is_that_of_a_loop(keep: str, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 20))
    rows = range(m)
    ids = names(m)[data.draw(st.permutations(rows))]
    labels = data.draw(st.lists(st.sampled_from([3, 5, 8]), min_size=m, max_size=m))
    levels = data.draw(st.lists(st.sampled_from([0.0, 0.125, 1.0]), min_size=m, max_size=m))
    kept = data.draw(st.integers(0, m))
    balance = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))

    pruned = pruning.prune_by_difficulty(
        np.array(levels), ids, ints(labels), kept=kept, keep=keep, balance=balance
    )

    sign = 1 if keep == "easy" else -1
    best_first = sorted(rows, key=lambda row: (sign * levels[row], ids[row]))
    chosen = set[int]()
    for label in set(labels):
        alike = kept * labels.count(label) // m
        members = [row for row in best_first if labels[row] == label]
        chosen |= set(members[: math.ceil(balance * alike)])
    for row in best_first:
        if len(chosen) < kept:
            chosen.add(row)
    assert pruned.tolist() == [row for row in rows if row not in chosen]


@pytest.mark.parametrize(("balance", "left"), [(0.0, {1: 4}), (0.5, {0: 1, 1: 3})])
def test_balance_keeps_a_label_that_difficulty_alone_would_wipe_out(
    balance: float, left: dict[int, int]
) -> None:
    difficulties, labels = np.array([0.1] * 6 + [0.9] * 6), ints([0] * 6 + [1] * 6)

    pruned = pruning.prune_by_difficulty(
        difficulties, names(12), labels, kept=4, keep="hard", balance=balance
    )

    assert Counter(np.delete(labels, pruned).tolist()) == left


def nearest_by_loop(
    vectors: NDArray[np.float32], prototypes: NDArray[np.float32]
) -> tuple[list[int], list[float]]:
    table = [exact_distances(vector, prototypes) for vector in vectors]
    return [int(row.argmin()) for row in table], [float(row.min()) for row in table]


@pytest.mark.parametrize("d", [2, 3, 64])
def test_the_nearest_prototype_is_that_of_exact_distances(d: int) -> None:
    vectors, prototypes = random_units(300, d), random_units(9, d, seed=1)
    prototypes[3:6] = unit_rows(prototypes[:3] + np.float32(3e-8))

    nearest, distances = pruning.nearest_prototypes(vectors, prototypes)

    assert (nearest.tolist(), distances.tolist()) == nearest_by_loop(vectors, prototypes)


@pytest.mark.parametrize("seed", range(5))
def test_what_only_rounding_tells_apart_is_told_apart_as_by_exact_distances(seed: int) -> None:
    row = random_units(1, 100, seed)[0]
    prototypes = np.random.default_rng(seed).permuted(np.tile(row, (200, 1)), axis=1)
    vectors = unit_rows(np.ones((1, 100), np.float32))

    nearest, distances = pruning.nearest_prototypes(vectors, prototypes)

    assert (nearest.tolist(), distances.tolist()) == nearest_by_loop(vectors, prototypes)


def test_of_prototypes_at_distance_0_the_first_is_nearest_though_another_is_longer() -> None:
    prototypes = np.array([[0, 1], [1 + 2e-7, 0], [1 + 9e-7, 0]], np.float32)

    nearest, distances = pruning.nearest_prototypes(prototypes[2:], prototypes)

    assert (nearest.tolist(), distances.tolist()) == ([1], [0.0])


def test_no_prototype_is_further_than_an_opposite_one_however_long_both_are() -> None:
    row = np.array([[1 + 9e-7, 0]], np.float32)

    nearest, distances = pruning.nearest_prototypes(row, -row)

    assert nearest.dtype == np.intp
    assert (nearest.tolist(), distances.tolist()) == ([0], [2.0])


def test_many_rows_are_scored_in_parts() -> None:
    vectors, prototypes = random_units(pruning.SCORES_AT_ONCE + 5, 3), random_units(4, 3, seed=1)

    nearest, distances = pruning.nearest_prototypes(vectors, prototypes)

    assert (nearest.tolist(), distances.tolist()) == nearest_by_loop(vectors, prototypes)


def test_k_means_finds_the_directions_that_the_rows_crowd_around() -> None:
    axes = np.eye(4, 16, dtype=np.float32)
    vectors = unit_rows(np.repeat(axes, 30, axis=0) + 0.02 * random_units(120, 16))

    found = [pruning.prototypes(vectors, names(120), clusters=8, seed=seed) for seed in range(3)]

    for centers in found:
        assert (centers @ axes.T).max(axis=0) == pytest.approx(np.ones(4), abs=1e-3)
        assert np.linalg.norm(centers, axis=1) == pytest.approx(np.ones(8), abs=1e-6)


def test_k_means_ends_where_every_prototype_is_the_mean_of_those_nearest_to_it() -> None:
    vectors = random_units(200, 3)

    centers = pruning.prototypes(vectors, names(200), clusters=5, seed=0)

    nearest, _ = pruning.nearest_prototypes(vectors, centers)
    for cluster, center in enumerate(centers):
        mean = vectors[nearest == cluster].mean(axis=0, dtype=float)
        assert mean / np.linalg.norm(mean) == pytest.approx(center, abs=1e-6)


def test_k_means_ends_once_no_row_changes_its_prototype() -> None:
    on_progress = list[tuple[int, int]]()

    pruning.prototypes(
        random_units(2),
        names(2),
        clusters=2,
        seed=0,
        on_progress=lambda *counts: on_progress.append(counts),
    )

    assert on_progress == [(2, 42), (4, 42)]


def test_a_prototype_of_very_many_rows_is_their_mean_to_the_last_digits() -> None:
    vectors = unit_rows(1 + 0.1 * random_units(50_000, 3))

    (center,) = pruning.prototypes(vectors, names(50_000), clusters=1, seed=0)

    mean = vectors.mean(axis=0, dtype=float)
    assert center.dtype == np.float32
    assert center == pytest.approx(mean / np.linalg.norm(mean), abs=1e-7)


def test_k_means_tells_how_far_it_is_several_times_a_round_and_can_be_stopped() -> None:
    m = pruning.SCORES_AT_ONCE + 5
    vectors, on_progress = random_units(m, 3), list[tuple[int, int]]()
    pruning.prototype_difficulties(
        vectors,
        names(m),
        clusters=4,
        seed=0,
        on_progress=lambda *counts: on_progress.append(counts),
    )

    def stop(done: int, total: int) -> None:
        assert len(on_progress) < 3
        on_progress.append((done, total))
        if len(on_progress) == 3:
            raise InterruptedError

    assert on_progress[:2] == [(pruning.SCORES_AT_ONCE, 21 * m), (m, 21 * m)]
    assert on_progress == sorted(on_progress)
    assert on_progress[-1] == (21 * m, 21 * m)
    on_progress.clear()
    with pytest.raises(InterruptedError):
        pruning.prototypes(vectors, names(m), clusters=4, seed=0, on_progress=stop)


@pytest.mark.parametrize("count", [1, 5])
def test_equal_rows_make_one_prototype_which_is_as_they_are(count: int) -> None:
    rows = random_units(2) * np.float32(1 + 5e-7)
    vectors = np.repeat(rows, count, axis=0)

    centers = pruning.prototypes(vectors, names(2 * count), clusters=7, seed=0)

    assert sorted(centers.tolist()) == sorted(rows.tolist())


Difficulties = Callable[[NDArray[np.float32], NDArray[np.object_], NDArray[np.int64]], Any]


def by_prototypes(vectors: Any, ids: Any, _: Any) -> NDArray[np.float64]:
    return pruning.prototype_difficulties(vectors, ids, clusters=6, seed=11)


@pytest.mark.parametrize("difficulties", [by_prototypes, pruning.class_difficulties])
def test_a_difficulty_keeps_its_bits_in_whatever_order_the_rows_stand(
    difficulties: Difficulties,
) -> None:
    vectors, ids, labels = random_units(150), names(150), np.arange(150) // 30
    expected = difficulties(vectors, ids, labels)

    for seed in range(5):
        order = np.random.default_rng(seed).permutation(150)
        assert difficulties(vectors[order], ids[order], labels[order]).tobytes() == (
            expected[order].tobytes()
        )


def test_a_prototype_keeps_its_bits_though_its_rows_differ_in_magnitude() -> None:
    rows = np.ones((300, 2))
    rows[:, 0] = 1e-13 * np.random.default_rng(0).random(300)
    rows[::3], rows[1::3] = (1, 0), (-1, 0)
    vectors, ids = unit_rows(rows.astype(np.float32)), names(300)
    order = np.random.default_rng(1).permutation(300)

    (center,) = pruning.prototypes(vectors, ids, clusters=1, seed=0)
    (again,) = pruning.prototypes(vectors[order], ids[order], clusters=1, seed=0)

    assert 0 < center[0] < 1e-12
    assert again.tobytes() == center.tobytes()


def test_rows_are_added_to_a_prototype_in_the_order_of_their_ids() -> None:
    rows = np.zeros((600, 3))
    rows[:, 0] = 1e-13 * np.random.default_rng(0).random(600)
    rows[::3, 0], rows[1::3, 0] = 0.5, -0.5
    rows[:, 2] = np.where(np.arange(600) // 3 % 2, 1, -1)
    vectors = unit_rows(rows.astype(np.float32))

    centers = pruning.prototypes(vectors, names(600), clusters=2, seed=0)

    nearest, _ = pruning.nearest_prototypes(vectors, centers)
    for cluster, center in enumerate(centers):
        total = np.zeros(3)
        for row in vectors[nearest == cluster]:
            total += row
        assert 0 < abs(center[0]) < 1e-12
        assert (
            center.tolist() == unit_rows((total[np.newaxis] / 300).astype(np.float32))[0].tolist()
        )


def test_another_seed_may_find_other_prototypes() -> None:
    vectors, ids = random_units(150), names(150)

    found = {
        pruning.prototype_difficulties(vectors, ids, clusters=6, seed=seed).tobytes()
        for seed in range(4)
    }

    assert len(found) > 1


def test_difficulty_within_a_class_is_the_distance_to_its_mean() -> None:
    vectors, labels = random_units(40), np.arange(40) % 3

    difficulties = pruning.class_difficulties(vectors, names(40), labels)

    for label in range(3):
        members = vectors[labels == label].astype(float)
        mean = members.mean(axis=0) / np.linalg.norm(members.mean(axis=0))
        assert difficulties[labels == label] == pytest.approx(1 - members @ mean, abs=1e-6)


def test_a_class_whose_rows_cancel_out_is_measured_from_its_first_id() -> None:
    vectors = np.array([[0, -1], [0, 1]], np.float32)

    difficulties = pruning.class_difficulties(vectors, np.array(["b", "a"], object), ints([0, 0]))

    assert difficulties.tolist() == [2.0, 0.0]


REFUSED: dict[str, Callable[[], object]] = {
    "threshold must be at least 1, not 0.": lambda: pruning.prune_misleading(
        ints([1]), ints([1]), threshold=0
    ),
    "count must be from 0 to 2, the number of entries, not 3.": lambda: pruning.prune_worthless(
        np.zeros(2), names(2), count=3
    ),
    "values must be numbers, not nan.": lambda: pruning.prune_worthless(
        np.array([0, math.nan]), names(2), count=1
    ),
    "fraction must be from 0 to 1, not 1.01.": lambda: pruning.portion(1.01, 5),
    "seed must be from 0 to 2⁶⁴ − 1, not -1.": lambda: pruning.prune_random(
        names(2), count=1, seed=-1
    ),
    f"seed must be from 0 to 2⁶⁴ − 1, not {2**64}.": lambda: pruning.prune_random(
        names(2), count=1, seed=2**64
    ),
    "kept must be from 0 to 2, the number of entries, not -1.": lambda: pruning.prune_by_difficulty(
        np.zeros(2), names(2), ints([0, 0]), kept=-1, keep="hard"
    ),
    "keep must be easy or hard, not 'soft'.": lambda: pruning.prune_by_difficulty(
        np.zeros(2), names(2), ints([0, 0]), kept=1, keep="soft"
    ),
    "balance must be from 0 to 1, not 1.5.": lambda: pruning.prune_by_difficulty(
        np.zeros(2), names(2), ints([0, 0]), kept=1, keep="hard", balance=1.5
    ),
    "clusters must be at least 1, not 0.": lambda: pruning.prototypes(
        random_units(2), names(2), clusters=0, seed=0
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_parameter_outside_its_range_is_refused_by_name(sentence: str) -> None:
    with pytest.raises(BadParameter) as refused:
        REFUSED[sentence]()

    assert str(refused.value) == sentence
    assert refused.value.name == sentence.split()[0]


def test_without_a_word_no_label_is_promised_a_share() -> None:
    difficulties, labels = np.arange(6.0), ints([0, 0, 0, 1, 1, 1])

    gone = pruning.prune_by_difficulty(difficulties, names(6), labels, kept=3, keep="hard")

    assert gone.tolist() == [0, 1, 2]


def test_no_entries_can_be_pruned_of_none() -> None:
    none = np.empty(0, object)
    difficulties = pruning.prototype_difficulties(
        np.empty((0, 3), np.float32), none, clusters=2, seed=0
    )

    for rows in (
        pruning.prune_random(none, count=0, seed=0),
        pruning.prune_worthless(np.empty(0), none, count=0),
        pruning.prune_by_difficulty(difficulties, none, ints([]), kept=0, keep="easy"),
    ):
        assert none[rows].tolist() == []
