"""Calibrated confidences, label sets and rejection, asked of a real server."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import RemoteMemory
from tests.service.conftest import Run, text
from tests.service.decisions import film

import visual_memory
import visual_memory_index as index
from visual_memory import Client, FailedPrecondition, InvalidArgument, Memory
from visual_memory.options import Conformal, CoverageBy, Head
from visual_memory_index import Catalog, Rule, calibration_error, fit, unit_rows
from visual_memory_index.curation.folds import FOLDS, one_of_each, sample
from visual_memory_index.heads.statistics import SCALE, quantized
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.votes.conformal import SCORES, draw_for
from visual_memory_service.decisions.calibration import (
    SETTING,
    Calibration,
    calibrate_memory,
    held_out_error,
    own_shares,
)

if TYPE_CHECKING:
    from tests.conftest import Start

LABELS = [str(label) for label in np.random.default_rng(1).integers(0, 4, 300)]
CENTRES = np.random.default_rng(0).normal(size=(4, 16))
NOISE = np.random.default_rng(2).normal(size=(300, 16))
ROWS = CENTRES[[int(label) for label in LABELS]] + 1.5 * NOISE
UNITS = unit_rows(ROWS.astype(np.float32))
KNOWN, HELD, ASKED = slice(0, 150), slice(150, 230), slice(230, 300)
KNOWN_ROWS = list(range(150))


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 150 entries of four labels."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS[KNOWN], labels=LABELS[KNOWN])
    return crowd


def test_a_decision_carries_only_what_was_asked_for(crowd: Memory) -> None:
    crowd.calibrate(k=20)

    (plain,) = crowd.classify(vectors=ROWS[:1], k=20)
    (sure,) = crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)
    (several,) = crowd.classify(vectors=ROWS[:1], k=20, coverage=0.9)

    assert (plain.calibrated_confidence, plain.rejected, plain.label_set) == (None, False, None)
    assert sure.calibrated_confidence is not None
    assert 0 <= sure.calibrated_confidence <= 1
    assert (sure.label_set, several.calibrated_confidence) == (None, None)
    assert several.label_set is not None
    assert plain.label in several.label_set
    assert (
        (plain.label, plain.scores) == (sure.label, sure.scores) == (several.label, several.scores)
    )


def test_a_larger_share_of_the_vote_is_never_less_sure(crowd: Memory) -> None:
    crowd.calibrate(k=20)
    decisions = crowd.classify(vectors=ROWS[ASKED], k=20, calibrated=True)

    pairs = sorted((d.confidence, d.calibrated_confidence or 0.0) for d in decisions)

    assert [sure for _, sure in pairs] == sorted(sure for _, sure in pairs)


def class_means(rows: np.ndarray, labels: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the labels, and the mean of the vectors of each: float64 (L, d)."""
    names, codes = np.unique(labels, return_inverse=True)
    exact = quantized(rows) / SCALE
    return names.tolist(), np.array([exact[codes == at].mean(axis=0) for at in range(len(names))])


def head_shares(queries: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the softmax, at a temperature of 0.05, of the cosines from the means' centre."""
    directions, z = means - means.mean(axis=0), quantized(queries) / SCALE - means.mean(axis=0)
    lengths = np.linalg.norm(z, axis=1)[:, None] * np.linalg.norm(directions, axis=1)
    weights = np.exp(z @ directions.T / lengths / 0.05)
    result: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return result


def scores_by_formula(
    rule: str, decision: visual_memory.Decision, row: np.ndarray, names: list[str], by_head: Any
) -> dict[str, float]:
    """Return the score of every label, the lowest first."""
    scores = dict(zip(names, (2.0 - by_head).tolist(), strict=True))
    scores |= SCORES[rule](decision.scores, draw_for(row))
    return dict(sorted(scores.items(), key=lambda pair: pair[1]))


def limit_of(scores: list[float], coverage: float) -> float:
    rank = math.ceil(round(coverage * (len(scores) + 1), 9))
    return sorted(scores)[rank - 1] if rank <= len(scores) else math.inf


@pytest.mark.parametrize("rule", sorted(SCORES))
@pytest.mark.parametrize("allow_empty", [False, True])
@pytest.mark.parametrize(("k", "coverage"), [(20, 0.8), (2, 0.9)])
@pytest.mark.parametrize("coverage_by", ["all", "label"])
def test_label_sets_are_those_of_the_calibration_given(
    crowd: Memory,
    rule: Conformal,
    allow_empty: bool,
    k: int,
    coverage: float,
    coverage_by: CoverageBy,
) -> None:
    crowd.calibrate(k=k, vectors=ROWS[HELD], labels=LABELS[HELD])
    names, means = class_means(UNITS[KNOWN], LABELS[KNOWN])
    own = defaultdict(list)
    held = crowd.classify(vectors=ROWS[HELD], k=k)
    shares = head_shares(UNITS[HELD], means)
    for decision, row, label, by_head in zip(held, UNITS[HELD], LABELS[HELD], shares, strict=True):
        own[label].append(scores_by_formula(rule, decision, row, names, by_head)[label])
    of_all = limit_of(list(chain.from_iterable(own.values())), coverage)
    limits = {label: of_all for label in names}
    if coverage_by == "label":
        for label, found in own.items():
            limit = limit_of(found, coverage)
            limits[label] = limit if limit < math.inf else max(*found, of_all)

    asked = crowd.classify(
        vectors=ROWS[ASKED],
        k=k,
        coverage=coverage,
        coverage_by=coverage_by,
        conformal=rule,
        allow_empty=allow_empty,
    )

    shares = head_shares(UNITS[ASKED], means)
    for decision, row, by_head in zip(asked, UNITS[ASKED], shares, strict=True):
        scores = scores_by_formula(rule, decision, row, names, by_head)
        assert decision.label_set == [
            label
            for label, score in scores.items()
            if score <= limits[label] + 1e-9 or (label == decision.label and not allow_empty)
        ]


HEADED: list[dict[str, Any]] = [
    {"head": "means"},
    {"head": "means", "blend": 1.0, "balance": 0.5, "head_temperature": 0.2},
    {"head": "discriminants", "ridge": 0.5},
    {"head": "discriminants", "blend": 0.9, "balance": 1.0, "voting": "softmax"},
]


def assert_calibrated_by(
    crowd: Memory,
    how: Any,
    found: visual_memory.Calibration,
    calibration: list[tuple[visual_memory.Decision, np.ndarray, str]],
    names: list[str],
    means: np.ndarray,
) -> None:
    """Check confidences and sets against calibration decisions, with their queries and labels.

    All labels with a share have a score in a decision, as k is more than there are labels.
    """
    confidences = np.array([decision.confidence for decision, _, _ in calibration])
    right = np.array([decision.label == label for decision, _, label in calibration])
    curve = fit(confidences, right)
    own = [
        SCORES["lac"](decision.scores, 0.0).get(label, 2.0) for decision, _, label in calibration
    ]
    limit = limit_of(own, 0.9)

    asked = crowd.classify(vectors=ROWS[ASKED], calibrated=True, coverage=0.9, **how)

    assert found.error_before == pytest.approx(calibration_error(confidences, right), abs=1e-6)
    assert found.rule.head == how["head"]
    plain = crowd.classify(vectors=ROWS[ASKED], **how)
    shares = head_shares(UNITS[ASKED], means)
    for decision, as_usual, row, by_means in zip(asked, plain, UNITS[ASKED], shares, strict=True):
        assert (decision.label, decision.scores) == (as_usual.label, as_usual.scores)
        expected = curve.apply(np.array([decision.confidence]))[0]
        assert decision.calibrated_confidence == pytest.approx(expected, abs=1e-6)
        scores = scores_by_formula("lac", decision, row, names, by_means)
        assert decision.label_set == [
            label
            for label, score in scores.items()
            if score <= limit + 1e-9 or label == decision.label
        ]


@pytest.mark.parametrize("head", HEADED)
def test_a_decision_by_a_head_is_calibrated_by_queries(crowd: Memory, head: dict[str, Any]) -> None:
    how: Any = {"k": 20, **head}
    found = crowd.calibrate(vectors=ROWS[HELD], labels=LABELS[HELD], **how)

    held = crowd.classify(vectors=ROWS[HELD], **how)
    names, means = class_means(UNITS[KNOWN], LABELS[KNOWN])
    calibration = list(zip(held, UNITS[HELD], LABELS[HELD], strict=True))
    assert_calibrated_by(crowd, how, found, calibration, names, means)


@pytest.mark.parametrize("head", HEADED)
def test_a_decision_by_a_head_is_calibrated_by_entries_that_never_knew_themselves(
    crowd: Memory, head: dict[str, Any]
) -> None:
    how: Any = {"k": 20, **head}
    crowd.insert(vectors=ROWS[HELD][:1], labels=["alone"], ids=["alone"])
    rows, labels = [*KNOWN_ROWS, HELD.start], [*LABELS[KNOWN], "alone"]

    found = crowd.calibrate(**how)

    ids = [entry.id for entry in crowd.entries()]
    by_vector = {entry.id: entry.vector for entry in crowd.entries(include_vectors=True)}
    at = {bytes(UNITS[row]): number for number, row in enumerate(rows)}
    order = [at[np.asarray(by_vector[id]).tobytes()] for id in ids]
    calibration = []
    for id, number in zip(ids, order, strict=True):
        row = rows[number]
        [decision] = crowd.classify(vectors=ROWS[[row]], exclude_ids=[id], **how)
        calibration.append((decision, UNITS[row], labels[number]))
    names, means = class_means(UNITS[rows], labels)
    assert_calibrated_by(crowd, how, found, calibration, names, means)


def test_a_calibration_with_a_head_is_of_that_head_alone(crowd: Memory) -> None:
    crowd.calibrate(k=20, head="discriminants", ridge=0.5)
    state = crowd.info().calibration
    assert state is not None
    assert (state.rule.head, state.rule.ridge, state.rule.blend) == ("discriminants", 0.5, 0.5)
    assert state.rule.temperature is None

    wishes: list[dict[str, Any]] = [
        {},
        {"head": "means"},
        {"head": "discriminants"},
        {"head": "discriminants", "ridge": 0.5, "blend": 0.4},
        {"head": "discriminants", "ridge": 0.5, "head_temperature": 0.1},
    ]
    fitted = "is calibrated for --k 20 --voting rank --balance 0 --head discriminants --ridge 0.5 "
    for wish in wishes:
        with pytest.raises(FailedPrecondition, match=fitted):
            crowd.classify(vectors=ROWS[:1], k=20, calibrated=True, **wish)
    assert crowd.classify(vectors=ROWS[:1], k=20, calibrated=True, head="discriminants", ridge=0.5)


def test_votes_and_class_means_of_a_decision_are_of_one_moment(crowd: Memory) -> None:
    """Half of the entries come and go; a distance of both halves is in neither state."""
    ids = [entry.id for entry in crowd.entries()]
    vectors = {each.id: each.vector for each in crowd.entries(include_vectors=True)}
    labels = {each.id: each.label for each in crowd.entries()}
    gone = ids[::2]
    wish: Any = {"vectors": ROWS[ASKED], "k": 3, "calibrated": True, "coverage": 0.97}
    crowd.calibrate(k=3, vectors=ROWS[HELD], labels=LABELS[HELD])
    states = [crowd.classify(**wish)]
    crowd.delete(gone)
    states.append(crowd.classify(**wish))
    fields = [[(d.label, d.scores, d.rejected, d.label_set) for d in state] for state in states]
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            crowd.insert(
                vectors=np.array([vectors[id] for id in gone]),
                labels=[labels[id] for id in gone],
                ids=gone,
            )
            crowd.delete(gone)

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        try:
            for _ in range(60):
                answer = [
                    (d.label, d.scores, d.rejected, d.label_set) for d in crowd.classify(**wish)
                ]
                assert answer in fields
        finally:
            over.set()
        changing.result()
    assert fields[0] != fields[1]


def test_a_set_beyond_the_votes_is_not_all_labels(client: Client, empty: RemoteMemory) -> None:
    """Forty labels of six entries, asked with k = 2: every tenth right label has no vote."""
    rng = np.random.default_rng(5)
    labels = np.repeat([f"{at:02}" for at in range(40)], 10)
    rows = np.repeat(rng.normal(size=(40, 16)), 10, axis=0) + 0.9 * rng.normal(size=(400, 16))
    kept = np.arange(400) % 10 < 6
    crowd = client.create_memory(f"{empty.name}z", dimension=16)
    crowd.insert(vectors=rows[kept], labels=labels[kept].tolist())
    crowd.calibrate(k=2, voting="plurality")

    sizes, covered = [], []
    for coverage in (0.8, 0.9, 0.95):
        decisions = crowd.classify(vectors=rows[~kept], k=2, voting="plurality", coverage=coverage)
        sets = [decision.label_set or [] for decision in decisions]
        sizes.append(np.mean([len(each) for each in sets]))
        covered.append(np.mean([a in each for a, each in zip(labels[~kept], sets, strict=True)]))

    voted = np.mean([len(decision.scores) for decision in decisions])
    assert sizes == sorted(sizes)
    assert voted < sizes[-1] < 10
    assert (np.array(covered) >= np.array([0.75, 0.85, 0.9])).all()


def test_a_label_that_the_votes_miss_is_covered_too_if_that_is_asked(
    client: Client, empty: RemoteMemory
) -> None:
    """A rare label in the midst of a frequent one, of which few neighbours vote for it."""
    rng = np.random.default_rng(6)
    labels = np.array((["often"] * 9 + ["rare"]) * 60)
    rows = rng.normal(size=(600, 16)) + np.where(labels == "rare", 0.6, 0.0)[:, None] + 1.0
    known, held, asked = slice(0, 300), slice(300, 450), slice(450, 600)
    crowd = client.create_memory(f"{empty.name}z", dimension=16)
    crowd.insert(vectors=rows[known], labels=labels[known].tolist())
    crowd.calibrate(k=20, vectors=rows[held], labels=labels[held].tolist())

    covered = {}
    for coverage_by in ("all", "label"):
        decisions = crowd.classify(vectors=rows[asked], k=20, coverage=0.9, coverage_by=coverage_by)
        inside = np.array(
            [
                label in (decision.label_set or [])
                for label, decision in zip(labels[asked], decisions, strict=True)
            ]
        )
        covered[coverage_by] = float(inside[labels[asked] == "rare"].mean())

    assert covered["all"] < 0.6
    assert covered["label"] >= 0.8


def test_too_high_a_coverage_for_so_few_gives_all_labels(crowd: Memory) -> None:
    crowd.calibrate(k=20, vectors=ROWS[HELD], labels=LABELS[HELD])

    (decision,) = crowd.classify(vectors=ROWS[:1], k=20, coverage=0.999)

    assert decision.label_set is not None
    assert sorted(decision.label_set) == ["0", "1", "2", "3"]


def test_what_is_unlike_anything_is_rejected_with_the_nearest_label(crowd: Memory) -> None:
    calibration = crowd.calibrate(k=20)
    asked = np.concatenate([ROWS[ASKED], -CENTRES, NOISE[ASKED]])

    decisions = crowd.classify(vectors=asked, k=20, calibrated=True)

    _, means = class_means(UNITS[KNOWN], LABELS[KNOWN])
    gaps = quantized(unit_rows(asked.astype(np.float32)))[:, None] / SCALE - means
    to_means = np.square(gaps).sum(axis=2).min(axis=1) / 2
    nearest = np.array([decision.neighbors.distances[0] for decision in decisions])
    far = (nearest + to_means) / 2 > calibration.rejection_distance
    assert [decision.rejected for decision in decisions] == far.tolist()
    assert far[:70].mean() < 0.1 < far[70:].mean()
    assert all(decision.label in decision.scores for decision in decisions)


def test_95_percent_of_the_entries_lie_within_the_rejection_distance_of_the_others(
    crowd: Memory,
) -> None:
    calibration = crowd.calibrate(k=20)

    exact = quantized(UNITS[KNOWN]) / SCALE
    distances = []
    for at, entry in enumerate(crowd.entries()):
        others = np.arange(150) != at
        _, means = class_means(UNITS[KNOWN][others], list(np.array(LABELS[KNOWN])[others]))
        [found] = crowd.search(vectors=ROWS[[at]], k=1, exclude_ids=[entry.id])
        to_mean = np.square(exact[at] - means).sum(axis=1).min() / 2
        distances.append((found.distances[0] + to_mean) / 2)

    assert calibration.rejection_distance == pytest.approx(sorted(distances)[142], abs=1e-6)


def test_of_the_calibration_queries_those_beyond_the_distance_are_rejected_and_not_the_one_at_it(
    crowd: Memory,
) -> None:
    asked = ROWS[150:200]
    crowd.calibrate(k=20, vectors=asked, labels=LABELS[150:200])

    decisions = crowd.classify(vectors=asked, k=20, calibrated=True)

    assert sum(each.rejected for each in decisions) == 50 - 48  # ⌈0.95 · 50⌉ are not


def test_edits_make_a_calibration_stale_and_it_says_so(crowd: Memory) -> None:
    assert crowd.info().calibration is None
    crowd.calibrate(k=20)
    state = crowd.info().calibration
    assert state is not None
    assert (state.rule.k, state.rule.voting, state.stale) == (20, "rank", False)
    assert not crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)[0].calibration_stale

    crowd.insert(vectors=ROWS[:1], labels=["new"])

    state = crowd.info().calibration
    assert state is not None
    assert state.stale
    assert crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)[0].calibration_stale


@pytest.mark.parametrize("group_by", ["", "scene"])
def test_a_calibration_is_of_the_entries_that_were_asked(tmp_path: Path, group_by: str) -> None:
    with film.filmed(tmp_path) as memory:
        before = memory.revision

        found = calibrated(memory, group_by)

        assert found.revision == before < memory.revision


def calibrated(memory: index.Memory, group_by: str = "") -> Calibration:
    """Return the calibration of a memory, made while entries are inserted."""
    job = film.filming(memory, "calibrate")
    calibrate_memory(job, Rule(k=5), queries=None, labels=(), group_by=group_by)
    found = Calibration.from_json(memory.setting(SETTING) or "")
    assert found is not None
    return found


def test_a_calibration_is_later_than_the_former_though_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    with film.filmed(tmp_path) as memory:
        former = calibrated(memory)
        ahead = replace(former, created_at=former.created_at + 3_600_000_000)
        memory.keep_setting(SETTING, ahead.to_json(), call="CalibrateMemory")

        found = [calibrated(memory), calibrated(memory)]

        times = [former.created_at, ahead.created_at, *(each.created_at for each in found)]
        assert times == sorted(set(times))


def test_votes_that_were_not_calibrated_for_are_refused(crowd: Memory) -> None:
    with pytest.raises(
        FailedPrecondition,
        match=r"never calibrated.* calibrate \S+ --k \d+ --voting \w+ --balance 0 --head none$",
    ) as refused:
        crowd.classify(vectors=ROWS[:1], calibrated=True)
    assert f'The memory "{crowd.name}" has no calibration' in str(refused.value)
    assert f"visual-memory calibrate {crowd.name} --k" in str(refused.value)
    assert "the queries or the --group-by of before, if there were any" in str(refused.value)
    crowd.calibrate(k=20)

    for asked in ({"k": 21}, {"k": 20, "voting": "softmax"}, {"k": 20, "balance": 0.5}):
        how: Any = {"coverage": 0.9, **asked}
        with pytest.raises(FailedPrecondition, match=r"is calibrated for --k 20 --voting rank "):
            crowd.classify(vectors=ROWS[:1], **how)


@pytest.mark.parametrize("stamp", [{}, {"format": 3}])
def test_a_calibration_of_an_earlier_version_counts_as_none_and_a_new_one_replaces_it(
    start: Start, tmp_path: Path, stamp: dict[str, int]
) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=16)
        crowd.insert(vectors=ROWS[KNOWN], labels=LABELS[KNOWN])
    server.end()
    older = {
        "result": {"k": 20, "voting": "rank"},
        "revision": 1,
        "scores": {"lac": [0.1]},
        **stamp,
    }
    with closing(Catalog(tmp_path)) as catalog, closing(catalog.open("crowd")) as memory:
        memory.keep_setting(SETTING, json.dumps(older), call="CalibrateMemory")
        catalog.note(memory)
    server.start()

    with visual_memory.connect(server.address) as client:
        crowd = client.memory("crowd")
        assert crowd.info().calibration is None
        with pytest.raises(FailedPrecondition, match="or has one of an earlier version"):
            crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)
        crowd.calibrate(k=20)
        assert crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)


def test_a_calibration_is_there_after_a_restart(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=16)
        crowd.insert(vectors=ROWS[KNOWN], labels=LABELS[KNOWN])
        calibration = crowd.calibrate(k=20)
        asked: Any = {"vectors": ROWS[ASKED], "k": 20, "calibrated": True, "coverage": 0.9}
        before = crowd.classify(**asked)

    server.restart()
    with visual_memory.connect(server.address) as client:
        assert client.memory("crowd").classify(**asked) == before
        assert client.operation(calibration.operation).result == calibration


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"coverage": 0.0}, "coverage must be between 0 and 1, both excluded, but is 0"),
        ({"coverage": 1.0}, "coverage must be between 0 and 1, both excluded, but is 1"),
        ({"coverage": float("nan")}, "coverage must be between 0 and 1, both excluded, but is nan"),
        ({"coverage": 0.9, "conformal": "aps"}, "conformal must be one of lac, randomized_aps"),
        ({"coverage": 0.9, "coverage_by": "x"}, "coverage_by must be one of all, label"),
        ({"coverage_by": "label"}, "coverage_by counts with a coverage alone"),
        ({"calibrated": True, "conformal": "lac"}, "conformal counts with a coverage alone"),
        ({"level": 0, "allow_empty": True}, "allow_empty counts with a coverage alone"),
        ({"reliability_k": 10}, "reliability_k counts with reliability soft alone"),
        ({"reliability": "none", "reliability_k": 5}, "reliability_k counts with reliability soft"),
        ({"min_confidence": 0.0}, "min_confidence must be above 0"),
        ({"min_confidence": 1.1}, "min_confidence must be above 0"),
        ({"level": -1}, "level must be at least 0"),
        ({"level": 1, "min_confidence": 0.5}, "level and min_confidence exclude each other"),
    ],
)
def test_a_wrong_wish_is_refused(crowd: Memory, asked: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as refused:
        crowd.classify(vectors=ROWS[:1], **asked)

    assert [field for field, _ in refused.value.field_violations] == [sentence.split()[0]]


def test_too_few_or_one_label_cannot_be_calibrated(client: Client, empty: RemoteMemory) -> None:
    memory = client.create_memory(f"{empty.name}y", dimension=16)
    memory.insert(vectors=ROWS[:9], labels=LABELS[:9])
    with pytest.raises(FailedPrecondition, match="At least 10 entries are needed") as refused:
        memory.calibrate()
    assert refused.value.reason == "TOO_FEW_ITEMS"

    memory.insert(vectors=ROWS[9:30], labels=["one"] * 21)
    memory.purge('NOT label = "one"', apply=True)
    with pytest.raises(FailedPrecondition, match='Every entry is labelled "one"') as refused:
        memory.calibrate()
    assert refused.value.reason == "ONE_LABEL"

    assert memory.info().calibration is None


SCENES = 30
TAKES = 4  # entries of a scene, which look alike


def scenes(seed: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Return vectors of scenes of four labels, with the label and the scene of each."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(4, size=SCENES)
    centres = CENTRES[codes] + 2.5 * rng.normal(size=(SCENES, 16))
    rows = np.repeat(centres, TAKES, axis=0) + 0.05 * rng.normal(size=(SCENES * TAKES, 16))
    names = [f"scene {seed} {number}" for number in range(SCENES) for _ in range(TAKES)]
    return rows, [str(code) for code in codes for _ in range(TAKES)], names


@pytest.fixture
def filmed(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 120 entries, four of each scene."""
    filmed = client.create_memory(f"{empty.name}z", dimension=16)
    rows, labels, names = scenes(0)
    ids = [f"{number:03}" for number in range(len(rows))]
    metadata = [{"scene": name} for name in names]
    filmed.insert(vectors=rows, labels=labels, ids=ids, metadata=metadata)
    return filmed


@pytest.mark.parametrize("head", ["none", "means", "discriminants"])
def test_by_groups_entries_are_asked_of_memories_that_lack_theirs(
    filmed: Memory, client: Client, head: Head
) -> None:
    found = filmed.calibrate(k=7, head=head, group_by="scene")

    rows, labels, names = scenes(0)
    ids = [f"{number:03}" for number in range(len(rows))]
    group_of = dict(zip(ids, names, strict=True))
    parted = sample(np.array(ids, object), np.array(labels, object), group_of)
    folds, groups = parted.folds, np.empty(len(rows), np.intp)
    groups[parted.rows] = parted.groups
    confidences, right = np.empty(len(rows)), np.empty(len(rows), bool)
    distances, units = np.empty(len(rows)), unit_rows(rows.astype(np.float32))
    for fold in range(FOLDS):
        known, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        assert not {names[at] for at in known} & {names[at] for at in asked}
        memory = client.create_memory(f"{filmed.name}{fold}{head}", dimension=16)
        memory.insert(vectors=rows[known], labels=[labels[at] for at in known])
        decisions = memory.classify(vectors=rows[asked], k=7, head=head)
        confidences[asked] = [each.confidence for each in decisions]
        right[asked] = [each.label == labels[at] for each, at in zip(decisions, asked, strict=True)]
        _, means = class_means(units[known], [labels[at] for at in known])
        to_means = np.square(quantized(units[asked])[:, None] / SCALE - means).sum(axis=2) / 2
        nearest = np.array([each.neighbors.distances[0] for each in decisions])
        distances[asked] = (nearest + to_means.min(axis=1)) / 2
    assert found.count == len(rows)
    chosen = one_of_each(ids, groups, lambda: None)
    assert found.rejection_distance == pytest.approx(np.sort(distances[chosen])[28], abs=1e-6)
    filmed.classify(vectors=-rows[:1], k=7, head=head, calibrated=True)
    state = filmed.info().drift
    assert state is not None
    assert state.expected == pytest.approx(2 / (SCENES + 1))
    assert found.error_before == pytest.approx(calibration_error(confidences, right), abs=1e-9)
    draws = list(map(draw_for, units))
    expected = error_by_halves(confidences.tolist(), right.tolist(), groups.tolist(), draws)
    assert found.error_after == pytest.approx(expected, abs=1e-6)


def error_by_halves(
    confidences: list[float], right: list[bool], groups: list[int], draws: list[float]
) -> float:
    """Return the error of each half of the groups by the curve of the other, as a plain loop."""
    places = sorted(range(len(groups)), key=lambda at: (confidences[at], draws[at], groups[at]))
    ranks = defaultdict[int, list[int]](list)
    for rank, at in enumerate(places):
        ranks[groups[at]].append(rank)
    halves: tuple[list[int], list[int]] = [], []
    for group in sorted(ranks, key=lambda group: (np.mean(ranks[group]), group)):
        smaller = halves[0] if len(halves[0]) <= len(halves[1]) else halves[1]
        smaller += [at for at in range(len(groups)) if groups[at] == group]
    total = 0.0
    for one, other in (halves, halves[::-1]):
        curve = fit(np.array(confidences)[one], np.array(right)[one])
        calibrated = curve.apply(np.array(confidences)[other])
        total += len(other) * calibration_error(calibrated, np.array(right)[other])
    return total / len(groups)


def test_by_groups_label_sets_cover_new_scenes(filmed: Memory) -> None:
    rows, labels, _ = (
        list(chain.from_iterable(each)) for each in zip(*map(scenes, range(1, 9)), strict=True)
    )

    def covered() -> float:
        decisions = filmed.classify(vectors=rows, k=7, coverage=0.9)
        held = [
            label in (each.label_set or ()) for each, label in zip(decisions, labels, strict=True)
        ]
        return float(np.mean(held))

    filmed.calibrate(k=7)
    alone = covered()
    filmed.calibrate(k=7, group_by="scene")

    assert alone < 0.8
    assert covered() > 0.87


def test_what_cannot_be_calibrated_is_refused_before_an_operation_is_made(
    filmed: Memory, client: Client
) -> None:
    rows, labels, _ = scenes(1)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"group_by": "take"}, "group_by must be a metadata key that some voting entry has"),
        (
            {"group_by": "scene", "vectors": rows, "labels": labels},
            "group_by groups entries, which are not asked where queries are given",
        ),
        (
            {"vectors": rows, "labels": ["C0"] * len(rows)},
            "labels must be labels of the memory, but none is, such as 'C0'",
        ),
    ]

    for how, sentence in wrong:
        with pytest.raises(InvalidArgument, match=sentence):
            filmed.calibrate(**how)

    assert [*client.operations(filmed.name)] == []


def test_a_label_that_class_means_lack_has_no_share() -> None:
    rows = np.array([[0.5, 0.4], [0.5, 0.4]])
    found = HeadScores(("cat", "dog"), np.ones(2), rows, 1.0 - rows)

    strange, known = own_shares(found, ["owl", "cat"])

    assert strange == 0.0
    assert known > 0.5


def test_entries_of_one_group_cannot_be_asked_of_others(
    client: Client, empty: RemoteMemory
) -> None:
    memory = client.create_memory(f"{empty.name}y", dimension=16)
    memory.insert(vectors=ROWS[:30], labels=LABELS[:30], metadata=[{"scene": "one"}] * 30)

    with pytest.raises(visual_memory.Error, match="At least 2 labels with two entries or groups"):
        memory.calibrate(group_by="scene")


def test_by_groups_a_label_of_one_group_is_not_asked(filmed: Memory) -> None:
    before = filmed.calibrate(k=7, group_by="scene")
    rows, _, _ = scenes(5)
    filmed.insert(
        vectors=rows[:TAKES], labels=["alone"] * TAKES, metadata=[{"scene": "alone"}] * TAKES
    )

    found = filmed.calibrate(k=7, group_by="scene")
    decisions = filmed.classify(vectors=rows, k=7, coverage=0.9, coverage_by="label")

    assert found.count == before.count == SCENES * TAKES
    assert not all("alone" in (each.label_set or ()) for each in decisions)


def test_as_many_groups_are_needed_as_entries_without(client: Client, empty: RemoteMemory) -> None:
    memory = client.create_memory(f"{empty.name}y", dimension=16)
    labels = ["alone"] * 20 + ["cat", "dog"] * 2
    scenes = ["one" if label == "alone" else f"{at}" for at, label in enumerate(labels)]
    memory.insert(vectors=ROWS[:24], labels=labels, metadata=[{"scene": scene} for scene in scenes])

    with pytest.raises(
        visual_memory.Error, match=r"At least 10 groups whose labels .*, but there are 4"
    ):
        memory.calibrate(group_by="scene")


def test_voting_entries_in_no_group_are_counted(filmed: Memory) -> None:
    for number in range(7):
        filmed.update(f"{number:03}", metadata={"other": "x"})
    pruned = filmed.prune(method="random", fraction=0.5, apply=True).ids
    filmed.delete(["000"])
    lacking = "NOT metadata.scene:* AND NOT pruned_by:*"

    expected = len([*filmed.entries(filter=lacking)])
    calibrated, tuned = filmed.calibrate(group_by="scene"), filmed.tune(group_by="scene")

    assert pruned
    assert 0 < expected < 6
    assert (calibrated.ungrouped_count, tuned.ungrouped_count) == (expected, expected)
    assert (filmed.calibrate().ungrouped_count, filmed.tune().ungrouped_count) == (None, None)


def test_the_labels_that_were_asked_are_counted(filmed: Memory, run: Run) -> None:
    rows, labels, _ = scenes(1)
    first = filmed.calibrate(group_by="scene")
    for number in range(5):
        filmed.update(f"{number:03}", label="new", metadata={"scene": "new"})

    alone, grouped = filmed.calibrate(), filmed.calibrate(group_by="scene")
    asked = filmed.calibrate(vectors=rows[:20], labels=[labels[0], "strange"] * 10)
    told = text(run("calibrate", filmed.name, "--group-by", "scene"))

    known = len(set(labels))
    assert (first.asked_label_count, first.label_count) == (known, known)
    assert (alone.asked_label_count, alone.label_count) == (known + 1, known + 1)
    assert (grouped.asked_label_count, grouped.label_count) == (known, known + 1)
    assert (asked.asked_label_count, asked.label_count) == (2, known + 1)
    assert (
        f"\n{known} of {known + 1} labels were asked: each other label has one entry, has entries "
        "of one scene alone, or has all in one of up to five folds.\n"
    ) in told


def test_a_repeated_calibration_is_the_earlier_one_whatever_has_changed(
    filmed: Memory, client: Client
) -> None:
    first = filmed.calibrate(group_by="scene", request_id="calibrate-1")
    tuning = filmed.tune(group_by="scene", request_id="tune-1")
    filmed.delete([each.id for each in filmed.entries()][1:])
    filmed.update("000", metadata={})

    assert filmed.calibrate(group_by="scene", request_id="calibrate-1") == first
    assert filmed.tune(group_by="scene", request_id="tune-1") == tuning
    assert len([*client.operations(filmed.name)]) == 2


def test_queries_that_are_too_few_are_not_called_entries(crowd: Memory) -> None:
    with pytest.raises(FailedPrecondition, match="At least 10 queries are needed, but there are 3"):
        crowd.calibrate(vectors=ROWS[HELD][:3], labels=LABELS[HELD][:3])


def test_queries_may_all_have_one_label_and_ask_a_small_memory(
    client: Client, empty: RemoteMemory
) -> None:
    memory = client.create_memory(f"{empty.name}y", dimension=16)
    with pytest.raises(FailedPrecondition, match="At least 2 entries are needed"):
        memory.calibrate(vectors=ROWS[:12], labels=["0"] * 12)
    memory.insert(vectors=ROWS[:9], labels=LABELS[:9])

    assert memory.calibrate(vectors=ROWS[:12], labels=["0"] * 12).count == 12


@pytest.mark.parametrize("count", [10, 19, 40])
def test_the_error_after_is_of_decisions_that_were_not_fitted_to(count: int) -> None:
    """Each half errs where the other is right; a curve fitted to all would have no error."""
    confidences = np.linspace(0.1, 0.9, count)
    right = np.arange(count) % 2 == 0

    alone, draws = np.arange(count), np.random.default_rng(1).random(count)
    error = held_out_error(confidences, right, alone, draws)

    order = np.random.default_rng(0).permutation(count)
    assert error > 0.5
    assert held_out_error(confidences[order], right[order], alone, draws[order]) == error


Grouped = tuple[list[float], list[bool], list[int], list[float]]


@st.composite
def grouped_decisions(draw: st.DrawFn) -> Grouped:
    """Draw confidences, which decisions are right, their groups, two at least, and their draws."""
    count = draw(st.integers(2, 30))
    confidences = draw(st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=count, max_size=count))
    right = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    groups = draw(st.lists(st.integers(0, 9), min_size=count - 2, max_size=count - 2))
    draws = draw(st.lists(st.sampled_from([0.1, 0.4, 0.7]), min_size=count, max_size=count))
    return confidences, right, [10, 11, *groups], draws


@given(grouped_decisions(), st.randoms())
def test_the_error_after_is_of_groups_that_were_not_fitted_to(
    decisions: Grouped, random: Random
) -> None:
    order = list(range(len(decisions[0])))
    random.shuffle(order)
    confidences, right, groups, draws = (np.array(each)[order] for each in decisions)

    error = held_out_error(confidences, right, groups, draws)

    assert error == pytest.approx(error_by_halves(*decisions), abs=1e-12)


@given(grouped_decisions(), st.integers(2, 10))
def test_copies_of_each_decision_in_its_group_leave_the_error_after_as_it_is(
    decisions: Grouped, copies: int
) -> None:
    confidences, right, _, draws = map(np.array, decisions)
    each_alone = confidences, right, np.arange(len(right)), draws

    many = held_out_error(*(np.repeat(each, copies) for each in each_alone))

    assert many == pytest.approx(held_out_error(*each_alone), abs=1e-12)


def test_the_error_after_of_copies_is_about_that_of_new_scenes() -> None:
    """Twenty scenes of ten equal frames; with frames of one scene in both halves it was 0."""
    told, true = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        confidences = np.repeat(rng.random(20), 10)
        right = np.repeat(rng.random(20), 10) < confidences**2
        draws = rng.random(200)
        told.append(held_out_error(confidences, right, np.repeat(np.arange(20), 10), draws))
        asked = rng.random(5000)
        calibrated = fit(confidences, right).apply(asked)
        true.append(calibration_error(calibrated, rng.random(5000) < asked**2))

    assert np.mean(true) < np.mean(told) < 2 * np.mean(true)


def test_a_memory_of_equal_vectors_can_be_calibrated(client: Client, empty: RemoteMemory) -> None:
    memory = client.create_memory(f"{empty.name}e", dimension=16)
    memory.insert(vectors=np.repeat(ROWS[:1], 12, axis=0), labels=["cat", "dog"] * 6)

    calibration = memory.calibrate(k=3)

    assert calibration.count == 12
    assert calibration.error_after == pytest.approx(calibration.error_before)


def test_the_error_after_is_not_too_good_where_confidences_are_equal() -> None:
    """As by plurality of five; where each half had as many right of the equal ones, it was .005."""
    told, true = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        confidences = rng.integers(1, 6, 300) / 5
        right = rng.random(300) < confidences**2
        told.append(held_out_error(confidences, right, np.arange(300), rng.random(300)))
        points = np.arange(1, 6) / 5
        gaps = np.abs(fit(confidences, right).apply(points) - points**2)
        true.append(float(gaps.mean()))

    assert np.mean(true) < np.mean(told) < 2.5 * np.mean(true)


@pytest.mark.parametrize(
    "given",
    [
        {"labels": ["0"]},
        {"vectors": ROWS[:2]},
        {"vectors": ROWS[:2], "labels": ["0"]},
        {"vectors": ROWS[:12, :3], "labels": LABELS[:12]},
        {"k": 0},
        {"voting": "x"},
    ],
)
def test_a_wrong_calibration_is_refused(crowd: Memory, given: Any) -> None:
    with pytest.raises(InvalidArgument):
        crowd.calibrate(**given)


MOST_BYTES = """
import sys
import tracemalloc
from pathlib import Path
import numpy as np
from visual_memory_index import Entry, Memory, Rule, unit_rows
from visual_memory_index.store.store import new_identity
from visual_memory_service.decisions.calibration import calibrate
from visual_memory_service.runtime.operations import Job

def most_bytes(count):
    rng = np.random.default_rng(3)
    rows = unit_rows(rng.normal(size=(count, 16)).astype(np.float32))
    labels = rng.integers(4, size=count)
    path = Path(sys.argv[1], f"{count}.sqlite")
    memory = Memory.create(path, new_identity("m", 16, None))
    memory.insert([Entry(f"{at:05}", str(label)) for at, label in enumerate(labels)], rows)
    snapshot, job = memory.snapshot(), Job(memory.operations.begin("calibrate").operation, memory)
    tracemalloc.start()
    calibrate(snapshot, Rule(), job)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    memory.close()
    return most

print(most_bytes(4000), most_bytes(2000))
"""


def test_calibrating_keeps_little_of_each_decision(tmp_path: Path) -> None:
    ran = subprocess.run(  # where no thread of another test takes room
        [sys.executable, "-c", MOST_BYTES, tmp_path], check=True, capture_output=True, text=True
    )

    of_many, of_few = map(int, ran.stdout.split())
    assert of_many - of_few < 2000 * 1000
