"""Results of calls are readable, and handy to compute with."""

from __future__ import annotations

import dataclasses
import typing

import numpy as np
import pytest

import visual_memory
from visual_memory import Neighbor, Neighbors


@pytest.mark.parametrize("name", visual_memory.__all__)
def test_the_types_of_fields_can_be_resolved(name: str) -> None:
    record = getattr(visual_memory, name)
    if dataclasses.is_dataclass(record):
        hints = typing.get_type_hints(record)
        assert {each.name for each in dataclasses.fields(record)} <= hints.keys()


@pytest.fixture
def neighbors() -> Neighbors:
    return Neighbors(
        ids=list("abcd"),
        labels=["cat", "dog", "cat", "dog"],
        distances=np.array([0.0, 0.1, 0.2, 0.3]),
        weights=np.array([0.5, 0.3, 0.2, 0.1]),
    )


def test_a_neighbor_is_read_as_a_record(neighbors: Neighbors) -> None:
    assert neighbors[-1] == Neighbor(id="d", label="dog", distance=0.3, weight=0.1)


def test_neighbors_are_iterated_as_records(neighbors: Neighbors) -> None:
    assert list(neighbors) == [neighbors[number] for number in range(4)]


def test_a_slice_of_neighbors_has_columns_too(neighbors: Neighbors) -> None:
    nearest = neighbors[:2]

    assert isinstance(nearest, Neighbors)
    assert nearest.ids == ["a", "b"]
    assert nearest.distances.tolist() == [0.0, 0.1]


def test_equal_neighbors_are_equal(neighbors: Neighbors) -> None:
    assert neighbors == neighbors[:]
    assert neighbors != neighbors[:2]
    assert neighbors != "abcd"


def test_neighbors_cannot_be_changed(neighbors: Neighbors) -> None:
    with pytest.raises(ValueError, match="read-only"):
        neighbors.distances[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        neighbors.ids = []  # type: ignore[misc]  # the point of it


def test_many_neighbors_show_the_nearest_and_how_many_more(neighbors: Neighbors) -> None:
    assert repr(neighbors).endswith("… 1 more])")
    assert repr(neighbors[:1]) == f"Neighbors([{neighbors[0]!r}])"
