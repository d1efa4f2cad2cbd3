"""Labels are judged as a plain loop would judge them, in any order of entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.curation.crowds import crowds, leave_one_out, memories, objects

from visual_memory_index import unit_rows
from visual_memory_index.curation import judgement
from visual_memory_index.curation.assessment import LeaveOneOut
from visual_memory_index.curation.judgement import LabelJudgement, judge
from visual_memory_index.heads.statistics import SCALE, quantized

LEAD = 0.7123  # with which no two probabilities tie
NAMES = ("cat", "dog", "fox", "owl")

Vectors = NDArray[np.float32]


def reordered(judged: LeaveOneOut, order: NDArray[np.intp]) -> LeaveOneOut:
    return LeaveOneOut(
        judged.ids[order],
        judged.labels[order],
        np.argsort(order)[judged.neighbors[order]],
        judged.distances[order],
        judged.weights[order],
    )


def noisy(flips: int, *, spread: float = 0.1) -> tuple[LeaveOneOut, Vectors, dict[str, str]]:
    """Return four crowds of 25 with ``flips`` wrong labels, and the right label of each by id."""
    rng = np.random.default_rng(0)
    truth = np.repeat(NAMES, 25).tolist()
    labels = list(truth)
    for row in rng.choice(100, flips, replace=False):
        labels[row] = rng.choice([label for label in NAMES if label != truth[row]])
    vectors = crowds([25] * 4, spread)
    judged = leave_one_out(vectors, labels, k=8)
    wrong = {judged.ids[row]: truth[row] for row in range(100) if truth[row] != labels[row]}
    return judged, vectors, wrong


def suspects_of(judged: LeaveOneOut, vectors: Vectors, **how: float) -> dict[str, str]:
    """Map the ids of suspects to the proposed labels."""
    found = judge(judged, vectors.__getitem__, **how)  # type: ignore[arg-type]
    return {each.id: each.proposed for each in found if each.suspect}


def votes_on(row: int, judged: LeaveOneOut, trusted: set[int]) -> dict[str, float]:
    """Return each label's share of the votes of ``trusted`` entries on an entry."""
    votes: dict[str, float] = {}
    for asking, near in enumerate(judged.neighbors.tolist()):
        for other, weight in zip(near, judged.weights[asking].tolist(), strict=True):
            for hearer, voter in ((asking, other), (other, asking)):
                if hearer == row and voter in trusted:
                    label = judged.labels[voter]
                    votes[label] = votes.get(label, 0.0) + weight
    return {label: count / sum(votes.values()) for label, count in votes.items()}


def likeness_to(
    row: int, labels: Sequence[str], x: NDArray[np.float64], trusted: set[int]
) -> dict[str, float]:
    """Return the softmax of cosines to the means of ``trusted`` entries without the entry."""
    means = {}
    for label in sorted(set(labels)):
        of_label = [at for at in trusted - {row} if labels[at] == label]
        if of_label:
            means[label] = x[of_label].mean(axis=0)
    centre = np.mean(list(means.values()), axis=0)
    powers = {}
    for label, mean in means.items():
        lengths = float(np.linalg.norm(mean - centre) * np.linalg.norm(x[row] - centre))
        cosine = float((mean - centre) @ (x[row] - centre)) / lengths if lengths > 1e-9 else 0.0
        powers[label] = math.exp(cosine / 0.07)
    return {label: power / sum(powers.values()) for label, power in powers.items()}


def loop(
    judged: LeaveOneOut, vectors: Vectors, trusted: set[int], trusted_min: int
) -> dict[int, tuple[str, float, float, bool]]:
    """Map rows to the likeliest other label, its and the own label's probability, and suspicion."""
    labels, x = judged.labels.tolist(), quantized(vectors) / SCALE
    found = {}
    for row, label in enumerate(labels):
        votes = votes_on(row, judged, trusted)
        alike = likeness_to(row, labels, x, trusted)
        both = {name: votes.get(name, 0.0) + alike.get(name, 0.0) for name in set(labels)}
        own = both.pop(label)
        rival = min(both, key=lambda name: (-both[name], name))
        found[row] = (rival, both[rival], own)
    counted = [row for row in found if labels.count(labels[row]) >= trusted_min]
    bar = LEAD * np.mean([found[row][2] for row in counted]) if counted else math.inf
    return {
        row: (rival, p, own, row in counted and bool(p - own >= bar))
        for row, (rival, p, own) in found.items()
    }


@given(memories(), st.integers(1, 4), st.integers(0, 1000))
def test_judgements_are_those_of_a_loop_that_judges_three_times(
    judged: LeaveOneOut, trusted_min: int, seed: int
) -> None:
    labels = judged.labels.tolist()
    if len(set(labels)) == 1:
        labels[0] = judged.labels[0] = "dee"
    vectors = unit_rows(
        np.random.default_rng(seed).standard_normal((len(labels), 5)).astype(np.float32)
    )

    with patch.object(judgement, "LEAD", LEAD):
        found = judge(judged, vectors.__getitem__, trusted_min=trusted_min)

    trusted = set(range(len(labels)))
    for _ in range(3):
        verdict = loop(judged, vectors, trusted, trusted_min)
        score = {row: p / (p + own) for row, (_, p, own, _) in verdict.items()}
        trusted = set(verdict)
        for label in set(labels):
            named = [row for row in verdict if verdict[row][3] and labels[row] == label]
            named.sort(key=lambda row: (-score[row], judged.ids[row]))
            left_out = labels.count(label) // 2
            for last, first in zip(named[:left_out][-1:], named[left_out:], strict=False):
                beyond_doubt = verdict[last][2] == verdict[first][2] == 0.0
                assume(beyond_doubt or score[last] - score[first] > 1e-12)
            trusted -= set(named[:left_out])
    assert {each.id: (each.label, each.suspect) for each in found} == {
        judged.ids[row]: (labels[row], verdict[row][3]) for row in verdict
    }
    scores = {judged.ids[row]: score[row] for row in verdict}
    assert {each.id: each.score for each in found} == pytest.approx(scores, abs=1e-7)
    assert found == sorted(found, key=lambda each: (-each.score, each.id))
    by_id = dict(zip(judged.ids, range(len(labels)), strict=True))
    for each in found:
        if each.score > 1e-6:  # else all other labels are as good as impossible
            assert each.proposed == verdict[by_id[each.id]][0]


@pytest.mark.parametrize("flips", [1, 10, 30])
def test_suspects_are_the_entries_with_a_wrong_label_and_the_right_one_is_proposed(
    flips: int,
) -> None:
    judged, vectors, wrong = noisy(flips)

    found = judge(judged, vectors.__getitem__)

    assert {each.id: each.proposed for each in found if each.suspect} == wrong
    assert {each.id for each in found[:flips]} == wrong.keys()
    labels = dict(zip(judged.ids, judged.labels, strict=True))
    assert {each.id: each.label for each in found} == labels


def test_wrong_labels_that_agree_with_each_other_are_suspect() -> None:
    labels = np.repeat(NAMES, 25).tolist()
    labels[:8] = ["dog"] * 8
    vectors = crowds([25] * 4)
    judged = leave_one_out(vectors, labels, k=8)

    assert suspects_of(judged, vectors) == {f"{row:03}": "cat" for row in range(8)}


def test_where_labels_are_right_nobody_is_suspect() -> None:
    judged, vectors, _ = noisy(0)

    assert suspects_of(judged, vectors) == {}


def test_judgements_keep_their_bits_in_whatever_order_the_entries_stand() -> None:
    judged, vectors, _ = noisy(30)

    def found(seed: int) -> list[LabelJudgement]:
        order = np.random.default_rng(seed).permutation(100)
        return judge(reordered(judged, order), vectors[order].__getitem__)

    assert [found(seed) for seed in range(5)] == [judge(judged, vectors.__getitem__)] * 5


def test_judgements_keep_their_bits_however_many_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged, vectors, _ = noisy(30)
    expected = judge(judged, vectors.__getitem__)

    monkeypatch.setattr(judgement, "ROWS_AT_ONCE", 7)

    assert judge(judged, vectors.__getitem__) == expected


def test_a_reason_counts_every_entry_near_it_once_but_those_that_are_suspect_themselves() -> None:
    labels = ["wolf"] * 5 + ["dog"] * 6 + ["wolf"] * 2
    near = [[(row + step) % 5 for step in (1, 2, 3)] for row in range(5)]
    near += [[5 + (row + step) % 6 for step in (1, 2, 3)] for row in range(6)]
    near += [[5, 6, 12], [7, 8, 11]]
    near[0][2], near[5][2] = 11, 11  # a wolf and a dog that it is near to
    ids = objects([f"{row:02}" for row in range(13)])
    weights = np.tile([1.0, 1.0, 0.125], (13, 1))
    vectors = np.eye(2, dtype=np.float32)[[0] * 5 + [1] * 8]

    found = judge(
        LeaveOneOut(ids, objects(labels), np.array(near), weights, weights), vectors.__getitem__
    )

    reasons = {each.id: each.reason for each in found}
    assert [each.id for each in found if each.suspect] == ["12", "11"]
    assert reasons["11"] == "2 of its 3 neighbours are labelled dog, 1 wolf"
    assert reasons["12"] == "all of its 2 neighbours are labelled dog"
    assert reasons["02"] == "none of its 4 neighbours are labelled dog, 4 wolf"


def test_a_reason_says_what_speaks_for_a_label_that_fewer_neighbours_have() -> None:
    labels = ["wolf"] * 5 + ["dog"] * 6 + ["wolf"]
    near = [[(row + step) % 5 for step in (1, 2, 3)] for row in range(5)]
    near += [[5 + (row + step) % 6 for step in (1, 2, 3)] for row in range(6)]
    near += [[5, 0, 1]]
    weights = np.array([[1.0, 1.0, 1.0]] * 11 + [[1.0, 0.1, 0.1]])
    vectors = np.eye(2, dtype=np.float32)[[0] * 5 + [1] * 7]
    ids = objects([f"{row:02}" for row in range(12)])

    (suspect,) = (
        each
        for each in judge(
            LeaveOneOut(ids, objects(labels), np.array(near), weights, weights),
            vectors.__getitem__,
        )
        if each.suspect
    )

    assert (suspect.id, suspect.proposed) == ("11", "dog")
    assert suspect.reason == (
        "1 of its 3 neighbours are labelled dog, 2 wolf; by nearness and class means dog is "
        "likelier"
    )


def test_a_reason_says_what_decides_where_as_many_neighbours_have_either_label() -> None:
    reason = judgement._reason("cat", "dog", True, 3, 3, 8)

    assert reason == (
        "3 of its 8 neighbours are labelled dog, 3 cat; by nearness and class means dog is likelier"
    )


def test_the_lead_of_a_suspect_is_that_of_the_documents() -> None:
    documents = Path(__file__).resolve().parents[3] / "docs"

    assert f"{judgement.LEAD} times" in (documents / "api/curation.md").read_text()


def test_entries_of_a_thin_label_are_never_suspect() -> None:
    labels = ["cat"] * 20 + ["dog"] * 16 + ["rare"] * 4
    vectors = crowds([20, 20])
    judged = leave_one_out(vectors, labels, k=8)

    suspects = {
        trusted_min: set(suspects_of(judged, vectors, trusted_min=trusted_min).values())
        for trusted_min in (4, 5)
    }

    assert suspects == {4: {"dog"}, 5: set()}


def test_where_all_labels_are_thin_nobody_is_suspect() -> None:
    vectors = crowds([4, 4])

    assert suspects_of(leave_one_out(vectors, list("abcdefgh"), k=3), vectors) == {}


def test_where_there_is_one_label_it_is_beyond_doubt() -> None:
    vectors = crowds([6])

    found = judge(leave_one_out(vectors, ["cat"] * 6, k=3), vectors.__getitem__)

    assert {(each.proposed, each.score, each.suspect) for each in found} == {("cat", 0.0, False)}
