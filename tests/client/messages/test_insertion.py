"""An insertion is checked as a whole, then goes as one message or as batches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from visual_memory import InvalidArgument
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import Pace
from visual_memory.types import Limits

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=1000)


def insertion(**given: Any) -> Insertion:
    options: dict[str, Any] = {
        "images": None,
        "vectors": None,
        "ids": None,
        "metadata": None,
        "content_sha256": None,
        "request_id": None,
        "replace_existing": False,
    }
    return Insertion("pets", **{**options, **given})


@pytest.mark.parametrize(
    ("given", "path", "sentence"),
    [
        ({"images": [b"a"], "labels": ["a", "b"]}, "labels", "as many as the images, but are 2"),
        ({"images": [b"a"], "labels": ["a"], "ids": []}, "ids", "as many as the images"),
        ({"images": [b"a"], "labels": ["a"], "metadata": []}, "metadata", "as many as the images"),
        ({"images": [b"a"], "labels": [""]}, "entries[0].label", "1 to 256 UTF-8 bytes"),
        ({"images": [b"a"], "labels": ["a"], "ids": [""]}, "entries[0].id", "1 to 256 UTF-8"),
        (
            {"images": [b"a"] * 2, "labels": ["a"] * 2, "ids": ["x", "x"]},
            "entries[1].id",
            "comes twice: x",
        ),
        (
            {"images": [b"a"], "labels": ["a"], "metadata": [{"source": 1}]},
            "entries[0].metadata",
            "must map strings to strings",
        ),
        (
            {"images": [b"a"], "labels": ["a"], "content_sha256": [""]},
            "content_sha256",
            "goes with vectors",
        ),
        (
            {"vectors": [[1.0]] * 2, "labels": ["a"] * 2, "content_sha256": ["", "0" * 63]},
            "entries[1].content_sha256",
            "64 lower-case hex digits",
        ),
        (
            {"vectors": [[1.0, 0.0], [0.0, np.nan]], "labels": ["a", "b"]},
            "entries[1].vector",
            "must be finite and not zero",
        ),
    ],
)
def test_a_wrong_insertion_is_refused_by_the_path_at_fault(
    given: dict[str, Any], path: str, sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as caught:
        insertion(**given)

    assert caught.value.field_violations[0][0] == path


def test_a_whole_insertion_stays_below_the_limit() -> None:
    vectors = np.ones((1000, 200), np.float32)
    entries = insertion(vectors=vectors, labels=["a" * 100] * 1000)
    more = insertion(vectors=vectors, labels=["a" * 200] * 1000)

    assert entries.is_one_message(LIMITS, atomic=None)
    assert 900_000 < entries.whole().request.ByteSize() < LIMITS.message_bytes
    assert not more.is_one_message(LIMITS, atomic=None)


def test_an_atomic_insertion_of_more_than_a_message_is_refused() -> None:
    entries = insertion(vectors=np.ones((1001, 2)), labels=["a"] * 1001)

    with pytest.raises(InvalidArgument, match=r"1,000 entries .* do without atomic"):
        entries.is_one_message(LIMITS, atomic=True)


@pytest.mark.parametrize(
    ("count", "atomic", "one"),
    [(256, None, True), (257, None, False), (257, True, True), (4, False, True), (5, False, False)],
)
def test_pictures_are_one_message_up_to_256_or_as_is_asked_for(
    count: int, atomic: bool | None, one: bool
) -> None:
    pictures = insertion(images=[b"x"] * count, labels=["a"] * count)
    beside = insertion(vectors=np.ones((count, 2)), images=[b"x"] * count, labels=["a"] * count)

    assert pictures.is_one_message(LIMITS, atomic=atomic) is one
    assert beside.is_one_message(LIMITS, atomic=atomic) is one


def test_batches_follow_the_pace() -> None:
    pace = Pace()
    batches = insertion(vectors=np.ones((300, 2)), labels=["a"] * 300).batches(LIMITS, 0, pace)

    sizes = [len(next(batches).batch.batch.entries)]
    pace.note(4, 0.01)
    sizes.append(len(next(batches).batch.batch.entries))
    pace.note(16, 4.0)

    assert [*sizes, *(len(each.batch.batch.entries) for each in batches)] == [4, 16, *[6] * 46, 4]


def test_without_a_pace_all_that_is_left_is_one_batch() -> None:
    entries = insertion(vectors=np.ones((600, 2)), labels=["a"] * 600)

    (batch,) = entries.batches(LIMITS, 100, None)

    assert (batch.batch.offset, batch.batch.count) == (100, 600)
    assert len(batch.batch.batch.entries) == 500


def test_a_batch_is_what_it_was_however_the_others_are_divided() -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 2))
    first = list(insertion(vectors=vectors, labels=["a"] * 600).batches(LIMITS, 0, Pace()))
    again = insertion(vectors=vectors, labels=["a"] * 600)

    offsets = [0, *(each.batch.offset for each in first[1:]), 600]
    parts = [range(*pair) for pair in pairwise(offsets)]

    assert [again.batch(part) for part in reversed(parts)] == first[::-1]
