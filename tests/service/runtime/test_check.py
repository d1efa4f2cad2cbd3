"""Memories are checked after the start, without delaying calls, and a damaged one is refused."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs
from tests.conftest import RemoteMemory, Server, refusal
from tests.sealing import alter

import visual_memory
from visual_memory import Client, Error
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import WITHOUT_ID, Checked, Entry
from visual_memory_index.errors import BadAuditLog, CorruptStore, MemoryClosed, ReadFailed
from visual_memory_service.config import Settings
from visual_memory_service.runtime import check as checking
from visual_memory_service.runtime.check import Checks, OnProgress
from visual_memory_service.runtime.memories import Memories

if TYPE_CHECKING:
    from tests.conftest import Start

ROWS = np.eye(4, dtype=np.float32)
CHECKED = Checked(0, 1, "")
SECONDS = 20
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Looking:
    """A check that goes on until it is released."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.begun, self.go, self.done = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, name: str, on_progress: OnProgress) -> Checked:
        self.began.append(name)
        self.begun.set()
        while not self.go.is_set():
            on_progress(0, 1)
        self.ended.append(name)
        if len(self.ended) == 3:
            self.done.set()
        return CHECKED


@pytest.fixture
def looking() -> Looking:
    return Looking()


@pytest.fixture
def checks(looking: Looking) -> Iterator[Checks]:
    with closing(Checks(looking)) as checks:
        yield checks


def test_one_after_another_is_looked_through(checks: Checks, looking: Looking) -> None:
    looking.go.set()

    checks.start("abc")

    assert looking.done.wait(SECONDS)
    assert looking.ended == ["a", "b", "c"]


def test_inside_a_pause_none_is_looked_through_and_afterwards_all_are(
    checks: Checks, looking: Looking
) -> None:
    checks.start("abc")
    assert looking.begun.wait(SECONDS)

    with checks.paused(), checks.paused():
        looking.go.set()
        assert looking.ended == []
        began = list(looking.began)

    assert looking.done.wait(SECONDS)
    assert looking.ended == ["b", "c", "a"]
    assert looking.began == [*began, "b", "c", "a"]


def test_a_pause_before_the_start_holds_it_up(checks: Checks, looking: Looking) -> None:
    looking.go.set()

    with checks.paused():
        checks.start("abc")
        assert looking.began == []

    assert looking.done.wait(SECONDS)


def test_closing_stops_the_one_that_runs_and_begins_no_other(
    checks: Checks, looking: Looking
) -> None:
    checks.start("abc")
    assert looking.begun.wait(SECONDS)

    checks.close()

    assert (looking.began, looking.ended) == (["a"], [])


def test_closing_inside_a_pause_waits_for_nothing(checks: Checks, looking: Looking) -> None:
    with checks.paused():
        checks.start("abc")
        checks.close()

    assert looking.began == []


@pytest.mark.parametrize(
    "error", [CorruptStore(Path("a"), "x"), BadAuditLog("x"), MemoryClosed("a"), RuntimeError("x")]
)
def test_one_that_fails_keeps_none_of_the_others_from_being_looked_through(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, done = [], threading.Event()

    def look(name: str, on_progress: OnProgress) -> Checked:
        seen.append(name)
        if name == "a":
            raise error
        done.set()
        return CHECKED

    with closing(Checks(look)) as checks:
        checks.start("ab")
        assert done.wait(SECONDS)

    assert seen == ["a", "b"]


def test_one_whose_file_cannot_be_read_is_logged_and_checked_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checking, "TRY_AGAIN_SECONDS", 0.1)
    seen, done = [], threading.Event()

    def look(name: str, on_progress: OnProgress) -> Checked:
        seen.append(name)
        if seen == ["a"]:
            raise ReadFailed(Path("/d/a.sqlite"), "disk I/O error")
        if len(seen) == 3:
            done.set()
        return CHECKED

    with capture_logs() as logged, closing(Checks(look)) as checks:
        checks.start("ab")
        assert done.wait(SECONDS)

    assert seen == ["a", "b", "a"]
    assert [each for each in logged if each["log_level"] == "warning"] == [
        {
            "event": "memory not checked",
            "log_level": "warning",
            "memory": "a",
            "reason": "/d/a.sqlite could not be read (disk I/O error); look after the disk, or "
            "bring the file back from a copy or a backup.",
        }
    ]


def test_closing_does_not_wait_for_what_is_checked_again_later() -> None:
    seen = threading.Event()

    def look(name: str, on_progress: OnProgress) -> Checked:
        seen.set()
        raise ReadFailed(Path("a"), "disk I/O error")

    began = time.monotonic()
    with closing(Checks(look)) as checks:
        checks.start("a")
        assert seen.wait(SECONDS)

    assert time.monotonic() - began < SECONDS


def test_most_of_the_time_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "WORK_SECONDS", 0.002)
    done = threading.Event()
    spent: list[float] = []

    def look(name: str, on_progress: OnProgress) -> Checked:
        began, computed = time.perf_counter(), time.thread_time()
        while time.perf_counter() - began < 0.5:
            on_progress(0, 1)
        spent.append((time.thread_time() - computed) / (time.perf_counter() - began))
        done.set()
        return CHECKED

    with closing(Checks(look)) as checks:
        checks.start("a")
        assert done.wait(SECONDS)

    assert spent[0] < 0.5


# In the process


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    with closing(Memories(Settings(tmp_path), lambda *change: None)) as memories:
        for name in ("cats", "dogs"):
            memories.create(
                name, embedder=None, dimension=4, store_images=False, request=WITHOUT_ID
            )
        yield memories


def all_checked(memories: Memories) -> None:
    """Check all memories, and wait for the end."""
    memories.checks.start(memories.names())
    assert memories.checks._thread is not None
    memories.checks._thread.join(SECONDS)
    assert not memories.checks._thread.is_alive()


def test_the_check_after_the_start_leaves_no_operation_behind(memories: Memories) -> None:
    all_checked(memories)

    for name in ("cats", "dogs"):
        assert memories.use(name).memory.operations.page(limit=9) == []


def test_a_memory_that_it_finds_damaged_is_refused_and_others_are_not(tmp_path: Path) -> None:
    changes: list[tuple[str, bool]] = []
    with closing(Memories(Settings(tmp_path), lambda *change: changes.append(change))) as memories:
        for name in ("cats", "dogs"):
            memories.create(
                name, embedder=None, dimension=4, store_images=False, request=WITHOUT_ID
            )
        damage_log(memories.use("cats").memory.path)
        all_checked(memories)

        with pytest.raises(BadAuditLog):
            memories.use("cats")
        assert memories.use("dogs").memory.count == 0
        assert memories.names() == ["cats", "dogs"]
        assert changes == [("cats", True), ("dogs", True), ("cats", False)]
        memories.drop("cats", request=WITHOUT_ID)
        assert memories.names() == ["dogs"]
        memories.create("cats", embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
        assert memories.use("cats").memory.check().event_count == 1


def test_a_memory_that_could_not_be_opened_at_the_start_is_checked_once_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "TRY_AGAIN_SECONDS", 0.1)
    with closing(Memories(Settings(tmp_path), lambda *change: None)) as memories:
        for name in ("cats", "dogs"):
            memories.create(
                name, embedder=None, dimension=4, store_images=False, request=WITHOUT_ID
            )
        file = memories.use("cats").memory.path
    file.rename(tmp_path / "aside")
    os.mkfifo(file)

    with (
        capture_logs() as logged,
        closing(Memories(Settings(tmp_path), lambda *change: None)) as again,
    ):
        again.checks.start(again.names())
        file.unlink()
        (tmp_path / "aside").rename(file)
        again.use("cats")
        assert again.checks._thread is not None
        again.checks._thread.join(SECONDS)

    checked = [each["memory"] for each in logged if each["event"] == "memory checked"]
    assert checked == ["dogs", "cats"]


def test_a_memory_that_is_dropped_meanwhile_is_no_damaged_one(memories: Memories) -> None:
    memory = memories.use("cats").memory
    memory.insert([Entry("a", "cat")], ROWS[:1])

    with pytest.raises(MemoryClosed):
        memory.check(lambda done, total: memories.drop("cats", request=WITHOUT_ID))

    assert memories.names() == ["dogs"]


def damage_log(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE audit SET event = replace(event, 'Create', 'Made')")


def damage_vector(file: Path) -> None:
    alter(file, "UPDATE vectors SET vector = zeroblob(16) WHERE key = 2")


def damage_label(file: Path) -> None:
    alter(file, "UPDATE entries SET label = 'wolf' WHERE key = 2")


DAMAGES = {
    "CORRUPT_STORE": damage_label,
    "BAD_AUDIT_LOG": damage_log,
}


# Through a server


def file_of(server: Server, memory: str) -> Path:
    (file,) = (server.data / "memories").glob(f"{memory}.*.sqlite")
    return file


def filled(server: Server, *names: str) -> None:
    with visual_memory.connect(server.address) as client:
        for name in names:
            memory = client.create_memory(name, dimension=4)
            memory.insert(vectors=ROWS, labels=["cat"] * 4, ids=list("abcd"))


def test_a_check_says_what_it_compared(pets: RemoteMemory, client: Client) -> None:
    memory = client.memory(pets.name)

    result = memory.check()

    assert (result.entry_count, result.event_count) == (3, 2)
    assert result.digest == memory.info().digest
    assert client.operation(result.operation).kind == "check"
    assert client.operation(result.operation).result == result


def test_a_repeated_check_is_the_same_operation(pets: RemoteMemory, client: Client) -> None:
    memory = client.memory(pets.name)

    first = memory.check(request_id="once")

    assert memory.check(request_id="once") == first
    assert memory.check() != first


def test_the_check_of_no_memory_is_not_found(client: Client) -> None:
    with pytest.raises(visual_memory.NotFound):
        client.memory("nowhere").check()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of tests that damage what they have inserted."""
    standing = Server(tmp_path_factory.mktemp("damaged") / "data")
    yield standing
    assert standing.end() == 0


@pytest.fixture
def emptied(standing: Server) -> Iterator[Server]:
    """That server; all memories are deleted after the test."""
    yield standing
    with visual_memory.connect(standing.address) as client:
        for memory in client.memories():
            client.delete_memory(memory.name)


@pytest.mark.parametrize("reason", DAMAGES)
def test_a_check_that_finds_damage_says_so_and_the_memory_is_refused(
    emptied: Server, reason: str
) -> None:
    logged = len(emptied.log())
    filled(emptied, "pets", "others")
    DAMAGES[reason](file_of(emptied, "pets"))

    with visual_memory.connect(emptied.address) as client:
        with pytest.raises(Error) as caught:
            client.memory("pets").check()
        assert (caught.value.reason, caught.value.code) == (reason, grpc.StatusCode.DATA_LOSS)
        assert "bring this memory back from a backup" in str(caught.value)
        with pytest.raises(Error) as again:
            client.memory("pets").classify(vectors=ROWS[:1])
        assert str(again.value) == str(caught.value)
        listed = [(each.name, each.damage) for each in client.memories()]
        assert listed == [("others", None), ("pets", str(caught.value))]
        assert client.memory("others").classify(vectors=ROWS[:1])[0].label == "cat"
        client.delete_memory("pets")
    log = emptied.log()[logged:]
    assert '"event": "memory damaged", "level": "error"' in log
    assert "failed" not in log


def cut_log(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM audit WHERE number = 1")


WHILE_DOWN = {"vector": damage_vector, "label": damage_label, "log": cut_log}


@pytest.fixture(scope="module")
def started_again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an undamaged memory, and one for each damage that was done in its absence."""
    server = Server(tmp_path_factory.mktemp("down") / "data")
    filled(server, "others", *WHILE_DOWN)
    server.end()
    for name, damage in WHILE_DOWN.items():
        damage(file_of(server, name))
    server.start()
    yield server
    assert server.end() == 0
    assert '"memory": "others"' in server.last_log


@pytest.mark.parametrize("damaged", ["vector", "label"])
def test_a_server_finds_by_itself_what_was_damaged_while_it_was_down(
    started_again: Server, damaged: str
) -> None:
    server = started_again
    states = health_pb2_grpc.HealthStub(server.channel).Watch(
        health_pb2.HealthCheckRequest(service=f"memories/{damaged}"), timeout=SECONDS
    )
    assert any(state.status == NOT_SERVING for state in states)

    error = refusal(server.stub.GetMemory, pb.GetMemoryRequest(name=damaged))
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "CORRUPT_STORE")
    assert len(RemoteMemory(server, "others").ids()) == 4


def test_a_log_that_was_cut_while_the_server_was_down_is_found_at_once(
    started_again: Server,
) -> None:
    error = refusal(started_again.stub.GetMemory, pb.GetMemoryRequest(name="log"))

    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "BAD_AUDIT_LOG")


@pytest.mark.parametrize("damage", ["metadata = '{'", "created_at = 1 << 62", "label = 'wolf'"])
def test_what_is_damaged_under_a_server_is_refused_when_it_is_read(
    emptied: Server, damage: str
) -> None:
    server, logged = emptied, len(emptied.log())
    filled(server, "pets")
    with closing(sqlite3.connect(file_of(server, "pets"))) as db, db:
        db.execute(f"UPDATE entries SET {damage} WHERE id = 'b'")

    of_one = refusal(server.stub.GetEntry, pb.GetEntryRequest(memory="pets", id="b"))
    of_all = refusal(server.stub.ListEntries, pb.ListEntriesRequest(memory="pets"))

    assert (of_one.code, of_one.reason) == (grpc.StatusCode.DATA_LOSS, "CORRUPT_STORE")
    assert str(of_all) == str(of_one)
    of_other = refusal(server.stub.GetEntry, pb.GetEntryRequest(memory="pets", id="a"))
    assert str(of_other) == str(of_one)
    assert "failed" not in server.log()[logged:]


WRITES: dict[str, Callable[[Client, Path], object]] = {
    "insert": lambda client, to: client.memory("pets").insert(vectors=ROWS[:1], labels=["cat"]),
    "delete": lambda client, to: client.memory("pets").delete(["a"]),
    "unlearn": lambda client, to: client.memory("pets").unlearn(["a"]),
    "backup": lambda client, to: client.backup("pets", to / "pets.vmb"),
    "copy": lambda client, to: client.copy("pets", "copied"),
    "check": lambda client, to: client.memory("pets").check(),
}


@pytest.mark.parametrize("first", WRITES)
def test_a_memory_whose_file_is_gone_is_refused_from_the_first_call_that_notices(
    emptied: Server, first: str, tmp_path: Path
) -> None:
    filled(emptied, "pets", "others")
    file_of(emptied, "pets").rename(tmp_path / "away.sqlite")

    with visual_memory.connect(emptied.address) as client:
        with pytest.raises(Error, match="the file is missing"):
            WRITES[first](client, tmp_path)
        for write in WRITES.values():
            with pytest.raises(Error, match="the file is missing") as again:
                write(client, tmp_path)
            assert again.value.reason == "CORRUPT_STORE"
        client.memory("others").delete(["a"])


def test_a_memory_whose_log_is_gone_is_refused_once_that_is_noticed(
    emptied: Server, tmp_path: Path
) -> None:
    filled(emptied, "pets")
    log = file_of(emptied, "pets")
    log.with_name(f"{log.name}-wal").unlink()

    with visual_memory.connect(emptied.address) as client:
        with pytest.raises(Error):
            client.copy("pets", "copied")
        for write in WRITES.values():
            with pytest.raises(Error) as again:
                write(client, tmp_path)
            assert again.value.reason == "CORRUPT_STORE"


def test_a_memory_is_not_refused_for_the_damage_of_the_catalog(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    filled(server, "pets")
    (server.data / "catalog.sqlite").rename(tmp_path / "away.sqlite")

    with visual_memory.connect(server.address) as client:
        for write in ("unlearn", "backup", "copy"):
            with pytest.raises(Error, match=r"catalog\.sqlite is damaged"):
                WRITES[write](client, tmp_path)
        assert client.memory("pets").delete(["b"]) == 1
    server.end()
    assert "failed" not in server.last_log


def test_a_check_that_is_asked_for_raw_is_an_operation(pets: RemoteMemory) -> None:
    begun = pets.stub.CheckMemory(pb.CheckMemoryRequest(memory=pets.name))

    ended = pets.stub.WaitOperation(pb.WaitOperationRequest(name=begun.name))

    assert (begun.kind, ended.state) == ("check", operation_pb2.Operation.DONE)
    assert (ended.check.entry_count, ended.check.event_count) == (3, 2)
