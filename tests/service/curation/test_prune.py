"""Counting, pruning, relabelling and undoing, asked of a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal
from tests.service.curation.conftest import IDS, NAMES, ROWS, WRONG

import visual_memory
from visual_memory import (
    Client,
    FailedPrecondition,
    InvalidArgument,
    Memory,
    NotFound,
    PruneResult,
)
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Entry, Operation, unit_rows
from visual_memory_index import Memory as StoredMemory
from visual_memory_index.curation.prune_methods import Hard, Ids, Method, Prototype, Random, Value
from visual_memory_index.errors import UnknownEntries
from visual_memory_index.store.store import new_identity
from visual_memory_service.convert.curation import to_method
from visual_memory_service.curation import prune as pruning
from visual_memory_service.errors import BadField
from visual_memory_service.runtime.operations import Cancelled, Job

if TYPE_CHECKING:
    from tests.conftest import Server, Start


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[Any]:
    cases: list[Any] = json.loads((shared / "spec" / "golden_pruning.json").read_text())["cases"]
    return cases


def remembered(client: Client, name: str, case: Any) -> Memory:
    memory = client.create_memory(name, dimension=2)
    ids = [f"{number:04}" for number in range(len(case["labels"]))]
    labels = [str(label) for label in case["labels"]]
    memory.insert(vectors=case["points"], labels=labels, ids=ids)
    return memory


def test_counts_prunes_and_reliabilities_are_those_of_the_paper(
    client: Client, empty: RemoteMemory, golden: list[Any]
) -> None:
    assert len(golden) == 4
    for number, case in enumerate(golden):
        memory = remembered(client, f"{empty.name}-{number}", case)
        counts = memory.misleading_counts(case["K"])
        pruned = memory.prune(method="hard", k=case["K"], threshold=case["threshold"])

        assert list(counts.values()) == case["v"], case["name"]
        assert pruned.ids == [f"{row:04}" for row in case["hard_pruned"]], case["name"]

        query = {"vectors": case["points"][:1], "voting": "plurality"}
        (decision,) = memory.classify(**query, reliability="soft", reliability_k=case["K"])
        weights = {each.id: each.weight for each in decision.neighbors}
        expected = {f"{row:04}": weight for row, weight in enumerate(case["soft_weights"])}
        assert weights == pytest.approx(expected, abs=1e-9), case["name"]


def test_a_dry_run_says_what_a_prune_then_does(crowd: Memory) -> None:
    would = crowd.prune(method="hard", k=10, threshold=5)
    assert crowd.info().pruned_count == 0

    did = crowd.prune(method="hard", k=10, threshold=5, apply=True)

    assert 0 < len(did.ids) == crowd.info().pruned_count
    assert (would.ids, would.labels, would.accuracy_before, would.accuracy_after) == (
        did.ids,
        did.labels,
        did.accuracy_before,
        did.accuracy_after,
    )
    assert (would.applied, did.applied) == (False, True)
    assert crowd.info().count == 200


def test_the_accuracies_are_those_of_asking_for_each_entry(crowd: Memory) -> None:
    pruned = crowd.prune(method="ids", ids=WRONG)

    for ids, accuracy in (([], pruned.accuracy_before), (WRONG, pruned.accuracy_after)):
        right = [
            crowd.classify(vectors=ROWS[[at]], exclude_ids=[IDS[at], *ids])[0].label == NAMES[at]
            for at in range(200)
        ]
        assert accuracy == pytest.approx(np.mean(right), abs=1e-12)


class Told(Job):
    """A job that calls ``act`` at each report of its progress."""

    def __init__(self, memory: StoredMemory, act: Callable[[int], None]) -> None:
        super().__init__(memory.operations.begin("prune").operation, memory)
        self._act, self.times = act, 0

    def report_progress(self, done: int, total: int) -> None:
        super().report_progress(done, total)
        self.times += 1
        self._act(self.times)

    def prune(self, method: Method) -> Operation:
        """Run the prune, and return its operation."""
        pruning.carry_out(method, self, apply=True)
        return self.memory.operations.get(self.name)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredMemory]:
    """A memory with the 200 entries, without a server."""
    with closing(StoredMemory.create(tmp_path / "m.sqlite", new_identity("m", 16, None))) as memory:
        entries = [Entry(id, label) for id, label in zip(IDS, NAMES, strict=True)]
        memory.insert(entries, unit_rows(ROWS.astype(np.float32)))
        yield memory


RULES = [
    Hard(10, 5, minus_correct=False),
    Random(0.2, seed=0),
    Value(0.2, k=5),
    Prototype(0.2, clusters=0, keep="easy", balance=0.5, seed=0),
    Prototype(0.2, clusters=8, keep="easy", balance=0.5, seed=0),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_prune_by_a_rule_ends_though_others_write_all_the_time(
    stored: StoredMemory, rule: Method
) -> None:
    would = json.loads(pruning.carry_out(rule, to_job(stored), apply=False) or "")

    def insert(time: int) -> None:
        stored.insert([Entry(f"new {time}", "0")], unit_rows(ROWS[[time]].astype(np.float32)))

    ended = Told(stored, insert).prune(rule)

    assert ended.state == "done"
    assert json.loads(ended.result or "") == {**would, "applied": True}
    pruned = {entry.id for entry in stored.entries(limit=999).entries if entry.pruned_by}
    assert pruned == set(would["ids"]) != set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_what_was_edited_since_a_rule_chose_it_keeps_its_vote(
    stored: StoredMemory, rule: Method
) -> None:
    would = json.loads(pruning.carry_out(rule, to_job(stored), apply=False) or "")
    deleted, replaced, relabelled, *left = would["ids"]

    def edit(time: int) -> None:
        if time == 1:
            stored.delete([deleted])
            row = stored.snapshot().vectors.gather(np.arange(1))
            stored.insert([Entry(replaced, NAMES[0])], row, replace_existing=True)
            stored.update(relabelled, label="mended")

    ended = Told(stored, edit).prune(rule)

    result = json.loads(ended.result or "")
    assert result["ids"] == left
    assert sum(result["labels"].values()) == len(left)
    assert stored.votes([replaced, relabelled]).all()
    assert stored.operations.undo(ended.name) == left


def test_ids_that_are_deleted_before_they_are_pruned_keep_the_others_from_it(
    stored: StoredMemory,
) -> None:
    def delete(time: int) -> None:
        stored.delete(WRONG[:1], allow_missing=True)

    job = Told(stored, delete)

    with pytest.raises(UnknownEntries, match=WRONG[0]):
        job.prune(Ids(WRONG))

    assert stored.count == 199


@pytest.mark.parametrize("rule", [RULES[2], RULES[4]], ids=lambda rule: type(rule).__name__)
def test_choosing_can_be_stopped(stored: StoredMemory, rule: Method) -> None:
    job = to_job(stored)
    job.cancelled.set()

    with pytest.raises(Cancelled):
        pruning.chosen(rule, stored.snapshot(), job)


def test_a_prune_ends_on_a_server_that_is_written_all_the_time(crowd: Memory) -> None:
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            crowd.insert(vectors=ROWS[:3], labels=NAMES[:3])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pruned = crowd.prune(method="hard", k=10, threshold=5, apply=True)
    finally:
        over.set()
        writer.join()

    assert pruned.applied
    assert [entry.id for entry in crowd.entries("pruned_by:*")] == pruned.ids != []


@pytest.mark.parametrize("rule", [*RULES, Ids(WRONG)], ids=lambda rule: type(rule).__name__)
def test_progress_of_a_prune_has_one_total_that_it_never_falls_back_from(
    stored: StoredMemory, rule: Method
) -> None:
    reports: list[tuple[int, int]] = []
    job = Told(stored, lambda time: reports.append(job.progress))

    job.prune(rule)

    assert reports == sorted(reports)
    assert {total for _, total in reports} == {3 * len(IDS)}
    assert reports[-1] == (3 * len(IDS), 3 * len(IDS))


def to_job(memory: StoredMemory) -> Job:
    return Told(memory, lambda time: None)


def test_pruned_entries_stay_stored_are_listed_and_do_not_vote(crowd: Memory) -> None:
    pruned = crowd.prune(method="ids", ids=WRONG, apply=True)

    assert [entry.id for entry in crowd.entries("pruned_by:*")] == WRONG
    assert {entry.pruned_by for entry in crowd.entries("pruned_by:*")} == {pruned.operation}
    assert len(list(crowd.entries("NOT pruned_by:*"))) == 180
    assert crowd.get(WRONG[0]).pruned_by == pruned.operation
    (near,) = crowd.search(vectors=ROWS[:1], k=500)
    assert set(near.ids) == set(IDS) - set(WRONG)
    info = crowd.info()
    assert (info.count, info.pruned_count, info.pruned_labels) == (200, 20, {"0": 20})


def test_a_pruned_entry_can_be_updated_deleted_and_is_still_there_to_an_insertion(
    crowd: Memory,
) -> None:
    crowd.prune(method="ids", ids=WRONG, apply=True)

    assert crowd.update(WRONG[0], label="right").label == "right"
    with pytest.raises(visual_memory.AlreadyExists):
        crowd.insert(vectors=ROWS[:1], labels=["x"], ids=[WRONG[1]])
    assert crowd.delete([WRONG[2]]) == 1
    assert crowd.info().labels["right"] == crowd.info().pruned_labels["right"] == 1
    assert crowd.info().pruned_count == 19


def test_undo_brings_back_what_is_left_of_it(crowd: Memory) -> None:
    before = crowd.classify(vectors=ROWS, k=20)
    operation = crowd.prune(method="ids", ids=WRONG, apply=True).operation
    crowd.delete(WRONG[:2])
    crowd.insert(vectors=ROWS[[0]], labels=[NAMES[0]], ids=[WRONG[0]])

    assert crowd.undo(operation) == 18

    crowd.insert(vectors=ROWS[[10]], labels=[NAMES[10]], ids=[WRONG[1]])
    assert crowd.classify(vectors=ROWS, k=20) == before
    with pytest.raises(FailedPrecondition, match="undone before"):
        crowd.undo(operation)


def test_prunes_that_overlap_are_undone_in_either_order(crowd: Memory) -> None:
    for first, second in ((0, 1), (1, 0)):
        prunes = [crowd.prune(method="random", fraction=0.2, seed=1, apply=True)]
        prunes.append(crowd.prune(method="random", fraction=0.2, seed=1, apply=True))
        assert not set(prunes[0].ids) & set(prunes[1].ids)

        restored = [crowd.undo(prunes[at].operation) for at in (first, second)]

        assert restored == [len(prunes[at].ids) for at in (first, second)]
        assert crowd.info().pruned_count == 0


def test_a_repeated_request_is_answered_by_the_operation_it_began(crowd: Memory) -> None:
    how: Any = {"method": "ids", "ids": WRONG, "apply": True, "request_id": "once"}
    first, second = crowd.prune(**how), crowd.prune(**how)
    third = crowd.relabel({IDS[1]: "z"}, apply=True, request_id="twice")
    fourth = crowd.relabel({IDS[1]: "z"}, apply=True, request_id="twice")

    assert first == second
    assert third == fourth
    assert crowd.undo(first.operation, request_id="thrice") == 20
    assert crowd.undo(first.operation, request_id="thrice") == 20
    with pytest.raises(InvalidArgument, match="used before"):
        crowd.prune(method="ids", ids=WRONG[:1], apply=True, request_id="once")


def test_a_prune_by_prototypes_keeps_the_near_entries_unless_told_otherwise(crowd: Memory) -> None:
    how: Any = {"method": "prototype", "fraction": 0.1}
    easy, hard = (crowd.prune(**how, keep=keep).ids for keep in ("easy", "hard"))

    unset = pb.PruneEntriesRequest(prototype=pb.PrototypePrune(fraction=0.1))
    assert to_method(unset) == Prototype(0.1, clusters=0, keep="easy", balance=0.5, seed=0)
    assert crowd.prune(**how).ids == easy
    assert len(set(WRONG) & set(easy)) > len(set(WRONG) & set(hard))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"method": "hard", "k": 0}, "k must be at least 1"),
        ({"method": "hard", "k": 1001}, "hard.k must be 1 to 1000, but is 1001"),
        ({"method": "hard", "threshold": 0}, "threshold must be at least 1"),
        ({"method": "random"}, "fraction must be between 0 and 1, both excluded, but is None"),
        ({"method": "random", "fraction": 1.0}, "fraction must be between 0 and 1"),
        ({"method": "prototype", "fraction": 0.5, "keep": "x"}, "easy or hard"),
        ({"method": "prototype", "fraction": 0.5, "balance": 2.0}, "balance must be 0 to 1"),
        ({"method": "prototype", "fraction": 0.5, "clusters": 10_001}, "must be 0 to 10000"),
        ({"method": "ids"}, "ids must be given"),
        ({"method": "x"}, "method must be hard, random, prototype, value or ids"),
    ],
)
def test_a_wrong_prune_is_refused(crowd: Memory, how: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        crowd.prune(**how)


def test_every_method_of_the_index_is_one_of_the_call_and_named_where_none_is_given() -> None:
    names = [kind.__name__.lower() for kind in get_args(Method)]
    fields = pb.PruneEntriesRequest.DESCRIPTOR.oneofs_by_name["method"].fields

    assert {field.name for field in fields} == set(names)
    with pytest.raises(BadField, match=f"must be given: {names[0]}, {names[1]}, "):
        to_method(pb.PruneEntriesRequest())


def test_ids_that_do_not_vote_are_refused(crowd: Memory) -> None:
    with pytest.raises(NotFound, match=r"No entry that votes here .*: nobody"):
        crowd.prune(method="ids", ids=["nobody", IDS[0]], apply=True)
    with pytest.raises(NotFound, match="nobody"):
        crowd.relabel({"nobody": "x"}, apply=True)

    assert crowd.info().pruned_count == 0


def test_what_cannot_be_undone_or_cancelled_says_why(client: Client, crowd: Memory) -> None:
    dry = crowd.prune(method="ids", ids=WRONG)

    with pytest.raises(FailedPrecondition, match="its kind is dry-run and its state done; only"):
        crowd.undo(dry.operation)
    with pytest.raises(FailedPrecondition, match="it is done already"):
        client.cancel(dry.operation)
    for name in ("nobody/x", f"{crowd.name}/x", "x"):
        with pytest.raises(NotFound, match="has no operation named"):
            client.operation(name)


def test_an_empty_memory_has_no_counts_and_nothing_to_prune(
    client: Client, empty: RemoteMemory
) -> None:
    memory = client.memory(empty.name)

    assert memory.misleading_counts() == {}
    with pytest.raises(FailedPrecondition, match="nothing to prune"):
        memory.prune(method="hard")


def test_operations_are_found_again_after_a_restart(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=16)
        crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
        counts = crowd.misleading_counts(10)
        pruned = crowd.prune(method="hard", k=10, threshold=5, apply=True)
        left = crowd.misleading_counts(10)
        known = [operation.name for operation in client.operations("crowd")]

    server.restart()
    with visual_memory.connect(server.address) as client:
        crowd = client.memory("crowd")

        assert [operation.name for operation in client.operations("crowd")] == known
        assert client.operation(pruned.operation).result == pruned
        assert crowd.misleading_counts(10) == left
        assert crowd.undo(pruned.operation) == len(pruned.ids)
        assert crowd.misleading_counts(10) == counts


def test_an_operation_can_be_stopped_and_one_cut_short_has_failed(
    start: Start, tmp_path: Path
) -> None:
    count, dimension = 12_000, 512
    rows = np.random.default_rng(3).normal(size=(count, dimension))
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = client.create_memory("crowd", dimension=dimension)
        crowd.insert(vectors=rows, labels=["a", "b"] * (count // 2))
        cancelled = crowd.prune(method="hard", wait=False)
        client.cancel(cancelled.name)
        ended = client.wait(cancelled.name)
        cut_short = crowd.prune(method="hard", apply=True, wait=False)
        while not client.operation(cut_short.name).total:
            time.sleep(0.01)

    server.restart(number=signal.SIGKILL)
    with visual_memory.connect(server.address) as client:
        assert (ended.state, ended.result) == ("cancelled", None)
        failed = client.operation(cut_short.name)
        assert (failed.state, failed.problem.split(",")[0]) == (
            "failed",
            "The server stopped while it ran",
        )
        assert client.memory("crowd").info().pruned_count == 0


def test_asyncio_does_the_same(server: Server, crowd: Memory) -> None:
    async def run() -> tuple[dict[str, int], PruneResult, int, list[str]]:
        async with visual_memory.aio.connect(server.address) as client:
            memory = client.memory(crowd.name)
            counts = await memory.misleading_counts(10)
            pruned = await memory.prune(method="ids", ids=WRONG, apply=True)
            restored = await memory.undo(pruned.operation)
            states = [operation.state async for operation in client.operations(crowd.name)]
            return counts, pruned, restored, states

    counts, pruned, restored, states = asyncio.run(run())

    assert counts == crowd.misleading_counts(10)
    assert (pruned.ids, restored) == (WRONG, 20)
    assert set(states) == {"done"}


LONG: dict[str, Any] = {
    "assess": {"k": 5},
    "calibrate": {"k": 5},
    "check": {},
    "prune": {"method": "ids", "ids": WRONG, "apply": True},
    "relabel": {"labels": {IDS[0]: "another"}, "apply": True},
}


@pytest.mark.parametrize("method", LONG)
def test_without_waiting_the_operation_is_returned_that_the_result_names(
    client: Client, crowd: Memory, method: str
) -> None:
    how: Any = {**LONG[method], "request_id": "once"}

    begun = getattr(crowd, method)(**how, wait=False)

    assert isinstance(begun, visual_memory.Operation)
    result = getattr(crowd, method)(**how)
    assert result.operation == begun.name
    assert client.wait(begun.name).result == result


@pytest.mark.parametrize("method", LONG)
def test_under_asyncio_too_the_operation_is_returned_that_the_result_names(
    server: Server, crowd: Memory, method: str
) -> None:
    how: Any = {**LONG[method], "request_id": "once"}

    async def run() -> tuple[Any, Any]:
        async with visual_memory.aio.connect(server.address) as client:
            call = getattr(client.memory(crowd.name), method)
            return await call(**how, wait=False), await call(**how)

    begun, result = asyncio.run(run())

    assert isinstance(begun, visual_memory.Operation)
    assert result.operation == begun.name


def test_what_is_not_waited_for_can_be_cancelled(client: Client, empty: RemoteMemory) -> None:
    memory = client.create_memory(f"{empty.name}x", dimension=64)
    rows = np.random.default_rng(3).normal(size=(20_000, 64))
    memory.insert(vectors=rows, labels=["a", "b"] * 10_000)

    begun = memory.assess(wait=False)

    assert begun.state == "running"
    client.cancel(begun.name)
    assert client.wait(begun.name).state == "cancelled"


def test_raw_calls_without_a_method_are_refused(crowd: Memory, server: Server) -> None:
    prune, relabel = server.stub.PruneEntries, server.stub.RelabelEntries
    refused = [
        refusal(prune, pb.PruneEntriesRequest(memory=crowd.name)),
        refusal(prune, pb.PruneEntriesRequest(memory=crowd.name, ids=pb.IdsPrune())),
        refusal(relabel, pb.RelabelEntriesRequest(memory=crowd.name)),
    ]

    assert [error.field_violations[0][0] for error in refused] == ["method", "ids.ids", "labels"]
