"""Values of entries, asked of a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from tests.conftest import RemoteMemory, refusal, to_picture, to_vectors

import visual_memory
from visual_memory import Client, InvalidArgument, Memory, NotFound
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Valuation, exact_distances, unit_rows

if TYPE_CHECKING:
    from tests.conftest import Server

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(60, 8)).astype(np.float32)
NAMES = [str(label) for label in RANDOM.integers(0, 3, 60)]
IDS = [f"{number:04}" for number in RANDOM.permutation(60)]
QUERIES = RANDOM.normal(size=(9, 8)).astype(np.float32)
WANTED = ["0", "1", "2", "0", "1", "2", "0", "1", "nobody's"]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 60 random entries of three labels, with ids in random order."""
    crowd = client.create_memory(f"{empty.name}x", dimension=8)
    crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
    return crowd


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    return json.loads((shared / "spec" / "golden_shapley.json").read_text())


def fan(count: int) -> NDArray[np.float64]:
    """Return unit rows (count, 2) at growing distance from (1, 0)."""
    angles = 0.1 * np.arange(1, count + 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def nearest_first(query: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.lexsort((np.array(IDS), exact_distances(query, rows)))


def pure(rows: NDArray[np.float32], k: int, *, own: bool) -> dict[str, float]:
    """Value the entries by the valuation module, for each other if ``own``, or for the queries."""
    rows, queries = unit_rows(rows), unit_rows(rows if own else QUERIES)
    valuation = Valuation(np.array(NAMES, object), k)
    order = np.array([nearest_first(query, rows) for query in queries])
    if own:
        valuation.add(order, NAMES, np.arange(len(rows)))
    else:
        valuation.add(order, WANTED)
    return dict(zip(IDS, valuation.means().tolist(), strict=True))


def utility(memory: Memory, queries: ArrayLike, labels: Sequence[str], k: int) -> float:
    """Return the mean share of right labels among each query's k nearest, by search."""
    found = memory.search(vectors=queries, k=k)
    rights = [
        sum(each == label for each in near.labels) / k
        for near, label in zip(found, labels, strict=True)
    ]
    return float(np.mean(rights))


def test_values_to_one_query_are_those_of_all_permutations(
    client: Client, empty: RemoteMemory, golden: Any
) -> None:
    assert len(golden["cases"]) == 7
    for number, case in enumerate(golden["cases"]):
        labels = case["labels_nearest_first"]
        memory = client.create_memory(f"{empty.name}-{number}", dimension=2)
        ids = [str(9 - place) for place in range(len(labels))]
        memory.insert(vectors=fan(len(labels)), labels=labels, ids=ids)

        values = memory.values(case["K"], vectors=[[1, 0]], labels=[case["query_label"]])

        assert [values[id] for id in ids] == pytest.approx(case["shapley"], abs=1e-9), case["name"]
        assert sum(values.values()) == pytest.approx(case["utility_full"], abs=1e-9), case["name"]


def test_values_to_two_queries_are_the_mean_of_the_golden_ones(
    client: Client, empty: RemoteMemory, golden: Any
) -> None:
    case = golden["multi_query"]
    memory = client.create_memory(f"{empty.name}x", dimension=2)
    memory.insert(vectors=case["points"], labels=case["labels"], ids=list("01234"))
    queries = [query["query"] for query in case["queries"]]
    labels = [query["label"] for query in case["queries"]]

    values = memory.values(case["K"], vectors=queries, labels=labels)

    assert list(values) == list("01234")
    assert list(values.values()) == pytest.approx(case["mean_shapley"], abs=1e-9)


@pytest.mark.parametrize("k", [1, 5, 59, 60, 1000])
def test_values_of_entries_to_each_other_are_those_of_the_valuation(crowd: Memory, k: int) -> None:
    values = crowd.values(k)

    assert list(values) == sorted(IDS)
    assert values == pytest.approx(pure(ROWS, k, own=True), abs=1e-12)


def test_five_neighbours_count_unless_told_otherwise(crowd: Memory) -> None:
    assert crowd.values() == crowd.values(5) != crowd.values(6)


@pytest.mark.parametrize("k", [1, 5, 100])
def test_values_to_queries_sum_to_the_mean_share_of_right_neighbours(crowd: Memory, k: int) -> None:
    values = crowd.values(k, vectors=QUERIES, labels=WANTED)

    assert values == pytest.approx(pure(ROWS, k, own=False), abs=1e-12)
    assert sum(values.values()) == pytest.approx(utility(crowd, QUERIES, WANTED, k), abs=1e-12)


def test_a_query_whose_label_no_entry_has_makes_nobody_worth_anything(crowd: Memory) -> None:
    values = crowd.values(vectors=QUERIES[:1], labels=["nobody's"])

    assert values == dict.fromkeys(sorted(IDS), 0.0)


def test_the_length_of_a_query_does_not_matter(crowd: Memory) -> None:
    values = crowd.values(vectors=1000 * QUERIES, labels=WANTED)

    assert values == pytest.approx(crowd.values(vectors=QUERIES, labels=WANTED), abs=1e-12)


def test_an_entry_given_as_a_query_is_worth_something_to_itself(crowd: Memory) -> None:
    values = crowd.values(1, vectors=ROWS[:1], labels=NAMES[:1])

    assert max(values, key=values.__getitem__) == IDS[0]


def test_values_to_images_are_those_to_their_vectors(client: Client, album: RemoteMemory) -> None:
    memory = client.memory(album.name)
    images = [to_picture(3), to_picture(4)]

    values = memory.values(1, images=images, labels=["noise", "x"])

    vectors = memory.embed(images)
    assert values == memory.values(1, vectors=vectors, labels=["noise", "x"])
    assert sum(values.values()) == pytest.approx(0.5, abs=1e-12)


def test_entries_that_do_not_vote_have_no_value_and_change_none(crowd: Memory) -> None:
    crowd.insert(vectors=QUERIES, labels=WANTED, ids=[f"x{number}" for number in range(9)])
    crowd.prune(method="ids", ids=[f"x{number}" for number in range(9)], apply=True)

    assert crowd.values(5) == pytest.approx(pure(ROWS, 5, own=True), abs=1e-12)


def test_the_least_valuable_are_those_that_a_prune_takes(crowd: Memory) -> None:
    values = crowd.values(5)

    pruned = crowd.prune(method="value", fraction=0.1, value_k=5)

    assert pruned.ids == sorted(sorted(values, key=lambda id: (values[id], id))[:6])


def test_progress_is_told_how_many_of_all_entries_have_asked(crowd: Memory) -> None:
    rows = np.random.default_rng(1).normal(size=(5000, 8))
    crowd.insert(vectors=rows, labels=["0", "1"] * 2500)
    on_progress: list[tuple[int, int]] = []

    crowd.values(progress=lambda *counts: on_progress.append(counts))

    assert on_progress == sorted(on_progress) != []
    assert all(0 < done <= total == 5060 for done, total in on_progress)


def test_more_values_than_one_answer_holds_all_come(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)
    ids = [f"{number:05}" for number in range(10_001)]
    rows = np.random.default_rng(2).normal(size=(10_001, 4))
    memory.insert(vectors=rows, labels=["a"] * 10_001, ids=ids)

    values = memory.values(3, vectors=rows[:1], labels=["a"])

    assert list(values) == ids
    assert sum(values.values()) == pytest.approx(1, abs=1e-9)


def test_the_only_entry_has_nobody_to_be_worth_something_to(
    client: Client, empty: RemoteMemory
) -> None:
    memory = client.memory(empty.name)
    memory.insert(vectors=np.eye(4)[:1], labels=["a"], ids=["a"])

    assert memory.values() == {"a": 0.0}
    assert memory.values(2, vectors=np.eye(4)[:1], labels=["a"]) == {"a": 0.5}


def test_an_empty_memory_has_no_values(client: Client, empty: RemoteMemory) -> None:
    memory = client.memory(empty.name)

    assert memory.values() == {}
    assert memory.values(vectors=np.eye(4)[:1], labels=["a"]) == {}


def test_finding_values_leaves_an_operation_that_is_done(client: Client, crowd: Memory) -> None:
    crowd.values()

    (operation,) = client.operations(crowd.name)
    assert (operation.kind, operation.state) == ("values", "done")
    assert client.operation(operation.name).result is None


@pytest.mark.parametrize(
    ("k", "how", "sentence"),
    [
        (0, {}, "k must be at least 1, but is 0"),
        (-1, {}, "k must be at least 1, but is -1"),
        (1001, {}, "k must be 1 to 1000, but is 1001"),
        (5, {"labels": ["0"]}, "labels belong to images or vectors, of which there are none"),
        (5, {"vectors": QUERIES}, "labels must be given with images or vectors"),
        (5, {"vectors": QUERIES, "labels": ["0"] * 8}, "labels must be 9, one for each query"),
        (5, {"vectors": QUERIES, "labels": ["0"] * 10}, "one for each query, not 10"),
        (5, {"vectors": QUERIES, "labels": "012012012"}, "labels must be a list of strings"),
        (5, {"vectors": QUERIES[:1], "labels": [""]}, r"labels\[0\] must be 1 to 256"),
        (5, {"vectors": QUERIES[:, :5], "labels": WANTED}, "have dimension 5"),
        (5, {"vectors": 0 * QUERIES[:1], "labels": ["0"]}, r"vectors\[0\] must be finite and not"),
        (5, {"vectors": [[np.nan] * 8], "labels": ["0"]}, r"vectors\[0\] must be finite and not"),
    ],
)
def test_a_wrong_question_is_refused(crowd: Memory, k: int, how: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        crowd.values(k, **how)


def test_images_need_an_embedder_and_a_memory_must_be_there(client: Client, crowd: Memory) -> None:
    with pytest.raises(visual_memory.Error, match="vectors"):
        crowd.values(images=[to_picture()], labels=["0"])
    with pytest.raises(NotFound, match="nobody"):
        client.memory("nobody").values()


def test_raw_calls_are_refused_with_the_field(crowd: Memory, server: Server) -> None:
    vectors = to_vectors(QUERIES)
    asked = [
        {"k": 0},
        {"labels": ["0"]},
        {"vectors": vectors, "labels": ["0"]},
        {"vectors": vectors, "labels": [*WANTED, "0"]},
        {"vectors": vectors, "labels": [*WANTED[:8], ""]},
    ]

    def ask(fields: Any) -> None:
        list(server.stub.ValueEntries(pb.ValueEntriesRequest(memory=crowd.name, **fields)))

    refused = [refusal(ask, fields).field_violations[0][0] for fields in asked]

    assert refused == ["k", "labels", "labels", "labels", "labels[8]"]


def test_asyncio_does_the_same(server: Server, crowd: Memory) -> None:
    on_progress: list[tuple[int, int]] = []

    async def run() -> tuple[dict[str, float], dict[str, float]]:
        async with visual_memory.aio.connect(server.address) as client:
            memory = client.memory(crowd.name)
            with pytest.raises(InvalidArgument, match="one for each query"):
                await memory.values(vectors=QUERIES, labels=["0"])
            with pytest.raises(NotFound, match="nobody"):
                await client.memory("nobody").values()
            return (
                await memory.values(7, progress=lambda *counts: on_progress.append(counts)),
                await memory.values(3, vectors=QUERIES, labels=WANTED),
            )

    to_others, to_queries = asyncio.run(run())

    assert to_others == crowd.values(7)
    assert to_queries == crowd.values(3, vectors=QUERIES, labels=WANTED)
    assert all(total == 60 for _, total in on_progress)
