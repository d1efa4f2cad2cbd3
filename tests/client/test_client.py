"""Both clients keep what the contract promises, each against a real gRPC server."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image
from tests.client.conftest import to_status

import visual_memory
from visual_memory import (
    Client,
    DeadlineExceeded,
    Entry,
    Error,
    FailedPrecondition,
    InvalidArgument,
    Memory,
    PurgeResult,
    ResourceExhausted,
    Unavailable,
)
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.client.conftest import Connect, Service

UNAVAILABLE, BUSY = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
MANY = 1100  # more than one message of the service holds


def many(count: int = MANY) -> dict[str, Any]:
    """Return the arguments of an import of ``count`` entries."""
    angles = np.linspace(0.1, 1.5, count)
    return {
        "vectors": np.stack([np.cos(angles), np.sin(angles)], axis=1),
        "labels": [f"label {number % 7}" for number in range(count)],
        "ids": [f"id {number:05}" for number in range(count)],
    }


def more() -> dict[str, Any]:
    """Return the arguments of an import of the same entries and one more."""
    return {
        "vectors": np.concatenate([many()["vectors"], np.ones((1, 2))]),
        "labels": [*many()["labels"], "cat"],
        "ids": [*many()["ids"], "one more"],
    }


# Calls


def test_the_server_tells_about_itself(client: Client) -> None:
    info = client.server_info()

    assert (info.version, info.embedders) == ("1.2.3", ["fake"])
    assert (info.limits.message_bytes, info.limits.items) == (1 << 20, 1000)


def test_a_created_memory_is_answered(service: Service, client: Client) -> None:
    memory = client.create_memory("pets", dimension=2, request_id="r1")

    assert memory.name == "pets"
    assert service.requests["CreateMemory"][0].dimension == 2
    assert service.requests["CreateMemory"][0].request_id == "r1"


def test_memories_of_all_pages_are_listed(client: Client) -> None:
    assert [memory.name for memory in client.memories()] == ["first", "second", "third"]


def test_a_memory_is_deleted_by_name(service: Service, client: Client) -> None:
    client.delete_memory("pets")

    assert service.requests["DeleteMemory"][0].name == "pets"


def test_naming_a_memory_asks_nothing(service: Service, client: Client) -> None:
    assert client.memory("pets").name == "pets"
    assert not service.requests


def test_a_memory_tells_about_itself(pets: Memory) -> None:
    info = pets.info()

    assert (info.name, info.dimension, info.labels) == ("pets", 2, {"cat": 0})
    assert info.create_time == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)
    assert info.embedder is not None
    assert info.embedder.name == "fake"


def test_what_was_inserted_is_found(pets: Memory) -> None:
    inserted = pets.insert(
        vectors=[[1.0, 0.0], [0.0, 2.0]],
        labels=["cat", "dog"],
        ids=["a", "b"],
        metadata=[{"source": "web"}, {}],
        request_id="r1",
    )
    [decision] = pets.classify(vectors=np.array([[0.1, 1.0]]), k=2)
    entry = pets.get("a", include_vector=True)

    assert (inserted.ids, inserted.request_id) == (["a", "b"], "r1")
    assert (decision.label, decision.confidence, decision.scores) == ("dog", 1.0, {"dog": 1.0})
    assert decision.neighbors.ids == ["b", "a"]
    assert entry.metadata == {"source": "web"}
    assert entry.content_sha256 == "abcd"
    assert entry.vector is not None
    assert entry.vector.tolist() == [1.0, 0.0]


def test_images_are_taken_as_paths_bytes_arrays_and_pil_images(
    service: Service, pets: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"from a file")

    pets.insert(
        images=[file, str(file), b"bytes", np.zeros((2, 2, 3), np.uint8), Image.new("L", (2, 2))],
        labels=["a"] * 5,
    )

    sent = list(service.requests["batch"][0].batch.batch.images.data)
    assert sent[:3] == [b"from a file", b"from a file", b"bytes"]
    assert all(data.startswith(b"\x89PNG") for data in sent[3:])


def test_a_missing_file_is_refused_before_anything_is_sent(service: Service, pets: Memory) -> None:
    with pytest.raises(InvalidArgument, match=r"^images\[1\]: no such file: missing\.jpg\.$"):
        pets.insert(images=[b"a", "missing.jpg"], labels=["a", "b"])

    assert not service.requests


def test_entries_are_listed_page_by_page(service: Service, pets: Memory) -> None:
    pets.insert(vectors=np.eye(2)[[0, 1, 0, 1, 0]], labels=["a"] * 5, ids=list("edcba"))

    entries = list(pets.entries(include_vectors=True))

    assert [entry.id for entry in entries] == list("abcde")
    assert all(isinstance(entry, Entry) and entry.vector is not None for entry in entries)
    assert len(service.requests["ListEntries"]) == 3


def test_a_page_of_entries_says_what_follows(service: Service, pets: Memory) -> None:
    pets.insert(vectors=np.eye(3, 2) + 0.1, labels=["cat"] * 3, ids=["a", "b", "c"])

    first = pets.entry_page('label = "cat"', page_size=2)
    second = pets.entry_page('label = "cat"', page_token=first.next_page_token, page_size=2)

    assert [[each.id for each in page.entries] for page in (first, second)] == [["a", "b"], ["c"]]
    assert not second.next_page_token
    assert {(each.page_size, each.filter) for each in service.requests["ListEntries"]} == {
        (2, 'label = "cat"')
    }
    with pytest.raises(InvalidArgument, match="page_size"):
        pets.entry_page(page_size=0)


def test_an_update_names_what_it_changes(service: Service, pets: Memory) -> None:
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"], ids=["a"])

    entry = pets.update("a", label="wolf")
    pets.update("a", metadata={})

    assert entry.label == "wolf"
    masks = [list(request.update_mask.paths) for request in service.requests["UpdateEntry"]]
    assert masks == [["label"], ["metadata"]]


def test_a_deletion_answers_how_many(service: Service, pets: Memory) -> None:
    assert pets.delete(ids=["a", "b"], allow_missing=True) == 2
    assert service.requests["DeleteEntries"][0].allow_missing


def test_a_purge_shows_unless_it_applies(pets: Memory) -> None:
    assert pets.purge('label = "dog"') == PurgeResult(1, ["a"], False)
    assert pets.purge(filter='label = "dog"', apply=True).applied


def test_every_parameter_of_a_question_is_sent(service: Service, pets: Memory) -> None:
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])

    pets.classify(
        vectors=[[1.0, 0.0]],
        k=3,
        voting="softmax",
        filter='label = "cat"',
        exclude_ids={"a"},
        neighbors=0,
    )

    request = service.requests["Classify"][0]
    assert (request.k, request.voting, request.neighbors) == (3, "softmax", 0)
    assert (request.filter, list(request.exclude_ids)) == ('label = "cat"', ["a"])
    assert request.HasField("neighbors")


def test_a_key_is_sent_with_every_call(service: Service, connect: Connect, target: str) -> None:
    connect(target, api_key="secret").server_info()

    assert service.metadata["authorization"] == "Bearer secret"


# Larger calls


def test_queries_are_split_and_answered_in_order(service: Service, pets: Memory) -> None:
    entries = many(600)
    pets.insert(**entries)

    found = pets.search(vectors=entries["vectors"], k=1)

    assert [neighbors.ids for neighbors in found] == [[id] for id in entries["ids"]]
    sizes = [len(vectors.data) // 8 for vectors in sent(service, "Search")]
    assert len(sizes) > 2
    assert sizes[0] == 4
    assert max(sizes) <= 256
    assert sum(sizes) == 600


def test_two_messages_are_on_their_way_at_once(service: Service, pets: Memory) -> None:
    service.seconds = 0.1
    pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])

    decisions = pets.classify(vectors=np.ones((1000, 2)), k=1)

    assert len(decisions) == 1000
    assert service.most_at_once == 2


def test_embedding_joins_its_messages(service: Service, pets: Memory) -> None:
    images = [b"x" * (1 + number % 9) for number in range(300)]

    vectors = pets.embed(images)

    assert vectors.shape == (300, 2)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors[:, 0] / vectors[:, 1], [len(image) for image in images])
    assert len(service.requests["Embed"]) > 2


def test_no_message_is_larger_than_the_server_takes(service: Service, pets: Memory) -> None:
    pets.embed([b"x" * 300_000] * 7)

    sizes = [request.ByteSize() for request in service.requests["Embed"]]
    assert max(sizes) < service.limits.message_bytes
    assert len(sizes) == 3


def test_limits_are_asked_for_once(service: Service, pets: Memory) -> None:
    pets.embed([b"a"])
    pets.embed([b"a"])

    assert len(service.requests["GetServerInfo"]) == 1


LIMITED: dict[str, Callable[[Memory], Any]] = {
    "InsertEntries": lambda pets: pets.insert(vectors=np.ones((30, 2)), labels=["cat"] * 30),
    "Search": lambda pets: pets.search(vectors=np.ones((30, 2))),
    "Embed": lambda pets: pets.embed([b"a"] * 30),
}


@pytest.mark.parametrize("call", LIMITED)
def test_limits_that_the_server_has_lowered_since_are_kept(
    service: Service, pets: Memory, call: str
) -> None:
    sizes: dict[str, Callable[[Any], int]] = {
        "InsertEntries": lambda request: len(request.batch.entries),
        "Search": lambda request: request.vectors.rows,
        "Embed": lambda request: len(request.images.data),
    }
    plain = service.intercept

    def intercept(method: str, request: Any, context: Any) -> None:
        size = sizes.get(method, lambda request: 0)(request)
        service.refusal = to_status("too many") if size > service.limits.items else None
        plain(method, request, context)

    service.intercept = intercept  # type: ignore[method-assign]  # it refuses as a server does
    LIMITED[call](pets)
    service.limits.items = 20

    LIMITED[call](pets)

    assert len(service.requests["GetServerInfo"]) == 2
    with pytest.raises(InvalidArgument, match="atomic"):
        pets.insert(vectors=np.ones((30, 2)), labels=["cat"] * 30, atomic=True)
    service.limits.items = 1000
    pets.insert(vectors=np.ones((30, 2)), labels=["cat"] * 30, atomic=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda pets: pets.embed([b"x" * 20]),
        lambda pets: pets.insert(images=[b"x" * 20], labels=["cat"]),
        lambda pets: pets.values(images=[b"x" * 20], labels=["cat"]),
    ],
)
def test_limits_that_the_server_has_raised_since_are_used(
    service: Service, pets: Memory, call: Callable[[Memory], Any]
) -> None:
    service.limits.image_bytes = 10
    with pytest.raises(InvalidArgument, match="has 20 bytes"):
        call(pets)

    service.limits.image_bytes = 20

    call(pets)


def test_a_refusal_counts_items_from_the_beginning_of_the_call(
    service: Service, pets: Memory, bad_field: status_pb2.Status
) -> None:
    plain = service.intercept

    def intercept(method: str, request: Any, context: Any) -> None:
        second = method == "Embed" and len(request.images.data) == 3
        service.refusal = bad_field if second else None
        plain(method, request, context)

    service.intercept = intercept  # type: ignore[method-assign]  # the second message is refused
    with pytest.raises(InvalidArgument, match=r"^images\[5\] is damaged") as caught:
        pets.embed([b"a"] * 7)

    assert caught.value.field_violations == [("images[5]", "is damaged")]


# Retries


def test_an_unavailable_server_is_asked_again(service: Service, pets: Memory) -> None:
    service.faults["GetMemory"] = [UNAVAILABLE, UNAVAILABLE, BUSY]

    assert pets.info().name == "pets"
    assert len(service.requests["GetMemory"]) == 4


def test_a_split_question_is_asked_again_where_it_failed(service: Service, pets: Memory) -> None:
    service.faults["Embed"] = [UNAVAILABLE, BUSY]

    assert len(pets.embed([b"a"] * 600)) == 600


def test_a_retried_write_repeats_its_request_id(service: Service, pets: Memory) -> None:
    service.faults["InsertEntries"] = [UNAVAILABLE]

    result = pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])

    sent = [request.request_id for request in service.requests["InsertEntries"]]
    assert sent == [result.request_id] * 2
    assert len(result.request_id) == 32


def test_two_calls_are_two_requests(service: Service, pets: Memory) -> None:
    first = pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])
    second = pets.insert(vectors=[[1.0, 0.0]], labels=["cat"])

    assert first.request_id != second.request_id


def test_a_server_that_stays_busy_is_given_up_with_its_sentence(
    service: Service, connect: Connect, target: str
) -> None:
    service.faults["GetMemory"] = [BUSY] * 100

    with pytest.raises(ResourceExhausted, match="not now"):
        connect(target, timeout=3).memory("pets").info()

    assert 2 < len(service.requests["GetMemory"]) < 10


def test_other_refusals_are_not_retried(service: Service, pets: Memory) -> None:
    service.faults["GetMemory"] = [grpc.StatusCode.INTERNAL]

    with pytest.raises(Error, match="not now"):
        pets.info()

    assert len(service.requests["GetMemory"]) == 1


def test_a_late_answer_names_the_timeout(service: Service, connect: Connect, target: str) -> None:
    service.seconds = 0.5

    with pytest.raises(DeadlineExceeded, match=r"within the timeout of 0\.1 s\.$"):
        connect(target, timeout=0.1).memory("pets").info()


def test_late_values_name_the_timeout_too(service: Service, connect: Connect, target: str) -> None:
    service.seconds = 2.0

    with pytest.raises(DeadlineExceeded, match=r"within the timeout of 0\.2 s"):
        connect(target, timeout=0.2).memory("pets").values()


def test_counts_that_a_write_between_two_pages_made_stale_are_read_anew(
    client: Client, service: Service
) -> None:
    page, count = pb.GetMisleadingCountsResponse, pb.MisleadingCount
    service.counts = [
        page(counts=[count(id="a", v=1)], next_page_token="a"),
        page(operation=operation_pb2.Operation(name="pets/1")),
        page(counts=[count(id="a", v=2)], next_page_token="a"),
        page(counts=[count(id="b", v=3)]),
    ]

    counts = client.memory("pets").misleading_counts()

    assert counts == {"a": 2, "b": 3}
    asked = [request.page_token for request in service.requests["GetMisleadingCounts"]]
    assert asked == ["", "a", "", "a"]


def test_counts_of_a_memory_that_changed_between_two_pages_are_read_anew(
    client: Client, service: Service
) -> None:
    page, count = pb.GetMisleadingCountsResponse, pb.MisleadingCount
    first = page(counts=[count(id="a", v=1)], next_page_token="a")
    changed = to_status("changed", error_details_pb2.ErrorInfo(reason="COUNTS_CHANGED"))
    service.counts = [first, changed, page(counts=[count(id="b", v=3)])]
    memory = client.memory("pets")

    assert memory.misleading_counts() == {"b": 3}
    asked = [request.page_token for request in service.requests["GetMisleadingCounts"]]
    assert asked == ["", "a", ""]

    service.counts = [first, changed] * 50
    with pytest.raises(Error, match="changed") as caught:
        memory.misleading_counts()
    assert caught.value.reason == "COUNTS_CHANGED"


def test_a_client_that_was_closed_says_so(client: Client) -> None:
    client.server_info()

    client.close()

    for call in (client.server_info, client.memory("pets").values):
        with pytest.raises(FailedPrecondition, match="The client is closed") as caught:
            call()
        assert caught.value.reason == "CLIENT_CLOSED"


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GetMemory", lambda pets: pets.info()),
        ("Classify", lambda pets: pets.classify(vectors=np.ones((3000, 2)))),
        ("ValueEntries", lambda pets: pets.values()),
        ("JudgeLabels", lambda pets: pets.judge_labels()),
        ("batch", lambda pets: pets.insert(vectors=np.ones((5000, 2)), labels=["cat"] * 5000)),
    ],
)
def test_closing_ends_a_call_in_another_thread(
    service: Service, target: str, method: str, call: Callable[[Memory], Any]
) -> None:
    service.seconds = 2.0
    client = visual_memory.connect(target)
    with ThreadPoolExecutor(1) as thread:
        waits = thread.submit(call, client.memory("pets"))
        while not service.requests[method]:
            assert not waits.done()
            time.sleep(0.01)

        client.close()

        with pytest.raises(FailedPrecondition, match="The client is closed") as caught:
            waits.result(timeout=1.0)
        assert caught.value.reason == "CLIENT_CLOSED"


def test_a_refused_connection_says_how_to_start_a_server(
    connect: Connect, closed_port: str
) -> None:
    began = time.monotonic()

    with pytest.raises(Unavailable) as caught:
        connect(closed_port, timeout=2).server_info()

    assert str(caught.value) == (
        f"No server answers at {closed_port}; start one with: "
        f"visual-memory serve --data DIR --listen {closed_port}"
    )
    assert time.monotonic() - began < 5


def test_a_host_that_is_not_found_is_named(connect: Connect) -> None:
    with pytest.raises(Unavailable) as caught:
        connect("no..host:50051", timeout=2).server_info()

    assert str(caught.value) == "The host of no..host:50051 is not found; check its name."


NO_GRPC = (
    "does not speak gRPC: it is another service, or the port of --http-listen or --metrics-listen; "
    "call that of --listen."
)
HANGS_UP = (
    "not as Visual Memory does: another service has this address, or it wants TLS, or a "
    "certificate of its callers."
)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    ("greeting", "says"),
    [(b"HTTP/1.1 505 No\r\n\r\n", NO_GRPC), (b"SSH-2.0-x\r\n", NO_GRPC), (b"", HANGS_UP)],
)
def test_another_service_that_answers_is_not_taken_for_none(
    connect: Connect, host: str, greeting: bytes, says: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        ThreadPoolExecutor(1) as thread,
        ExitStack() as ending,
    ):
        ending.callback(other.shutdown, socket.SHUT_RDWR)  # or a failure would be waited for
        target = f"{host}:{other.getsockname()[1]}"
        thread.submit(greet, other, greeting)
        with pytest.raises(Unavailable) as caught:
            connect(target, timeout=2).server_info()

    assert str(caught.value) == f"{target} answers, but {says}"


def greet(server: socket.socket, greeting: bytes) -> None:
    """Answer each connection with ``greeting``, and end it, until the server is shut down."""
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(greeting)


def test_another_service_that_speaks_grpc_is_named(connect: Connect) -> None:
    other = grpc.server(ThreadPoolExecutor(1))
    target = "127.0.0.1:{}".format(other.add_insecure_port("127.0.0.1:0"))
    other.start()

    with pytest.raises(Error) as caught:
        connect(target).server_info()
    other.stop(None).wait()

    assert str(caught.value).startswith(f"{target} does not know this call: another service has ")


# Imports


def test_more_than_a_message_is_imported_in_batches(service: Service, pets: Memory) -> None:
    entries, steps = many(), []

    result = pets.insert(**entries, progress=lambda done, total: steps.append((done, total)))

    assert result.ids == entries["ids"]
    assert list(service.entries) == entries["ids"]
    assert not service.requests["InsertEntries"]
    assert steps[0] == (4, MANY)
    assert steps[-1] == (MANY, MANY)
    assert steps == sorted(steps)
    sizes = [len(request.batch.batch.entries) for request in service.requests["batch"]]
    assert max(sizes) <= 256
    assert sum(sizes) == MANY


@pytest.mark.parametrize(("count", "atomic"), [(5, None), (256, None), (700, True)])
def test_pictures_that_are_one_batch_go_as_a_stream(
    service: Service, pets: Memory, count: int, atomic: bool | None
) -> None:
    result = pets.insert(images=[b"x"] * count, labels=["a"] * count, atomic=atomic)

    assert len(result.ids) == count
    (batch,) = service.requests["batch"]
    assert len(batch.batch.batch.entries) == count
    assert not service.requests["InsertEntries"]


def test_a_batch_may_take_longer_than_the_timeout_while_the_server_says_that_it_works(
    service: Service, connect: Connect, target: str
) -> None:
    service.seconds = 2.5

    result = connect(target, timeout=2.0).memory("pets").insert(images=[b"x"] * 5, labels=["a"] * 5)

    assert len(result.ids) == 5


def test_what_fits_into_a_message_is_one(service: Service, pets: Memory) -> None:
    steps: list[tuple[int, int]] = []

    pets.insert(**many(1000), progress=lambda done, total: steps.append((done, total)))

    assert len(service.requests["InsertEntries"]) == 1
    assert steps == [(1000, 1000)]


def test_an_atomic_insertion_of_more_sends_nothing(service: Service, pets: Memory) -> None:
    with pytest.raises(InvalidArgument, match="atomic needs one message"):
        pets.insert(**many(), atomic=True)

    assert set(service.requests) == {"GetServerInfo"}


def test_a_cut_import_goes_on_by_itself(service: Service, pets: Memory) -> None:
    service.cuts = [2, 0, 1]

    result = pets.insert(**many(), request_id="r1")

    assert result.ids == many()["ids"]
    assert sum(len(batch.ids) for batch in service.imports["r1"]) == MANY
    assert len(service.requests["ImportEntries"]) == 4


def test_a_batch_whose_acknowledgement_was_lost_is_not_sent_again(
    service: Service, pets: Memory
) -> None:
    service.lost_acknowledgements = 2

    result = pets.insert(**{**many(), "ids": None})

    assert result.ids == [f"made-{number:06}" for number in range(MANY)]
    assert len(set(sent_offsets(service))) == len(service.requests["batch"])


def test_an_import_that_fails_says_what_is_stored_and_how_to_go_on(
    service: Service, pets: Memory
) -> None:
    service.cuts, service.cut_code = [2], grpc.StatusCode.DATA_LOSS

    with pytest.raises(Error) as caught:
        pets.insert(**many(), request_id="r1")

    assert (caught.value.stored, caught.value.request_id) == (8, "r1")
    assert caught.value.message == "the stream is cut."
    assert str(caught.value) == (
        "the stream is cut. The server confirmed 8 leading entries of 1,100; the same call with "
        "request_id='r1' goes on after what is stored."
    )


def test_the_same_call_goes_on_after_what_is_stored(service: Service, pets: Memory) -> None:
    service.cuts, service.cut_code = [2], grpc.StatusCode.DATA_LOSS
    steps: list[int] = []
    with pytest.raises(Error, match="8 leading entries"):
        pets.insert(**many(), request_id="r1")

    result = pets.insert(**many(), request_id="r1", progress=lambda done, _: steps.append(done))

    assert result.ids == many()["ids"]
    assert sent_offsets(service)[:3] == [0, 4, 8]
    assert len(set(sent_offsets(service))) == len(service.requests["batch"])
    assert (steps[:2], steps[-1]) == ([4, 8], MANY)


def test_batches_acknowledged_to_a_call_are_not_read_again(
    service: Service, pets: Memory, tmp_path: Path
) -> None:
    service.cuts = [2, 0, 1]
    files = [tmp_path / f"{number}" for number in range(MANY)]
    for file in files:
        file.write_bytes(b"x")

    def remove(done: int, total: int) -> None:
        for file in files[:done]:
            file.unlink(missing_ok=True)

    result = pets.insert(images=files, labels=["a"] * MANY, progress=remove)

    assert len(result.ids) == MANY
    assert len(service.requests["ImportEntries"]) == 4


def test_an_import_that_was_finished_is_answered_again(service: Service, pets: Memory) -> None:
    first = pets.insert(**{**many(), "ids": None}, request_id="r1")
    count = len(service.requests["batch"])

    again = pets.insert(**{**many(), "ids": None}, request_id="r1")

    assert again == first
    assert len(service.requests["batch"]) == count


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (many() | {"labels": ["other"] * MANY}, False),
        (many() | {"labels": [*many()["labels"][:-1], "other"]}, True),
        (many() | {"vectors": many()["vectors"][::-1]}, False),
        (many() | {"ids": None}, False),
        ({name: column[::-1] for name, column in many().items()}, False),
        (more(), False),
    ],
    ids=["labels", "the last label", "vectors", "no ids", "the order", "one more"],
)
def test_other_content_with_the_request_id_of_an_import_is_refused(
    service: Service, pets: Memory, other: dict[str, Any], same: bool
) -> None:
    pets.insert(**many(), request_id="r1")
    before, last = dict(service.entries), sent_offsets(service)[-1]
    service.requests["batch"].clear()

    with pytest.raises(InvalidArgument, match="used before with other content") as caught:
        pets.insert(**other, request_id="r1")

    assert caught.value.reason == "REQUEST_REUSED"
    first = last if same else 0  # up to there they are those of the import
    assert caught.value.stored == first
    assert sent_offsets(service)[0] == first
    assert service.entries == before


def test_the_leading_entries_of_an_import_are_another_import(
    service: Service, pets: Memory
) -> None:
    pets.insert(**many(1300), request_id="r1")
    count = len(service.requests["batch"])
    fewer = {name: column[:1280] for name, column in many(1300).items()}

    with pytest.raises(InvalidArgument, match="import of other entries") as caught:
        pets.insert(**fewer, request_id="r1")

    assert caught.value.field_violations[0][0] == "request_id"
    assert len(service.requests["batch"]) == count


def test_a_refused_batch_tells_its_reason_and_its_place(
    service: Service, pets: Memory, bad_field: status_pb2.Status
) -> None:
    plain = service.store

    def store(batch: Any) -> list[str]:
        if len(service.entries) == 4:
            service.refusal = bad_field
        return plain(batch)

    service.store = store  # type: ignore[method-assign]  # everything after 8 is refused
    with pytest.raises(
        InvalidArgument, match=r"^images\[9\] is damaged\. The server confirmed 8 leading"
    ) as caught:
        pets.insert(**many(), request_id="r1")

    assert caught.value.reason == "UNDECODABLE_IMAGE"
    assert caught.value.field_violations == [("images[9]", "is damaged")]


def test_a_file_that_vanishes_during_an_import_ends_it(
    service: Service, pets: Memory, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}" for number in range(1500)]
    for file in files:
        file.write_bytes(b"x")

    def remove(done: int, total: int) -> None:
        files[1400].unlink(missing_ok=True)

    with pytest.raises(InvalidArgument, match=r"^images\[1400\]: no such file") as caught:
        pets.insert(images=files, labels=["a"] * 1500, progress=remove)

    assert caught.value.stored is not None
    assert 4 <= caught.value.stored <= 1400


def test_an_import_takes_as_long_as_its_batches_need(
    service: Service, connect: Connect, target: str
) -> None:
    service.seconds = 0.25

    result = connect(target, timeout=2.0).memory("pets").insert(**many())

    assert len(result.ids) == MANY


def test_an_import_without_acknowledgements_ends_with_the_timeout(
    service: Service, connect: Connect, target: str
) -> None:
    service.seconds, service.tells_that_it_works = 1.0, False

    with pytest.raises(
        DeadlineExceeded, match=r"0\.5 s\. The server confirmed 0 leading"
    ) as caught:
        connect(target, timeout=0.5).memory("pets").insert(**many())

    assert caught.value.stored == 0


def sent(service: Service, method: str) -> list[Any]:
    """Return the vectors of every message to a method, in order."""
    return [request.vectors for request in service.requests[method]]


def sent_offsets(service: Service) -> list[int]:
    """Return the offsets of the batches of imports, in the order received."""
    return [request.batch.offset for request in service.requests["batch"]]
