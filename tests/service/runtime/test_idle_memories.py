"""Memories that nobody asks are closed, and are there again, as they were, once they are asked."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs
from tests.service.runtime.test_check import damage_log

from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import REEMBED, WITHOUT_ID, Entry
from visual_memory_index.catalog.folder import Reserve
from visual_memory_index.errors import (
    BadAuditLog,
    CorruptStore,
    DiskFull,
    TooManyFiles,
    UnknownMemory,
)
from visual_memory_service.config import Settings
from visual_memory_service.runtime import memories as runtime
from visual_memory_service.runtime.memories import Duplicates, Memories
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.wire.describe import list_memories

SECONDS = 60.0
TICK_SECONDS = 0.05  # between times of files that differ
CACHED = 700_000  # bytes and more, of a memory that was written
NAMES = ("a", "b", "c", "d", "e")
ROW = np.eye(1, 4, dtype=np.float32)


def create(memories: Memories, name: str, *ids: str) -> None:
    memories.create(name, embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
    with memories.using(name) as served:
        insert(served, *ids)


def insert(served: ServedMemory, *ids: str) -> None:
    served.memory.insert([Entry(id, "cat") for id in ids], np.repeat(ROW, len(ids), axis=0))


def open_names(memories: Memories) -> list[str]:
    return [served.memory.identity.name for served in memories.each_open()]


@pytest.fixture
def none_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory may be idle for any time."""
    monkeypatch.setattr(runtime, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(runtime, "OPENINGS_OF_IDLENESS", 0.0)


@pytest.fixture
def memories(tmp_path: Path, none_idle: None) -> Iterator[Memories]:
    with closing(Memories(Settings(tmp_path), kept_open=1)) as memories:
        for name in NAMES:
            create(memories, name, f"{name}-1")
        yield memories


class OpenAndClosed(RuleBasedStateMachine):
    """Memories of a server, beside a dict of their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.kept = 2
        self.ids: dict[str, set[str]] = {}
        self.held: list[tuple[str, ServedMemory]] = []
        self.working: set[str] = set()
        self.number = 0
        self.start()

    def start(self) -> None:
        self.memories = Memories(
            Settings(self.folder), works_on=self.working.__contains__, kept_open=self.kept
        )

    @rule(name=st.sampled_from(NAMES))
    def make(self, name: str) -> None:
        if name not in self.ids:
            create(self.memories, name)
            self.ids[name] = set()

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        self.number += 1
        if name in self.ids:
            with self.memories.using(name) as served:
                insert(served, str(self.number))
            self.ids[name].add(str(self.number))
        else:
            with pytest.raises(UnknownMemory), self.memories.using(name):
                pass

    @rule(name=st.sampled_from(NAMES), visit=st.booleans())
    def read(self, name: str, visit: bool) -> None:
        before = open_names(self.memories)
        if name in self.ids:
            use = self.memories.visiting if visit else self.memories.using
            with use(name) as served:
                assert set(served.memory.ids()) == self.ids[name]
                assert served.memory.info().count == len(self.ids[name])
                told = self.memories.told(name, lambda served: (served.memory.count,))
                assert told == (len(self.ids[name]),)
            if visit and name not in self.working:
                assert open_names(self.memories) == before

    @rule(name=st.sampled_from(NAMES))
    def tell(self, name: str) -> None:
        if name in self.ids:
            told = self.memories.told(name, lambda served: (served.memory.count,))
            assert told == (len(self.ids[name]),)

    @rule(name=st.sampled_from(NAMES))
    def hold(self, name: str) -> None:
        if name in self.ids:
            self.held.append((name, self.memories.use(name)))

    @precondition(lambda self: self.held)
    @rule()
    def release(self) -> None:
        self.memories.release(self.held.pop(0)[1])

    @rule(name=st.sampled_from(NAMES))
    def work(self, name: str) -> None:
        self.working ^= {name}

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        if name in self.ids:
            self.memories.drop(name, request=WITHOUT_ID)
            del self.ids[name]
            self.held = [each for each in self.held if each[0] != name]

    @rule()
    def sweep(self) -> None:
        self.memories.close_idle()
        busy = self.working | {name for name, _ in self.held}
        left = [name for name in open_names(self.memories) if name not in busy]
        assert len(left) <= self.kept

    @rule()
    def restart(self) -> None:
        self.memories.close()
        self.held.clear()
        self.start()
        assert len(open_names(self.memories)) == min(self.kept, len(self.ids))

    @invariant()
    def those_in_use_are_open(self) -> None:
        assert self.memories.names() == sorted(self.ids)
        for name, served in self.held:
            assert set(served.memory.ids()) == self.ids[name]

    def teardown(self) -> None:
        self.memories.close()
        shutil.rmtree(self.folder)


def test_memories_open_or_closed_hold_what_was_written(none_idle: None) -> None:
    run_state_machine_as_test(
        OpenAndClosed,
        settings=hypothesis_settings(max_examples=20, stateful_step_count=30, deadline=None),
    )


def test_many_ask_memories_that_are_closed_again_and_again(memories: Memories) -> None:
    over = threading.Event()
    ends = time.monotonic() + SECONDS

    def sweep() -> None:
        while not over.is_set():
            memories.close_idle()

    def closed() -> int:
        return sum(each["event"] == "memory closed" for each in logged)

    def ask(seed: int) -> None:
        choose, asked = random.Random(seed), 0
        # Threads that ask may leave the sweeping one few turns.
        while (asked < 60 or closed() < 2 * len(NAMES)) and time.monotonic() < ends:
            name = choose.choice(NAMES)
            with memories.using(name) as served:
                assert f"{name}-1" in served.memory.ids()
            asked += 1

    with capture_logs() as logged, ThreadPoolExecutor(9) as threads:
        sweeping = threads.submit(sweep)
        for asking in [threads.submit(ask, seed) for seed in range(8)]:
            asking.result(2 * SECONDS)
        over.set()
        sweeping.result(SECONDS)

    assert {each["log_level"] for each in logged} <= {"info"}
    assert closed() >= 2 * len(NAMES)


def test_those_asked_last_stay_open_and_are_opened_first_at_the_next_start(
    tmp_path: Path, none_idle: None
) -> None:
    with closing(Memories(Settings(tmp_path), kept_open=2)) as memories:
        for name in NAMES:
            create(memories, name)
        for name in ("b", "d"):
            time.sleep(TICK_SECONDS)
            with memories.using(name) as served:
                insert(served, "x")
        memories.close_idle()
        stayed = open_names(memories)

    with closing(Memories(Settings(tmp_path), kept_open=2)) as again:
        opened = open_names(again)

    assert stayed == opened == ["b", "d"]


def test_one_that_took_long_to_open_stays_open_longer(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "OPENINGS_OF_IDLENESS", 1000.0)
    memories.close_idle()
    memories.release(memories.use("b"))
    memories.release(memories.use("c"))

    memories.close_idle()

    assert {"b", "c"} <= set(open_names(memories))


def test_what_is_told_of_a_closed_memory_is_kept_until_it_is_opened(memories: Memories) -> None:
    asked: list[str] = []

    def tell(served: ServedMemory) -> tuple[int, str]:
        asked.append(served.memory.identity.name)
        return served.memory.count, served.memory.info().digest

    memories.close_idle()
    closed = [name for name in NAMES if name not in open_names(memories)]

    first = [memories.told(name, tell) for name in closed]
    again = [memories.told(name, tell) for name in closed]

    assert again == first
    assert asked == closed
    with memories.using(closed[0]) as served:
        insert(served, "another")
        assert memories.told(closed[0], tell)[0] == 2
    assert memories.told(closed[0], tell)[0] == 2
    memories.close_idle()
    assert memories.told(closed[0], tell)[0] == 2
    assert memories.told(closed[1], tell) == first[1]
    asked.clear()
    memories.drop_caches()
    assert memories.told(closed[1], tell) == first[1]
    assert asked == [closed[1]]
    memories.drop(closed[1], request=WITHOUT_ID)
    with pytest.raises(UnknownMemory):
        memories.told(closed[1], tell)
    create(memories, closed[1])
    assert memories.told(closed[1], tell)[0] == 0


def test_an_erasure_drops_what_was_told_of_a_memory_that_is_still_open(memories: Memories) -> None:
    memories.close_idle()
    name, other = [name for name in NAMES if name not in open_names(memories)][:2]
    used: list[ServedMemory] = []

    def tell(served: ServedMemory) -> str:
        used.append(memories.use(name, asking=False))
        return "what is erased"

    memories.told(name, tell)
    memories.drop_caches()
    memories.release(used[0])
    memories.release(memories.use(other))
    memories.close_idle()

    assert name not in open_names(memories)
    assert memories.told(name, lambda served: "what is left") == "what is left"


def full(*args: Any, **more: Any) -> Any:
    raise DiskFull(Path("a"), "the disk is full")


def test_an_end_that_found_no_room_is_written_once_there_is_some(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memories.using("a") as served:
        memory = served.memory
        operation = memory.operations.begin(REEMBED).operation
        with monkeypatch.context() as filling:
            filling.setattr(memory._engine.writer, "do", full)
            memory.operations.end(operation.name, "cancelled")
            memories.close_idle()
            assert memory.operations.unfinished()

        memories.close_idle()

        assert not memory.operations.unfinished()
        assert memory.operations.get(operation.name).state == "cancelled"


def test_one_whose_end_finds_no_room_is_not_closed(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memories.using("a") as served:
        operation = served.memory.operations.begin("x").operation
        monkeypatch.setattr(served.memory._engine.writer, "do", full)
        served.memory.operations.end(operation.name, "cancelled")
    memories.release(memories.use("b"))

    memories.close_idle()

    assert "a" in open_names(memories)
    assert served.memory.operations.get(operation.name).state == "cancelled"


def test_one_whose_erasure_was_put_off_is_not_closed(memories: Memories) -> None:
    with memories.using("a") as served:
        begun = served.memory.unlearning.begin(["a-1"], allow_missing=False).operation
        served.memory.operations.put_off(begun, "The disk is full.")
    memories.release(memories.use("b"))

    memories.close_idle()

    assert "a" in open_names(memories)
    assert served.memory.operations.get(begun.name).state == "failed"


def test_what_was_told_of_a_memory_is_not_told_once_it_is_damaged(memories: Memories) -> None:
    memories.close_idle()
    name = next(name for name in NAMES if name not in open_names(memories))
    memories.told(name, lambda served: "sound")
    memories.catalog._path(name).write_bytes(bytes(10_000))

    for _ in range(2):
        with pytest.raises(CorruptStore):
            memories.use(name)
        with pytest.raises(CorruptStore):
            memories.told(name, lambda served: "sound")


def test_lack_of_files_is_no_refusal_of_a_memory(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories.close_idle()
    path = Path("b.sqlite")

    def lack(name: str) -> NoReturn:
        raise TooManyFiles(path, "too many open files")

    with monkeypatch.context() as lacking:
        lacking.setattr(memories.catalog, "open", lack)
        for _ in range(2):
            with pytest.raises(TooManyFiles):
                memories.use("b")
        with pytest.raises(TooManyFiles):
            list_memories(pb.ListMemoriesRequest(), memories, bool, 10**6)

    with memories.using("b") as served:
        assert served.memory.count == 1
    listed = list_memories(pb.ListMemoriesRequest(), memories, bool, 10**6)
    assert [each.damage for each in listed.memories] == [""] * len(NAMES)


def test_what_was_told_before_a_write_is_not_kept(memories: Memories) -> None:
    memories.close_idle()

    def tell(served: ServedMemory) -> int:
        told = served.memory.count
        with memories.using("b") as used:
            insert(used, f"b-{told + 1}")
        return told

    assert memories.told("b", tell) == 1
    memories.release(memories.use("c"))
    memories.close_idle()
    assert "b" not in open_names(memories)
    assert memories.told("b", tell) == 2


def test_one_that_is_not_asked_gives_back_its_caches_once(
    tmp_path: Path, in_use: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.repeat(np.eye(1, 768, dtype=np.float32), 100, axis=0)
    with closing(Memories(Settings(tmp_path))) as memories:
        for name in NAMES:
            memories.create(
                name, embedder=None, dimension=768, store_images=False, request=WITHOUT_ID
            )
            with memories.using(name) as served:
                served.memory.insert([Entry(str(at), "cat") for at in range(100)], vectors)
        memories.close_idle()  # all were asked before it, and not since the last
        memories.release(memories.use("b"))
        before = in_use()
        memories.close_idle()
        after = in_use()
        memories.close_idle()
        last = in_use()
        renewed: list[str] = []
        files = served.memory._engine.files
        monkeypatch.setattr(files, "renew_connections", lambda: renewed.append("e"))
        memories.close_idle()
        assert not renewed

        with memories.using("a") as served:
            assert served.memory.count == 100
            served.memory.insert([Entry("new", "dog")], vectors[:1])

    assert before - after > 4 * CACHED
    assert 0.5 * CACHED < after - last < 2.5 * CACHED  # of "b", which was asked


def test_a_closed_memory_is_asked_for_what_is_unlearned_in_another(memories: Memories) -> None:
    with memories.using("b") as served:
        insert(served, "other id, same vector")
    memories.close_idle()

    with memories.using("a") as served:
        found = memories.find_duplicates(served.memory, ["a-1"])

    assert found == Duplicates(["b", "c", "d", "e"], [])
    assert open_names(memories) == ["a", "b"]


def test_a_closed_memory_that_is_damaged_is_refused_when_asked_and_named_before(
    tmp_path: Path, none_idle: None
) -> None:
    changes: list[tuple[str, bool]] = []
    with closing(Memories(Settings(tmp_path), kept_open=1)) as memories:
        for name in "abc":
            create(memories, name, "x")
        paths = {served.memory.identity.name: served.memory.path for served in memories.each_open()}
    damage_log(paths["a"])
    paths["b"].write_bytes(b"x" * 9999)

    def changed(name: str, serves: bool) -> None:
        changes.append((name, serves))

    with closing(Memories(Settings(tmp_path), changed, kept_open=1)) as again:
        assert set(changes) == {(name, True) for name in "abc"}
        with again.using("c") as served:
            found = again.find_duplicates(served.memory, ["x"])
        again.checks.start(again.names())
        assert again.checks._thread is not None
        again.checks._thread.join(SECONDS)

        assert found.not_asked == ["b"]
        assert changes[3:] == [("a", False), ("b", False)]
        with pytest.raises(BadAuditLog):
            again.use("a")
        with pytest.raises(CorruptStore):
            again.use("b")


def test_rejections_of_calibrated_queries_are_not_forgotten(memories: Memories) -> None:
    with memories.using("a") as served:
        served.rejections.add(1, [True, False])
    with memories.using("b"):
        pass
    memories.close_idle()

    assert "a" not in open_names(memories)
    with memories.using("a") as served:
        assert served.rejections.counts(1) == (2, 1)


def test_an_erasure_in_a_memory_that_is_not_opened_at_the_start_goes_on(
    tmp_path: Path, none_idle: None
) -> None:
    erasing: list[str] = []
    with closing(Memories(Settings(tmp_path), kept_open=1)) as memories:
        for name in "ab":
            create(memories, name, "x")
        with memories.using("a") as served:
            served.memory.unlearning.begin(["x"], allow_missing=False)
        time.sleep(TICK_SECONDS)
        with memories.using("b") as served:
            insert(served, "y")

    with closing(Memories(Settings(tmp_path), unfinished=erasing.append, kept_open=1)) as again:
        assert (open_names(again), erasing) == (["b"], [])
        again.checks.start(again.names())
        assert again.checks._thread is not None
        again.checks._thread.join(SECONDS)

    assert erasing == ["a"]


def test_none_is_closed_while_there_may_be_no_room_to_open_it_again(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = memories.catalog.reserve
    for name in NAMES:
        memories.release(memories.use(name))
    assert reserve.give_up()
    with monkeypatch.context() as full:
        full.setattr(Reserve, "renew", lambda reserve: None)

        memories.close_idle()

        assert open_names(memories) == [*NAMES]
    memories.close_idle()
    assert open_names(memories) == [NAMES[-1]]
