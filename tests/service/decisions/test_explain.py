"""The reasons for a query's label, and changes that would flip it, asked of a real server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import RemoteMemory, refusal, to_picture, to_vectors

import visual_memory
from visual_memory import (
    Client,
    Decision,
    Explanation,
    FailedPrecondition,
    InvalidArgument,
    Memory,
    NotFound,
    Removal,
)
from visual_memory.options import Voting
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import VOTINGS, Entry, Rule, unit_rows
from visual_memory_index import Memory as IndexMemory
from visual_memory_index.store.store import new_identity
from visual_memory_service.decisions.explain import ExplainQuestion, WhatIf, explain

if TYPE_CHECKING:
    from tests.conftest import Server

Vector: TypeAlias = NDArray[np.float64]

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(80, 6))
NAMES = [str(label) for label in RANDOM.integers(0, 3, 80)]
IDS = [f"{number:04}" for number in RANDOM.permutation(80)]
QUERIES = RANDOM.normal(size=(4, 6))
REMOVE, CHANGE = IDS[:20], dict.fromkeys(IDS[20:45], "2")
HEADED: list[dict[str, Any]] = [
    {"head": "means"},
    {"head": "means", "blend": 1.0, "balance": 0.5},
    {"head": "discriminants", "ridge": 0.5, "balance": 1.0, "voting": "softmax"},
    {"head": "discriminants", "blend": 1.0, "head_temperature": 0.3},
]
ADDED, ADDED_NAMES = RANDOM.normal(size=(10, 6)), ["new", "0"] * 5


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 80 random entries of three labels, with ids in random order."""
    crowd = client.create_memory(f"{empty.name}x", dimension=6)
    crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
    return crowd


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[Any]:
    spec = json.loads((shared / "spec" / "golden_voting.json").read_text())
    cases: list[Any] = spec["counterfactuals"]
    return cases


def at_distances(distances: Sequence[float]) -> Vector:
    """Return unit rows (m, 2) at these distances from (1, 0)."""
    cosines = 1 - np.array(distances)
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)


def decide(memory: Memory, query: Vector, **how: Any) -> Decision:
    (decision,) = memory.classify(vectors=query[np.newaxis], **how)
    return decision


def smaller_flips(memory: Memory, query: Vector, found: Explanation, **how: Any) -> list[Any]:
    """Return all sets of ids smaller than the flip found whose removal flips the label."""
    assert found.minimal_flip is not None
    ids = [entry.id for entry in memory.entries()]
    return [
        gone
        for size in range(1, len(found.minimal_flip))
        for gone in combinations(ids, size)
        if decide(memory, query, exclude_ids=gone, **how).label != found.before.label
    ]


def contents(memory: Memory) -> list[Any]:
    entries = memory.entries(include_vectors=True)
    return [(entry, np.asarray(entry.vector).tolist()) for entry in entries]


@pytest.mark.parametrize("voting", ["plurality", "distance", "softmax", "rank"])
def test_flips_are_those_of_all_subsets(
    client: Client, empty: RemoteMemory, golden: list[Any], voting: Voting
) -> None:
    assert len(golden) == 6
    for number, case in enumerate(golden):
        memory = client.create_memory(f"{empty.name}-{number}", dimension=2)
        labels = [str(label) for label in case["labels"]]
        ids = [str(9 - place) for place in range(len(labels))]
        memory.insert(vectors=at_distances(case["distances"]), labels=labels, ids=ids)

        found = memory.explain(vectors=[[1, 0]], k=case["k"], voting=voting)

        minimal = case["minimal"][voting]
        assert found.before.label == str(case["base"][voting]), case["name"]
        assert found.proven_minimal, case["name"]
        if minimal is None:
            assert (found.minimal_flip, found.flipped_label) == (None, None), case["name"]
        else:
            assert found.minimal_flip == [ids[at] for at in minimal["lexmin_set"]], case["name"]
            assert len(found.minimal_flip) == minimal["size"], case["name"]
            assert found.flipped_label == str(minimal["new_prediction"]), case["name"]


def test_the_decision_explained_is_the_one_that_classify_makes(crowd: Memory) -> None:
    excluded = IDS[60:]
    for voting in VOTINGS:
        how: Any = {"k": 7, "voting": voting, "exclude_ids": excluded}

        found = crowd.explain(vectors=QUERIES[:1], **how)

        assert found.before == decide(crowd, QUERIES[0], **how)
        assert found.after is None


def test_fifty_neighbours_vote_by_rank_unless_told_otherwise(crowd: Memory) -> None:
    found = crowd.explain(vectors=QUERIES[:1])

    assert found == crowd.explain(vectors=QUERIES[:1], k=50, voting="rank")
    assert len(found.before.neighbors) == 50


def test_every_neighbour_supports_the_label_or_opposes_it(crowd: Memory) -> None:
    found = crowd.explain(vectors=QUERIES[:1], k=9)

    neighbors, label = found.before.neighbors, found.before.label
    assert found.supporting == [each for each in neighbors if each.label == label] != []
    assert found.opposing == [each for each in neighbors if each.label != label] != []


@pytest.mark.parametrize(
    ("gone", "changed", "added"),
    [
        (REMOVE, {}, 0),
        ([], CHANGE, 0),
        ([], {}, 10),
        (REMOVE, CHANGE, 10),
        ([], {IDS[0]: NAMES[0]}, 0),
        (REMOVE, {REMOVE[0]: "gone"}, 0),
    ],
)
def test_what_would_be_is_what_is_once_it_is_done(
    client: Client, crowd: Memory, gone: list[str], changed: dict[str, str], added: int
) -> None:
    done = client.create_memory(f"{crowd.name}-done", dimension=6)
    labels = {**dict(zip(IDS, NAMES, strict=True)), **changed}
    done.insert(vectors=ROWS, labels=labels.values(), ids=IDS)
    if gone:
        done.delete(gone)
    if added:
        ids = [f"new {number}" for number in range(added)]
        done.insert(vectors=ADDED[:added], labels=ADDED_NAMES[:added], ids=ids)
    before = contents(crowd)

    for query in QUERIES:
        for voting, k in zip(get_args(Voting), (5, 9, 20, 50), strict=True):
            would = crowd.explain(
                vectors=[query],
                k=k,
                voting=voting,
                remove=gone,
                relabel=changed,
                add_vectors=ADDED[:added] if added else None,
                add_labels=ADDED_NAMES[:added],
            ).after

            then = decide(done, query, k=k, voting=voting)
            assert would is not None
            assert (would.label, would.scores) == (then.label, then.scores)
            assert would.confidence == then.confidence
            assert [(each.label, each.distance, each.weight) for each in would.neighbors] == [
                (each.label, each.distance, each.weight) for each in then.neighbors
            ]
            assert [each.id for each in would.neighbors] == [
                "" if each.id.startswith("new") else each.id for each in then.neighbors
            ]
    assert contents(crowd) == before


@pytest.mark.parametrize("head", HEADED)
def test_with_a_head_the_decision_explained_is_the_one_that_classify_makes(
    crowd: Memory, head: dict[str, Any]
) -> None:
    how: Any = {"k": 7, "exclude_ids": IDS[60:], **head}

    found = crowd.explain(vectors=QUERIES[:1], **how)

    assert found.before == decide(crowd, QUERIES[0], **how)


@pytest.mark.parametrize("head", HEADED)
@pytest.mark.parametrize(
    ("gone", "changed", "added"),
    [
        (REMOVE[:1], {}, 0),
        (REMOVE, {}, 0),
        ([], CHANGE, 0),
        ([], {}, 10),
        ([*REMOVE, REMOVE[0]], {**CHANGE, REMOVE[0]: "gone"}, 10),
    ],
)
def test_with_a_head_what_would_be_is_what_is_once_it_is_done(
    client: Client,
    crowd: Memory,
    head: dict[str, Any],
    gone: list[str],
    changed: dict[str, str],
    added: int,
) -> None:
    done = client.create_memory(f"{crowd.name}-done", dimension=6)
    labels = {**dict(zip(IDS, NAMES, strict=True)), **changed}
    done.insert(vectors=ROWS, labels=labels.values(), ids=IDS)
    done.delete([*gone, *IDS[75:]])
    if added:
        done.insert(vectors=ADDED[:added], labels=ADDED_NAMES[:added])

    would = crowd.explain(
        vectors=QUERIES[:1],
        k=9,
        exclude_ids=IDS[75:],
        remove=gone,
        relabel=changed,
        add_vectors=ADDED[:added] if added else None,
        add_labels=ADDED_NAMES[:added],
        **head,
    ).after

    then = decide(done, QUERIES[0], k=9, **head)
    assert would is not None
    assert (would.label, would.confidence, would.scores) == (
        then.label,
        then.confidence,
        then.scores,
    )


@pytest.mark.parametrize(
    "how", [*HEADED, {}, {"voting": "softmax"}, {"balance": 0.5, "voting": "plurality"}]
)
def test_a_removal_is_the_decision_without_the_entry(crowd: Memory, how: dict[str, Any]) -> None:
    near_ties = 0
    for query in QUERIES:
        found = crowd.explain(vectors=[query], k=9, exclude_ids=IDS[70:], **how)

        assert [each.id for each in found.removals] == found.before.neighbors.ids
        for each in found.removals:
            then = decide(crowd, query, k=9, exclude_ids=[*IDS[70:], each.id], **how)
            assert each.confidence == pytest.approx(then.confidence, abs=1e-7)
            near_ties += each.label != then.label
    assert near_ties == 0


def test_the_removal_of_the_only_entry_leaves_no_label(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=np.eye(4)[:1], labels=["a"], ids=["x"])

    for head in ("none", "means", "discriminants"):
        found = memory.explain(vectors=np.eye(4)[:1], head=head)

        assert (found.before.label, found.minimal_flip, found.proven_minimal) == ("a", None, True)
        assert found.removals == [Removal("x", "", 0.0)]


@pytest.mark.parametrize("head", HEADED)
def test_with_a_head_the_decision_flips_without_the_flip(
    crowd: Memory, head: dict[str, Any]
) -> None:
    for query in QUERIES:
        how: Any = {"k": 10, "exclude_ids": IDS[70:], **head}
        found = crowd.explain(vectors=[query], **how)
        assert found.minimal_flip is not None

        how["exclude_ids"] = [*IDS[70:], *found.minimal_flip]
        flipped = decide(crowd, query, **how)

        assert flipped.label == found.flipped_label != found.before.label
        singles = [each for each in found.removals if each.label != found.before.label]
        assert found.proven_minimal == bool(singles)
        if singles:
            assert found.minimal_flip == [singles[0].id]


def test_votes_and_head_of_an_explanation_are_of_one_moment(crowd: Memory) -> None:
    wish: Any = {"vectors": QUERIES[:1], "k": 5, "head": "discriminants", "search_seconds": 0}
    states = [crowd.explain(**wish)]
    crowd.delete(IDS[:40])
    states.append(crowd.explain(**wish))
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            crowd.insert(vectors=ROWS[:40], labels=NAMES[:40], ids=IDS[:40])
            crowd.delete(IDS[:40])

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        try:
            for _ in range(60):
                assert crowd.explain(**wish) in states
        finally:
            over.set()
        changing.result()
    assert states[0] != states[1]


def test_a_head_that_is_too_large_is_refused(client: Client, empty: RemoteMemory) -> None:
    wide = client.create_memory(f"{empty.name}-wide", dimension=2049)
    rows = np.eye(3, 2049)
    wide.insert(vectors=rows, labels=["a", "b", "c"])

    with pytest.raises(FailedPrecondition) as caught:
        wide.explain(vectors=rows[:1], head="discriminants")

    assert caught.value.reason == "HEAD_TOO_LARGE"
    assert wide.explain(vectors=rows[:1], head="means").before.label == "a"


def test_what_would_be_leaves_the_flip_and_the_decision_that_is(crowd: Memory) -> None:
    plain = crowd.explain(vectors=QUERIES[:1], k=5)

    asked = crowd.explain(vectors=QUERIES[:1], k=5, remove=REMOVE, relabel=CHANGE)

    assert (asked.before, asked.minimal_flip) == (plain.before, plain.minimal_flip)


@pytest.mark.parametrize("voting", sorted(VOTINGS))
def test_the_decision_flips_without_the_flip(crowd: Memory, voting: str) -> None:
    for query in QUERIES:
        how: Any = {"k": 10, "voting": voting, "exclude_ids": IDS[70:]}
        found = crowd.explain(vectors=[query], **how)
        assert found.minimal_flip is not None
        assert not set(found.minimal_flip) & set(IDS[70:])

        how["exclude_ids"] = [*IDS[70:], *found.minimal_flip]
        flipped = decide(crowd, query, **how)

        assert found.proven_minimal
        assert flipped.label == found.flipped_label != found.before.label


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_no_smaller_set_flips_a_small_memory(
    client: Client, empty: RemoteMemory, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    memory = client.memory(empty.name)
    labels = ["a"] * 4 + generator.choice(["a", "b", "c"], 3).tolist() + ["b"]
    memory.insert(vectors=generator.normal(size=(8, 4)), labels=labels, ids=list("76543210"))
    query = generator.normal(size=4)
    sizes = set()
    for voting in VOTINGS:
        for k in (1, 3, 8):
            how: Any = {"k": k, "voting": voting}

            found = memory.explain(vectors=[query], **how)

            assert found.minimal_flip is not None
            assert found.proven_minimal
            without = decide(memory, query, exclude_ids=found.minimal_flip, **how)
            assert without.label == found.flipped_label != found.before.label
            assert smaller_flips(memory, query, found, **how) == []
            sizes.add(len(found.minimal_flip))
    assert max(sizes) > 1


def test_nothing_flips_entries_of_one_label(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=np.eye(4), labels=["a"] * 4)

    found = memory.explain(vectors=[[1, 2, 3, 4]], k=2)

    assert (found.minimal_flip, found.flipped_label, found.proven_minimal) == (None, None, True)
    assert found.opposing == []


def test_the_only_entry_decides_and_cannot_be_flipped(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=np.eye(4)[:1], labels=["a"])

    found = memory.explain(vectors=np.eye(4)[:1])

    assert (found.before.label, found.minimal_flip) == ("a", None)


def test_a_search_without_time_still_flips_and_does_not_claim_a_proof(
    client: Client, empty: RemoteMemory
) -> None:
    generator = np.random.default_rng(7)
    memory = client.create_memory(f"{empty.name}x", dimension=8)
    labels = generator.choice(["a", "b", "c"], 400).tolist()
    memory.insert(vectors=generator.normal(size=(400, 8)), labels=labels)
    query = generator.normal(size=8)

    hasty = memory.explain(vectors=[query], k=50, search_seconds=0)
    patient = memory.explain(vectors=[query], k=50, search_seconds=60)

    assert hasty.minimal_flip is not None
    assert patient.minimal_flip is not None
    assert (hasty.proven_minimal, patient.proven_minimal) == (False, True)
    assert len(hasty.minimal_flip) >= len(patient.minimal_flip)
    without = decide(memory, query, exclude_ids=hasty.minimal_flip)
    assert without.label == hasty.flipped_label != hasty.before.label == patient.before.label


def test_an_image_is_explained_as_its_vector_is(client: Client, album: RemoteMemory) -> None:
    memory = client.memory(album.name)
    memory.update("b", label="other")

    found = memory.explain(images=[to_picture(3)], k=1)

    assert found == memory.explain(vectors=memory.embed([to_picture(3)]), k=1)
    assert found.minimal_flip == [found.before.neighbors[0].id]


def test_entries_that_do_not_vote_explain_nothing(crowd: Memory) -> None:
    crowd.prune(method="ids", ids=REMOVE, apply=True)

    found = crowd.explain(vectors=QUERIES[:1], k=80)

    assert {each.id for each in found.before.neighbors} == set(IDS) - set(REMOVE)
    assert not set(found.minimal_flip or ()) & set(REMOVE)
    with pytest.raises(NotFound, match=f"No entry that votes here .*pruned.*{REMOVE[0]}"):
        crowd.explain(vectors=QUERIES[:1], remove=REMOVE[:1])
    with pytest.raises(NotFound, match=REMOVE[0]):
        crowd.explain(vectors=QUERIES[:1], relabel={REMOVE[0]: "x"})


@pytest.mark.parametrize(
    "how",
    [
        {"remove": ["nobody", IDS[0]]},
        {"relabel": {IDS[0]: "x", "nobody": "x"}},
        {"remove": ["nobody"], "exclude_ids": ["nobody"]},
    ],
)
def test_entries_that_are_not_there_are_named(crowd: Memory, how: Any) -> None:
    with pytest.raises(NotFound, match="nobody") as caught:
        crowd.explain(vectors=QUERIES[:1], **how)

    assert IDS[0] not in str(caught.value)


@pytest.mark.parametrize(
    "how",
    [
        {"exclude_ids": IDS},
        {"remove": IDS},
        {"exclude_ids": IDS[:40], "remove": IDS[40:]},
    ],
)
def test_a_decision_of_nobody_is_refused(crowd: Memory, how: Any) -> None:
    with pytest.raises(FailedPrecondition, match="left to vote"):
        crowd.explain(vectors=QUERIES[:1], **how)


def test_an_empty_memory_explains_nothing(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)

    with pytest.raises(FailedPrecondition, match="left to vote"):
        memory.explain(vectors=np.eye(4)[:1])


def test_who_is_added_votes_where_all_others_are_removed(crowd: Memory) -> None:
    found = crowd.explain(
        vectors=QUERIES[:1], remove=IDS, add_vectors=ADDED[:1], add_labels=["new"]
    )

    assert found.after is not None
    assert (found.after.label, len(found.after.neighbors)) == ("new", 1)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"vectors": QUERIES}, "vectors must be one query, but are 4"),
        ({"images": [to_picture(1), to_picture(2)]}, "images must be one query, but are 2"),
        ({}, "images or vectors"),
        ({"k": 0}, "k must be at least 1, but is 0"),
        ({"voting": "loudly"}, "voting"),
        ({"add_vectors": ADDED, "add_labels": ["x"]}, "add_labels must be as many as the rows"),
        ({"add_vectors": ADDED}, "add_labels must be as many as the rows, but are 0 for 10"),
        ({"add_labels": ["x"]}, "add_labels must be as many as the rows, but are 1 for 0"),
        ({"add_vectors": ADDED[:1], "add_labels": [""]}, r"add_labels\[0\] must be 1 to 256"),
        ({"add_vectors": ADDED[:1, :5], "add_labels": ["x"]}, "have dimension 5"),
        ({"add_vectors": 0 * ADDED[:1], "add_labels": ["x"]}, r"add_vectors\[0\] must be finite"),
        ({"add_vectors": ADDED[:1], "add_labels": "x"}, "add_labels must be a list of strings"),
        ({"relabel": {IDS[0]: ""}}, "must be 1 to 256 UTF-8 bytes"),
        ({"remove": IDS[0]}, "remove must be a list of strings"),
        ({"vectors": QUERIES[:1, :5]}, "have dimension 5"),
        ({"search_seconds": -1}, "search_seconds must be 0 to 600"),
        ({"search_seconds": 601}, "search_seconds must be 0 to 600"),
    ],
)
def test_a_wrong_question_is_refused(crowd: Memory, how: Any, sentence: str) -> None:
    asked = how if not how or {"vectors", "images"} & set(how) else {"vectors": QUERIES[:1], **how}

    with pytest.raises(InvalidArgument, match=sentence):
        crowd.explain(**asked)


def test_raw_calls_are_refused_with_the_field(crowd: Memory, server: Server) -> None:
    query = to_vectors(QUERIES[:1])
    asked: list[Any] = [
        {"vectors": to_vectors(QUERIES)},
        {"vectors": query, "k": 0},
        {"vectors": query, "voting": "loudly"},
        {"vectors": query, "add_labels": ["x"]},
    ]

    refused = [
        refusal(
            server.stub.ExplainDecision, pb.ExplainDecisionRequest(memory=crowd.name, **fields)
        ).field_violations[0][0]
        for fields in asked
    ]

    assert refused == ["vectors", "k", "voting", "add_labels"]


def test_asyncio_does_the_same(server: Server, crowd: Memory) -> None:
    how: Any = {
        "k": 9,
        "voting": "softmax",
        "remove": REMOVE,
        "relabel": CHANGE,
        "add_vectors": ADDED,
        "add_labels": ADDED_NAMES,
    }

    async def run() -> Explanation:
        async with visual_memory.aio.connect(server.address) as client:
            memory = client.memory(crowd.name)
            with pytest.raises(NotFound, match="nobody"):
                await memory.explain(vectors=QUERIES[:1], remove=["nobody"])
            return await memory.explain(vectors=QUERIES[:1], **how)

    assert asyncio.run(run()) == crowd.explain(vectors=QUERIES[:1], **how)


class AfterOneLook(threading.Event):
    """An event that is not set when first looked at, and then is."""

    def is_set(self) -> bool:
        before = super().is_set()
        self.set()
        return before


@pytest.mark.parametrize(("over", "proven"), [(threading.Event(), True), (AfterOneLook(), False)])
def test_nobody_looks_on_for_a_call_that_is_over(
    tmp_path: Path, over: threading.Event, proven: bool
) -> None:
    query = np.eye(1, 6, dtype=np.float32)
    with closing(made(tmp_path / "crowd.sqlite", ROWS, NAMES)) as memory:
        question = ExplainQuestion(
            query=query,
            rule=Rule(k=9),
            exclude_ids=(),
            what_if=WhatIf((), {}, query[:0], ()),
            seconds=600.0,
            with_thumbnails=False,
        )
        flip = explain(question, query, memory, over).minimal_flip

    assert flip is not None
    assert flip.proven_minimal == proven


def made(path: Path, rows: Vector, labels: Sequence[str]) -> IndexMemory:
    """Create the file of a memory, without a server."""
    memory = IndexMemory.create(path, new_identity("crowd", rows.shape[1], None))
    entries = [
        Entry(id, label, content_sha256=bytes(32)) for id, label in zip(IDS, labels, strict=True)
    ]
    memory.insert(entries, unit_rows(rows.astype(np.float32)))
    return memory
