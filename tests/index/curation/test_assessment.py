"""A memory is assessed as a plain loop would assess it, in any order of entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import VOTINGS, Neighbors, decide, unit_rows
from visual_memory_index.curation import assessment
from visual_memory_index.curation.assessment import Conflict, LabelAccuracy, LeaveOneOut, suspects
from visual_memory_index.errors import BadParameter
from visual_memory_index.scan.distances import exact_distances

LEAD = 0.7123  # 17 · 419 / 10,000: no margin of a small memory equals its bar


def objects(values: Sequence[str]) -> NDArray[np.object_]:
    return np.array(values, object)


def leave_one_out(
    vectors: NDArray[np.float32], labels: Sequence[str], k: int, voting: str = "rank"
) -> LeaveOneOut:
    table = np.array([exact_distances(vector, vectors) for vector in vectors])
    np.fill_diagonal(table, np.inf)
    neighbors = np.argsort(table, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(table, neighbors, axis=1)
    ids = objects([f"{row:03}" for row in range(len(labels))])
    return LeaveOneOut(ids, objects(labels), neighbors, distances, VOTINGS[voting](distances))


def reordered(judged: LeaveOneOut, order: NDArray[np.intp]) -> LeaveOneOut:
    return LeaveOneOut(
        judged.ids[order],
        judged.labels[order],
        np.argsort(order)[judged.neighbors[order]],
        judged.distances[order],
        judged.weights[order],
    )


def crowds(sizes: Sequence[int], spread: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    """Return unit rows around axes; ``sizes`` are the numbers of rows around each."""
    centers = np.repeat(np.eye(len(sizes), 16), sizes, axis=0)
    noise = np.random.default_rng(seed).standard_normal(centers.shape)
    return unit_rows((centers + spread * noise).astype(np.float32))


def noisy(flips: int, seed: int = 0) -> tuple[LeaveOneOut, dict[str, str]]:
    """Return four crowds of 25 with ``flips`` wrong labels, and the right label of each by id."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(["cat", "dog", "fox", "owl"], 25).tolist()
    labels = list(truth)
    for row in rng.choice(100, flips, replace=False):
        labels[row] = rng.choice(
            [label for label in ("cat", "dog", "fox", "owl") if label != truth[row]]
        )
    judged = leave_one_out(crowds([25] * 4), labels, k=8)
    return judged, {judged.ids[row]: truth[row] for row in range(100) if truth[row] != labels[row]}


@st.composite
def memories(draw: st.DrawFn) -> LeaveOneOut:
    """Draw neighbour lists with weights and distances that are sums of few powers of two."""
    m = draw(st.integers(2, 12))
    k = draw(st.integers(1, min(5, m - 1)))
    near = [
        draw(st.permutations([other for other in range(m) if other != row]))[:k] for row in range(m)
    ]
    labels = draw(st.lists(st.sampled_from(["ant", "bee", "cow"]), min_size=m, max_size=m))
    steps = st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=k, max_size=k)
    distances = np.sort([draw(steps) for _ in range(m)], axis=1)
    ids = draw(st.permutations([f"{row:02}" for row in range(m)]))
    weights = np.array([draw(st.permutations([1.0, 0.5, 0.25, 1.0, 0.5]))[:k] for _ in range(m)])
    return LeaveOneOut(objects(ids), objects(labels), np.array(near), distances, weights)


def judge(
    judged: LeaveOneOut, trusted: set[int], trusted_min: int
) -> dict[int, tuple[str, Fraction]]:
    """Map suspects, by the votes of the ``trusted``, to the proposed label and its lead."""
    labels = judged.labels.tolist()
    votes: list[dict[str, Fraction]] = [{} for _ in labels]
    for row, near in enumerate(judged.neighbors.tolist()):
        for other, weight in zip(near, judged.weights[row].tolist(), strict=True):
            for hearer, voter in ((row, other), (other, row)):
                vote = Fraction(weight) * (voter in trusted)
                votes[hearer][labels[voter]] = votes[hearer].get(labels[voter], Fraction(0)) + vote
    heard = [row for row, label in enumerate(labels) if labels.count(label) >= trusted_min]
    share = {
        row: {label: count / (sum(votes[row].values()) or 1) for label, count in votes[row].items()}
        for row in heard
    }
    own = {row: share[row].pop(labels[row], Fraction(0)) for row in heard}
    bar = Fraction(LEAD) * sum(own.values()) / max(1, len(heard))
    found = {}
    for row in heard:
        if share[row]:
            best = min(share[row], key=lambda label: (-share[row][label], label))
            margin = share[row][best] - own[row]
            if margin > 0 and margin >= bar:
                found[row] = (best, margin)
    return found


@given(memories(), st.integers(1, 4))
def test_suspects_are_those_of_a_loop_that_judges_twice(
    judged: LeaveOneOut, trusted_min: int
) -> None:
    found = suspects(judged, lead=LEAD, trusted_min=trusted_min)

    everyone = set(range(len(judged.ids)))
    trusted = everyone - judge(judged, everyone, trusted_min).keys()
    expected = judge(judged, trusted, trusted_min)
    assert {suspect.id: suspect.proposed for suspect in found} == {
        judged.ids[row]: label for row, (label, _) in expected.items()
    }
    scores = {judged.ids[row]: float(margin) for row, (_, margin) in expected.items()}
    assert {suspect.id: suspect.score for suspect in found} == pytest.approx(scores)
    assert found == sorted(found, key=lambda suspect: (-suspect.score, suspect.id))


@pytest.mark.parametrize("flips", [1, 10, 30])
def test_suspects_are_the_entries_with_a_wrong_label_and_the_right_one_is_proposed(
    flips: int,
) -> None:
    judged, wrong = noisy(flips)

    found = suspects(judged)

    assert {suspect.id: suspect.proposed for suspect in found} == wrong
    labels = dict(zip(judged.ids, judged.labels, strict=True))
    assert all(suspect.label == labels[suspect.id] for suspect in found)


def test_where_labels_are_right_nobody_is_suspect() -> None:
    assert suspects(noisy(0)[0]) == []


def test_suspects_keep_their_bits_in_whatever_order_the_entries_stand() -> None:
    judged, _ = noisy(30)

    found = [
        suspects(reordered(judged, np.random.default_rng(seed).permutation(100)))
        for seed in range(5)
    ]

    assert found == [suspects(judged)] * 5


def test_a_reason_counts_every_entry_near_it_once_but_those_that_are_suspect_themselves() -> None:
    labels = ["wolf"] * 5 + ["dog"] * 6 + ["wolf"] * 2
    near = [[(row + step) % 5 for step in (1, 2, 3)] for row in range(5)]
    near += [[5 + (row + step) % 6 for step in (1, 2, 3)] for row in range(6)]
    near += [[5, 6, 12], [7, 8, 11]]
    near[0][2], near[5][2] = 11, 11  # a wolf and a dog that it is near to
    ids = objects([f"{row:02}" for row in range(13)])
    weights = np.tile([1.0, 1.0, 0.125], (13, 1))

    found = suspects(LeaveOneOut(ids, objects(labels), np.array(near), weights, weights))

    assert {suspect.id: suspect.reason for suspect in found} == {
        "11": "2 of its 3 neighbours are labelled dog, 1 wolf",
        "12": "all of its 2 neighbours are labelled dog",
    }


def test_a_wider_lead_accuses_fewer() -> None:
    judged, _ = noisy(40)
    narrow, wide = ({one.id for one in suspects(judged, lead=lead)} for lead in (0.05, 1.0))

    assert wide < narrow


def test_entries_of_a_thin_label_are_not_judged() -> None:
    labels = ["cat"] * 20 + ["dog"] * 16 + ["rare"] * 4
    judged = leave_one_out(crowds([20, 20]), labels, k=8)

    accused = {
        trusted_min: {suspect.label for suspect in suspects(judged, trusted_min=trusted_min)}
        for trusted_min in (4, 5)
    }

    assert accused == {4: {"rare"}, 5: set()}
    assert assessment.thin_labels(judged.labels) == {"rare": 4}
    assert assessment.thin_labels(judged.labels, trusted_min=16) == {"rare": 4}
    assert assessment.thin_labels(judged.labels, trusted_min=17) == {"dog": 16, "rare": 4}


def test_where_all_labels_are_thin_nobody_is_suspect() -> None:
    judged = leave_one_out(crowds([4, 4]), list("abcdefgh"), k=3)

    assert suspects(judged) == []


@given(memories())
def test_a_prediction_is_what_the_neighbours_decide(judged: LeaveOneOut) -> None:
    heard = judged.labels[judged.neighbors]
    ids = judged.ids[judged.neighbors]

    predicted = assessment.predictions(judged)

    decided = decide(Neighbors(ids, heard, judged.distances), lambda _: judged.weights)
    assert predicted.tolist() == [decision.label for decision in decided]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_accuracies_and_confusion_are_counts(pairs: list[tuple[str, str]]) -> None:
    labels, predicted = (objects(column) for column in zip(*pairs, strict=True))

    table = assessment.confusion(labels, predicted)
    rows = assessment.label_accuracies(labels, predicted)

    counted = Counter(pairs)
    assert {(a, b): count for a, row in table.items() for b, count in row.items()} == counted
    assert list(table) == [row.label for row in rows] == sorted({label for label, _ in pairs})
    for label, row in table.items():
        assert list(row.items()) == sorted(row.items(), key=lambda cell: (-cell[1], cell[0]))
        total = sum(row.values())
        accuracy = counted[label, label] / total
        assert LabelAccuracy(label, total, accuracy) in rows
    hits = sum(label == guess for label, guess in pairs)
    assert assessment.accuracy(labels, predicted) == hits / len(pairs)


@given(memories(), st.sampled_from([0.0, 0.25, 0.5]))
def test_conflicts_are_the_close_pairs_with_different_labels(
    judged: LeaveOneOut, tolerance: float
) -> None:
    distances = np.abs(judged.neighbors - np.arange(len(judged.ids))[:, np.newaxis]) / 16
    judged = LeaveOneOut(judged.ids, judged.labels, judged.neighbors, distances, judged.weights)

    found = assessment.conflicts(judged, tolerance=tolerance)

    expected = set()
    for row, near in enumerate(judged.neighbors):
        for other, distance in zip(near, distances[row], strict=True):
            if distance <= tolerance and judged.labels[row] != judged.labels[other]:
                pair = sorted([row, other], key=lambda at: judged.ids[at])
                ids, labels = (
                    (column[pair[0]], column[pair[1]]) for column in (judged.ids, judged.labels)
                )
                expected.add(Conflict(ids, labels, distance))
    assert found == sorted(expected, key=lambda conflict: (conflict.distance, conflict.ids))


def test_a_picture_kept_twice_with_two_labels_is_a_conflict_at_distance_0() -> None:
    vectors = crowds([5, 5])
    vectors[9] = vectors[2]
    judged = leave_one_out(vectors, ["cat"] * 5 + ["dog"] * 5, k=3)

    found = assessment.conflicts(judged, tolerance=1e-5)

    assert [(conflict.ids, conflict.labels) for conflict in found] == [
        (("002", "009"), ("cat", "dog"))
    ]
    assert abs(found[0].distance) <= 4e-6


@pytest.mark.parametrize("lead", [0.0, 1.1, float("nan")])
def test_a_lead_is_a_share(lead: float) -> None:
    with pytest.raises(BadParameter, match="lead must be "):
        suspects(noisy(0)[0], lead=lead)


@pytest.mark.parametrize("tolerance", [-0.1, 2.1, float("nan")])
def test_a_tolerance_is_a_distance(tolerance: float) -> None:
    with pytest.raises(BadParameter, match="tolerance must be "):
        assessment.conflicts(noisy(0)[0], tolerance=tolerance)
