"""Unlearning leaves nothing in files and memory, proves it, and resumes after a restart."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import RemoteMemory, Server, Start, refusal
from tests.service.conftest import Run, text
from tests.service.erasure.conftest import (
    LINUX,
    insert_people,
    insert_same,
    person_ids,
    rows,
    secrets_of,
)
from tests.service.erasure.residue import Residue

import visual_memory
import visual_memory_index as index
from visual_memory import (
    Client,
    FailedPrecondition,
    InvalidArgument,
    InvalidCertificate,
    Memory,
    NotFound,
    UnlearnResult,
)
from visual_memory.errors import from_rpc
from visual_memory.options import Voting
from visual_memory.proofs.certificate import Certificate
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import WITHOUT_ID, Catalog, Entry, Request
from visual_memory_service.config import FILES, Settings
from visual_memory_service.erasure.signing_keys import SigningKeys
from visual_memory_service.erasure.statement import INTERRUPTED, NOT_ASKED
from visual_memory_service.erasure.unlearn import (
    ALL_FILES,
    PROCESS,
    UnlearningWork,
    certificate_of,
)
from visual_memory_service.runtime.memories import Duplicates, Memories
from visual_memory_service.runtime.operations import Operations

if TYPE_CHECKING:
    pass


def test_the_certificate_names_each_id_and_follows_the_log(client: Client, album: Memory) -> None:
    insert_people(album, person_ids(9))
    before = album.info().digest

    certificate = album.unlearn(person_ids(9))

    keys = client.server_info().public_keys
    verified = visual_memory.verify(certificate, keys, memory="album")
    assert verified.trusted
    assert all(verified.holds(id) for id in person_ids(9))
    assert not verified.holds("stays 001")
    assert (certificate.digest_before, certificate.digest_after) == (before, album.info().digest)
    ended = client.operation(certificate.operation).end_time
    assert certificate.end_time
    assert ended
    assert certificate.time <= certificate.end_time <= ended
    assert certificate.memory_uid == album.info().uid
    assert client.certificate(certificate.operation) == certificate
    text = certificate.to_json()
    assert not any(id in text for id in person_ids(9))


def test_it_is_as_if_they_had_never_been_there(client: Client, album: Memory) -> None:
    vectors = rows(90)
    twin = client.create_memory("twin", dimension=32)
    held = client.create_memory("held", dimension=32)
    for memory in (twin, held):
        memory.insert(vectors=vectors, labels=["a", "b", "c"] * 30, ids=[f"{n}" for n in range(90)])
    held.insert(vectors=rows(40), labels=["a"] * 40, ids=person_ids(40))
    held.misleading_counts(5)
    queries = rows(500)

    held.unlearn(person_ids(40))

    assert held.info().digest == twin.info().digest
    assert held.misleading_counts(5) == twin.misleading_counts(5)
    for voting in ("plurality", "distance", "softmax", "rank"):
        assert decided(held, queries, voting) == decided(twin, queries, voting)


def decided(memory: Memory, queries: NDArray[np.float32], voting: Voting) -> list[object]:
    return [
        (each.label, each.scores, each.neighbors.ids, each.neighbors.distances.tobytes())
        for each in memory.classify(vectors=queries, voting=voting)
    ]


def test_a_dry_run_changes_nothing_and_names_what_is_unknown(album: Memory) -> None:
    insert_people(album, person_ids(3))
    digest = album.info().digest

    found = album.unlearn([*person_ids(3), "nobody"], dry_run=True, allow_missing=True)

    assert (found.count, found.unknown_count, found.unknown_ids) == (3, 1, ["nobody"])
    assert not found.applied
    assert album.info().digest == digest


def test_unknown_ids_are_refused_unless_they_may_be_missing(album: Memory) -> None:
    insert_people(album, person_ids(2))
    digest = album.info().digest

    with pytest.raises(NotFound, match="nobody"):
        album.unlearn([*person_ids(2), "nobody"])
    assert album.info().digest == digest

    assert album.unlearn([*person_ids(2), "nobody"], allow_missing=True).count == 2


def test_unlearning_what_is_not_there_ends_at_once_and_erases_and_certifies_nothing(
    server: Server, client: Client, album: Memory
) -> None:
    events, watched = len(list(album.audit_events())), server.stub.UnlearnEntries.future
    steps: queue.SimpleQueue[pb.UnlearnEntriesRequest | None] = queue.SimpleQueue()
    steps.put(pb.UnlearnEntriesRequest(memory="album", id_count=1))
    open_stream = watched(iter(steps.get, None))  # it would end with the connections
    album.misleading_counts(5)
    album.calibrate(k=5)

    begun = album.unlearn(["nobody", "no one"], allow_missing=True, wait=False, request_id="once")

    assert (begun.state, begun.result) == ("done", UnlearnResult(0, 2, [], True, begun.name))
    with pytest.raises(FailedPrecondition, match="erased something") as refused:
        album.unlearn(["nobody"], allow_missing=True)
    assert refused.value.reason == "NO_CERTIFICATE"
    assert album.info().calibration is not None
    assert len(list(album.audit_events())) == events + 1  # the calibration
    album.insert(vectors=rows(1), labels=["cat"], ids=["nobody"])
    again = album.unlearn(["nobody", "no one"], allow_missing=True, wait=False, request_id="once")
    assert again.name == begun.name
    assert album.get("nobody").label == "cat"
    steps.put(pb.UnlearnEntriesRequest(ids=["stays 001"]))
    steps.put(None)
    assert open_stream.result().unlearn.count == 1


def test_what_was_deleted_before_it_was_unlearned_does_not_come_back_from_a_backup(
    client: Client, album: Memory, tmp_path: Path
) -> None:
    client.backup("album", tmp_path / "before")
    album.delete(ids=["stays 001"])

    album.unlearn(["stays 001"], allow_missing=True, wait=False)

    assert client.restore(tmp_path / "before", "again").left_out == 1


@pytest.mark.parametrize("made", ["restored", "copied", "original"])
def test_backups_that_the_audit_log_of_the_memory_lacks_are_named(
    client: Client, album: Memory, tmp_path: Path, made: str
) -> None:
    other = client.create_memory("other", dimension=32)
    client.backup(other.name, tmp_path / "other")
    client.backup("album", tmp_path / "first")
    if made != "restored":
        client.copy("album", "copied")
        client.backup("copied", tmp_path / "of the copy")
    client.backup("album", tmp_path / "last")
    if made == "restored":
        client.delete_memory("album")
        client.restore(tmp_path / "first", "album")
    memory = client.memory("copied" if made == "copied" else "album")

    planned = memory.unlearn(["stays 001"], dry_run=True)
    certificate = memory.unlearn(["stays 001"])

    assert len(planned.backups) == (2 if made == "restored" else 3)
    assert certificate.backups == tuple(each.replace(microsecond=0) for each in planned.backups)


def test_a_repeated_request_has_the_same_certificate(album: Memory) -> None:
    insert_people(album, person_ids(2))

    first = album.unlearn(person_ids(2), request_id="once")
    again = album.unlearn(person_ids(2), request_id="once")

    assert again == first


def test_what_wrote_them_is_refused_and_not_replayed(album: Memory) -> None:
    insert_people(album, person_ids(3))
    album.unlearn(person_ids(3)[:1])

    with pytest.raises(FailedPrecondition, match="entries were unlearned") as refused:
        insert_people(album, person_ids(3))

    assert refused.value.reason == "REQUEST_ERASED"
    assert album.info().count == 92


def test_results_that_named_them_are_gone_and_others_stay(client: Client, album: Memory) -> None:
    insert_people(album, person_ids(2))
    with_them = album.prune(method="ids", ids=[*person_ids(2), "stays 001"], apply=True).operation
    without = album.prune(method="ids", ids=["stays 002"], apply=True).operation

    album.unlearn(person_ids(2))

    gone = client.operation(with_them)
    assert (gone.state, gone.result) == ("done", None)
    assert "unlearned" in gone.problem
    assert client.operation(without).result is not None
    assert album.undo(with_them) == 1
    assert album.undo(without) == 1


def test_it_goes_on_after_a_kill(server: Server, album: Memory) -> None:
    insert_people(album, person_ids(9))
    operation = album.unlearn(person_ids(9), wait=False)
    server.restart(number=signal.SIGKILL)

    with visual_memory.connect(server.address) as client:
        ended = client.wait(operation.name)
        certificate = client.certificate(operation.name)

    assert ended.state == "done"
    assert certificate.count == 9
    assert all(Certificate.read(certificate.to_json()).commitments)


def test_what_was_deleted_before_a_restart_is_certified_without_a_search(
    client: Client, server: Server, album: Memory, command: Run
) -> None:
    [file] = (server.data / "memories").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        operation = album.unlearn(["stays 000"], wait=False)
        while client.operation(operation.name).done < 1:
            pass
        server.end(signal.SIGKILL)
    server.start()

    with visual_memory.connect(server.address) as other:
        other.wait(operation.name)
        certificate = other.certificate(operation.name)

    assert (certificate.count, certificate.looked_for, certificate.searched) == (1, 0, ())
    assert certificate.erasure == "files"
    assert INTERRUPTED in certificate.not_covered
    Path("ids.txt").write_text("stays 000\n")
    files = ("--ids-file", "ids.txt", "--certificate", "out.json")
    again = text(command("unlearn", "album", "--server", server.address, *files, "--apply"))
    assert "1 entry of album erased before, on " in again
    assert "; nothing was looked for, and the certificate says why.\n" in again
    assert "\nNothing was looked for afterwards.\n" in text(command("verify", "out.json"))


def test_an_erasure_that_a_server_resumes_is_logged_under_the_principal_who_began_it(
    start: Start, tmp_path: Path
) -> None:
    request = Request(principal="ann")
    with closing(Catalog(tmp_path / "data")) as catalog:
        memory = catalog.create("pets", dimension=2, embedder=None)
        assert memory is not None
        with closing(memory):
            memory.insert([Entry("a", "cat")], np.eye(1, 2, dtype=np.float32))
            begun = memory.unlearning.begin(["a"], allow_missing=False, request=request)

    with visual_memory.connect(start(tmp_path / "data").address) as client:
        client.wait(begun.operation.name)
        events = [*client.memory("pets").audit_events()]

    assert [(each.call, each.principal) for each in events] == [
        ("CreateMemory", "local"),
        ("InsertEntries", "local"),
        ("UnlearnEntries", "ann"),
    ]


def test_others_go_on_meanwhile(client: Client, album: Memory, server: Server) -> None:
    insert_people(album, person_ids(9))
    operation = album.unlearn(person_ids(9), wait=False)

    answers = 0
    with visual_memory.connect(server.address) as other:
        while other.operation(operation.name).state == "running":
            other.memory("album").classify(vectors=rows(1), k=3)
            other.memory("album").insert(vectors=rows(1), labels=["cat"])
            answers += 1

    assert answers > 0
    assert client.operation(operation.name).state == "done"


def test_who_waits_without_a_timeout_is_told_the_end_though_connections_are_renewed(
    album: Memory, server: Server
) -> None:
    operation = album.unlearn(["stays 000"], wait=False)
    request = pb.WaitOperationRequest(name=operation.name)
    told = []

    while True:
        try:
            ended = server.stub.WaitOperation(request)
            break
        except grpc.RpcError as error:
            told.append(from_rpc(error, server.address).reason)

    assert ended.state == operation_pb2.Operation.DONE
    assert set(told) <= {"CONNECTION_ENDING", ""}  # the latter is gRPC's in the moment of the end
    assert '"reason": "ConnectionEnding"' not in server.log()


def test_of_erasures_that_are_asked_for_at_once_each_is_done(client: Client, album: Memory) -> None:
    ids = person_ids(40)
    insert_people(album, ids)

    asked = (ids[:20], ids[20:], ids[:20], ids)
    begun = [album.unlearn(each, allow_missing=True, wait=False) for each in asked]

    assert {client.wait(each.name).state for each in begun} == {"done"}
    assert album.info().count == 90


def test_an_erasure_ends_where_memories_and_settings_are_called_alike(client: Client) -> None:
    client.create_memory("another-memory", dimension=32)
    memory = client.create_memory("one-of-memories", dimension=32)
    labels = ["labrador retriever", "golden retriever", "another-memory", "one-of-memories"]
    memory.insert(vectors=rows(4), labels=labels, ids=["a", "b", "c", "the id of d"])
    memory.set_taxonomy({label: "things" for label in labels})

    begun = memory.unlearn(["b", "c", "the id of d"], wait=False)

    assert client.wait(begun.name).state == "done"


def test_an_erasure_ends_where_a_memory_that_was_dropped_was_called_alike(client: Client) -> None:
    memory = client.create_memory("one-of-memories", dimension=32)
    memory.insert(vectors=rows(1), labels=["a-former-memory"], ids=["the id of a"])
    client.create_memory("a-former-memory", dimension=32)
    client.delete_memory("a-former-memory")

    begun = memory.unlearn(["the id of a"], wait=False)

    assert client.wait(begun.name).state == "done"


def test_a_certificate_needs_an_unlearning_that_is_done(client: Client, album: Memory) -> None:
    operation = album.prune(method="ids", ids=["stays 001"], apply=True).operation

    with pytest.raises(FailedPrecondition, match="only an unlearning"):
        client.certificate(operation)
    with pytest.raises(NotFound):
        client.certificate("album/nothing")


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize(
    ("parts", "field", "sentence"),
    [
        ([], "id_count", "must say in the first message how many ids come in all, at least 1"),
        ([{}], "id_count", "must say"),
        ([{"ids": ["a"]}], "id_count", "must say"),
        ([{"ids": ["a"], "id_count": -1}], "id_count", "must say"),
        ([{"ids": ["a", ""], "id_count": 2}], "ids[1]", "must"),
        ([{"ids": ["a"], "id_count": 2}, {"memory": "album", "ids": ["b"]}], "memory", "first"),
        ([{"ids": ["a"], "id_count": 2}, {"id_count": 2, "ids": ["b"]}], "memory", "first"),
        ([{"id_count": 1}], "id_count", "is 1, but 0 ids came, and nothing was erased; send all"),
        ([{"id_count": 3}, {"ids": ["a"] * 2}], "id_count", "is 3, but 2 ids came"),
        ([{"id_count": 1}, {"ids": ["a"] * 2}], "id_count", "1, but 2 or more ids came"),
        ([{"id_count": 1, "ids": ["a", "a"]}], "id_count", "is 1, but 2 or more ids came"),
    ],
)
def test_messages_that_make_no_sense_are_refused(
    server: Server,
    pets: RemoteMemory,
    parts: list[dict[str, Any]],
    field: str,
    sentence: str,
    apply: bool,
) -> None:
    first = [{"memory": pets.name, "apply": apply, "allow_missing": True, **part} for part in parts]
    messages = [pb.UnlearnEntriesRequest(**part) for part in (*first[:1], *parts[1:])]

    error = refusal(server.stub.UnlearnEntries, iter(messages))

    assert isinstance(error, InvalidArgument)
    assert error.field_violations[0][0] == field
    assert sentence in error.message
    assert len(pets.ids()) == 3


def test_more_ids_than_said_are_refused_before_all_have_come(
    server: Server, pets: RemoteMemory
) -> None:
    sent = 0

    def messages() -> Iterator[pb.UnlearnEntriesRequest]:
        nonlocal sent
        yield pb.UnlearnEntriesRequest(memory=pets.name, id_count=10_001)
        for sent in range(1, 1001):
            yield pb.UnlearnEntriesRequest(ids=[f"{sent} {number}" for number in range(10_000)])

    error = refusal(server.stub.UnlearnEntries, messages())

    assert error.field_violations[0][0] == "id_count"
    assert sent < 1000


@pytest.mark.parametrize("apply", [False, True])
def test_more_ids_than_can_be_unlearned_at_once_are_refused_before_they_come(
    server: Server, pets: RemoteMemory, apply: bool
) -> None:
    request = pb.UnlearnEntriesRequest(memory=pets.name, apply=apply, id_count=1_000_001)

    error = refusal(server.stub.UnlearnEntries, endless(request))

    assert error.reason == "TOO_MANY_IDS"
    assert "At most 1,000,000 ids" in error.message


def endless(request: pb.UnlearnEntriesRequest) -> Iterator[pb.UnlearnEntriesRequest]:
    yield request
    yield from iter(queue.SimpleQueue[pb.UnlearnEntriesRequest]().get, None)


def test_an_id_that_comes_twice_is_counted_as_it_is_sent(album: Memory) -> None:
    assert album.unlearn(["stays 001", "stays 001"]).count == 1


def test_a_certificate_by_a_former_key_is_still_trusted(
    server: Server, album: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    from visual_memory_service.cli import run

    insert_people(album, person_ids(1))
    certificate = album.unlearn(person_ids(1))
    server.end()
    assert run(["signing-keys", "--rotate", str(server.data)]) == 0
    server.start()

    with visual_memory.connect(server.address) as client:
        keys = client.server_info().public_keys
    capsys.readouterr()
    for of in (["--server", server.address], ["--data", str(server.data)]):
        assert run(["signing-keys", "--json", *of]) == 0
        assert json.loads(capsys.readouterr().out) == [
            {"public_key": keys[0], "former": False},
            {"public_key": keys[1], "former": True},
        ]
    assert len(keys) == 2
    assert visual_memory.verify(certificate, keys).trusted
    with pytest.raises(InvalidCertificate):
        visual_memory.verify(certificate, keys[0])
    assert json.loads(certificate.to_json())["public_key"] == keys[1]


def test_former_certificates_stay_whatever_the_entries_are_called(
    client: Client, album: Memory
) -> None:
    words = ["count", "certificate", "applied", "unknown_ids"]
    labelled = [f"labelled {word}" for word in words]
    album.insert(vectors=rows(8), labels=[*words, *["cat"] * 4], ids=[*labelled, *words])
    first = album.unlearn(["stays 000"])

    album.unlearn(labelled)
    album.unlearn(words)

    assert client.certificate(first.operation) == first


@contextmanager
def call_under_way(client: Client, server: Server) -> Iterator[None]:
    """Keep a call open in the block: an erasure waits for its end before it searches RAM."""
    client.create_memory("other", dimension=4)
    steps: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
    steps.put(pb.ImportEntriesRequest(start=pb.ImportStart(memory="other", request_id="open")))
    open_call = server.stub.ImportEntries(iter(steps.get, None))
    next(open_call)
    try:
        yield
    finally:
        steps.put(None)


def test_an_erasure_that_waits_for_a_call_to_end_does_not_hold_up_a_drop(
    client: Client, server: Server, album: Memory
) -> None:
    insert_people(album, person_ids(1))
    with call_under_way(client, server):
        erasure = album.unlearn(person_ids(1), wait=False)
        while client.operation(erasure.name).done < 2:
            pass

        with visual_memory.connect(server.address, timeout=10) as hasty:
            hasty.delete_memory("album")

        assert [memory.name for memory in client.memories()] == ["other"]
    assert server.end() == 0


def test_an_erasure_goes_on_where_its_memory_cannot_be_dropped(
    client: Client, server: Server, album: Memory
) -> None:
    client.create_memory("other", dimension=4)
    catalog = server.data / "catalog.sqlite"
    steps: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
    steps.put(pb.ImportEntriesRequest(start=pb.ImportStart(memory="other", request_id="open")))
    open_call = server.stub.ImportEntries(iter(steps.get, None))
    next(open_call)
    erasure = album.unlearn(["stays 000"], wait=False).name
    while client.operation(erasure).done < 2:
        pass

    away = catalog.rename(catalog.with_name("away"))
    shutil.copy(away, catalog)
    with visual_memory.connect(server.address, timeout=10) as other:
        with pytest.raises(visual_memory.Error) as refused:
            other.delete_memory("album")
        end = time.monotonic() + 30
        while other.operation(erasure).state == "running":
            assert time.monotonic() < end, "nobody works on it"
    steps.put(None)
    away.replace(catalog)
    server.restart()

    said = "(another file was put in its place); stop the server and put the catalog back, or bring"
    assert refused.value.reason == "CORRUPT_STORE"
    assert f"catalog.sqlite is damaged {said}" in str(refused.value)
    with visual_memory.connect(server.address) as client:
        assert client.wait(erasure).state == "done"
        assert client.certificate(erasure).holds("stays 000")


def delete_memory(server: Server, name: str) -> None:
    """Delete a memory; call again if the connection is renewed, which breaks the call off."""
    try:
        server.stub.DeleteMemory(pb.DeleteMemoryRequest(name=name))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.CANCELLED:
            raise
        delete_memory(server, name)


def test_an_erasure_that_goes_on_in_the_same_process_searches_it(
    client: Client, server: Server, album: Memory
) -> None:
    catalog = server.data / "catalog.sqlite"
    with call_under_way(client, server):
        erasure = album.unlearn(["stays 000"], wait=False).name
        while client.operation(erasure).done < 2:
            pass

        with closing(sqlite3.connect(catalog, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(grpc.RpcError, match="another program holds it"):
                delete_memory(server, "album")
    client.wait(erasure)
    certificate = client.certificate(erasure)

    assert [each.where for each in certificate.searched] == [ALL_FILES, PROCESS]
    assert certificate.looked_for > 0
    assert INTERRUPTED not in certificate.not_covered


def test_an_erasure_behind_one_that_waits_says_so(
    client: Client, server: Server, album: Memory
) -> None:
    other = client.create_memory("other", dimension=2)
    other.insert(vectors=np.eye(2), labels=["cat", "dog"], ids=["a", "b"])
    (path, _) = sorted((server.data / "memories").glob("*.sqlite"), key=lambda file: file.stem)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        first = album.unlearn(["stays 000"], wait=False).name
        behind = other.unlearn(["a"], wait=False).name
        with pytest.raises(FailedPrecondition) as waiting:
            client.wait(behind)

    assert f"It begins after the unlearning {first}, which waits: A backup," in str(waiting.value)
    while client.operation(behind).state == "running":
        time.sleep(0.05)
    assert [client.operation(each).state for each in (first, behind)] == ["done", "done"]


@LINUX
def test_ids_of_an_erasure_that_another_was_faster_than_are_erased_as_well(
    client: Client, server: Server, album: Memory
) -> None:
    ids = person_ids(6)
    insert_people(album, ids)
    residue = Residue(secrets_of(album, ids))
    client.copy("album", "other")
    (path, _) = sorted((server.data / "memories").glob("*.sqlite"), key=lambda file: file.stem)
    with closing(sqlite3.connect(path)) as reader:  # the first erasure waits, and all behind it
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        begun = [
            memory.unlearn(asked, wait=False).name
            for memory, asked in (
                (album, ["stays 000"]),
                (album, ids),
                (album, ids[3:]),
                (client.memory("other"), ids),
            )
        ]
    ended = [client.wait(each).result for each in begun]

    assert [each.count for each in ended if isinstance(each, UnlearnResult)] == [1, 6, 0, 6]
    assert not residue.in_files(server.data)
    assert not residue.in_process(server.process.pid)
    with pytest.raises(FailedPrecondition, match="has no certificate"):
        client.certificate(begun[2])


def test_an_erasure_cannot_be_cancelled(client: Client, album: Memory) -> None:
    operation = album.unlearn(["stays 000"], wait=False)

    with pytest.raises(FailedPrecondition, match="cannot be cancelled") as refused:
        client.cancel(operation.name)

    assert refused.value.reason == "NOT_CANCELLABLE"
    assert client.wait(operation.name).state == "done"


def test_memories_that_hold_the_same_are_named_before_and_after(
    client: Client, album: Memory, tmp_path: Path
) -> None:
    ids = person_ids(3)
    insert_people(album, ids)
    client.backup("album", tmp_path / "before")
    client.copy("album", "copied")
    client.copy("album", "cleaned")
    client.memory("cleaned").delete(ids)
    kept = list(album.entries(include_vectors=True, include_images=True))
    going = [each for each in kept if each.id in ids]
    for name, store_images in (("pictures", True), ("vectors", False)):
        memory = client.create_memory(name, dimension=32, store_images=store_images)
        entries = going if store_images else [replace(each, image=None) for each in going]
        insert_same(memory, entries, prefix="of another id ")
    namesake = client.create_memory("namesake", dimension=32)
    namesake.insert(vectors=rows(3), labels=["cat"] * 3, ids=ids)

    planned = album.unlearn(ids, dry_run=True)
    certificate = album.unlearn(ids)
    done = client.operation(certificate.operation).result

    holding = ["copied", "pictures", "vectors"]
    assert (planned.also_in, len(planned.backups)) == (holding, 1)
    assert certificate.also_in == tuple(holding)
    assert isinstance(done, UnlearnResult)
    assert (done.also_in, done.backups) == (planned.also_in, planned.backups)
    assert len(certificate.searched) == 2
    for name in holding:
        memory = client.memory(name)
        same = [each.id for each in memory.entries() if each.id[-len(ids[0]) :] in ids]
        again = memory.unlearn(same)
        assert name not in again.also_in
    assert again.also_in == ()


def test_counts_that_another_memory_keeps_of_deleted_entries_do_not_stay_in_ram(
    server: Server, client: Client, album: Memory
) -> None:
    label = f"a label of {uuid.uuid4()}"
    other = client.create_memory("other", dimension=32)
    other.insert(vectors=rows(4), labels=[label, "cat", "dog", "cat"], ids=list("abcd"))
    album.insert(vectors=rows(1), labels=[label], ids=["labelled"])
    request = pb.GetMisleadingCountsRequest(memory="other", k=2, page_size=2)
    assert server.stub.GetMisleadingCounts(request).next_page_token
    other.delete(["a"])
    other.misleading_counts(2)

    certificate = album.unlearn(["labelled"])

    assert len(certificate.searched) == 2


def test_a_memory_whose_file_cannot_be_opened_is_named_and_not_waited_for(
    server: Server, client: Client, album: Memory
) -> None:
    client.create_memory("other", dimension=32).insert(vectors=rows(1), labels=["cat"])
    (path,) = (server.data / "memories").glob("other.*.sqlite")
    away = path.rename(path.with_name("away"))
    path.mkdir()
    try:
        planned = album.unlearn(["stays 001"], dry_run=True)
        certificate = album.unlearn(["stays 001"], request_id="once")
    finally:
        path.rmdir()
        away.rename(path)
    done = client.operation(certificate.operation).result

    assert (planned.also_in, planned.not_asked) == ([], ["other"])
    assert isinstance(done, UnlearnResult)
    assert done.not_asked == ["other"]
    assert NOT_ASKED.format("other") in certificate.not_covered
    assert album.unlearn(["stays 002"], dry_run=True).not_asked == []


def test_an_erasure_that_fails_goes_on_at_the_next_start_and_no_entry_stays_that_is_marked(
    server: Server, album: Memory
) -> None:
    one = "key = (SELECT key FROM entries WHERE id = 'stays 001')"
    (path,) = (server.data / "memories").glob("album.*.sqlite")
    with closing(sqlite3.connect(path)) as db:
        (vector,) = db.execute(f"SELECT vector FROM vectors WHERE {one}").fetchone()
        with db:
            db.execute(f"UPDATE vectors SET vector = zeroblob(length(vector)) WHERE {one}")
        with pytest.raises(visual_memory.Error, match="is damaged") as failed:
            album.unlearn(["stays 001"])
        with db:
            db.execute(f"UPDATE vectors SET vector = ? WHERE {one}", (vector,))
        stored = db.execute("SELECT id FROM entries WHERE id = 'stays 001'").fetchall()
    with pytest.raises(visual_memory.Error) as refused:
        album.info()
    server.restart()

    assert failed.value.reason == refused.value.reason == "CORRUPT_STORE"
    assert stored == [("stays 001",)]
    with visual_memory.connect(server.address) as client:
        (operation,) = [each for each in client.operations("album") if each.kind == "unlearn"]
        assert client.wait(operation.name).state == "done"
        assert client.certificate(operation.name).holds("stays 001")
        assert "stays 001" not in {entry.id for entry in client.memory("album").entries()}


def test_another_entry_with_the_same_content_is_named_as_of_the_memory_itself(
    album: Memory,
) -> None:
    vectors = rows(2)
    album.insert(vectors=vectors[[0, 0, 1]], labels=["cat"] * 3, ids=["one", "two", "three"])

    assert album.unlearn(["three"], dry_run=True).also_in == []
    assert album.unlearn(["one", "two"], dry_run=True).also_in == []
    assert album.unlearn(["one"], dry_run=True).also_in == ["album"]
    assert album.unlearn(["one"]).also_in == ("album",)
    assert album.unlearn(["two"]).also_in == ()


def test_a_label_that_another_memory_has_is_not_told_as_the_same_content(
    client: Client, album: Memory
) -> None:
    label = "a label of two memories"
    album.insert(vectors=rows(1), labels=[label], ids=["one"])
    client.create_memory("other", dimension=32).insert(vectors=rows(1), labels=[label], ids=["1"])

    assert album.unlearn(["one"]).also_in == ()


def test_an_insertion_is_told_what_of_it_was_unlearned_before(
    client: Client, album: Memory
) -> None:
    stays = [f"stays {number:03}" for number in range(4)]
    client.copy("album", "twin")
    other = client.create_memory("other", dimension=32)
    album.unlearn(stays)

    vectors = rows(6)

    def again(memory: Memory, **more: Any) -> list[str]:
        result = memory.insert(
            vectors=vectors, labels=["cat"] * 6, ids=[*stays, "new", "newer"], **more
        )
        return sorted(result.unlearned)

    assert again(other) == []
    assert again(album, request_id="once", atomic=False) == stays
    assert again(album, request_id="once", atomic=False) == stays
    assert again(album, replace_existing=True) == stays
    assert again(client.memory("twin"), replace_existing=True) == stays
    assert album.insert(vectors=rows(1), labels=["cat"]).unlearned == []


class ListedMeanwhile(Memories):
    """It lists a copy that waits for that, once it has looked for memories that hold the same."""

    end_copy: Callable[[], object]

    def find_duplicates(self, memory: index.Memory, ids: Sequence[str]) -> Duplicates:
        found = super().find_duplicates(memory, ids)
        self.end_copy()
        return found


def test_a_copy_that_is_listed_meanwhile_lacks_the_entries(tmp_path: Path) -> None:
    settings, operations = Settings(tmp_path, erasure=FILES), Operations()
    memories = ListedMeanwhile(settings, lambda *_: None)
    begun, may_end = threading.Event(), threading.Event()

    def check() -> None:
        begun.set()
        may_end.wait()

    def end_copy() -> None:
        may_end.set()
        copying.result()

    with closing(memories), closing(operations), ThreadPoolExecutor(1) as threads:
        keys = SigningKeys(tmp_path)
        unlearning = UnlearningWork(memories, operations, keys, Future[None], settings)
        memories.create("pets", embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
        pets = memories.use("pets")
        pets.memory.insert([Entry("a", "cat"), Entry("b", "cat")], np.eye(2, 4, dtype="f4"))
        copying = threads.submit(memories.copy, "pets", "copy", check=check, request=WITHOUT_ID)
        memories.end_copy = end_copy
        begun.wait()

        name = unlearning.begin(["a"], pets, allow_missing=False, request=WITHOUT_ID).name
        while job := operations.job(name):
            job.ended.result()

        assert "also_in" not in json.loads(certificate_of(pets.memory, name))
        assert memories.use("copy").memory.ids() == ["b"]
