"""A memory is assessed as a plain loop would assess it, in any order of entries."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.index.curation.crowds import crowds, leave_one_out, memories, objects

from visual_memory_index.curation import assessment
from visual_memory_index.curation.assessment import (
    NEAR_DUPLICATE,
    Conflict,
    LabelAccuracy,
    LeaveOneOut,
)


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


@given(memories(), st.sampled_from([0.0, NEAR_DUPLICATE / 4, NEAR_DUPLICATE]))
def test_conflicts_are_the_close_pairs_with_different_labels(
    judged: LeaveOneOut, step: float
) -> None:
    distances = np.abs(judged.neighbors - np.arange(len(judged.ids))[:, np.newaxis]) * step
    judged = LeaveOneOut(judged.ids, judged.labels, judged.neighbors, distances, judged.weights)

    found = assessment.conflicts(judged)

    expected = set()
    for row, near in enumerate(judged.neighbors):
        for other, distance in zip(near, distances[row], strict=True):
            if distance <= NEAR_DUPLICATE and judged.labels[row] != judged.labels[other]:
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

    found = assessment.conflicts(judged)

    assert [(conflict.ids, conflict.labels) for conflict in found] == [
        (("002", "009"), ("cat", "dog"))
    ]
    assert abs(found[0].distance) <= 4e-6


def test_labels_of_few_entries_are_thin() -> None:
    labels = objects(["cat"] * 20 + ["dog"] * 16 + ["rare"] * 4)

    assert assessment.thin_labels(labels) == {"rare": 4}
    assert assessment.thin_labels(labels, trusted_min=16) == {"rare": 4}
    assert assessment.thin_labels(labels, trusted_min=17) == {"dog": 16, "rare": 4}
