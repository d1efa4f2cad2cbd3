"""828 photographs as a memory: the accuracy and the shape bias measured for the default embedder.

Figures: ../shared/spec/default_embedder.md, to be compared on these pictures alone.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, to_vectors

import visual_memory
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server

NAME = "natural16"
AT_ONCE = 64


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photographs(shared: Path) -> list[dict[str, str]]:
    return rows(shared / "data" / "natural16")


@pytest.fixture(scope="module")
def conflicts(shared: Path) -> list[dict[str, str]]:
    return rows(shared / "data" / "cue_conflict")


@pytest.fixture(scope="module")
def natural16(
    server: Server, shared: Path, photographs: list[dict[str, str]]
) -> Iterator[visual_memory.Memory]:
    folder = shared / "data" / "natural16"
    with visual_memory.connect(server.address, timeout=600) as client:
        memory = client.create_memory(NAME, embedder="efficientnet-lite0")
        memory.insert(
            images=[folder / row["file"] for row in photographs],
            labels=[row["category"] for row in photographs],
            ids=[row["file"] for row in photographs],
        )
        yield memory
        client.delete_memory(NAME)


@pytest.fixture(scope="module")
def embedded(natural16: visual_memory.Memory, shared: Path, conflicts: list[dict[str, str]]) -> Any:
    folder = shared / "data" / "cue_conflict"
    return natural16.embed([folder / row["file"] for row in conflicts])


def others_decide(server: Server, memory: visual_memory.Memory, k: int) -> Iterator[bool]:
    """For each entry, whether its k nearest others vote for its label."""
    calls: deque[tuple[str, Any]] = deque()
    for entry in memory.entries(include_vectors=True):
        assert entry.vector is not None
        request = pb.ClassifyRequest(
            memory=NAME, vectors=to_vectors(entry.vector), k=k, exclude_ids=[entry.id], neighbors=0
        )
        calls.append((entry.label, server.stub.Classify.future(request)))
        if len(calls) == AT_ONCE:
            label, call = calls.popleft()
            yield call.result().decisions[0].label == label
    for label, call in calls:
        yield call.result().decisions[0].label == label


@pytest.mark.parametrize(("k", "accuracy"), [(1, 0.9300), (10, 0.9396), (50, 0.9324)])
def test_photographs_are_recognised_by_the_others(
    server: Server, natural16: visual_memory.Memory, k: int, accuracy: float
) -> None:
    right = list(others_decide(server, natural16, k))

    assert len(right) == 828
    assert np.mean(right) == pytest.approx(accuracy, abs=0.005)


@pytest.mark.parametrize(("k", "bias"), [(1, 0.2150), (10, 0.2153), (50, 0.2166)])
def test_conflicts_are_decided_by_texture_more_than_by_shape(
    natural16: visual_memory.Memory,
    embedded: Any,
    conflicts: list[dict[str, str]],
    k: int,
    bias: float,
) -> None:
    decisions = natural16.classify(vectors=embedded, k=k, neighbors=0)

    pairs = [
        (row, decision.label)
        for row, decision in zip(conflicts, decisions, strict=True)
        if row["conflict"] == "1"
    ]
    shape = sum(row["shape_category"] == label for row, label in pairs)
    texture = sum(row["texture_category"] == label for row, label in pairs)
    assert len(pairs) == 1200
    assert shape / (shape + texture) == pytest.approx(bias, abs=0.005)


def test_the_references_are_met(natural16: visual_memory.Memory, shared: Path) -> None:
    with np.load(shared / "data" / "reference_embeddings_lite0.npz") as reference:
        files, vectors = reference["files"].tolist(), reference["embeddings"]

    stored = np.stack(
        [natural16.get(file, include_vector=True).vector for file in files]  # type: ignore[misc]  # vectors were asked for
    )

    assert np.abs(stored - vectors).max() < 1e-3


def test_the_server_holds_them_all(server: Server, natural16: visual_memory.Memory) -> None:
    assert len(RemoteMemory(server, natural16.name).ids()) == natural16.info().count == 828
