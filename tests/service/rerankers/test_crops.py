"""Candidates are ordered by likeness to the query, as a whole or in part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from visual_memory_embedders import EmbedderSpec, Preprocessing
from visual_memory_embedders.errors import UndecodableImage
from visual_memory_embedders.images.images import BadImage, ImageLimits, decode
from visual_memory_service.decisions.reranking import Candidate
from visual_memory_service.errors import BadField
from visual_memory_service.rerankers.crops import Crops, VectorCache, crops

VECTOR_BYTES = 16
RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


class Colours:
    """An embedder whose vectors are mean colours; it records its input."""

    spec = EmbedderSpec(
        "colours", "", 3, Preprocessing(1, (1, 1), "box", (0, 0, 0), (1, 1, 1)), True
    )
    keeps_values = False

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def embed(self, images: Sequence[bytes], decoded: object = None) -> NDArray[np.float32]:
        self.seen += images
        vectors = np.empty((len(images), 3), dtype=np.float32)
        for position, data in enumerate(images):
            try:
                pixels = np.asarray(decode(data, limits=ImageLimits()), dtype=np.float32)
            except BadImage as bad:
                raise UndecodableImage(position, str(bad)) from None
            vectors[position] = pixels.mean(axis=(0, 1))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def plain(colour: tuple[int, int, int], corner: tuple[int, int, int] | None = None) -> bytes:
    """Return a square of one colour, with ``corner`` as the colour of its lower right quarter."""
    image = Image.new("RGB", (40, 40), colour)
    if corner:
        image.paste(corner, (20, 20, 40, 40))
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def candidates(*pictures: bytes) -> list[Candidate]:
    return [Candidate(f"id{at}", "x", 0.1 * at, data) for at, data in enumerate(pictures)]


def rerank(embedder: Colours, query: bytes, *pictures: bytes, mib: int = 1) -> list[str]:
    cropping = Crops(embedder, VectorCache(mib << 20))
    return cropping.rerank(query, candidates(*pictures), deadline=inf)


def test_the_most_alike_come_first() -> None:
    ids = rerank(Colours(), plain(RED), plain(BLUE), plain((200, 60, 0)), plain((250, 0, 5)))

    assert ids == ["id2", "id1", "id0"]


def test_what_is_in_a_corner_of_the_query_is_found_there() -> None:
    query = plain(BLUE, corner=RED)
    as_from_closer_by = plain((113, 0, 142))  # (3/4)² of it are 0.5625, of which red are 0.25
    nearly_as_a_whole = plain((55, 25, 200))

    assert rerank(Colours(), query, nearly_as_a_whole, as_from_closer_by) == ["id1", "id0"]


def test_a_candidate_without_a_picture_keeps_its_place() -> None:
    ids = rerank(Colours(), plain(RED), plain(BLUE), b"", plain(GREEN), b"", plain(RED))

    assert ids == ["id4", "id1", "id0", "id3", "id2"]


def test_candidates_that_are_alike_keep_their_order() -> None:
    ids = rerank(Colours(), plain(RED), *[plain(BLUE), plain(RED)] * 3)

    assert ids == ["id1", "id3", "id5", "id0", "id2", "id4"]


def test_where_no_candidate_has_a_picture_the_order_stays() -> None:
    assert rerank(Colours(), plain(RED), b"", b"") == ["id0", "id1"]


def test_a_candidate_that_comes_again_is_embedded_once() -> None:
    embedder = Colours()
    cropping = Crops(embedder, VectorCache(1 << 20))
    first = cropping.rerank(plain(RED), candidates(plain(BLUE), plain(RED)), deadline=inf)
    embedder.seen.clear()

    again = cropping.rerank(plain(RED), candidates(plain(BLUE), plain(RED)), deadline=inf)

    assert again == first == ["id1", "id0"]
    assert plain(BLUE) not in embedder.seen
    assert len(embedder.seen) == 6  # the query, whole and in five crops


def test_without_a_cache_it_is_embedded_again() -> None:
    embedder = Colours()
    cropping = Crops(embedder, VectorCache(0))
    for _ in range(2):
        cropping.rerank(plain(RED), candidates(plain(BLUE)), deadline=inf)

    assert embedder.seen.count(plain(BLUE)) == 2


def test_equal_pictures_of_one_call_are_embedded_once() -> None:
    embedder = Colours()

    rerank(embedder, plain(RED), plain(BLUE), plain(BLUE), mib=0)

    assert embedder.seen.count(plain(BLUE)) == 1


def test_the_first_picture_that_does_not_decode_is_named() -> None:
    bad = b"no picture"

    with pytest.raises(BadField, match=r"^candidates\[2\]\.picture is not a whole JPEG"):
        rerank(Colours(), plain(RED), plain(BLUE), b"", bad, plain(GREEN), bad)


def test_a_query_that_does_not_decode_is_named() -> None:
    with pytest.raises(BadField, match=r"^picture is not a whole JPEG"):
        rerank(Colours(), b"no picture", plain(BLUE))


@given(st.integers(1, 50), st.integers(1, 50))
def test_crops_lie_inside_and_cover_all_of_the_picture(width: int, height: int) -> None:
    pixels = np.arange(width * height, dtype=np.int32).reshape(height, width)

    found = [np.asarray(crop) for crop in crops(Image.fromarray(pixels))]

    assert {part.shape for part in found} == {(max(1, height * 3 // 4), max(1, width * 3 // 4))}
    if min(width, height) > 1:
        assert set(np.concatenate([part.ravel() for part in found])) == set(pixels.ravel())
    assert all(part.min() >= 0 for part in found)
    middle = found[0]
    assert all(np.diff(row).tolist() == [1] * (len(row) - 1) for row in middle)
    assert all(after[0] - before[0] == width for before, after in pairwise(middle))


def vectors(*numbers: int) -> Mapping[bytes, NDArray[np.float32]]:
    rows = np.array([[number] * 4 for number in numbers], dtype=np.float32)
    return {b"%d" % number: row for number, row in zip(numbers, rows, strict=True)}


@given(
    st.integers(0, 5 * VECTOR_BYTES),
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40),
)
def test_the_last_used_are_kept_as_many_as_fit(
    bytes_max: int, steps: list[tuple[bool, int]]
) -> None:
    cache, used = VectorCache(bytes_max), list[int]()
    for puts, number in steps:
        if puts:
            cache.put(vectors(number))
            used = [*(each for each in used if each != number), number]
            used = used[len(used) - min(len(used), bytes_max // VECTOR_BYTES) :]
        elif cache.get([b"%d" % number]):
            used = [*(each for each in used if each != number), number]

        kept = cache.get(b"%d" % each for each in used)
        assert [kept[b"%d" % each].tolist() for each in used] == [[each] * 4 for each in used]
        assert not cache.get(b"%d" % each for each in range(10) if each not in used)


def test_a_row_does_not_hold_on_to_the_batch_it_came_in() -> None:
    cache, given = VectorCache(1000), vectors(1, 2)

    cache.put(given)

    assert given[b"1"].base is not None
    assert cache.get([b"1"])[b"1"].base is None
