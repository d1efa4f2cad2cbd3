"""Smallest flips are minimal and in order; if time is up, a flip is still found."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import VOTINGS, Neighbors, decide, sizes_of
from visual_memory_index.curation import explanation
from visual_memory_index.curation.explanation import CELLS_MAX, Flip, smallest_flip

RULES = sorted(VOTINGS)
SECONDS = 60.0  # far more than any of these takes

Labels = NDArray[np.object_]
Distances = NDArray[np.float64]


def winner(labels: Labels, distances: Distances, k: int, rule: str, balance: float = 0.0) -> str:
    voters = labels[np.newaxis, :k]
    sizes = sizes_of(voters, Counter(labels.tolist()))
    nearest = Neighbors(voters, voters, distances[np.newaxis, :k], sizes=sizes)
    return decide(nearest, VOTINGS[rule], balance)[0].label


def winner_without(
    removed: tuple[int, ...],
    labels: Labels,
    distances: Distances,
    k: int,
    rule: str,
    balance: float = 0.0,
) -> str:
    return winner(np.delete(labels, removed), np.delete(distances, removed), k, rule, balance)


def exhaustive(labels: Labels, distances: Distances, k: int, rule: str) -> Flip | None:
    """Return the first flip among all subsets, smaller first, then in lexicographic order."""
    decided: dict[bytes, str] = {}
    everyone = np.arange(len(labels))
    before = winner(labels, distances, k, rule)
    for size in range(1, len(labels)):
        for removed in itertools.combinations(range(len(labels)), size):
            left = np.delete(everyone, removed)[:k]
            if left.tobytes() not in decided:
                decided[left.tobytes()] = winner(labels[left], distances[left], k, rule)
            if decided[left.tobytes()] != before:
                return Flip(removed, decided[left.tobytes()], True)
    return None


def random_memory(seed: int) -> tuple[Labels, Distances, int]:
    """Return up to twelve entries of three labels with distances of various kinds, and a k."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 13))
    labels = rng.choice(np.array(["a", "b", "c"], object), m, p=rng.dirichlet([1, 1, 1]))
    kinds = [
        rng.uniform(0, 2, m),
        rng.integers(0, 3, m) * 0.2,
        0.1 + 0.01 * np.arange(m),
        0.3 + 1e-16 * rng.integers(0, 9, m),
    ]
    return labels, np.sort(kinds[rng.integers(4)]), int(rng.integers(1, m + 2))


@pytest.mark.parametrize("rule", RULES)
def test_a_flip_is_the_first_that_trying_every_subset_finds(rule: str) -> None:
    sizes = set[int]()
    for seed in range(150):
        labels, distances, k = random_memory(seed)

        flip = smallest_flip(labels, distances, k, VOTINGS[rule], seconds=SECONDS)

        assert flip == exhaustive(labels, distances, k, rule), (seed, labels, distances, k)
        sizes.add(len(flip.ranks) if flip else 0)
    assert {0, 1, 2, 3, 4, 5} <= sizes


def crowd(seed: int, m: int, labels: int, share: float) -> tuple[Labels, Distances]:
    """Return labels and distances; about ``share`` of the nearest hundred have label 0."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, labels, m)
    codes[:100][rng.random(min(m, 100)) < share] = 0
    return codes.astype(str).astype(object), np.sort(rng.beta(8, 4, m))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_fifty_votes_of_four_thousand_entries_are_explained_with_proof(
    rule: str, share: float
) -> None:
    labels, distances = crowd(0, 4000, 16, share)

    flip = smallest_flip(labels, distances, 50, VOTINGS[rule], seconds=SECONDS)

    assert flip is not None
    assert flip.proven_minimal
    assert list(flip.ranks) == sorted(set(flip.ranks))
    assert winner(labels, distances, 50, rule) != flip.label
    assert winner_without(flip.ranks, labels, distances, 50, rule) == flip.label


def test_the_next_neighbors_move_up() -> None:
    labels = np.array(["a"] * 60 + ["b"] * 60, object)

    flip = smallest_flip(labels, np.zeros(120), 50, VOTINGS["plurality"], seconds=SECONDS)

    # r removed leave 60 − r a's and r − 10 b's among 50; a tie is a's
    assert flip == Flip(tuple(range(36)), "b", True)


def test_an_entry_of_a_third_label_is_removed_if_its_place_is_all_a_rival_needs() -> None:
    labels = np.array([*"abbccc"], object)

    flip = smallest_flip(labels, np.zeros(6), 5, VOTINGS["plurality"], seconds=SECONDS)

    assert winner(labels, np.zeros(6), 5, "plurality") == "b"
    assert flip == Flip((0,), "c", True)


def test_a_rival_that_wins_by_less_than_a_place_is_worth_is_found() -> None:
    labels, distances = np.array([*"abbbaaaaaaaa"], object), np.zeros(12)

    flip = smallest_flip(labels, distances, 11, VOTINGS["rank"], seconds=SECONDS)

    # 1/2 + 1/3 + 1/4 exceeds 1/5 + … + 1/12 by about 1/16
    assert flip == Flip((0,), "b", True) == exhaustive(labels, distances, 11, "rank")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pattern", ["ab", "aab", "abcd", "aabbb"])
def test_hundreds_of_equal_distances_are_no_obstacle(rule: str, pattern: str) -> None:
    labels = np.array([*(pattern * 80)], object)

    flip = smallest_flip(labels, np.full(len(labels), 0.3), 50, VOTINGS[rule], seconds=SECONDS)

    assert flip is not None
    assert flip.proven_minimal


@pytest.mark.parametrize("rule", RULES)
def test_a_k_beyond_the_memory_means_all_of_it(rule: str) -> None:
    labels, distances = crowd(0, 30, 4, 0.3)

    flip = smallest_flip(labels, distances, 10**12, VOTINGS[rule], seconds=SECONDS)

    assert flip == smallest_flip(labels, distances, 30, VOTINGS[rule], seconds=SECONDS)
    assert flip is not None


@pytest.mark.parametrize("labels", ["a", "aaaaa"])
def test_one_label_alone_never_flips(labels: str) -> None:
    column = np.array([*labels], object)

    assert smallest_flip(column, np.zeros(len(labels)), 3, VOTINGS["rank"], seconds=SECONDS) is None


def ticking() -> Callable[[], float]:
    """Return a clock that advances one second at each reading."""
    return itertools.count(0.0).__next__


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seconds", [0.0, 1.0, 40.0, 75.0])
def test_without_time_the_nearest_of_the_winner_flip_it_and_nothing_is_proven(
    rule: str, seconds: float
) -> None:
    labels, distances = crowd(1, 4000, 16, 0.6)
    before = winner(labels, distances, 50, rule)

    flip = smallest_flip(labels, distances, 50, VOTINGS[rule], seconds=seconds, clock=ticking())

    assert flip is not None
    assert not flip.proven_minimal
    assert list(flip.ranks) == np.flatnonzero(labels == before)[: len(flip.ranks)].tolist()
    assert winner_without(flip.ranks, labels, distances, 50, rule) == flip.label != before
    assert winner_without(flip.ranks[:-1], labels, distances, 50, rule) == before


def test_without_time_one_entry_is_enough_where_it_is() -> None:
    labels = np.array([*"abab"], object)

    flip = smallest_flip(labels, np.zeros(4), 1, VOTINGS["plurality"], seconds=0.0, clock=ticking())

    assert flip == Flip((0,), "b", False)


def test_sets_are_looked_for_only_where_a_rival_could_win_without_as_many() -> None:
    labels = np.array(["a"] * 60 + [*"bcdefghi"] * 2 + ["b"] * 60, object)
    asked = list[int]()

    def voting(distances: Distances) -> Distances:
        asked.append(distances.size)
        return VOTINGS["plurality"](distances)

    flip = smallest_flip(labels, np.zeros(len(labels)), 50, voting, seconds=SECONDS)

    assert flip is not None
    assert flip.proven_minimal
    assert len(asked) < 2 * len(flip.ranks)


def test_the_search_for_a_large_set_holds_some_bytes_for_each_entry_of_it() -> None:
    labels = np.array(["a"] * 2000 + ["b"], object)

    flip, peak = traced_flip(labels, np.zeros(len(labels)), 1, "plurality")

    assert flip == Flip(tuple(range(2000)), "b", True)
    assert peak < 1000 * len(flip.ranks)


def traced_flip(labels: Labels, distances: Distances, k: int, rule: str) -> tuple[Flip | None, int]:
    """Return the smallest flip and the most bytes that the search for it held."""
    tracemalloc.start()
    try:
        flip = smallest_flip(labels, distances, k, VOTINGS[rule], seconds=SECONDS)
        return flip, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_proof_about_too_many_entries_and_places_is_given_up() -> None:
    labels = np.array(["a"] * 30_000 + ["b"] * 30_000, object)

    flip, peak = traced_flip(labels, np.zeros(len(labels)), 1000, "plurality")

    # r removed leave 30,000 − r a's among 1000; a tie is a's
    assert flip == Flip(tuple(range(29_501)), "b", False)
    assert peak < 2 * 16 * CELLS_MAX


@pytest.mark.parametrize("rule", ["rank", "softmax"])
def test_what_few_removals_flip_is_proven_however_many_vote(rule: str) -> None:
    labels = np.array(["a", *"aabb" * 800, "b"], object)
    distances = np.sort(np.random.default_rng(2).uniform(0.2, 0.3, len(labels)))

    flip, peak = traced_flip(labels, distances, 3000, rule)

    assert flip is not None
    assert flip.proven_minimal
    assert len(flip.ranks) < 10
    assert peak < 50_000_000


def test_a_proof_about_too_many_rivals_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array(["a", *map(str, range(80))], object)
    arguments = labels, np.zeros(81), 60, VOTINGS["rank"]

    ample = smallest_flip(*arguments, seconds=SECONDS)
    monkeypatch.setattr(explanation, "CELLS_MAX", 1000)  # 60 places of 17 rivals
    given_up = smallest_flip(*arguments, seconds=SECONDS)

    assert ample == Flip((0,), "0", True)
    assert given_up == Flip((0,), "0", False)


def test_a_proof_about_too_many_near_ties_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "STATES_MAX", 1 << 14)
    # Without 200 a's there are as many b's, and b wins by none of the sums of their weights, which
    # differ in the last bits alone and are of thousands of values for each number of a's.
    votes = 1000
    rng = np.random.default_rng(1)
    labels = np.array(["a"] * 600 + ["b"] * 400 + ["c"] * 210 + ["a"] * 10, object)
    distances = np.full(len(labels), 0.3 + 1e-9)
    distances[:votes] = 0.3 + 1e-16 * np.sort(rng.integers(0, 500, votes))

    flip = smallest_flip(
        labels, distances, votes, VOTINGS["distance"], seconds=1.0, clock=lambda: 0.0
    )

    assert flip is not None
    assert not flip.proven_minimal


def test_a_proof_is_one_until_the_very_last_look_at_the_clock() -> None:
    labels, distances = crowd(1, 4000, 16, 0.6)
    clock = ticking()
    ample = smallest_flip(labels, distances, 50, VOTINGS["rank"], seconds=1e9, clock=clock)
    last_look = clock() - 1

    enough, too_short = (
        smallest_flip(labels, distances, 50, VOTINGS["rank"], seconds=seconds, clock=ticking())
        for seconds in (last_look, last_look - 1)
    )

    assert ample == enough
    assert enough is not None
    assert enough.proven_minimal
    assert too_short is not None
    assert not too_short.proven_minimal
    assert len(too_short.ranks) >= len(enough.ranks)


@pytest.mark.parametrize("rule", RULES)
def test_a_weight_depends_on_distance_and_rank_alone_to_the_last_bit(rule: str) -> None:
    distances = np.sort(np.random.default_rng(0).uniform(0, 2, 67))

    together = VOTINGS[rule](distances)

    spread = VOTINGS[rule](np.broadcast_to(distances[:, np.newaxis], (67, 67)))
    assert together.tolist() == np.diagonal(spread).tolist()
    assert together[:13].tolist() == VOTINGS[rule](distances[:13]).tolist()
    assert (np.diff(spread, axis=0) <= 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_with_a_balance_a_flip_flips_and_a_single_one_is_the_first(rule: str) -> None:
    proven = 0
    for seed in range(300):
        labels, distances, k = random_memory(seed)
        balance = (0.3, 0.5, 1.0)[seed % 3]
        before = winner(labels, distances, k, rule, balance)

        flip = smallest_flip(labels, distances, k, VOTINGS[rule], balance, seconds=SECONDS)

        if flip is None:
            assert len(set(labels)) == 1
            continue
        assert flip.label == winner_without(flip.ranks, labels, distances, k, rule, balance)
        assert flip.label != before
        singles = [
            rank
            for rank in range(min(k, len(labels)))
            if winner_without((rank,), labels, distances, k, rule, balance) != before
        ]
        assert flip.proven_minimal == bool(singles)
        assert not singles or flip.ranks == (singles[0],)
        proven += flip.proven_minimal
    assert proven
