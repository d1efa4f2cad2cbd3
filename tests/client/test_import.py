"""An import believes only what the server acknowledged."""

from __future__ import annotations

import numpy as np
import pytest

from visual_memory import Error, InvalidArgument
from visual_memory._import import Import
from visual_memory._insertion import Insertion
from visual_memory._patience import Patience
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=2)
IDS = ["a", "b", "c"]
GO_ON = pb.ImportEntriesResponse(offset=0)


@pytest.fixture
def importing() -> Import:
    """Three entries in batches of two, on a stream that has begun."""
    insertion = Insertion(
        "pets",
        images=None,
        vectors=np.ones((3, 2)),
        labels=["cat"] * 3,
        ids=IDS,
        metadata=None,
        request_id="r1",
        replace_existing=False,
    )
    importing = Import(insertion, LIMITS, None, Patience("host:1", 60.0))
    importing.begin()
    return importing


def sent_from(importing: Import) -> list[int]:
    """The offsets of all batches that are left."""
    return [request.batch.offset for request in iter(importing.next, None)]


def test_an_import_is_finished_when_everything_is_acknowledged(importing: Import) -> None:
    importing.note(GO_ON)
    sent_from(importing)
    importing.note(pb.ImportEntriesResponse(offset=0, ids=["a", "b"]))

    importing.note(pb.ImportEntriesResponse(offset=2, ids=["c"]))

    assert importing.finished
    assert importing.in_flight == 0
    assert importing.result().ids == IDS


def test_the_next_stream_goes_on_after_what_is_stored(importing: Import) -> None:
    importing.note(pb.ImportEntriesResponse(offset=0, ids=["a", "b"]))

    importing.note(pb.ImportEntriesResponse(offset=2))

    assert sent_from(importing) == [2]


def test_what_a_new_stream_does_not_acknowledge_is_sent_again(importing: Import) -> None:
    importing.note(GO_ON)
    importing.note(pb.ImportEntriesResponse(offset=0, ids=["a", "b"]))
    importing.begin()

    importing.note(GO_ON)

    assert importing.stored == 0
    assert sent_from(importing) == [0, 2]


def test_an_acknowledgement_out_of_order_is_an_error(importing: Import) -> None:
    with pytest.raises(Error, match="from 2 on where 0 was due"):
        importing.note(pb.ImportEntriesResponse(offset=2, ids=["c"]))


def test_an_acknowledgement_of_other_entries_is_refused(importing: Import) -> None:
    with pytest.raises(InvalidArgument, match="belongs to an import of other entries"):
        importing.note(pb.ImportEntriesResponse(offset=0, ids=["x", "y"]))


def test_an_error_says_what_is_stored(importing: Import) -> None:
    importing.note(pb.ImportEntriesResponse(offset=0, ids=["a", "b"]))

    with pytest.raises(Error) as caught, importing.accounted():
        raise Error("It broke.")

    assert str(caught.value).startswith("It broke. 2 leading entries of 3 are stored;")
    assert (caught.value.stored, caught.value.request_id) == (2, "r1")
