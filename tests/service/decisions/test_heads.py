"""Classify with a head: class means or discriminants, alone or blended with the votes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, Start, refusal, to_vectors

import visual_memory
from visual_memory import FailedPrecondition, Memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import unit_rows
from visual_memory_index.heads.head import fit
from visual_memory_index.heads.statistics import Statistics

RNG = np.random.default_rng(0)
PLACES = RNG.normal(size=(6, 4))
CODES = np.arange(90) % 6
ROWS = unit_rows((PLACES[CODES] + 0.8 * RNG.normal(size=(90, 4))).astype(np.float32))
LABELS = [f"label {code}" for code in CODES]
IDS = [f"{number:02}" for number in range(90)]
QUERIES = unit_rows(RNG.normal(size=(5, 4)).astype(np.float32))


@pytest.fixture
def crowd(client: visual_memory.Client, empty: RemoteMemory) -> Memory:
    memory = client.memory(empty.name)
    memory.insert(vectors=ROWS, labels=LABELS, ids=IDS)
    return memory


def best(rows: list[int], ridge: float | None) -> list[str]:
    statistics = Statistics(4, moment=True)
    statistics.add([LABELS[row] for row in rows], ROWS[rows])
    head = fit(statistics, ridge)
    return [head.labels[at] for at in head.compare(QUERIES).scores.argmax(axis=1)]


@pytest.mark.parametrize(
    ("how", "ridge"), [({"head": "means"}, None), ({"head": "discriminants", "ridge": 0.5}, 0.5)]
)
def test_a_head_alone_decides_by_its_scores(
    crowd: Memory, how: dict[str, Any], ridge: float | None
) -> None:
    decisions = crowd.classify(vectors=QUERIES, blend=1.0, k=3, **how)

    assert [each.label for each in decisions] == best(list(range(90)), ridge)
    for each in decisions:
        assert len(each.neighbors.ids) == 3
        assert each.neighbors.weights.tolist() == [0.0] * 3
        assert each.confidence == each.scores[each.label]
        assert len(each.scores) <= 6


def test_filters_exclusions_and_edits_count(crowd: Memory) -> None:
    how: Any = {"head": "discriminants", "blend": 1.0}

    some = crowd.classify(vectors=QUERIES, exclude_ids=IDS[:45], **how)
    assert [each.label for each in some] == best(list(range(45, 90)), 1.0)
    some = crowd.classify(vectors=QUERIES, filter='label = "label 1" OR label = "label 2"', **how)
    assert [each.label for each in some] == best([at for at in range(90) if at % 6 in (1, 2)], 1.0)
    crowd.delete(IDS[30:])
    assert [each.label for each in crowd.classify(vectors=QUERIES, **how)] == best(
        list(range(30)), 1.0
    )


def test_scores_and_weights_of_a_blend(crowd: Memory) -> None:
    (votes,) = crowd.classify(vectors=QUERIES[:1], k=7)
    (head,) = crowd.classify(vectors=QUERIES[:1], k=7, head="means", blend=1.0)
    (both,) = crowd.classify(vectors=QUERIES[:1], k=7, head="means", blend=0.25)

    total = sum(votes.scores.values())
    for label, score in both.scores.items():
        expected = 0.25 * head.scores.get(label, 0.0) + 0.75 * votes.scores.get(label, 0.0) / total
        assert score == pytest.approx(expected, abs=1e-9)
    assert both.neighbors.weights == pytest.approx(0.75 * votes.neighbors.weights / total)


def test_only_the_best_labels_and_those_with_votes_are_scored(
    client: visual_memory.Client, empty: RemoteMemory
) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=ROWS, labels=IDS)

    (decision,) = memory.classify(vectors=QUERIES[:1], k=4, head="means", blend=1.0)

    assert 4 <= len(decision.scores) <= 8
    assert set(decision.neighbors.labels) <= decision.scores.keys()


def test_a_head_is_the_same_after_a_restart(start: Start, tmp_path: Path) -> None:
    how: Any = {"vectors": QUERIES, "head": "discriminants", "blend": 1.0}
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=4)
        crowd.insert(vectors=ROWS[:60], labels=LABELS[:60], ids=IDS[:60])
        crowd.classify(**how)
        crowd.insert(vectors=ROWS[60:], labels=LABELS[60:], ids=IDS[60:])
        crowd.unlearn(ids=IDS[50:70])
        before = crowd.classify(**how)
    assert server.end() == 0

    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        after = client.memory("crowd").classify(**how)
        fresh = client.create_memory("fresh", dimension=4)
        kept = [*range(70, 90), *range(50)]
        fresh.insert(
            vectors=ROWS[kept], labels=[LABELS[at] for at in kept], ids=[IDS[at] for at in kept]
        )
        anew = fresh.classify(**how)

    assert [each.scores for each in after] == [each.scores for each in before]
    assert [each.scores for each in anew] == [each.scores for each in before]


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"head": "big"}, "head", "none, means, discriminants, but is 'big'"),
        (
            {"ridge": 2.0},
            "ridge",
            "discriminants alone, not with none, which is the default of this memory.",
        ),
        ({"head": "means", "ridge": 2.0}, "ridge", "discriminants alone, not with means."),
        ({"head": "discriminants", "ridge": 0.0}, "ridge", "from 0.0001 to 1e+06, but is 0.0"),
        ({"head": "means", "head_temperature": 0.0}, "head_temperature", "from 0.005 to 10"),
        ({"head": "means", "blend": float("nan")}, "blend", "from 0 to 1, but is nan"),
        ({"blend": 0.0}, "blend", "with head means or discriminants alone, not with none"),
    ],
)
def test_a_head_that_cannot_be_is_refused_by_name(
    pets: RemoteMemory, given: dict[str, Any], field: str, says: str
) -> None:
    query = to_vectors([1, 0, 0, 0])
    request = pb.ClassifyRequest(memory=pets.name, vectors=query, **given)

    error = refusal(pets.stub.Classify, request)

    assert error.field_violations[0][0] == field
    assert says in error.message


def test_a_head_of_nothing_is_refused_as_votes_are_and_harms_no_other_call(
    client: visual_memory.Client, crowd: Memory
) -> None:
    refused: list[Exception] = []

    def ask_for_nothing() -> None:
        for how in ({"filter": 'label = "none"'}, {"exclude_ids": IDS}):
            with pytest.raises(FailedPrecondition) as caught:
                crowd.classify(vectors=QUERIES, head="discriminants", **how)
            refused.append(caught.value)

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask_for_nothing) for _ in range(20)]
        plain = [threads.submit(crowd.classify, vectors=QUERIES) for _ in range(40)]
        for each in asking:
            each.result()
        answers = [each.result() for each in plain]

    assert len(refused) == 40
    assert {each.reason for each in refused if isinstance(each, FailedPrecondition)} == {
        "EMPTY_MEMORY"
    }
    assert answers == [answers[0]] * 40


def test_a_head_that_is_too_large_is_refused_to_its_caller_alone(
    client: visual_memory.Client, empty: RemoteMemory
) -> None:
    wide = client.create_memory(f"{empty.name}-wide", dimension=2049)
    rows = np.eye(3, 2049)
    wide.insert(vectors=rows, labels=["a", "b", "c"])

    def ask_for_too_much() -> str:
        with pytest.raises(FailedPrecondition) as caught:
            wide.classify(vectors=rows, head="discriminants")
        return caught.value.reason

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask_for_too_much) for _ in range(20)]
        plain = [threads.submit(wide.classify, vectors=rows) for _ in range(40)]
        assert {each.result() for each in asking} == {"HEAD_TOO_LARGE"}
        assert {decision.label for each in plain for decision in each.result()} == {"a", "b", "c"}
    assert wide.classify(vectors=rows, head="means")[0].label == "a"


def test_labels_of_all_queries_together_are_bounded(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("neighbors_max = 100\n")
    server = start(None, "--config", str(config))
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=4)
        crowd.insert(vectors=ROWS, labels=IDS)
        two: dict[str, Any] = {"memory": "crowd", "vectors": to_vectors(QUERIES[:2])}

        error = refusal(server.stub.Classify, pb.ClassifyRequest(**two, k=2, head="means"))
        split = crowd.classify(vectors=QUERIES, k=2, head="means")

    assert error.reason == "ANSWER_TOO_LARGE"
    assert "2 queries with 90 labels each are 180, but" in error.message
    assert error.message.endswith("; ask fewer queries at once.")
    assert len(split) == 5
