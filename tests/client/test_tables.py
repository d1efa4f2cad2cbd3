"""Results as tables have all that the records have."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import visual_memory
from visual_memory import AlreadyExists, InvalidArgument
from visual_memory.tables import RECORDS, export, to_arrow
from visual_memory.types import Decision, LabelAssessment, Suspect

pyarrow = pytest.importorskip("pyarrow")


def test_entries_and_decisions_of_a_server_are_in_the_table() -> None:
    rows = np.eye(3, 8, dtype=np.float32)
    with visual_memory.connect() as client:
        memory = client.create_memory("points", dimension=8)
        memory.insert(
            vectors=rows, labels=["a", "b", "a"], ids=["1", "2", "3"], metadata=[{"n": "1"}, {}, {}]
        )
        entries = list(memory.entries(include_vectors=True))
        decisions = memory.classify(vectors=rows, k=2)

    stored, decided = to_arrow(entries), to_arrow(decisions)

    assert stored["id"].to_pylist() == ["1", "2", "3"]
    assert stored["metadata"].to_pylist() == [[("n", "1")], [], []]
    assert np.array_equal(stored["vector"].to_pylist(), rows)
    assert stored["create_time"].to_pylist() == [each.create_time for each in entries]
    for row, decision in zip(decided.to_pylist(), decisions, strict=True):
        assert row["label"] == decision.label
        assert dict(row["scores"]) == decision.scores
        assert [each["id"] for each in row["neighbors"]] == decision.neighbors.ids
        assert row["neighbors"][0]["weight"] == decision.neighbors[0].weight
        assert row["label_set"] is None
    assert to_arrow(decisions[0].neighbors)["distance"].to_pylist() == list(
        decisions[0].neighbors.distances
    )


def test_a_memory_is_written_to_a_file_which_is_there_once_it_is_whole(tmp_path: Path) -> None:
    file, reports = tmp_path / "points.parquet", list[tuple[int, int]]()

    def fail(*_: int) -> None:
        raise RuntimeError

    with visual_memory.connect() as client:
        memory = client.create_memory("points", dimension=8)
        assert export(memory, tmp_path / "empty.parquet") == 0
        memory.insert(vectors=np.eye(8), labels=["a", "b"] * 4)
        with pytest.raises(RuntimeError):
            export(memory, file, progress=fail)
        left = list(tmp_path.iterdir())
        count = export(memory, file, progress=lambda *done: reports.append(done))
        with pytest.raises(AlreadyExists):
            export(memory, file)
        export(memory, file, overwrite=True)
        entries = list(memory.entries(include_vectors=True))

    assert left == [tmp_path / "empty.parquet"]
    assert (count, reports) == (8, [(8, 8)])
    rows = pyarrow.parquet.read_table(file).to_pylist()
    assert [(row["id"], row["label"]) for row in rows] == [(e.id, e.label) for e in entries]
    assert [row["vector"] for row in rows] == to_arrow(entries)["vector"].to_pylist()
    assert pyarrow.parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_no_field_is_forgotten(kind: type[Any]) -> None:
    from visual_memory.tables import _columns

    expected = {field.name for field in fields(kind)}
    if kind is Decision:
        expected = expected - {"reranking"} | {"reranker"}

    assert _columns(pyarrow)[kind].keys() == expected


def test_labels_with_counts_are_maps() -> None:
    table = to_arrow([LabelAssessment("a", 3, 0.5, {"b": 1, "a": 2}, False)])

    assert table["called"].to_pylist() == [[("b", 1), ("a", 2)]]


def test_only_results_of_one_kind_are_a_table() -> None:
    suspect = Suspect("1", "a", "b", 0.9, "")

    assert to_arrow([]).num_columns == 0
    with pytest.raises(InvalidArgument, match=r"records\[0\] must be a result like the first"):
        to_arrow(["a"])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match=r"records\[1\]"):
        to_arrow([suspect, LabelAssessment("a", 3, 0.5, {}, False)])
