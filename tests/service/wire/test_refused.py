"""Memories that cannot serve harm no other, and are reopened once they can."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs
from tests.index.conftest import SmallDisk, small_disk
from tests.service.runtime.test_memories import health

from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import WITHOUT_ID, Entry, Memory
from visual_memory_index.errors import CorruptCopy, DiskFull, FileUnavailable
from visual_memory_index.ram.change import Change
from visual_memory_service.config import Settings
from visual_memory_service.runtime.memories import Duplicates, Memories

if TYPE_CHECKING:
    from tests.conftest import Start

__all__ = ["small_disk"]

LONG = 30.0
Changes = list[tuple[str, bool]]


@contextmanager
def opened(data: Path, changes: Changes | None = None) -> Iterator[Memories]:
    told = [] if changes is None else changes
    with closing(Memories(Settings(data), lambda *change: told.append(change))) as memories:
        yield memories


def serving(memories: Memories) -> list[str]:
    return [served.memory.identity.name for served in memories.each_open()]


def create(memories: Memories, name: str, ids: Sequence[str] = ("x", "y")) -> Memory:
    memories.create(name, embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
    made = memories.use(name)
    entries = [Entry(id=id, label="cat") for id in ids]
    made.memory.insert(entries, np.eye(len(ids), 4, dtype=np.float32))
    return made.memory


def lose_copy(memory: Memory) -> None:
    """Let a change fail, and the reading of the file after it, so that the RAM copy is lost."""
    memory.unlearning.drop_caches()
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    try:
        with pytest.raises(FileUnavailable):
            memory._engine._publish([Change(np.array([99]))])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


def test_a_memory_whose_copy_is_lost_is_refused_as_damaged_until_the_next_start(
    tmp_path: Path,
) -> None:
    changes: Changes = []
    with opened(tmp_path, changes) as memories:
        create(memories, "a")
        broken = create(memories, "b")
        with capture_logs() as logs:
            lose_copy(broken)

        assert serving(memories) == ["a"]
        assert memories.names() == ["a", "b"]
        assert changes[-1] == ("b", False)
        assert [each["event"] for each in logs] == ["memory damaged"]
        with pytest.raises(CorruptCopy):
            memories.use("b")
    with opened(tmp_path) as memories:
        assert memories.use("b").memory.ids()


def test_a_memory_that_cannot_be_asked_is_named_and_stops_no_unlearning_of_another(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as memories:
        a, _, broken = (create(memories, name) for name in ("a", "b", "c"))
        lose_copy(broken)

        assert memories.find_duplicates(a, ["x"]) == Duplicates(["b"], ["c"])
        assert memories.find_duplicates(a, ["nobody"]) == Duplicates([], [])


def test_all_memories_are_closed_and_the_folder_is_free_though_one_cannot_be_noted(
    tmp_path: Path,
) -> None:
    memories = Memories(Settings(tmp_path), lambda name, serves: None)
    a, broken, c = (create(memories, name) for name in ("a", "b", "c"))
    lose_copy(broken)

    memories.close()

    assert [memory._engine._closed for memory in (a, broken, c)] == [True] * 3
    with opened(tmp_path) as again:
        assert serving(again) == ["a", "b", "c"]


def test_all_memories_are_closed_and_the_folder_is_free_though_one_is_damaged_and_that_is_told(
    tmp_path: Path,
) -> None:
    memories = Memories(Settings(tmp_path), lambda name, serves: None)
    a, damaged, c = (create(memories, name) for name in ("a", "b", "c"))
    with closing(sqlite3.connect(damaged.path)) as db, db:
        db.execute("DROP TABLE audit")

    with pytest.raises(sqlite3.OperationalError, match="no such table: audit"):
        memories.close()

    assert [memory._engine._closed for memory in (a, damaged, c)] == [True] * 3
    with opened(tmp_path) as again:
        assert serving(again) == ["a", "c"]


@pytest.fixture
def cut_short(tmp_path: Path, small_disk: SmallDisk) -> str:
    """An unfinished operation on a memory in ``data``, whose memories are on a full disk.

    The memory opens only once the operation's end can be written.
    """
    data = tmp_path / "data"
    data.mkdir()
    (data / "memories").symlink_to(small_disk.folder)
    with opened(data) as memories:
        begun = create(memories, "a").operations.begin("check")
    small_disk.fill()
    small_disk.make_room(40_000)  # for the index of the log, and not for the log
    return begun.operation.name


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (SmallDisk.fill, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (SmallDisk.make_read_only, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_a_full_disk_may_be_tried_again_and_a_read_only_one_is_not(
    spoil: Callable[[SmallDisk], None], code: grpc.StatusCode, start: Start, small_disk: SmallDisk
) -> None:
    server = start()
    (server.data / "memories").rmdir()
    (server.data / "memories").symlink_to(small_disk.folder)
    spoil(small_disk)

    with pytest.raises(grpc.RpcError) as refusal:
        server.stub.CreateMemory(pb.CreateMemoryRequest(name="a", dimension=4))

    assert refusal.value.code() is code


@pytest.fixture
def waiting(tmp_path: Path, cut_short: str) -> Iterator[Memories]:
    with opened(tmp_path / "data") as memories:
        assert serving(memories) == []
        yield memories


def test_a_memory_that_waits_for_room_is_not_read_by_each_call(waiting: Memories) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            with pytest.raises(DiskFull):
                waiting.use("a")

    assert [each["event"] for each in logs].count("memory not opened") <= 1


def test_a_memory_that_waited_for_room_serves_once_there_is_some(
    waiting: Memories, small_disk: SmallDisk
) -> None:
    small_disk.make_room(1_000_000)

    assert waiting.use_if_open("a") is None
    assert sorted(waiting.use("a").memory.ids()) == ["x", "y"]
    assert waiting.use_if_open("a") is not None
    assert serving(waiting) == ["a"]


def test_who_asks_for_an_operation_has_its_memory_opened(
    start: Start, cut_short: str, small_disk: SmallDisk
) -> None:
    server = start()
    waits = health(server, "a")
    small_disk.make_room(1_000_000)

    found = server.stub.GetOperation(pb.GetOperationRequest(name=cut_short))

    assert waits == health_pb2.HealthCheckResponse.NOT_SERVING
    assert found.state == operation_pb2.Operation.FAILED


def test_others_are_made_and_dropped_while_one_is_opened(
    waiting: Memories, small_disk: SmallDisk
) -> None:
    small_disk.make_room(2_000_000)
    (path,) = small_disk.folder.glob("a.*.sqlite")
    with ThreadPoolExecutor(1) as thread, closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        opening = thread.submit(waiting.use, "a")
        while not waiting._places["a"].moving.locked():
            threading.Event().wait(0.01)
        create(waiting, "b")
        waiting.drop("b", request=WITHOUT_ID)
        assert not opening.done()
        other.close()
        assert opening.result(LONG).memory.count == 2
