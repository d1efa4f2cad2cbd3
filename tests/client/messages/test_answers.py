"""Answers are read as the server wrote them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from visual_memory._messages.answers import (
    to_decision,
    to_entry,
    to_memory,
    to_operation,
    to_server_info,
    to_vectors,
)
from visual_memory.types import (
    Assessment,
    Calibration,
    CheckResult,
    Conflict,
    EmbedderSpec,
    Limits,
    PruneResult,
    RelabelResult,
    Result,
    ServerInfo,
    UnlearnResult,
)
from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2, operation_pb2
from visual_memory.v1 import service_pb2 as pb


def test_the_limits_of_a_server_are_read() -> None:
    limits = pb.Limits(message_bytes=4, image_bytes=3, image_pixels=2, items=1, neighbors=5)
    answer = pb.GetServerInfoResponse(version="1.2.3", limits=limits, embedders=["fake"])

    info = to_server_info(answer)

    read = Limits(message_bytes=4, image_bytes=3, image_pixels=2, items=1, neighbors=5)
    assert info == ServerInfo("1.2.3", read, ["fake"])


def test_a_memory_for_vectors_has_no_embedder() -> None:
    memory = to_memory(memory_pb2.Memory(name="pets", dimension=2))

    assert memory.embedder is None


def test_a_memory_is_read_with_its_embedder_and_labels() -> None:
    spec: dict[str, Any] = {
        "name": "fake",
        "weights_sha256": "ab",
        "dimension": 2,
        "preprocessing": "{}",
        "bit_equal": True,
    }
    labels = [memory_pb2.LabelCount(label="cat", count=3)]
    message = memory_pb2.Memory(embedder=memory_pb2.EmbedderSpec(**spec), labels=labels)

    memory = to_memory(message)

    assert memory.embedder == EmbedderSpec(**spec)
    assert memory.labels == {"cat": 3}


def test_an_entry_has_its_time_in_utc_and_its_hash_in_hex() -> None:
    message = entry_pb2.Entry(id="a", label="cat", content_sha256=b"\xab\xcd")
    message.create_time.FromMicroseconds(1_500_000)

    entry = to_entry(message)

    assert entry.create_time == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert entry.content_sha256 == "abcd"
    assert entry.vector is None


def test_metadata_are_in_the_order_of_their_keys() -> None:
    keys = [f"{number * 7 % 32:02}" for number in range(32)]

    entry = to_entry(entry_pb2.Entry(metadata=dict.fromkeys(keys, "x")))

    assert list(entry.metadata) == sorted(keys)


def test_a_decision_keeps_the_order_of_scores_and_neighbors() -> None:
    message = decision_pb2.Decision(
        label="cat",
        confidence=0.75,
        scores=[
            decision_pb2.LabelScore(label="cat", score=3.0),
            decision_pb2.LabelScore(label="ant", score=1.0),
        ],
        neighbors=[
            decision_pb2.Neighbor(id="b", label="cat", distance=0.25, weight=3.0),
            decision_pb2.Neighbor(id="a", label="ant", distance=0.5, weight=1.0),
        ],
    )

    decision = to_decision(message)

    assert (decision.label, decision.confidence) == ("cat", 0.75)
    assert list(decision.scores.items()) == [("cat", 3.0), ("ant", 1.0)]
    assert decision.neighbors.ids == ["b", "a"]
    assert decision.neighbors.distances.tolist() == [0.25, 0.5]
    assert decision.neighbors.weights.tolist() == [3.0, 1.0]


def test_vectors_are_read_row_by_row() -> None:
    rows = np.arange(6, dtype="<f4").reshape(2, 3)

    vectors = to_vectors(entry_pb2.Vectors(rows=2, data=rows.tobytes()))

    assert np.array_equal(vectors, rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("prune", PruneResult),
        ("relabel", RelabelResult),
        ("assessment", Assessment),
        ("calibration", Calibration),
        ("check", CheckResult),
        ("unlearn", UnlearnResult),
    ],
)
def test_an_operation_is_read_with_its_result(name: str, kind: type[Result]) -> None:
    message = operation_pb2.Operation(name="pets/1", state=operation_pb2.Operation.DONE)
    getattr(message, name).SetInParent()

    operation = to_operation(message)

    assert (operation.name, operation.state, operation.end_time) == ("pets/1", "done", None)
    assert isinstance(operation.result, kind)
    assert operation.result.operation == "pets/1"


def test_an_assessment_is_read_with_all_its_parts() -> None:
    message = operation_pb2.Operation(assessment=operation_pb2.Assessment(accuracy=0.5))
    label = {"label": "cat", "count": 3, "accuracy": 0.5, "thin": True}
    called = [memory_pb2.LabelCount(label="dog", count=2)]
    suspect = {"id": "a", "label": "cat", "proposed": "dog", "score": 0.25, "reason": "alone"}
    message.assessment.labels.add(**label, called=called)
    message.assessment.suspects.add(**suspect)
    message.assessment.conflicts.add(id="a", other_id="b", label="x", other_label="y", distance=1.5)

    assessment = to_operation(message).result

    assert isinstance(assessment, Assessment)
    assert assessment.accuracy == 0.5
    assert [asdict(each) for each in assessment.labels] == [{**label, "called": {"dog": 2}}]
    assert [asdict(each) for each in assessment.suspects] == [suspect]
    assert assessment.conflicts == [Conflict(("a", "b"), ("x", "y"), 1.5)]
