"""Calibrated confidences, label sets and rejection, asked of a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory

import visual_memory
from visual_memory import Client, FailedPrecondition, InvalidArgument, Memory
from visual_memory_index import unit_rows
from visual_memory_index.votes.conformal import SCORES, draw_for, prediction_set, q_hat
from visual_memory_service.decisions.calibration import held_out_error

if TYPE_CHECKING:
    from tests.conftest import Start

LABELS = [str(label) for label in np.random.default_rng(1).integers(0, 4, 300)]
CENTRES = np.random.default_rng(0).normal(size=(4, 16))
NOISE = np.random.default_rng(2).normal(size=(300, 16))
ROWS = CENTRES[[int(label) for label in LABELS]] + 1.5 * NOISE
KNOWN, HELD, ASKED = slice(0, 150), slice(150, 230), slice(230, 300)


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


@pytest.mark.parametrize("rule", sorted(SCORES))
@pytest.mark.parametrize("allow_empty", [False, True])
def test_label_sets_are_those_of_the_calibration_given(
    crowd: Memory, rule: str, allow_empty: bool
) -> None:
    crowd.calibrate(k=20, vectors=ROWS[HELD], labels=LABELS[HELD])
    score = SCORES[rule]
    held = crowd.classify(vectors=ROWS[HELD], k=20)
    draws = [draw_for(row) for row in unit_rows(ROWS.astype(np.float32))]
    calibration = sorted(
        score(decision.scores, draw).get(label, 1.0)
        for decision, draw, label in zip(held, draws[HELD], LABELS[HELD], strict=True)
    )

    asked = crowd.classify(
        vectors=ROWS[ASKED], k=20, coverage=0.8, conformal=rule, allow_empty=allow_empty
    )

    for decision, draw in zip(asked, draws[ASKED], strict=True):
        expected = prediction_set(
            score(decision.scores, draw),
            q_hat(calibration, 0.8),
            winner=decision.label,
            labels=["0", "1", "2", "3"],
            allow_empty=allow_empty,
        )
        assert decision.label_set == list(expected)


def test_too_high_a_coverage_for_so_few_gives_all_labels(crowd: Memory) -> None:
    crowd.calibrate(k=20, vectors=ROWS[HELD], labels=LABELS[HELD])

    (decision,) = crowd.classify(vectors=ROWS[:1], k=20, coverage=0.999)

    assert decision.label_set is not None
    assert sorted(decision.label_set) == ["0", "1", "2", "3"]


def test_what_is_unlike_anything_is_rejected_with_the_nearest_label(crowd: Memory) -> None:
    calibration = crowd.calibrate(k=20)
    near, far = crowd.classify(
        vectors=np.stack([ROWS[0], -CENTRES.sum(axis=0)]), k=20, calibrated=True
    )

    assert (near.rejected, far.rejected) == (False, True)
    assert far.neighbors.distances[0] > calibration.rejection_distance > 0
    assert far.label in far.scores
    nearest = [
        decision.neighbors.distances[0]
        for at, entry in enumerate(crowd.entries())
        for decision in crowd.classify(vectors=ROWS[[at]], k=1, exclude_ids=[entry.id])
    ]
    assert np.mean(np.array(nearest) <= calibration.rejection_distance) >= 0.95


def test_edits_make_a_calibration_stale_and_it_says_so(crowd: Memory) -> None:
    assert crowd.info().calibration is None
    crowd.calibrate(k=20)
    state = crowd.info().calibration
    assert state is not None
    assert (state.k, state.voting, state.stale) == (20, "rank", False)
    assert not crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)[0].calibration_stale

    crowd.insert(vectors=ROWS[:1], labels=["new"])

    state = crowd.info().calibration
    assert state is not None
    assert state.stale
    assert crowd.classify(vectors=ROWS[:1], k=20, calibrated=True)[0].calibration_stale


def test_votes_that_were_not_calibrated_for_are_refused(crowd: Memory) -> None:
    with pytest.raises(
        FailedPrecondition,
        match=r"never calibrated.* visual-memory calibrate \S+ --k \d+ --voting \w+$",
    ) as refused:
        crowd.classify(vectors=ROWS[:1], calibrated=True)
    assert f'The memory "{crowd.name}" has no calibration' in str(refused.value)
    assert f"visual-memory calibrate {crowd.name} --k" in str(refused.value)
    crowd.calibrate(k=20)

    for asked in ({"k": 21}, {"k": 20, "voting": "softmax"}, {"k": 20, "balance": 0.5}):
        how: Any = {"coverage": 0.9, **asked}
        with pytest.raises(FailedPrecondition, match=r"is calibrated for k = 20, rank votes"):
            crowd.classify(vectors=ROWS[:1], **how)


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
        ({"coverage": 0.9, "conformal": "x"}, "conformal must be one of lac, aps"),
        ({"min_confidence": 0.0}, "min_confidence must be above 0"),
        ({"min_confidence": 1.1}, "min_confidence must be above 0"),
        ({"level": -1}, "level must be at least 0"),
        ({"level": 1, "min_confidence": 0.5}, "level and min_confidence exclude each other"),
    ],
)
def test_a_wrong_wish_is_refused(crowd: Memory, asked: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        crowd.classify(vectors=ROWS[:1], **asked)


def test_too_few_or_one_label_cannot_be_calibrated(client: Client, empty: RemoteMemory) -> None:
    memory = client.create_memory(f"{empty.name}y", dimension=16)
    memory.insert(vectors=ROWS[:9], labels=LABELS[:9])
    with pytest.raises(FailedPrecondition, match="At least 10 entries are needed"):
        memory.calibrate()

    memory.insert(vectors=ROWS[9:30], labels=["one"] * 21)
    memory.purge('NOT label = "one"', apply=True)
    with pytest.raises(FailedPrecondition, match='Every entry is labelled "one"'):
        memory.calibrate()

    assert memory.info().calibration is None


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

    error = held_out_error(confidences, right)

    order = np.random.default_rng(0).permutation(count)
    assert error > 0.5
    assert held_out_error(confidences[order], right[order]) == error


@pytest.mark.parametrize(
    "given",
    [
        {"labels": ["0"]},
        {"vectors": ROWS[:2]},
        {"vectors": ROWS[:2], "labels": ["0"]},
        {"vectors": ROWS[:2, :3], "labels": ["0", "1"]},
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

print(most_bytes(3000), most_bytes(1000))
"""


def test_calibrating_keeps_little_of_each_decision(tmp_path: Path) -> None:
    ran = subprocess.run(  # where no thread of another test takes room
        [sys.executable, "-c", MOST_BYTES, tmp_path], check=True, capture_output=True, text=True
    )

    of_many, of_few = map(int, ran.stdout.split())
    assert of_many - of_few < 2000 * 1000
