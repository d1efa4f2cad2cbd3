"""Logs and certificates are believed only where every hash fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from tests.index.ledger.frontier import root_of as grown_root

from visual_memory import AuditEvent, AuditHead, Error, InvalidCertificate, MemoryInfo
from visual_memory.proofs.audit import Log, root_of, text_of
from visual_memory.proofs.certificate import Statement
from visual_memory_index.ledger import audit as written
from visual_memory_index.ledger.merkle import leaf_hash

TIME = datetime(2026, 1, 31, 12, 0, 5, 123456, tzinfo=UTC)
SIZE = 12
ERASURE = 7


def digest(number: int) -> str:
    return f"{number:064x}"


def events(size: int = SIZE) -> list[AuditEvent]:
    found: list[AuditEvent] = []
    previous = ""
    for number in range(size):
        time = TIME + timedelta(seconds=number)
        call = "UnlearnEntries" if number == ERASURE else "Call"
        event = AuditEvent(number, time, "lócal", call, 3, digest(number), previous, "")
        found.append(replace(event, text=text_of(event)))
        previous = leaf_hash(found[-1].text.encode()).hex()
    return found


EVENTS = events()
LEAVES = [leaf_hash(event.text.encode()) for event in EVENTS]
HEAD = AuditHead(SIZE, grown_root(LEAVES).hex(), LEAVES[-1].hex(), digest(SIZE - 1))
INFO = MemoryInfo("pets", 4, None, TIME, 0, {}, 0, digest=digest(SIZE - 1), uid="c0" * 16)
STATEMENT = Statement(
    memory="pets",
    memory_uid=INFO.uid,
    dimension=4,
    embedder="",
    server="0.1.0",
    operation="pets/x",
    time=(TIME + timedelta(seconds=ERASURE)).replace(microsecond=0),
    count=3,
    salt="5a" * 32,
    commitments=(),
    digest_before=digest(ERASURE - 1),
    digest_after=digest(ERASURE),
    audit_index=ERASURE,
    audit_event=LEAVES[ERASURE].hex(),
    audit_root=grown_root(LEAVES[: ERASURE + 1]).hex(),
    looked_for=0,
    searched=(),
    backups=(),
    not_covered=(),
)


def log(given: list[AuditEvent] | None = None, info: MemoryInfo = INFO) -> Log:
    found = Log(info)
    found.add(EVENTS if given is None else given)
    return found


@pytest.mark.parametrize("size", [*range(18), 63, 64, 65, 100])
def test_the_root_is_that_of_the_index(size: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(size)]

    assert root_of(leaves) == grown_root(leaves)


def test_the_text_of_an_event_is_that_of_the_index() -> None:
    event = EVENTS[3]
    time = (event.time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fields = (event.principal, event.call, event.count, event.digest, event.previous)

    assert event.text == written.Event(3, time, *fields).to_json()


def test_a_whole_log_is_believed_in_whatever_pages_it_comes() -> None:
    found = log(EVENTS[:5])
    found.add(EVENTS[5:6])
    found.add([])
    found.add(EVENTS[6:])

    found.end(HEAD)


def test_a_memory_may_have_been_written_to_since_it_was_asked_for() -> None:
    log(info=replace(INFO, digest=digest(4))).end(HEAD)


@pytest.mark.parametrize(
    ("alter", "problem"),
    [
        (lambda all: all.pop(3), "event 3 is missing, event 4 is there"),
        (lambda all: all.insert(3, all[2]), "event 3 is missing, event 2 is there"),
        (lambda all: all.pop(), "its 11 events do not lead to its head, which has 12"),
        (
            lambda all: all.__setitem__(4, replace(all[4], count=4)),
            "event 4 is not what its text says",
        ),
        (
            lambda all: all.__setitem__(4, replace(all[4], text=all[4].text.replace(":", ": "))),
            "event 4 is not what its text says",
        ),
        (
            lambda all: all.__setitem__(4, with_text(replace(all[4], count=4))),
            "event 5 does not follow the one before it",
        ),
        (
            lambda all: all.__setitem__(-1, with_text(replace(all[-1], count=4))),
            "its 12 events do not lead to its head, which has 12",
        ),
    ],
)
def test_a_log_that_was_changed_is_not_believed(
    alter: Callable[[list[AuditEvent]], Any], problem: str
) -> None:
    altered = list(EVENTS)
    alter(altered)

    with pytest.raises(Error, match=problem) as caught:
        log(altered).end(HEAD)

    assert 'of the memory "pets"' in str(caught.value)
    assert (caught.value.reason, caught.value.code) == ("BAD_AUDIT_LOG", grpc.StatusCode.DATA_LOSS)


def with_text(event: AuditEvent) -> AuditEvent:
    return replace(event, text=text_of(event))


@pytest.mark.parametrize(
    ("head", "info", "problem"),
    [
        (replace(HEAD, size=13), INFO, "do not lead to its head"),
        (replace(HEAD, root="00" * 32), INFO, "do not lead to its head"),
        (replace(HEAD, last="00" * 32), INFO, "do not lead to its head"),
        (replace(HEAD, digest=digest(3)), INFO, "in another state than after its last event"),
        (HEAD, replace(INFO, digest="ff" * 32), "no event led to the digest"),
    ],
)
def test_a_log_that_does_not_lead_to_its_memory_is_not_believed(
    head: AuditHead, info: MemoryInfo, problem: str
) -> None:
    with pytest.raises(Error, match=problem):
        log(info=info).end(head)


def test_an_empty_log_is_not_believed() -> None:
    with pytest.raises(Error, match="in another state"):
        log([]).end(AuditHead(0, root_of([]).hex(), "", ""))


def test_a_certificate_that_the_log_holds_is_believed() -> None:
    log().check_certificate(STATEMENT)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"memory_uid": "00" * 16}, "no memory 'pets' with the uid '0000"),
        ({"audit_index": SIZE}, "does not hold the erasure as its event 12"),
        ({"audit_index": ERASURE + 1}, "does not hold the erasure as its event 8"),
        ({"audit_index": 2**53 - 1}, "does not hold the erasure as its event"),
        ({"audit_event": "00" * 32}, "does not hold the erasure as its event 7"),
        ({"audit_root": "00" * 32}, "has another past before its event 7"),
        ({"audit_root": HEAD.root}, "has another past before its event 7"),
        ({"digest_before": digest(ERASURE)}, "has other digests before and after its event 7"),
        ({"digest_after": digest(1)}, "has other digests before and after its event 7"),
        ({"time": TIME}, "has another time or count for its event 7"),
        ({"count": 4}, "has another time or count for its event 7"),
    ],
)
def test_a_certificate_that_the_log_does_not_hold_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidCertificate, match=problem):
        log().check_certificate(replace(STATEMENT, **changes))
