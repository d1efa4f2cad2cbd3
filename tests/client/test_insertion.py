"""An insertion is checked as a whole, then goes as one message or as batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visual_memory import InvalidArgument
from visual_memory._insertion import Insertion
from visual_memory.types import Limits

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=1000)


def insertion(**given: Any) -> Insertion:
    options: dict[str, Any] = {
        "images": None,
        "vectors": None,
        "ids": None,
        "metadata": None,
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

    call = entries.whole(LIMITS, atomic=False)

    assert call is not None
    assert 900_000 < call.first().ByteSize() < LIMITS.message_bytes
    assert insertion(vectors=vectors, labels=["a" * 200] * 1000).whole(LIMITS, atomic=False) is None


def test_an_atomic_insertion_of_more_than_a_message_is_refused() -> None:
    entries = insertion(vectors=np.ones((1001, 2)), labels=["a"] * 1001)

    with pytest.raises(InvalidArgument, match=r"1,000 entries .* do without atomic"):
        entries.whole(LIMITS, atomic=True)


def test_batches_from_a_cut_on_are_those_of_an_earlier_try() -> None:
    vectors = np.ones((600, 2))
    first = list(insertion(vectors=vectors, labels=["a"] * 600).batches(LIMITS, 0))

    again = list(insertion(vectors=vectors, labels=["a"] * 600).batches(LIMITS, 256))

    assert [request.batch.offset for request in first] == [0, 256, 512]
    assert again == first[1:]
