"""An import: each batch is acknowledged once on disk, and a broken import is resumed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.conftest import RemoteMemory, Server, refusal, to_batch, to_picture
from tests.service.slow import write_network

import visual_memory
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

INVALID = grpc.StatusCode.INVALID_ARGUMENT
Acknowledged = list[tuple[int, list[str]]]


def begin(memory: str, request_id: str = "import", **more: Any) -> pb.ImportEntriesRequest:
    return pb.ImportEntriesRequest(
        start=pb.ImportStart(memory=memory, request_id=request_id, **more)
    )


def step(offset: int, *ids: str, label: str = "cat") -> pb.ImportEntriesRequest:
    rows = np.random.default_rng(abs(offset)).normal(size=(len(ids), 4))
    batch = to_batch(rows, ids, [label] * len(ids))
    return pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=offset, batch=batch))


def run(pets: RemoteMemory, steps: Sequence[pb.ImportEntriesRequest]) -> Acknowledged:
    answers = pets.stub.ImportEntries(iter(steps))
    return [(answer.offset, list(answer.ids)) for answer in answers]


def test_each_batch_is_acknowledged_with_its_ids(empty: RemoteMemory) -> None:
    steps = [begin(empty.name), step(0, "a", "b"), step(2, "c"), step(3, "d", "e")]

    assert run(empty, steps) == [(0, []), (0, ["a", "b"]), (2, ["c"]), (3, ["d", "e"])]
    assert empty.ids() == ["a", "b", "c", "d", "e"]


def test_one_that_waits_for_each_acknowledgement_is_not_left_waiting(empty: RemoteMemory) -> None:
    steps: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
    answers = empty.stub.ImportEntries(iter(steps.get, None), timeout=20)

    steps.put(begin(empty.name))
    assert next(answers).offset == 0
    for offset in range(20):
        steps.put(step(offset, f"{offset:02}"))
        assert list(next(answers).ids) == [f"{offset:02}"]
        assert len(empty.ids()) == offset + 1
    steps.put(None)

    assert next(answers, None) is None


def test_a_second_stream_tells_what_the_first_stored_and_goes_on(empty: RemoteMemory) -> None:
    run(empty, [begin(empty.name), step(0, "a", "b"), step(2, "c")])

    again = run(empty, [begin(empty.name), step(3, "d")])

    assert again == [(0, ["a", "b"]), (2, ["c"]), (3, []), (3, ["d"])]
    assert empty.ids() == ["a", "b", "c", "d"]


def test_a_batch_sent_again_is_acknowledged_and_not_stored_again(empty: RemoteMemory) -> None:
    first = run(empty, [begin(empty.name), step(0, "", ""), step(2, "")])

    again = run(empty, [begin(empty.name), step(0, "", ""), step(2, "")])

    assert again[-2:] == first[-2:]
    assert len(empty.ids()) == 3


def test_an_import_goes_on_after_a_restart(start: Start) -> None:
    server = start()
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=4))
    pets = RemoteMemory(server, "pets")
    first = run(pets, [begin("pets"), step(0, "", ""), step(2, "c")])

    server.restart(number=9)

    again = run(pets, [begin("pets"), step(2, "c"), step(3, "d")])
    assert again == [*first[1:], (3, []), first[2], (3, ["d"])]
    assert len(pets.ids()) == 4


@pytest.mark.parametrize("offset", [1, 3, 5])
def test_a_gap_is_refused_with_the_offset_where_to_go_on(empty: RemoteMemory, offset: int) -> None:
    run(empty, [begin(empty.name), step(0, "a", "b")])

    error = refusal(run, empty, [begin(empty.name), step(offset, "x")])

    assert (error.code, error.reason) == (INVALID, "WRONG_OFFSET")
    assert error.field_violations[0][0] == "offset"
    assert "continue at offset 2" in error.message
    assert empty.ids() == ["a", "b"]


def test_other_content_at_an_offset_that_is_stored_is_refused(empty: RemoteMemory) -> None:
    run(empty, [begin(empty.name), step(0, "a", "b")])

    error = refusal(run, empty, [begin(empty.name), step(0, "a", "x")])

    assert (error.code, error.reason) == (INVALID, "REQUEST_REUSED")
    assert empty.ids() == ["a", "b"]


BAD_STEPS = {
    "no label": (step(2, "c", label=""), "entries[0].label"),
    "no batch": (pb.ImportEntriesRequest(), "batch"),
    "no entries": (pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=2)), "entries"),
    "minus": (step(-1, "c"), "offset"),
    "start again": (begin("other"), "batch"),
}


@pytest.mark.parametrize("kind", BAD_STEPS)
def test_a_bad_batch_in_the_middle_keeps_those_before_it(empty: RemoteMemory, kind: str) -> None:
    bad, field = BAD_STEPS[kind]
    answers = empty.stub.ImportEntries(
        iter([begin(empty.name), step(0, "a", "b"), bad, step(3, "d")])
    )

    assert [list(next(answers).ids) for _ in range(2)] == [[], ["a", "b"]]
    error = refusal(next, answers)

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert empty.ids() == ["a", "b"]


def test_an_id_that_exists_ends_the_import_and_keeps_what_was_stored(
    empty: RemoteMemory,
) -> None:
    error = refusal(run, empty, [begin(empty.name), step(0, "a"), step(1, "b", "a")])

    assert error.code is grpc.StatusCode.ALREADY_EXISTS
    assert empty.ids() == ["a"]


def test_an_import_replaces_on_request(empty: RemoteMemory) -> None:
    run(empty, [begin(empty.name, "first"), step(0, "a", "b")])

    run(empty, [begin(empty.name, "second", replace_existing=True), step(0, "b", "c", label="x")])

    request = pb.ListEntriesRequest(memory=empty.name)
    labels = {entry.id: entry.label for entry in empty.stub.ListEntries(request).entries}
    assert labels == {"a": "cat", "b": "x", "c": "x"}


@pytest.mark.parametrize(
    ("steps", "code", "field"),
    [
        ([], INVALID, "start"),
        ([pb.ImportEntriesRequest()], INVALID, "start"),
        ([step(0, "a")], INVALID, "start"),
        ([begin("", "")], INVALID, "start.request_id"),
        ([begin("", "x" * 257)], INVALID, "start.request_id"),
        ([begin("nowhere")], grpc.StatusCode.NOT_FOUND, ""),
    ],
)
def test_an_import_begins_with_a_start_that_can_be(
    empty: RemoteMemory,
    steps: list[pb.ImportEntriesRequest],
    code: grpc.StatusCode,
    field: str,
) -> None:
    error = refusal(run, empty, steps)

    assert error.code is code
    assert [violation[0] for violation in error.field_violations] == [field] * bool(field)
    assert empty.stored() == []


def test_a_client_that_goes_away_leaves_only_whole_batches(empty: RemoteMemory) -> None:
    def steps() -> Iterator[pb.ImportEntriesRequest]:
        yield begin(empty.name)
        for number in range(200):
            yield step(5 * number, *(f"{number:03}-{part}" for part in range(5)))

    answers = empty.stub.ImportEntries(steps())
    acknowledged = [list(next(answers).ids) for _ in range(4)]
    answers.cancel()

    stored = empty.ids()
    assert {id for ids in acknowledged for id in ids} <= set(stored)
    assert len(stored) % 5 == 0


@pytest.mark.parametrize(
    ("count", "offset", "right"),
    [(5, 3, True), (0, 3, True), (4, 3, False), (3, 3, False), (-1, 0, False)],
)
def test_a_batch_may_not_go_beyond_what_it_says_that_there_is(
    empty: RemoteMemory, count: int, offset: int, right: bool
) -> None:
    first, second = step(0, "a", "b", "c"), step(3, "d", "e")
    first.batch.count = second.batch.count = count
    steps = [begin(empty.name), *([first, second] if count >= 5 or not count else [second])]
    if not right:
        second.batch.offset = offset
        error = refusal(run, empty, steps)
        assert (error.code, error.field_violations[0][0]) == (INVALID, "count")
    else:
        assert run(empty, steps)[-1] == (3, ["d", "e"])


def test_an_import_of_another_number_of_entries_is_another(empty: RemoteMemory) -> None:
    first, again = step(0, "a", "b"), step(0, "a", "b")
    first.batch.count, again.batch.count = 2, 3
    run(empty, [begin(empty.name), first])

    error = refusal(run, empty, [begin(empty.name), again])

    assert error.reason == "REQUEST_REUSED"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with an embedder that takes at least 0.1 s a picture, and the embedder's name."""
    folder = tmp_path_factory.mktemp("slow")
    name = write_network(folder / "slow.onnx", 0.1)
    server = Server(folder / "data", "--allow-embedder", "onnx:*")
    yield server, name
    server.end()


def pictures(count: int, batch: int = 0, offset: int = 0) -> pb.ImportEntriesRequest:
    entries = [entry_pb2.Entry(id=f"{batch}-{number}", label="x") for number in range(count)]
    images = entry_pb2.Images(data=[to_picture(number) for number in range(count)])
    return pb.ImportEntriesRequest(
        batch=pb.ImportBatch(offset=offset, batch=pb.EntryBatch(entries=entries, images=images))
    )


def test_a_server_says_that_it_works_as_often_as_it_is_asked_to(slow: tuple[Server, str]) -> None:
    server, embedder = slow
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="told", embedder=embedder))
    every = Duration(nanos=100_000_000)

    told = list(server.stub.ImportEntries(iter([begin("told", alive_every=every), pictures(8)])))
    silent = list(server.stub.ImportEntries(iter([begin("told", "other"), pictures(8, 1)])))

    start, *alive, stored = told
    assert (start.working, stored.working) == (False, False)
    assert len(alive) >= 2
    assert all(answer == pb.ImportEntriesResponse(working=True) for answer in alive)
    assert len(stored.ids) == 8
    assert not any(answer.working for answer in silent)


def test_a_client_that_waits_for_a_slow_batch_is_not_silent(start: Start, tmp_path: Path) -> None:
    embedder = write_network(tmp_path / "slow.onnx", 0.1)
    config = tmp_path / "server.toml"
    config.write_text("idle_seconds = 1\nthreads = 1\n")
    server = start(None, "--config", str(config), "--allow-embedder", "onnx:*")
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="told", embedder=embedder))
    every = Duration(seconds=1, nanos=100_000_000)  # one such message, then silence for longer

    def sent() -> Iterator[pb.ImportEntriesRequest]:
        yield begin("told", alive_every=every)
        yield pictures(30)
        stored.wait()

    stored, ids = threading.Event(), list[str]()
    for answer in server.stub.ImportEntries(sent()):
        ids += answer.ids
        if ids:
            stored.set()

    assert len(ids) == 30


def test_a_batch_of_a_stream_that_was_broken_off_is_waited_for(slow: tuple[Server, str]) -> None:
    server, embedder = slow
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="broken", embedder=embedder))
    begun = begin("broken", alive_every=Duration(nanos=100_000_000))

    first = server.stub.ImportEntries(iter([begun, pictures(8)]))
    next(answer for answer in first if answer.working)
    first.cancel()
    again = server.stub.ImportEntries(iter([begun, pictures(3, 1, offset=8)]))
    stored, told, added = (answer for answer in again if not answer.working)

    assert len(stored.ids) == told.offset == added.offset == 8
    assert len(added.ids) == 3


@pytest.mark.parametrize("seconds", [0.0, 0.05, -1.0, 601.0])
def test_how_often_is_checked(empty: RemoteMemory, seconds: float) -> None:
    every = Duration()
    every.FromTimedelta(timedelta(seconds=seconds))

    error = refusal(run, empty, [begin(empty.name, alive_every=every)])

    assert (error.code, error.field_violations[0][0]) == (INVALID, "start.alive_every")


def test_pictures_are_asked_about_however_slow_the_server_is(slow: tuple[Server, str]) -> None:
    server, embedder = slow
    images = [to_picture(number) for number in range(128)]  # 6.4 s of work, or more
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="pictures", embedder=embedder))

    with visual_memory.connect(server.address) as client:
        ids = client.memory("pictures").insert(images=images[:4], labels=["x"] * 4).ids
    with visual_memory.connect(server.address, timeout=6) as client:
        found = client.memory("pictures").search(images=images, k=1)

    assert [each.ids[0] for each in found[:4]] == ids
    assert len(found) == 128


def test_the_client_imports_and_resumes(empty: RemoteMemory) -> None:
    rows = np.random.default_rng(0).normal(size=(10_100, 4))
    ids = [f"{number:05}" for number in range(len(rows))]
    empty.insert(rows[-1:], ids[-1:])  # in the way of the last batch
    given: dict[str, Any] = {
        "vectors": rows, "labels": ["x"] * len(rows), "ids": ids, "request_id": "resumed"
    }  # fmt: skip

    with visual_memory.connect(empty.server.address) as client:
        memory = client.memory(empty.name)
        with pytest.raises(visual_memory.AlreadyExists) as caught:
            memory.insert(**given)
        stored = len(empty.ids()) - 1
        memory.delete(ids[-1:])
        result = memory.insert(**given)

    assert caught.value.stored == stored
    assert 0 < stored < len(rows)
    assert result.ids == ids == empty.ids()
