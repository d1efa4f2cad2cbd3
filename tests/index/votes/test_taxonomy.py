"""Votes are summed up the tree: a node has the votes of all nodes below it."""

from __future__ import annotations

import json
import math
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.errors import BadNode, Cycle, TooDeep, TwoParents
from visual_memory_index.votes.taxonomy import (
    DEPTH_MAX,
    Node,
    Taxonomy,
    at_depth,
    deepest,
    grow,
    node_votes,
)

PETS = [
    ("poodle", "dog"),
    ("beagle", "dog"),
    ("dog", "animal"),
    ("cat", "animal"),
    ("oak", "plant"),
]
NAMES = [f"n{number}" for number in range(8)]
VOTES = st.dictionaries(
    st.sampled_from([*NAMES, "outside", "elsewhere"]), st.integers(1, 9).map(float), min_size=1
)


def planted(names: list[str], above: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return edges; ``above`` has the number of each name's parent in ``names``, −1 for a root."""
    edges = [(name, names[n]) for name, n in zip(names, above, strict=True) if n >= 0]
    return sorted(edges, key=lambda edge: NAMES.index(edge[0]))


FORESTS = st.builds(
    planted,
    st.permutations(NAMES),
    st.tuples(*(st.integers(-1, number - 1) for number in range(len(NAMES)))),
)


def votes_below(node: str, edges: list[tuple[str, str]], votes: dict[str, float]) -> float:
    """Return a node's own votes and, by recursion, those of its children."""
    children = [child for child, parent in edges if parent == node]
    return votes.get(node, 0) + sum(votes_below(child, edges, votes) for child in children)


def depth_of(node: str, edges: list[tuple[str, str]]) -> int:
    above = [parent for child, parent in edges if child == node]
    return 1 + depth_of(above[0], edges) if above else 0


def ancestor(node: str, edges: list[tuple[str, str]], depth: int) -> str:
    while depth_of(node, edges) > depth:
        node = dict(edges)[node]
    return node


@given(FORESTS, VOTES)
def test_every_node_has_the_votes_of_a_recursive_sum(
    edges: list[tuple[str, str]], votes: dict[str, float]
) -> None:
    totals = node_votes(grow(edges), votes)

    everyone = {*NAMES, *votes}
    by_hand = {node: votes_below(node, edges, votes) for node in everyone}
    assert totals == {node: total for node, total in by_hand.items() if total}


@given(FORESTS, VOTES, st.integers(0, 12))
def test_at_a_depth_the_labels_are_counted_by_what_is_above_them_there(
    edges: list[tuple[str, str]], votes: dict[str, float], depth: int
) -> None:
    node = at_depth(grow(edges), votes, depth)

    totals = dict[str, float]()
    for label, vote in votes.items():
        above = ancestor(label, edges, depth)
        totals[above] = totals.get(above, 0) + vote
    first = next(name for name, total in totals.items() if total == max(totals.values()))
    assert node == Node(first, depth_of(first, edges), totals[first] / sum(votes.values()))


@given(FORESTS, VOTES, st.integers(0, 20).map(lambda twentieth: twentieth / 20))
def test_the_answer_is_the_first_of_the_deepest_nodes_that_are_sure_enough(
    edges: list[tuple[str, str]], votes: dict[str, float], min_confidence: float
) -> None:
    node = deepest(grow(edges), votes, min_confidence=min_confidence)

    total = sum(votes.values())
    nodes = [
        Node(name, depth, votes_below(name, edges, votes) / total)
        for label in votes
        for depth in range(depth_of(label, edges) + 1)
        for name in [ancestor(label, edges, depth)]
    ]
    sure = [node for node in nodes if node.share >= min_confidence]
    best = max(((node.depth, node.share) for node in sure), default=None)
    assert node == next((node for node in sure if (node.depth, node.share) == best), None)


@given(FORESTS)
def test_edges_survive_json_and_their_order_does_not_matter(edges: list[tuple[str, str]]) -> None:
    taxonomy = grow(edges)

    restored = grow(json.loads(json.dumps(taxonomy.edges())))

    assert restored == taxonomy
    assert taxonomy.edges() == grow(reversed(edges)).edges() == sorted(map(list, edges))


def test_a_path_leads_from_the_root_to_the_label() -> None:
    taxonomy = grow(PETS)

    assert taxonomy.path("poodle") == ["animal", "dog", "poodle"]
    assert taxonomy.path("animal") == ["animal"]
    assert taxonomy.path("teapot") == ["teapot"]
    assert [taxonomy.depth(name) for name in ("poodle", "dog", "animal", "teapot")] == [2, 1, 0, 0]


@pytest.mark.parametrize(
    ("min_confidence", "expected"),
    [
        (0.3, Node("poodle", 2, 0.3)),
        (0.31, Node("dog", 1, 0.6)),
        (0.6, Node("dog", 1, 0.6)),
        (0.61, Node("animal", 0, 0.9)),
        (0.91, None),
        (math.inf, None),
    ],
)
def test_who_is_unsure_about_the_breed_may_be_sure_about_the_animal(
    min_confidence: float, expected: Node | None
) -> None:
    votes = {"poodle": 3.0, "cat": 3.0, "beagle": 2.0, "dog": 1.0, "teapot": 1.0}

    node = deepest(grow(PETS), votes, min_confidence=min_confidence)

    assert node == expected


def test_the_breeds_together_outvote_the_winner() -> None:
    votes = {"cat": 4.0, "poodle": 3.0, "beagle": 3.0}

    nodes = [at_depth(grow(PETS), votes, depth) for depth in (0, 1, 2)]

    assert nodes == [Node("animal", 0, 1.0), Node("dog", 1, 0.6), Node("cat", 1, 0.4)]


@pytest.mark.parametrize(("first", "second"), [("cat", "dog"), ("dog", "cat")])
def test_equal_votes_go_to_the_node_of_the_label_that_comes_first(first: str, second: str) -> None:
    votes = {first: 2.0, second: 2.0}

    nodes = at_depth(grow(PETS), votes, 1), deepest(grow(PETS), votes, min_confidence=0.5)

    assert nodes == (Node(first, 1, 0.5), Node(first, 1, 0.5))


def test_sums_do_not_depend_on_the_order_of_the_votes() -> None:
    taxonomy = grow((label, "root") for label in "abc")

    sums = {
        node_votes(taxonomy, dict(votes))["root"]
        for votes in permutations([("a", 0.1), ("b", 0.2), ("c", 0.3)])
    }

    assert sums == {0.6}


def test_without_edges_every_label_stands_for_itself() -> None:
    votes = {"cat": 2.0, "dog": 1.0}

    assert node_votes(grow([]), votes) == votes
    assert at_depth(grow([]), votes, 3) == Node("cat", 0, 2 / 3)


def test_labels_that_no_edge_names_are_orphans() -> None:
    labels = ["teapot", "poodle", "animal", "Dog", "teapot"]

    assert grow(PETS).orphans(labels) == ["Dog", "teapot"]


def test_leaves_that_are_no_label_are_unused() -> None:
    assert grow(PETS).unused(["poodle", "cat", "Oak"]) == ["beagle", "oak"]


def test_a_pair_that_comes_twice_counts_once() -> None:
    assert grow([*PETS, PETS[0]]) == grow(PETS)


def test_a_child_has_one_parent() -> None:
    with pytest.raises(TwoParents, match='"dog" has two parents, "animal" and "plant"') as refusal:
        grow([*PETS, ("dog", "plant")])

    assert (refusal.value.child, refusal.value.parents) == ("dog", ("animal", "plant"))


@pytest.mark.parametrize(
    ("edges", "nodes"),
    [
        ([("a", "a")], ("a", "a")),
        ([("b", "a"), ("a", "b")], ("a", "b", "a")),
        ([("0", "c"), ("c", "a"), ("b", "c"), ("a", "b"), ("y", "z")], ("a", "b", "c", "a")),
    ],
)
def test_a_cycle_is_refused_by_its_nodes(
    edges: list[tuple[str, str]], nodes: tuple[str, ...]
) -> None:
    with pytest.raises(Cycle, match=" → ".join(nodes)) as refusal:
        grow(edges)

    assert refusal.value.nodes == nodes


@given(FORESTS, st.data())
def test_an_edge_from_a_root_to_what_is_below_it_closes_a_cycle(
    edges: list[tuple[str, str]], data: st.DataObject
) -> None:
    taxonomy = grow(edges)
    path = taxonomy.path(data.draw(st.sampled_from(NAMES)))

    with pytest.raises(Cycle) as refusal:
        grow([*edges, (path[0], path[-1])])

    assert sorted(refusal.value.nodes[1:]) == sorted(path)


def test_a_long_cycle_is_named_by_its_first_nodes() -> None:
    names = [f"{number:03}" for number in range(500)]

    with pytest.raises(Cycle) as refusal:
        grow(zip(names, [*names[1:], names[0]], strict=True))

    assert str(refusal.value).endswith("008 → 009 → ….")
    assert refusal.value.nodes == (*names, "000")


@pytest.mark.parametrize("name", ["", "a" * 257, "ä" * 129, "a\0b"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_node_is_named_as_a_label_is(name: str, side: int) -> None:
    edge = ["root", "root"]
    edge[side] = name

    with pytest.raises(BadNode) as refusal:
        grow([edge])

    assert refusal.value.name == name
    assert f"has {len(name.encode())}" in str(refusal.value)


@pytest.mark.parametrize("name", ["a", "a" * 256, "ä" * 128])
def test_a_name_of_up_to_256_bytes_is_a_node(name: str) -> None:
    assert grow([(name, "root")]) == Taxonomy({name: "root"})


def test_a_chain_of_a_hundred_is_no_trouble() -> None:
    names = [str(number) for number in range(DEPTH_MAX + 1)]

    taxonomy = grow(pairwise(names))
    taxonomy.check_depths()

    assert taxonomy.depth("0") == DEPTH_MAX
    assert deepest(taxonomy, {"0": 1.0}, min_confidence=1.0) == Node("0", DEPTH_MAX, 1.0)


def test_a_longer_chain_is_too_deep() -> None:
    taxonomy = grow(pairwise(str(number) for number in range(DEPTH_MAX + 2)))

    with pytest.raises(TooDeep, match='"0" has more than 100 nodes above it'):
        taxonomy.check_depths()


def test_shares_are_of_the_total_that_is_given() -> None:
    votes, taxonomy = {"cat": 0.25, "poodle": 0.25}, grow(PETS)

    assert at_depth(taxonomy, votes, 0, total=1.0).share == 0.5
    assert deepest(taxonomy, votes, min_confidence=0.4, total=1.0) == Node("animal", 0, 0.5)
    assert deepest(taxonomy, votes, min_confidence=0.6, total=1.0) is None
