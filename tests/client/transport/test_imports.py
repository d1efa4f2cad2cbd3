"""An import believes only what the server acknowledged, and only of its own batches."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.client.conftest import acknowledgement

from visual_memory import AlreadyExists, Error, InvalidArgument
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import Pace
from visual_memory._transport.imports import Import
from visual_memory._transport.retry import RetryBudget
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=2)
IDS = ["a", "b", "c"]
GO_ON, GO_ON_AT_THE_END = pb.ImportEntriesResponse(offset=0), pb.ImportEntriesResponse(offset=3)


def insertion(label: str = "cat", ids: list[str] = IDS) -> Insertion:
    return Insertion(
        "pets",
        images=None,
        vectors=np.ones((len(ids), 2)),
        labels=[label] * len(ids),
        ids=ids,
        metadata=None,
        content_sha256=None,
        request_id="r1",
        replace_existing=False,
    )


@pytest.fixture
def importing() -> Import:
    """An import of three entries in batches of two, with its stream begun."""
    importing = Import(insertion(), LIMITS, None, RetryBudget("host:1", 60.0), Pace())
    importing.start_stream()
    return importing


def stored(insertion: Insertion) -> list[pb.ImportEntriesResponse]:
    """Return the acknowledgements of a server that stored the insertion, one for each batch."""
    batches = [request.batch for request in insertion.batches(LIMITS, 0, Pace())]
    return [
        acknowledgement(batch, [entry.id for entry in batch.batch.entries]) for batch in batches
    ]


FIRST, SECOND = stored(insertion())


def sent_from(importing: Import) -> list[int]:
    """Return the offsets of all batches still to be sent."""
    return [request.batch.offset for request in iter(importing.next, None)]


def test_an_import_is_finished_when_everything_is_acknowledged(importing: Import) -> None:
    importing.acknowledge(GO_ON)
    sent_from(importing)
    importing.acknowledge(FIRST)

    importing.acknowledge(SECOND)

    assert importing.finished
    assert len(importing.sent) == 0
    assert importing.result().ids == IDS


def test_the_next_stream_goes_on_after_what_is_stored(importing: Import) -> None:
    importing.acknowledge(FIRST)

    importing.acknowledge(pb.ImportEntriesResponse(offset=2))

    assert sent_from(importing) == [2]


def test_what_a_new_stream_does_not_acknowledge_is_sent_again(importing: Import) -> None:
    importing.acknowledge(GO_ON)
    importing.acknowledge(FIRST)
    importing.start_stream()

    importing.acknowledge(GO_ON)

    assert importing.stored == 0
    assert sent_from(importing) == [0, 2]


def test_what_was_sent_is_sent_again_as_it_was_though_the_pace_is_another() -> None:
    pace, ids = Pace(), [f"{n}" for n in range(40)]
    limits = replace(LIMITS, items=40)
    importing = Import(insertion(ids=ids), limits, None, RetryBudget("host:1", 60.0), pace)

    def stream(stored: int, batches: int) -> list[tuple[int, int]]:
        """Return offsets and sizes of the batches sent on a stream that breaks after some."""
        importing.start_stream()
        for offset in range(0, stored, 4):
            part = range(offset, offset + 4)
            importing.acknowledge(
                acknowledgement(insertion(ids=ids).batch(part).batch, ids[offset : offset + 4])
            )
        importing.acknowledge(pb.ImportEntriesResponse(offset=stored))
        sent = [each.batch for each in itertools.islice(iter(importing.next, None), batches)]
        return [(batch.offset, len(batch.batch.entries)) for batch in sent]

    assert stream(0, 3) == [(0, 4), (4, 4), (8, 4)]
    pace.items = 7
    assert stream(0, 1) == [(0, 4)]
    assert stream(4, 1) == [(4, 4)]
    assert stream(8, 9) == [(8, 4), (12, 7), (19, 7), (26, 7), (33, 7)]


def test_an_earlier_try_may_have_divided_its_entries_otherwise() -> None:
    entries = Import(insertion(), LIMITS, None, RetryBudget("host:1", 60.0), Pace())
    entries.start_stream()
    for part in (range(1), range(1, 2)):
        entries.acknowledge(
            acknowledgement(insertion().batch(part).batch, IDS[part.start : part.stop])
        )

    entries.acknowledge(pb.ImportEntriesResponse(offset=2))

    assert entries.stored == 2
    assert sent_from(entries) == [2]


def test_while_the_server_says_that_it_works_the_timeout_stands_still(importing: Import) -> None:
    importing.acknowledge(GO_ON)
    importing.next()
    time.sleep(0.01)
    before = importing.budget.remaining()

    importing.acknowledge(pb.ImportEntriesResponse(working=True))

    assert importing.budget.remaining() > before
    assert (importing.stored, len(importing.sent)) == (0, 1)


def test_an_acknowledgement_out_of_order_is_an_error(importing: Import) -> None:
    with pytest.raises(Error, match="from 2 on where 0 was due"):
        importing.acknowledge(SECOND)


@pytest.mark.parametrize("other", [insertion("dog"), insertion(ids=["x", "y", "z"])])
def test_a_stored_batch_of_another_import_is_left_to_the_server(
    importing: Import, other: Insertion
) -> None:
    for answer in (*stored(other), GO_ON_AT_THE_END):
        importing.acknowledge(answer)

    assert (importing.stored, importing.finished) == (0, False)
    assert sent_from(importing) == [0, 2]


def test_after_another_batch_even_a_stored_one_of_this_import_is_sent_again(
    importing: Import,
) -> None:
    other, _ = stored(insertion("dog"))

    for answer in (other, SECOND, GO_ON_AT_THE_END, FIRST):
        importing.acknowledge(answer)

    assert importing.stored == 2


def test_more_than_this_import_has_is_refused(importing: Import) -> None:
    for answer in (FIRST, SECOND):
        importing.acknowledge(answer)

    with pytest.raises(InvalidArgument, match="belongs to an import of other entries"):
        importing.acknowledge(pb.ImportEntriesResponse(offset=3, ids=["d"]))


def test_an_acknowledgement_of_other_entries_is_refused(importing: Import) -> None:
    importing.acknowledge(GO_ON)

    with pytest.raises(InvalidArgument, match="belongs to an import of other entries"):
        importing.acknowledge(pb.ImportEntriesResponse(offset=0, ids=["x", "y"]))


def test_an_error_about_the_request_id_does_not_say_how_to_go_on(importing: Import) -> None:
    error = InvalidArgument("Another's.", field_violations=[("request_id", "Another's.")])

    with pytest.raises(InvalidArgument) as caught, importing.annotate_errors():
        raise error

    assert str(caught.value) == "Another's."


def test_an_error_says_what_is_stored(importing: Import) -> None:
    importing.acknowledge(FIRST)

    with pytest.raises(Error) as caught, importing.annotate_errors():
        raise Error("It broke.")

    assert str(caught.value).startswith("It broke. The server confirmed 2 leading entries of 3;")
    assert (caught.value.stored, caught.value.request_id) == (2, "r1")


@pytest.mark.parametrize("kind", [Error, AlreadyExists, KeyboardInterrupt, asyncio.CancelledError])
def test_whatever_ends_an_import_says_what_of_it_was_unlearned_before(
    kind: type[BaseException], importing: Import
) -> None:
    answer = pb.ImportEntriesResponse()
    answer.CopyFrom(FIRST)
    answer.unlearned_ids.append("a")
    importing.acknowledge(answer)

    with pytest.raises(kind) as caught, importing.annotate_errors():
        raise kind("It ended.")

    assert vars(caught.value)["unlearned"] == ["a"]
