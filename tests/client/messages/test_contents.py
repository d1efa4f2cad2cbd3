"""Images and vectors are checked, then cut into parts that a message holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visual_memory import InvalidArgument
from visual_memory._messages.contents import Pictures, Rows, contents, parts
from visual_memory.types import Limits
from visual_memory.v1 import service_pb2 as pb

LIMITS = Limits(message_bytes=1 << 20, image_bytes=1000, image_pixels=100, items=1000)
TINY = np.zeros((2, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "vectors", "sentence"),
    [
        (None, None, "images or vectors must be given"),
        ([b"a"], [[1.0]], "exclude each other"),
        ([], None, "images must not be empty"),
        (7, None, "images must be a list, but is 7"),
    ],
)
def test_one_kind_of_contents_is_wanted(images: Any, vectors: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as caught:
        contents(images, vectors, "vectors[{}]")

    assert caught.value.field_violations[0][0] == "images"


@pytest.mark.parametrize("image", ["a.jpg", Path("a.jpg"), b"a", Image.new("RGB", (2, 2))])
def test_a_single_image_is_refused_with_the_way_out(image: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"give images=\[image\]"):
        Pictures(image)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "is empty"),
        ("missing.jpg", r": no such file: missing\.jpg"),
        (os.curdir, ": is a folder"),
    ],
)
def test_what_is_no_image_is_refused_by_its_number(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"images\[1\].*{sentence}"):
        Pictures([b"a", image])


@pytest.mark.parametrize(
    ("image", "sentence"),
    [(b"x" * 1001, "has 1,001 bytes"), (np.zeros((20, 6, 3), np.uint8), "6 × 20 pixels")],
)
def test_an_image_beyond_the_servers_limits_is_refused(image: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"images\[0\].*{sentence}"):
        Pictures([image]).check(LIMITS)


def test_a_file_that_vanishes_on_the_way_is_refused_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"a")
    pictures = Pictures([file])
    pictures.check(LIMITS)
    file.unlink()

    with pytest.raises(InvalidArgument, match=r"images\[0\]: no such file"):
        pictures.size(0)


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
        Rows(vectors, "vectors[{}]")


def test_vectors_are_packed_as_little_endian_float32_row_by_row() -> None:
    vectors = np.asfortranarray(np.arange(1, 7, dtype=">f8").reshape(2, 3))
    batch = pb.EntryBatch()

    Rows(vectors, "vectors[{}]").write(range(2), batch)

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
    pictures = Pictures([b"x" * size for size in sizes])
    pictures.check(LIMITS)

    cut = list(parts(pictures, most=1000, items=lambda: items, start=start, soft=soft))

    assert [number for part in cut for number in part] == list(range(start, len(sizes)))
    for part in cut:
        assert len(part) <= items
        assert len(part) == 1 or sum(sizes[number] for number in part) <= min(soft, 1000)


@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=50))
def test_parts_from_a_cut_on_are_those_of_an_earlier_try(sizes: list[int]) -> None:
    pictures = Pictures([b"x" * size for size in sizes])
    pictures.check(LIMITS)
    first = list(parts(pictures, most=1000, items=lambda: 5))

    for number, part in enumerate(first):
        assert list(parts(pictures, most=1000, items=lambda: 5, start=part.start)) == first[number:]


def test_how_many_items_a_part_has_is_asked_anew_for_each() -> None:
    pictures = Pictures([b"x"] * 20)
    pictures.check(LIMITS)
    wanted = [2]
    cut = parts(pictures, most=1000, items=lambda: wanted[0])

    first = next(cut)
    wanted[0] = 7

    assert [len(part) for part in (first, *cut)] == [2, 7, 7, 4]


def test_an_item_that_no_message_holds_is_refused() -> None:
    pictures = Pictures([b"a", b"x" * 500])
    pictures.check(LIMITS)

    with pytest.raises(InvalidArgument, match=r"images\[1\] needs 532 bytes.*room for 400"):
        list(parts(pictures, most=400, items=lambda: 5))
