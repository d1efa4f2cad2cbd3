"""Memories are backed up, restored and copied while they serve, as a whole or not at all."""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import Server, refusal, to_picture
from tests.sealing import seal

import visual_memory
from visual_memory import Client, Memory
from visual_memory.protocol import TRAILER_BYTES, with_checksum
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import (
    WITHOUT_ID,
    Catalog,
    Entry,
    Request,
    ScannedIndexes,
    unit_rows,
)
from visual_memory_service.config import Settings
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Start

DIMENSION = 4


@pytest.fixture
def name() -> str:
    """A name for a new memory."""
    return f"m{uuid.uuid4().hex}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pets.vmb"


def backup_of(memory: RemoteMemory) -> bytes:
    request = pb.BackupMemoryRequest(memory=memory.name)
    return b"".join(each.data for each in memory.stub.BackupMemory(request))


def restoring(
    name: str, data: bytes, *, size: int = 1000, request_id: str = ""
) -> Iterator[pb.RestoreMemoryRequest]:
    """Yield the messages that restore a backup, in pieces of ``size`` bytes."""
    yield pb.RestoreMemoryRequest(name=name, request_id=request_id)
    for start in range(0, len(data), size):
        yield pb.RestoreMemoryRequest(data=data[start : start + size])


def unfinished(server: Server) -> list[str]:
    return os.listdir(server.data / "unfinished")


def names(server: Server) -> list[str]:
    return [each.name for each in server.stub.ListMemories(pb.ListMemoriesRequest()).memories]


def altered(data: bytes, statement: str) -> bytes:
    """Return a backup changed by SQL, with checksums that fit."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.deserialize(data[:-TRAILER_BYTES])
        db.execute(statement)
        seal(db)
        return b"".join(with_checksum(io.BytesIO(db.serialize())))


def test_restores_that_are_cancelled_at_once_leave_no_file(server: Server, name: str) -> None:
    chance = random.Random(0)
    for number in range(200):
        request = pb.RestoreMemoryRequest(name=f"{name}-{number}", request_id=f"{name} {number}")
        call = server.stub.RestoreMemory.future(iter([request]))
        time.sleep(chance.uniform(0, 0.006))
        call.cancel()

    end = time.monotonic() + 30
    while left := unfinished(server):
        assert time.monotonic() < end, left


def test_a_backup_is_restored_with_all_that_it_had(
    client: Client, name: str, file: Path, tmp_path: Path
) -> None:
    memory = client.create_memory(name, embedder="efficientnet-lite0", store_images=True)
    pictures = [to_picture(seed) for seed in range(6)]
    ids = memory.insert(images=pictures, labels=["cat", "dog"] * 3).ids
    memory.set_taxonomy({"cat": "pet", "dog": "pet"})
    prune = memory.prune(method="ids", ids=ids[:1], apply=True).operation
    before = memory.info()

    count = client.backup(name, file)
    memory.delete(ids)
    restored = client.restore(file, f"{name}-2")

    assert count == file.stat().st_size
    assert restored.left_out == 0
    assert (restored.info.name, restored.info.digest) == (f"{name}-2", before.digest)
    assert (restored.info.uid, restored.info.create_time) == (before.uid, before.create_time)
    assert (restored.info.count, restored.info.pruned_count) == (6, 1)
    again = client.memory(f"{name}-2")
    assert again.get(ids[3], include_image=True).image == pictures[3]
    assert again.taxonomy().parents == {"cat": "pet", "dog": "pet"}
    assert again.classify(images=pictures[1:2], k=1)[0].neighbors.ids == [ids[1]]
    assert again.undo(prune.replace(f"{name}/", f"{name}-2/")) == 1


def test_a_backup_of_nothing_is_restored(
    empty: RemoteMemory, client: Client, name: str, file: Path
) -> None:
    client.backup(empty.name, file)

    assert client.restore(file, name).info.count == 0


def test_a_copy_has_the_digest_of_its_memory_until_either_is_written(
    pets: RemoteMemory, client: Client, name: str
) -> None:
    memory, copy = client.memory(pets.name), client.copy(pets.name, name)
    digest = memory.info().digest

    assert copy.info().digest == digest
    copy.delete(["a"])

    assert memory.info().digest == digest
    assert copy.info().digest != digest


def test_what_is_done_to_a_copy_is_in_the_log(
    pets: RemoteMemory, client: Client, name: str, file: Path
) -> None:
    client.backup(pets.name, file)
    client.copy(pets.name, name)
    client.restore(file, f"{name}-2")

    def calls(memory: str) -> list[str]:
        return [event.call for event in client.memory(memory).audit_events()]

    assert calls(pets.name) == ["CreateMemory", "InsertEntries", "BackupMemory"]
    assert calls(name) == ["CreateMemory", "InsertEntries", "BackupMemory", "CopyMemory"]
    assert calls(f"{name}-2") == [
        *("CreateMemory", "InsertEntries", "BackupMemory", "RestoreMemory")
    ]


def test_what_was_unlearned_since_is_left_out_and_counted(start: Start, file: Path) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=DIMENSION)
        ids = [f"a rather long id, {number}" for number in range(5)]
        memory.insert(vectors=np.eye(5, 4) + 0.1, labels=["cat"] * 5, ids=ids)
        client.backup("pets", file)
        memory.unlearn(ids[:2])
        digest = memory.info().digest

        restored = client.restore(file, "pets2")

        assert restored.left_out == 2
        assert restored.info.digest == digest
    server.restart()
    with visual_memory.connect(server.address) as client:
        assert client.restore(file, "pets3").left_out == 2
        assert [each.id for each in client.memory("pets3").entries()] == ids[2:]


def test_a_backup_beside_eight_clients_has_whole_batches_only(
    empty: RemoteMemory, client: Client, name: str, file: Path
) -> None:
    memory = client.memory(empty.name)
    over = threading.Event()
    failures: list[BaseException] = []
    numbers = iter(range(10**9))

    def insert(memory: Memory) -> None:
        batch = f"batch {next(numbers)}"
        ids = [f"{batch}, {at}" for at in range(5)]
        rows = np.random.default_rng().standard_normal((5, 4))
        memory.insert(vectors=rows, labels=[batch] * 5, ids=ids)

    def delete(memory: Memory) -> None:
        labels = list(memory.info().labels)
        if len(labels) > 20:
            memory.purge(f'label = "{random.choice(labels)}"', apply=True)

    def ask(memory: Memory) -> None:
        if memory.info().count:
            memory.classify(vectors=np.ones((1, 4)), k=3)

    def repeat(act: Callable[[Memory], None]) -> None:
        try:
            with visual_memory.connect(client._transport.endpoint.target) as other:
                while not over.is_set():
                    act(other.memory(empty.name))
        except Exception as error:
            failures.append(error)

    acts = [insert, insert, insert, delete, delete, ask, ask, ask]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    while memory.info().count < 50:
        pass
    restored = []
    for number in range(3):
        client.backup(empty.name, file, overwrite=True)
        restored.append(client.restore(file, f"{name}-{number}").info)
    over.set()
    for thread in threads:
        thread.join()

    assert failures == []
    for info in restored:
        entries = [each.id.rpartition(",")[0] for each in client.memory(info.name).entries()]
        assert set(Counter(entries).values()) == {5}
        assert client.memory(info.name).check().digest == info.digest


def test_what_is_unlearned_while_it_is_restored_is_left_out_in_a_second_try(tmp_path: Path) -> None:
    with closing(Memories(Settings(tmp_path), lambda name, serves: None)) as memories:
        memories.create(
            "pets", embedder=None, dimension=DIMENSION, store_images=False, request=WITHOUT_ID
        )
        made = memories.use("pets").memory
        rows = unit_rows(np.eye(2, DIMENSION, dtype=np.float32))
        made.insert([Entry("a", "cat"), Entry("b", "cat")], rows)
        with memories.backup("pets", check=lambda: None, request=WITHOUT_ID) as opened:
            data = opened.read()
        tries: list[int] = []

        def check() -> None:
            if not tries:
                memories.catalog.mark_unlearned(made, ["a"], "")
            tries.append(1)

        with memories.arrival("pets2", "") as arrival:
            arrival.write(data)
            arrival.finish()
            left_out = memories.restore("pets2", arrival, check=check, request=WITHOUT_ID)

        assert left_out == 1
        assert memories.use("pets2").memory.ids() == ["b"]
        assert memories.names() == ["pets", "pets2"]


class HeldUp(ScannedIndexes):
    """Indexes of which none is made while ``free`` is not set, after ``asked`` is."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.asked, self.free = threading.Event(), threading.Event()
        self.free.set()

    def new(self, dimension: int, **options: Any) -> Any:
        self.asked.set()
        self.free.wait()
        return super().new(dimension, **options)


@pytest.mark.parametrize("kind", ["copy", "restore"])
def test_the_same_request_waits_while_the_first_is_being_opened(tmp_path: Path, kind: str) -> None:
    indexes, once = HeldUp(), Request("once", b"content")
    memories = Memories(Settings(tmp_path), lambda *_: None, indexes=indexes)
    with closing(memories), ThreadPoolExecutor(2) as threads:
        memories.create(
            "pets", embedder=None, dimension=DIMENSION, store_images=False, request=WITHOUT_ID
        )
        made = memories.use("pets").memory
        made.insert([Entry("a", "cat")], unit_rows(np.eye(1, DIMENSION, dtype=np.float32)))
        with memories.backup("pets", check=lambda: None, request=WITHOUT_ID) as opened:
            data = b"".join(with_checksum(opened))

        def make() -> ServedMemory:
            if kind == "copy":
                memories.copy("pets", "pets2", check=lambda: None, request=once)
            else:
                with memories.arrival("pets2", once.id) as arrival:
                    arrival.write(data)
                    arrival.finish()
                    memories.restore("pets2", arrival, check=lambda: None, request=once)
            return memories.use("pets2")

        indexes.asked.clear()
        indexes.free.clear()
        first = threads.submit(make)
        indexes.asked.wait()
        again = threads.submit(make)
        waited = not wait([again], timeout=0.3).done
        indexes.free.set()

        assert first.result() is again.result()
        assert waited


def test_a_repeated_restore_is_answered_as_the_first_time(start: Start, file: Path) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=DIMENSION)
        memory.insert(vectors=np.eye(4), labels=["cat"] * 4, ids=list("abcd"))
        client.backup("pets", file)
        memory.unlearn(["a"])
        first = client.restore(file, "pets2", request_id="once")
    server.restart()
    with visual_memory.connect(server.address) as client:
        second = client.restore(file, "pets2", request_id="once")
        assert (first.left_out, second.left_out) == (1, 1)
        assert first.info.digest == second.info.digest

        client.backup("pets", file, overwrite=True)
        for arguments in ((file, "pets2"), (file, "pets3")):
            with pytest.raises(visual_memory.InvalidArgument) as reused:
                client.restore(*arguments, request_id="once")
            assert reused.value.reason == "REQUEST_REUSED"
        assert names(server) == ["pets", "pets2"]


def test_a_repeated_copy_is_made_once(pets: RemoteMemory, client: Client, name: str) -> None:
    client.copy(pets.name, name, request_id=name)
    pets.insert(np.eye(4)[3:], ["d"])

    assert client.copy(pets.name, name, request_id=name).info().count == 3
    with pytest.raises(visual_memory.AlreadyExists):
        client.copy(pets.name, name)
    with pytest.raises(visual_memory.InvalidArgument) as reused:
        client.copy(pets.name, f"{name}-2", request_id=name)
    assert reused.value.reason == "REQUEST_REUSED"


def test_a_name_that_is_taken_is_refused_before_the_file_is_sent(
    server: Server, pets: RemoteMemory, client: Client
) -> None:
    sent = []

    def messages() -> Iterator[pb.RestoreMemoryRequest]:
        yield pb.RestoreMemoryRequest(name=pets.name)
        for number in range(10**9):
            sent.append(number)
            yield pb.RestoreMemoryRequest(data=bytes(1000))

    before = pets.stored()

    error = refusal(server.stub.RestoreMemory, messages())

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "MEMORY_EXISTS")
    assert pets.stored() == before
    assert unfinished(server) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda data: b"", "its end is missing"),
        (lambda data: data[: len(data) // 2], "its end is missing"),
        (lambda data: data[:-1], "its end is missing"),
        (lambda data: data[:5000] + data[6000:], "bytes"),
        (lambda data: data[:5000] + b"?" + data[5001:], "it was altered"),
        (lambda data: to_picture(), "another kind of file"),
        (
            lambda data: altered(data, "UPDATE entries SET label = 'fox'"),
            "its entries are not those of its digest",
        ),
    ],
    ids=["empty", "half", "cut", "a piece less", "altered", "a picture", "another label"],
)
def test_what_is_no_whole_backup_is_refused_and_nothing_is_changed(
    spoil: Callable[[bytes], bytes],
    sentence: str,
    server: Server,
    pets: RemoteMemory,
    name: str,
) -> None:
    data = backup_of(pets)
    before = names(server)

    error = refusal(server.stub.RestoreMemory, restoring(name, spoil(data)))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_BACKUP")
    assert sentence in error.message
    assert error.field_violations[0][0] == "data"
    assert names(server) == before
    assert unfinished(server) == []


def test_a_backup_of_a_newer_release_is_refused(
    server: Server, pets: RemoteMemory, name: str
) -> None:
    data = altered(backup_of(pets), "PRAGMA user_version = 99")

    error = refusal(server.stub.RestoreMemory, restoring(name, data))

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NEWER_STORE")
    assert error.message.startswith("The backup has schema 99, but this release knows up to")


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        (pb.RestoreMemoryRequest(), None, "name"),
        (pb.RestoreMemoryRequest(name="A"), None, "name"),
        (None, pb.RestoreMemoryRequest(name="other"), "name"),
        (None, pb.RestoreMemoryRequest(request_id="other"), "request_id"),
    ],
)
def test_a_restore_names_its_memory_once(
    first: pb.RestoreMemoryRequest | None,
    second: pb.RestoreMemoryRequest | None,
    field: str,
    server: Server,
    name: str,
) -> None:
    messages = [first or pb.RestoreMemoryRequest(name=name), *([second] if second else [])]

    error = refusal(server.stub.RestoreMemory, iter(messages))

    assert error.reason == "BAD_FIELD"
    assert error.field_violations[0][0] == field
    assert unfinished(server) == []


def test_who_is_not_there_is_neither_backed_up_nor_copied(server: Server, name: str) -> None:
    backup = refusal(list, server.stub.BackupMemory(pb.BackupMemoryRequest(memory=name)))
    copy = refusal(server.stub.CopyMemory, pb.CopyMemoryRequest(memory=name, new_name=f"{name}-2"))
    wrong = refusal(server.stub.CopyMemory, pb.CopyMemoryRequest(memory=name, new_name="A"))

    assert (backup.reason, copy.reason) == ("UNKNOWN_MEMORY", "UNKNOWN_MEMORY")
    assert wrong.field_violations[0][0] == "new_name"


def test_a_memory_of_an_embedder_that_is_not_allowed_is_restored_as_one_is_opened(
    server: Server, name: str, tmp_path: Path
) -> None:
    spec = {
        "name": "onnx:/models/mine.onnx",
        "weights_sha256": "0" * 64,
        "dimension": DIMENSION,
        "bit_equal": False,
        "preprocessing": {
            "resize": 256,
            "crop": [224, 224],
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    with closing(Catalog(tmp_path / "made")) as catalog:
        made = catalog.create("pets", dimension=DIMENSION, embedder=json.dumps(spec))
        assert made is not None
        with closing(made):
            made.insert([Entry("a", "cat")], unit_rows(np.eye(1, DIMENSION, dtype=np.float32)))
            with catalog.backup(made, settings=(), check=lambda: None) as opened:
                data = b"".join(with_checksum(opened))

    server.stub.RestoreMemory(restoring(name, data))

    with visual_memory.connect(server.address) as client:
        memory = client.memory(name)
        assert memory.search(vectors=np.eye(1, DIMENSION), k=1)[0].ids == ["a"]
        with pytest.raises(visual_memory.InvalidArgument) as refused:
            memory.search(images=[to_picture()])
        assert refused.value.reason == "EMBEDDER_NOT_ALLOWED"


def test_a_backup_whose_client_goes_away_leaves_nothing(server: Server, pets: RemoteMemory) -> None:
    for _ in range(5):
        stream = server.stub.BackupMemory(pb.BackupMemoryRequest(memory=pets.name))
        next(stream)
        stream.cancel()

    assert backup_of(pets)
    assert unfinished(server) == []


def test_a_restore_whose_client_goes_away_leaves_nothing(
    server: Server, pets: RemoteMemory, name: str
) -> None:
    data = backup_of(pets)
    left = threading.Event()

    def messages() -> Iterator[pb.RestoreMemoryRequest]:
        yield from restoring(name, data[: len(data) // 2])
        left.wait()

    call = server.stub.RestoreMemory.future(messages())
    while not unfinished(server):
        pass
    call.cancel()
    left.set()

    while unfinished(server):
        pass
    assert name not in names(server)


def test_a_server_that_stops_ends_what_it_copies(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("drain_seconds = 0.1\n")
    server = start(None, "--config", str(config))
    with visual_memory.connect(server.address) as client:
        rows = np.random.default_rng(0).standard_normal((4000, 128))
        client.create_memory("pets", dimension=128).insert(vectors=rows, labels=["cat"] * 4000)
    waiting = server.stub.BackupMemory(pb.BackupMemoryRequest(memory="pets"))
    next(waiting)
    copies = [
        server.stub.CopyMemory.future(pb.CopyMemoryRequest(memory="pets", new_name=f"copy-{n}"))
        for n in range(9)
    ]

    assert server.end() == 0

    assert "Traceback" not in server.last_log
    assert unfinished(server) == []
    with pytest.raises(grpc.RpcError):
        copies[-1].result()
