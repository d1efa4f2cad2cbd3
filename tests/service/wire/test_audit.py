"""The audit log as a client sees it: page by page, provable, and without data of entries."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from random import Random
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.conftest import RemoteMemory, refusal

import visual_memory
from visual_memory import AuditEvent, AuditHead, Client, Error, MemoryInfo, aio
from visual_memory.proofs.audit import EPOCH, Log
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Entry, Memory, unit_rows
from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger.audit import Event, Head
from visual_memory_index.store.store import new_identity
from visual_memory_service.convert.answers import from_audit_page, from_info

if TYPE_CHECKING:
    from tests.conftest import Start

ROWS = np.eye(4, dtype=np.float32)
CALLS = ["CreateMemory", "InsertEntries", "UpdateEntry", "DeleteEntries", "PurgeEntries"]


@pytest.fixture
def used(pets: RemoteMemory, client: Client) -> RemoteMemory:
    """A memory after an update, a deletion and a purge."""
    memory = client.memory(pets.name)
    memory.update("a", label="lion")
    memory.delete(["b"])
    memory.purge('label = "dog"', apply=True)
    return pets


def test_every_write_is_an_event_with_the_digest_afterwards(
    used: RemoteMemory, client: Client
) -> None:
    memory = client.memory(used.name)

    events = list(memory.audit_events())

    assert [event.call for event in events] == CALLS
    assert [event.count for event in events] == [0, 3, 1, 1, 1]
    assert [event.number for event in events] == [0, 1, 2, 3, 4]
    assert {event.principal for event in events} == {"local"}
    assert events == sorted(events, key=lambda event: event.time)
    assert events[-1].digest == memory.info().digest
    assert len({event.digest for event in events}) == 5


def test_a_setting_that_is_set_is_an_event_of_no_entries_and_its_repetition_none(
    start: Start,
) -> None:
    with visual_memory.connect(start(None, "--reranker", "it=127.0.0.1:1").address) as client:
        memory = client.create_memory("pets", dimension=4, store_images=True)
        memory.insert(vectors=ROWS[[0, 1] * 5], labels=["cat", "dog"] * 5)
        for _ in range(2):
            memory.set_taxonomy({"cat": "pet"}, request_id="a tree")
            memory.set_reranker("it", request_id="a re-ranker")
            memory.calibrate(k=1, request_id="a fit")

        events = list(memory.audit_events())[2:]

        assert [event.call for event in events] == [
            "SetTaxonomy",
            "SetReranker",
            "CalibrateMemory",
        ]
        assert {(event.count, event.digest) for event in events} == {(0, memory.info().digest)}
        memory.verify_audit_log()


def test_what_was_refused_or_only_shown_is_no_event(used: RemoteMemory, client: Client) -> None:
    memory = client.memory(used.name)

    with pytest.raises(visual_memory.NotFound):
        memory.delete(["nobody"])
    memory.purge('label = "lion"')
    memory.classify(vectors=ROWS[:1])

    assert [event.call for event in memory.audit_events()] == CALLS


def test_the_log_leads_to_the_memory(used: RemoteMemory, client: Client) -> None:
    memory = client.memory(used.name)

    head = memory.verify_audit_log()

    assert (head.size, head.digest) == (5, memory.info().digest)


def test_both_clients_verify_alike(used: RemoteMemory, client: Client) -> None:
    async def verified() -> tuple[object, list[object]]:
        async with aio.connect(used.server.address) as other:
            memory = other.memory(used.name)
            return await memory.verify_audit_log(), [each async for each in memory.audit_events()]

    memory = client.memory(used.name)
    assert asyncio.run(verified()) == (memory.verify_audit_log(), list(memory.audit_events()))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
def test_pages_are_the_whole_log(used: RemoteMemory, size: int) -> None:
    calls, token = [], ""

    while True:
        page = used.stub.ListAuditEvents(
            pb.ListAuditEventsRequest(memory=used.name, page_size=size, page_token=token)
        )
        assert len(page.events) <= size
        assert page.head.size == 5
        calls += [event.call for event in page.events]
        token = page.next_page_token
        if not token:
            break

    assert calls == CALLS


@pytest.mark.parametrize(
    ("field", "value"),
    [("page_size", -1), ("page_size", 10_001), ("page_token", "x"), ("page_token", "MDA=")],
)
def test_pages_that_cannot_be_are_refused(used: RemoteMemory, field: str, value: object) -> None:
    request = pb.ListAuditEventsRequest(memory=used.name)
    setattr(request, field, value)

    error = refusal(used.stub.ListAuditEvents, request)

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field_violations[0][0] == field


@pytest.mark.parametrize("last", ["one", "-1", "9" * 40, "\uff11"])
def test_a_token_that_no_page_ends_with_is_refused(used: RemoteMemory, last: str) -> None:
    request = pb.ListAuditEventsRequest(memory=used.name, page_size=1)
    token = used.stub.ListAuditEvents(request).next_page_token
    seal, _, _ = base64.urlsafe_b64decode(token).partition(b"\0")
    request.page_token = base64.urlsafe_b64encode(seal + b"\0" + last.encode()).decode()

    error = refusal(used.stub.ListAuditEvents, request)

    assert error.field_violations[0][0] == "page_token"


def test_the_log_of_no_memory_is_not_found(client: Client) -> None:
    with pytest.raises(visual_memory.NotFound):
        list(client.memory("nowhere").audit_events())


def test_nothing_in_the_log_names_an_entry(start: Start) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=4)
        memory.insert(
            vectors=ROWS, labels=["a telling label"] * 4, ids=[f"telling {n}" for n in "abcd"]
        )
        memory.update("telling a", label="another telling label", metadata={"telling": "telling"})
        memory.relabel({"telling a": "telling"}, apply=True)
        memory.delete(["telling a"])
    server.end()

    (file,) = (server.data / "memories").glob("pets.*.sqlite")
    with closing(sqlite3.connect(file)) as db:
        texts = [text for (text,) in db.execute("SELECT event FROM audit")]

    assert len(texts) == 5
    assert "telling" not in "".join(texts)
    assert {tuple(json.loads(text)) for text in texts} == {
        ("call", "count", "digest", "number", "previous", "principal", "time")
    }


def test_after_a_restart_the_log_goes_on_where_it_was(start: Start) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=4)
        memory.insert(vectors=ROWS, labels=["cat"] * 4)
        before = list(memory.audit_events())

    server.restart()

    with visual_memory.connect(server.address) as client:
        memory = client.memory("pets")
        memory.insert(vectors=ROWS, labels=["cat"] * 4)
        after = list(memory.audit_events())
        assert after[: len(before)] == before
        assert [event.call for event in after[len(before) :]] == ["InsertEntries"]
        assert memory.verify_audit_log().size == 3


def test_a_log_that_grows_while_it_is_read_is_whole(pets: RemoteMemory, client: Client) -> None:
    memory, over = client.memory(pets.name), threading.Event()
    written, sizes = [], [2]

    def write() -> None:
        while not over.is_set():
            written.append(memory.update("a", metadata={"turn": "x"}))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 10:
            sizes.append(memory.verify_audit_log().size)
    finally:
        over.set()
        thread.join()

    assert sizes == sorted(sizes)
    assert memory.verify_audit_log().size == 2 + len(written)


def test_a_log_that_was_changed_under_a_server_is_not_believed(start: Start) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=4)
        memory.insert(vectors=ROWS, labels=["cat"] * 4)
        (file,) = (server.data / "memories").glob("pets.*.sqlite")
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("UPDATE audit SET event = replace(event, ':4', ':3') WHERE number = 1")

        with pytest.raises(Error, match="does not fit") as caught:
            memory.verify_audit_log()

    assert caught.value.reason == "BAD_AUDIT_LOG"
    assert caught.value.code is grpc.StatusCode.DATA_LOSS


# In one process, for speed


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    """A memory without a server, after 20 writes."""
    path = tmp_path_factory.mktemp("log") / "pets.sqlite"
    with closing(Memory.create(path, new_identity("pets", 4, None))) as memory:
        memory.insert([Entry("a", "cat"), Entry("b", "dog")], unit_rows(ROWS[:2]))
        for number in range(18):
            memory.update("ab"[number % 2], label=f"label {number}")
        yield memory


def verified(memory: Memory) -> Log:
    """Verify the log as a client would, and return it."""
    info = from_info(memory.info(), None, None, None, "")
    log, first = Log(MemoryInfo("pets", 4, None, EPOCH, 2, {}, 0, digest=info.digest)), 0
    while True:
        events = memory.audit_events(first, limit=7)
        page = from_audit_page(events, first + 7, pb.ListAuditEventsRequest(), memory)
        log.add(map(to_event, page.events))
        first += 7
        if not page.next_page_token:
            head = page.head
            log.end(AuditHead(head.size, head.root, head.last, head.digest))
            return log


def to_event(event: pb.AuditEvent) -> AuditEvent:
    return AuditEvent(
        event.number,
        event.time.ToDatetime(tzinfo=UTC),
        event.principal,
        event.call,
        event.count,
        event.digest,
        event.previous,
        event.text,
    )


def test_the_log_that_is_altered_below_is_sound(log: Memory) -> None:
    assert log.check().event_count == 20
    verified(log)


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_every_alteration_of_the_log_in_a_file_is_found(log: Memory, first: int) -> None:
    with closing(sqlite3.connect(log.path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        rows = db.execute("SELECT number, event FROM audit ORDER BY number").fetchall()
        for seed in range(first, first + 50):
            altered = alter(rows, Random(seed))
            assert altered != rows
            rewrite(db, altered)
            try:
                with pytest.raises(BadAuditLog):
                    log.check()
                with pytest.raises((BadAuditLog, Error), match=r"The audit log .* \"pets\""):
                    verified(log)
            finally:
                rewrite(db, rows)


Rows = list[tuple[int, str]]


def rewrite(db: sqlite3.Connection, rows: Rows) -> None:
    with db:
        db.execute("DELETE FROM audit")
        db.executemany("INSERT INTO audit VALUES (?, ?)", rows)


def alter(rows: Rows, chance: Random) -> Rows:
    numbers, texts = [number for number, _ in rows], [text for _, text in rows]
    at, other = chance.sample(range(len(rows)), 2)
    match chance.randrange(8):
        case 0:
            del numbers[at], texts[at]
        case 1:
            del numbers[at:], texts[at:]
        case 2:
            texts[at], texts[other] = texts[other], texts[at]
        case 3:
            numbers.append(len(rows))
            texts.insert(at, texts[other])
        case 4:
            numbers[at] = len(rows) + chance.randrange(5)
        case 5:
            place = chance.randrange(len(texts[at]))
            changed = chr(ord(texts[at][place]) ^ 1 << chance.randrange(7))
            texts[at] = texts[at][:place] + changed + texts[at][place + 1 :]
        case 6:
            texts[at] = forged(texts[at], chance)
        case _:  # and all that follow are made to fit
            texts[at] = forged(texts[at], chance)
            head = Head()
            for number, text in enumerate(texts):
                texts[number] = rechained(text, head.last)
                head = head.follow(texts[number])
    return sorted(zip(numbers, texts, strict=True))


def forged(text: str, chance: Random) -> str:
    """Return an event with one field changed."""
    fields = json.loads(text)
    name = chance.choice(["time", "count", "principal", "call", "digest"])
    fields[name] = fields[name] + (1 if name in ("time", "count") else "0")
    return Event(**fields).to_json()


def rechained(text: str, previous: str) -> str:
    return Event(**{**json.loads(text), "previous": previous}).to_json()
