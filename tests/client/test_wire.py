"""Requests are checked and cut before anything is sent."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visual_memory import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable, _wire
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=1000)
TINY = np.zeros((2, 3, 3), np.uint8)


def insertion(**given: Any) -> _wire.Insertion:
    options: dict[str, Any] = {
        "images": None,
        "vectors": None,
        "ids": None,
        "metadata": None,
        "request_id": None,
        "replace_existing": False,
    }
    return _wire.Insertion("pets", **{**options, **given})


def violation(caught: pytest.ExceptionInfo[InvalidArgument]) -> str:
    return caught.value.field_violations[0][0]


@pytest.mark.parametrize(
    ("given", "path", "sentence"),
    [
        ({"labels": []}, "images", "images or vectors must be given"),
        ({"images": [b"a"], "vectors": [[1.0]], "labels": ["a"]}, "images", "exclude each other"),
        ({"images": [], "labels": []}, "images", "images must not be empty"),
        ({"images": [b"a"], "labels": "cat"}, "labels", "must be a list of strings"),
        ({"images": [b"a"], "labels": ["a", "b"]}, "labels", "as many as the images, but are 2"),
        ({"images": [b"a"], "labels": ["a"], "ids": []}, "ids", "as many as the images"),
        ({"images": [b"a"], "labels": ["a"], "metadata": {}}, "metadata", "one mapping for each"),
        ({"images": [b"a"], "labels": [1]}, "labels[0]", "must be a string, but is 1"),
        ({"images": [b"a"], "labels": [""]}, "entries[0].label", "1 to 256 UTF-8 bytes"),
        ({"images": [b"a"], "labels": ["ä" * 129]}, "entries[0].label", "but has 258"),
        ({"images": [b"a"], "labels": ["\ud800"]}, "labels[0]", "must be UTF-8"),
        ({"images": [b"a"], "labels": ["a\0"]}, "entries[0].label", "without NUL"),
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
            {"images": [b"a"], "labels": ["a"], "metadata": [{"a": "x" * 20_000}]},
            "entries[0].metadata",
            "at most 16384 bytes",
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
    with pytest.raises(InvalidArgument) as caught:
        insertion(**given)

    assert violation(caught) == path
    assert sentence in str(caught.value)


@pytest.mark.parametrize("image", ["a.jpg", Path("a.jpg"), b"a", TINY, Image.new("RGB", (2, 2))])
def test_a_single_image_is_refused_with_the_way_out(image: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"give images=\[image\]"):
        _wire.Pictures(image)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "is empty"),
        (7, "but is a int"),
        (np.zeros((2, 3, 4), np.uint8), r"uint8 \(h, w, 3\), but is uint8 \(2, 3, 4\)"),
        (np.zeros((2, 3, 3)), "but is float64"),
        ("missing.jpg", r": no such file: missing\.jpg"),
        (os.curdir, ": is a folder"),
    ],
)
def test_what_is_no_image_is_refused_by_its_number(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"images\[1\].*{sentence}"):
        _wire.Pictures([b"a", image])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [(b"x" * 1001, "has 1,001 bytes"), (np.zeros((20, 6, 3), np.uint8), "6 × 20 pixels")],
)
def test_an_image_beyond_the_servers_limits_is_refused(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"images\[0\].*{sentence}"):
        _wire.Pictures([image]).check(LIMITS)


def test_a_file_that_vanishes_on_the_way_is_refused_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"a")
    pictures = _wire.Pictures([file])
    pictures.check(LIMITS)
    file.unlink()

    with pytest.raises(InvalidArgument, match=r"images\[0\]: no such file"):
        pictures.size(0)


def test_an_array_becomes_a_png_with_the_same_pixels() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)

    data = _wire.to_png(pixels, "images[0]")

    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_a_pil_image_becomes_upright() -> None:
    image = Image.new("CMYK", (3, 2))
    image.getexif()[0x0112] = 6  # to be turned by 90 degrees

    data = _wire.to_png(image, "images[0]")

    assert Image.open(io.BytesIO(data)).size == (2, 3)


def test_a_pil_image_of_floats_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"images\[0\] cannot be written as PNG"):
        _wire.to_png(Image.new("F", (2, 2)), "images[0]")


@pytest.mark.parametrize(
    ("vectors", "sentence"),
    [
        ([1.0, 2.0], r"shape \(n, d\), but have \(2,\): a single one is vector\[None, :\]"),
        (3.0, r"shape \(n, d\), but have \(\)"),
        (np.zeros((0, 2)), "must not be empty"),
        (np.zeros((2, 0)), r"have \(2, 0\)"),
        ([[1.0], [1.0, 2.0]], "rows of the same length"),
        ([["a"]], "must be floats, but are <U1"),
        ([[0.0, 0.0]], r"vectors\[0\] must be finite and not zero"),
        ([[1.0, 0.0], [1e300, 1.0]], r"vectors\[1\] must be finite"),
        ([[np.inf, 0.0]], r"vectors\[0\] must be finite"),
    ],
)
def test_wrong_vectors_are_refused(vectors: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        _wire.Rows(vectors, "vectors[{}]")


def test_vectors_are_packed_as_little_endian_float32_row_by_row() -> None:
    vectors = np.asfortranarray(np.arange(1, 7, dtype=">f8").reshape(2, 3))
    batch = pb.EntryBatch()

    _wire.Rows(vectors, "vectors[{}]").write(range(2), batch)

    assert batch.vectors.rows == 2
    assert np.array_equal(np.frombuffer(batch.vectors.data, "<f4"), [1, 2, 3, 4, 5, 6])


@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=50),
    soft=st.integers(1, 3000),
    items=st.integers(1, 8),
    start=st.integers(0, 49),
)
def test_parts_cover_every_item_once_and_keep_the_limits(
    sizes: list[int], soft: int, items: int, start: int
) -> None:
    pictures = _wire.Pictures([b"x" * size for size in sizes])
    pictures.check(LIMITS)

    parts = list(_wire.parts(pictures, most=1000, items=items, start=start, soft=soft))

    assert [number for part in parts for number in part] == list(range(start, len(sizes)))
    for part in parts:
        assert len(part) <= items
        assert len(part) == 1 or sum(sizes[number] for number in part) <= min(soft, 1000)


@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=50))
def test_parts_from_a_cut_on_are_those_of_an_earlier_try(sizes: list[int]) -> None:
    pictures = _wire.Pictures([b"x" * size for size in sizes])
    pictures.check(LIMITS)
    first = list(_wire.parts(pictures, most=1000, items=5))

    for number, part in enumerate(first):
        assert list(_wire.parts(pictures, most=1000, items=5, start=part.start)) == first[number:]


def test_an_item_that_no_message_holds_is_refused() -> None:
    pictures = _wire.Pictures([b"a", b"x" * 500])
    pictures.check(LIMITS)

    with pytest.raises(InvalidArgument, match=r"images\[1\] needs 532 bytes.*room for 400"):
        list(_wire.parts(pictures, most=400, items=5))


def test_a_whole_insertion_stays_below_the_limit() -> None:
    vectors = np.ones((1000, 200), np.float32)
    entries = insertion(vectors=vectors, labels=["a" * 100] * 1000)

    call = entries.whole(LIMITS, atomic=False)

    assert call is not None
    assert 900_000 < call.request.ByteSize() < LIMITS.message_bytes
    assert insertion(vectors=vectors, labels=["a" * 200] * 1000).whole(LIMITS, atomic=False) is None


def test_an_atomic_insertion_of_more_than_a_message_is_refused() -> None:
    entries = insertion(vectors=np.ones((1001, 2)), labels=["a"] * 1001)

    with pytest.raises(InvalidArgument, match=r"1,000 entries .* do without atomic"):
        entries.whole(LIMITS, atomic=True)


@pytest.mark.parametrize(
    ("k", "sentence"), [(0, "k must be at least 1, but is 0"), (1.5, "k must be a whole number")]
)
def test_a_wrong_k_is_refused(k: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        _wire.search("pets", images=None, vectors=[[1.0]], k=k, filter=None, exclude_ids=())


def test_a_k_beyond_the_wire_means_all() -> None:
    queries = _wire.search(
        "pets", images=None, vectors=[[1.0]], k=10**12, filter=None, exclude_ids=()
    )

    assert isinstance(queries.header, pb.SearchRequest)
    assert queries.header.k == 2**31 - 1


def test_a_memory_is_made_with_the_default_embedder() -> None:
    call = _wire.create_memory("pets", None, None, None)

    assert isinstance(call.request, pb.CreateMemoryRequest)
    assert call.request.embedder == "efficientnet-lite0"
    assert len(call.request.request_id) == 32


def test_embedder_and_dimension_exclude_each_other() -> None:
    with pytest.raises(InvalidArgument, match="exclude each other"):
        _wire.create_memory("pets", "fake", 2, None)


def test_an_update_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="label or metadata must be given"):
        _wire.update_entry("pets", "a", None, None, None)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="timeout must be positive seconds"):
        _wire.endpoint("host:1", None, None, timeout)


def test_missing_root_certificates_are_named() -> None:
    with pytest.raises(InvalidArgument, match=r"root_certificates: no such file: ca\.pem"):
        _wire.endpoint("host:1", None, "ca.pem", 1.0)


class Broken(grpc.RpcError):
    """What gRPC raises, without gRPC."""

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


REFUSED = Broken(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses; last error: …")
BUSY = Broken(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")


def patient(clock: Clock, **options: Any) -> _wire.Patience:
    return _wire.Patience("host:1", 60.0, clock=clock, jitter=lambda: 1.0, **options)


def waited(patience: _wire.Patience, clock: Clock, error: grpc.RpcError) -> list[float]:
    """All pauses until the patience is over, which raises."""
    pauses: list[float] = []
    with suppress(ResourceExhausted, Unavailable):
        while len(pauses) < 1000:
            pauses.append(patience.pause(error))
            clock.now += pauses[-1]
    return pauses


def test_pauses_double_up_to_two_seconds_and_end_with_the_timeout() -> None:
    clock = Clock()

    pauses = waited(patient(clock), clock, BUSY)

    assert pauses[:8] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert 58 < sum(pauses) < 60


def test_a_refused_connection_is_tried_for_five_seconds() -> None:
    clock = Clock()

    pauses = waited(patient(clock), clock, REFUSED)

    assert sum(pauses) == pytest.approx(5.0)


def test_the_five_seconds_begin_anew_once_a_server_answered() -> None:
    clock = Clock()
    patience = patient(clock)
    patience.pause(REFUSED)
    clock.now += 10

    patience.answered()

    assert patience.pause(REFUSED) == pytest.approx(0.1)


def test_jitter_takes_up_to_half_of_a_pause() -> None:
    patience = _wire.Patience("host:1", 60.0, clock=Clock(), jitter=lambda: 0.0)

    assert patience.pause(BUSY) == pytest.approx(0.025)


def test_time_without_waiting_for_the_server_does_not_count() -> None:
    clock = Clock()
    patience = patient(clock)
    clock.now += 50

    patience.extend(100.0)

    assert patience.remaining() == pytest.approx(60.0)


def test_a_cancelled_call_after_the_deadline_was_too_late() -> None:
    clock = Clock()
    patience = patient(clock, request_id="r1")
    clock.now += 60

    with pytest.raises(DeadlineExceeded, match=r"timeout of 60 s; .* request_id='r1'") as caught:
        patience.pause(Broken(grpc.StatusCode.CANCELLED))

    assert caught.value.request_id == "r1"
