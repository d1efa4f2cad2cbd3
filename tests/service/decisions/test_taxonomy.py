"""A tree over the labels, and decisions as deep in it as the votes agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.conftest import RemoteMemory

import visual_memory
from visual_memory import Client, InvalidArgument, Memory, Node

if TYPE_CHECKING:
    from tests.conftest import Start

PARENTS = {"poodle": "dog", "beagle": "dog", "dog": "animal", "cat": "animal"}
LABELS = ["poodle", "beagle", "cat", "car"]


@pytest.fixture
def pets(client: Client, empty: RemoteMemory) -> Memory:
    """A memory with an entry of each label, each on its own axis."""
    pets = client.memory(empty.name)
    pets.insert(vectors=np.eye(4), labels=LABELS)
    return pets


def test_a_taxonomy_is_set_as_a_whole_and_says_what_it_does_not_fit(pets: Memory) -> None:
    assert (pets.taxonomy().parents, pets.taxonomy().orphans) == ({}, sorted(LABELS))

    grown = pets.set_taxonomy({**PARENTS, "tulip": "flower"})

    assert grown == pets.taxonomy()
    assert grown.parents == {**PARENTS, "tulip": "flower"}
    assert (grown.orphans, grown.unused) == (["car"], ["tulip"])
    assert pets.set_taxonomy({}).parents == {}


def test_a_decision_is_as_deep_as_the_votes_agree(pets: Memory) -> None:
    pets.set_taxonomy(PARENTS)
    query = {"vectors": [[1.0, 0.9, 0.3, 0.1]], "voting": "plurality", "k": 3}

    nodes = [
        pets.classify(**query, min_confidence=share)[0].node  # type: ignore[arg-type]  # of several types
        for share in (0.3, 0.6, 0.9)
    ]

    assert nodes == [Node("poodle", 2, 1 / 3), Node("dog", 1, 2 / 3), Node("animal", 0, 1.0)]


def test_votes_are_summed_at_a_level(pets: Memory) -> None:
    pets.set_taxonomy(PARENTS)

    nodes = [pets.classify(vectors=np.eye(4), k=4, level=level, neighbors=0) for level in (0, 1, 9)]

    assert [decision.node.name for decision in nodes[0] if decision.node] == ["animal"] * 4
    assert [decision.node.name for decision in nodes[1] if decision.node] == ["dog"] * 4
    assert [decision.node.name for decision in nodes[2] if decision.node] == LABELS


def test_with_a_head_a_share_is_of_the_scores_of_all_labels(
    client: Client, empty: RemoteMemory
) -> None:
    labels = [f"{number:04}" for number in range(1500)]  # of which 1,000 are scored, the best
    rows = np.random.default_rng(0).normal(size=(1500, 4))
    many = client.memory(empty.name)
    many.insert(vectors=rows, labels=labels)
    many.set_taxonomy({label: "all" for label in labels})

    for decision in many.classify(
        vectors=rows[:3], level=0, k=5, head="means", head_temperature=10.0, blend=1.0
    ):
        assert decision.node
        assert 1000 / 1500 < decision.node.share < 0.75


@pytest.mark.parametrize("count", [3, 1000])  # of which all are scored
def test_with_a_head_the_share_of_a_root_of_all_labels_is_one(
    client: Client, empty: RemoteMemory, count: int
) -> None:
    labels = [f"{number:04}" for number in range(count)]
    rows = np.random.default_rng(0).normal(size=(count, 4))
    many = client.memory(empty.name)
    many.insert(vectors=rows, labels=labels)
    many.set_taxonomy({label: "all" for label in labels})

    decisions = many.classify(vectors=rows[:50], min_confidence=1.0, k=3, head="means", blend=0.3)

    assert [decision.node for decision in decisions] == [Node("all", 0, 1.0)] * len(decisions)


def test_where_no_node_has_the_share_there_is_none(pets: Memory) -> None:
    (decision,) = pets.classify(vectors=np.eye(4)[:1], k=4, voting="plurality", min_confidence=0.5)

    assert decision.node is None


@pytest.mark.parametrize(
    ("parents", "sentence"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "above themselves: a → b → c → a"),
        ({"a": "a"}, "above themselves: a → a"),
        ({"": "a"}, "has 0"),
        ({"a": "x" * 257}, "has 257"),
    ],
)
def test_what_is_no_tree_is_refused_and_changes_nothing(
    pets: Memory, parents: dict[str, str], sentence: str
) -> None:
    before = pets.set_taxonomy(PARENTS)

    with pytest.raises(InvalidArgument, match=sentence):
        pets.set_taxonomy(parents)

    assert pets.taxonomy() == before


def test_a_taxonomy_is_there_after_a_restart(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=4)
        pets.insert(vectors=np.eye(4), labels=LABELS)
        grown = pets.set_taxonomy(PARENTS, request_id="once")

    server.restart()
    with visual_memory.connect(server.address) as client:
        pets = client.memory("pets")
        assert pets.taxonomy() == grown
        pets.set_taxonomy({})
        assert pets.set_taxonomy(PARENTS, request_id="once") == grown
        assert pets.taxonomy().parents == {}
