"""Any event changed, left out or put in is found in the audit log."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from visual_memory_index.errors import BadAuditLog
from visual_memory_index.ledger import audit
from visual_memory_index.ledger.audit import Event, Head


def grown(size: int) -> tuple[list[str], Head]:
    texts, head = [], Head()
    for number in range(size):
        digest = f"{number:064x}"
        event = Event(number, 10 * number, "local", "InsertEntries", number, digest, head.last)
        texts.append(event.to_json())
        head = head.follow(texts[-1])
    return texts, head


@pytest.mark.parametrize("size", [0, 1, 2, 3, 20])
def test_a_log_that_nobody_touched_leads_to_its_head(size: int) -> None:
    texts, head = grown(size)

    assert audit.check(texts, head, f"{size - 1:064x}" if size else "") == size
    assert head.size == size


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_every_alteration_is_found(first: int) -> None:
    texts, head = grown(20)
    for seed in range(first, first + 50):
        altered = alter(list(texts), Random(seed))
        assert altered != texts

        with pytest.raises(BadAuditLog):
            audit.check(altered, head, f"{19:064x}")


def alter(texts: list[str], chance: Random) -> list[str]:
    at, other = chance.sample(range(len(texts)), 2)
    match chance.randrange(7):
        case 0:
            del texts[at]
        case 1:
            del texts[at:]
        case 2:
            texts[at], texts[other] = texts[other], texts[at]
        case 3:
            texts.insert(at, texts[other])
        case 4:
            bit = chance.randrange(7)
            place = chance.randrange(len(texts[at]))
            changed = chr(ord(texts[at][place]) ^ 1 << bit)
            texts[at] = texts[at][:place] + changed + texts[at][place + 1 :]
        case 5:
            event = Event(**json.loads(texts[at]))
            texts[at] = replace(event, count=event.count + 1).to_json()
        case _:
            event = Event(**json.loads(texts[at]))
            head = Head()
            for text in texts[:at]:
                head = head.follow(text)
            forged = [replace(event, principal="nobody").to_json()]
            for text in texts[at + 1 :]:
                following = replace(
                    Event(**json.loads(text)), previous=head.follow(forged[-1]).last
                )
                head = head.follow(forged[-1])
                forged.append(following.to_json())
            texts[at:] = forged
    return texts


def test_a_state_that_no_event_led_to_is_found() -> None:
    texts, head = grown(3)

    with pytest.raises(BadAuditLog, match="in another state than after its last event"):
        audit.check(texts, head, "f" * 64)


def test_what_is_wrong_is_said() -> None:
    texts, head = grown(3)

    with pytest.raises(BadAuditLog, match="event 1 is missing, event 2 is there"):
        audit.check([texts[0], texts[2]], head, "")
    with pytest.raises(BadAuditLog, match="2 events are not those of its head, which has 3"):
        audit.check(texts[:2], head, "")
    with pytest.raises(BadAuditLog, match="event 0 cannot be read"):
        audit.check(["no"], head, "")
    with pytest.raises(BadAuditLog, match="event 0 cannot be read"):
        audit.check(["[" * 100_000], head, "")
