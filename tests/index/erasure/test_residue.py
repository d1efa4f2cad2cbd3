"""Unlearned data are found by any fragment that could not be there by chance."""

from __future__ import annotations

import ctypes
import json
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index.erasure.fragments import FRAGMENT_BYTES
from visual_memory_index.erasure.masks import masked
from visual_memory_index.erasure.residue import SEARCHED_AT_ONCE, ResiduePatterns
from visual_memory_index.erasure.search import unexplained
from visual_memory_index.erasure.texts import TEXT_PIECE
from visual_memory_index.records.entry import Entry

RNG = np.random.default_rng(3)
VECTOR = RNG.standard_normal(64).astype("<f4").tobytes()
PICTURE = RNG.bytes(4000)
TEXT = "person-0123456789"


@given(
    st.integers(0, len(VECTOR) - FRAGMENT_BYTES),
    st.integers(0, 2 * SEARCHED_AT_ONCE),
    st.integers(0, 64),
)
def test_every_fragment_of_a_vector_is_found_anywhere(start: int, at: int, more: int) -> None:
    patterns = ResiduePatterns((), [VECTOR])
    data = bytearray(at + FRAGMENT_BYTES + more)
    data[at : at + FRAGMENT_BYTES] = VECTOR[start : start + FRAGMENT_BYTES]

    assert patterns.found_in(data)


@given(
    st.integers(0, len(VECTOR) - FRAGMENT_BYTES),
    st.integers(FRAGMENT_BYTES, len(VECTOR)),
    st.integers(0, 16),
    st.integers(0, 16),
)
def test_what_is_found_in_one_place_explains_the_same_in_another(
    start: int, length: int, at: int, other: int
) -> None:
    patterns = ResiduePatterns([TEXT], [VECTOR])
    fragment = VECTOR[start : start + length] + bytes(9) + TEXT.encode()
    gap = bytes([VECTOR[start - 1] ^ 255])  # that before the fragment would make it longer

    found = patterns.found_in(gap * at + fragment + bytes(9))
    there = patterns.found_in(gap * other + fragment + bytes(9))
    apart = [patterns.found_in(bytes(32 + each) + fragment + bytes(9)) for each in (at, other)]

    assert len(found) > 1
    assert apart[0] == apart[1]
    assert not unexplained(frozenset(found), frozenset(there))


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("poor", [b"000000000abc", bytes(24) + VECTOR[:40]])
def test_what_has_too_few_good_probes_is_found_anywhere_and_so_is_what_is_beside_it(
    poor: bytes, at: int
) -> None:
    texts, vectors = ([poor.decode()], []) if poor.isalnum() else ([], [poor])
    patterns = ResiduePatterns([TEXT, *texts], [VECTOR, *vectors])

    assert patterns.found_in(bytes(at) + poor)
    assert patterns.found_in(bytes(at) + VECTOR[100 : 100 + FRAGMENT_BYTES])
    assert masked(TEXT.encode()) in patterns.found_in(bytes(at) + TEXT.encode())


@given(st.integers(0, 16), st.sampled_from(["person-00000000012", "000000000abc", "aaaaaaaabcde"]))
def test_a_text_is_found_anywhere_though_few_of_its_places_are_rare(before: int, text: str) -> None:
    patterns = ResiduePatterns([text])

    assert patterns.found_in(bytes(before) + text.encode()) == {masked(text.encode())}


@pytest.mark.parametrize("seed", range(5))
def test_a_vector_with_zeros_between_its_numbers_is_found_alike_anywhere(seed: int) -> None:
    sparse = np.random.default_rng(seed).standard_normal(64).astype("<f4")
    sparse[::3] = sparse[1::5] = 0
    patterns = ResiduePatterns((), [sparse.tobytes()])

    found = [patterns.found_in(bytes(at) + sparse.tobytes()) for at in range(16)]

    assert found[0]
    assert all(each == found[0] for each in found)


@given(st.integers(0, len(VECTOR) - FRAGMENT_BYTES), st.integers(8, FRAGMENT_BYTES - 9))
def test_less_than_a_fragment_is_none(start: int, changed: int) -> None:
    fragment = bytearray(VECTOR[start : start + FRAGMENT_BYTES])
    fragment[changed] ^= 1

    assert not ResiduePatterns((), [VECTOR]).found_in(bytes(9) + fragment + bytes(9))


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_text_is_found_as_a_whole(before: int, after: int) -> None:
    patterns = ResiduePatterns([TEXT])

    assert len(patterns.found_in(bytes(before) + TEXT.encode() + bytes(after))) == 1
    assert not patterns.found_in(bytes(before) + TEXT[1:].encode() + bytes(after))


@given(st.integers(1000, len(PICTURE) - FRAGMENT_BYTES))
def test_a_picture_is_found_behind_its_header(start: int) -> None:
    patterns = ResiduePatterns((), (), [PICTURE])

    assert patterns.found_in(PICTURE[start : start + FRAGMENT_BYTES])


@pytest.mark.parametrize("length", range(len(PICTURE) - 32, len(PICTURE)))
def test_the_end_of_a_picture_is_found_whatever_its_length(length: int) -> None:
    patterns = ResiduePatterns((), (), [PICTURE[:length]])

    assert patterns.found_in(PICTURE[length - FRAGMENT_BYTES : length])


@given(st.integers(0, len(VECTOR) - 1))
def test_the_pieces_found_are_in_what_was_searched_and_in_what_was_erased(changed: int) -> None:
    data = bytearray(VECTOR)
    data[changed] ^= 1

    pieces = [masked(piece) for piece in ResiduePatterns((), [VECTOR]).found_in(data)]

    assert pieces
    assert all(piece in data and piece in VECTOR for piece in pieces)


def test_the_shortest_that_can_be_told_from_chance_are_looked_for() -> None:
    text, vector = TEXT[:12], VECTOR[:FRAGMENT_BYTES]

    patterns = ResiduePatterns([text, TEXT[:11]], [vector, VECTOR[: FRAGMENT_BYTES - 1]])

    assert patterns.count == 2
    assert patterns.found_in(text.encode() + bytes(8) + vector) == {
        masked(text.encode()),
        masked(vector),
    }


@pytest.mark.parametrize("at", range(8))
def test_what_a_picture_that_stays_has_too_is_not_looked_for(at: int) -> None:
    stays = bytes(at) + PICTURE[:3000] + bytes(5)

    patterns = ResiduePatterns((), (), [PICTURE], [b"short", stays])

    assert not patterns.found_in(PICTURE[1000:2900])
    assert patterns.found_in(PICTURE[3100 : 3100 + FRAGMENT_BYTES])


def test_what_follows_a_stretch_that_could_be_there_by_chance_is_looked_for() -> None:
    patterns = ResiduePatterns((), [bytes(96) + VECTOR])

    assert patterns.found_in(VECTOR[40 : 40 + FRAGMENT_BYTES])
    assert not patterns.found_in(bytes(200))


def test_headers_short_texts_and_what_repeats_are_not_looked_for() -> None:
    patterns = ResiduePatterns(["short"], [bytes(256), b"ab" * 128], [PICTURE])

    assert patterns.count == 1
    assert not patterns.found_in(PICTURE[:500])


@pytest.mark.parametrize(("different", "count"), [(11, 0), (12, 1)])
def test_what_repeats_is_looked_for_from_twelve_different_bytes_on(
    different: int, count: int
) -> None:
    vector = bytes(range(different)) * 24
    patterns = ResiduePatterns((), [vector])

    assert patterns.count == count
    assert bool(patterns.found_in(vector)) == bool(count)


@pytest.mark.parametrize("at", range(32))
def test_a_fragment_between_zeros_is_looked_for_wherever_it_begins(at: int) -> None:
    patterns = ResiduePatterns((), [bytes(at) + VECTOR[:FRAGMENT_BYTES] + bytes(64)])

    assert patterns.found_in(VECTOR[:FRAGMENT_BYTES])


@pytest.mark.parametrize("at", range(0, 64, 4))
def test_a_piece_of_fewer_different_bytes_is_not_found_though_others_are_beside_it(at: int) -> None:
    poor = bytes(24) + np.array([1, 2], "<f4").tobytes()
    patterns = ResiduePatterns((), [bytes(at) + poor + VECTOR])

    assert not patterns.found_in(poor + bytes(40))
    assert patterns.found_in(poor + VECTOR)


@pytest.mark.parametrize(("different", "count"), [(3, 0), (4, 1)])
def test_a_place_is_looked_for_by_four_different_bytes_on(different: int, count: int) -> None:
    few = (bytes(range(different)) * 8)[:8]
    vector = few + bytes(range(100, 116)) + few
    patterns = ResiduePatterns((), [vector])

    assert patterns.count == count
    assert bool(patterns.found_in(vector)) == bool(count)


@pytest.mark.parametrize(("vectors", "count"), [(4, 4), (5, 0)])
def test_numbers_that_more_than_four_vectors_share_are_not_looked_for(
    vectors: int, count: int
) -> None:
    start, end = bytes(range(8)), bytes(range(8, 16))
    all_of_them = [start + RNG.bytes(16) + end for _ in range(vectors)]
    patterns = ResiduePatterns((), all_of_them)

    assert patterns.count == count
    assert len(patterns.found_in(b"".join(all_of_them))) == count


def test_texts_with_one_ending_are_told_apart() -> None:
    patterns = ResiduePatterns([f"{number:04}-the same ending" for number in range(50)])

    assert {masked(piece) for piece in patterns.found_in(b"0007-the same ending")} == {
        b"0007-the same ending"
    }


@given(
    st.sampled_from(["person-", "", "{id: ", "a"]),
    st.lists(st.text("0123456789abcdef", min_size=12, max_size=40), min_size=1, unique=True),
    st.sampled_from(["", "@example.com", "zz"]),
)
def test_each_of_texts_that_begin_and_end_alike_is_found(
    start: str, middles: list[str], end: str
) -> None:
    texts = [start + middle + end for middle in middles]
    patterns = ResiduePatterns(texts, [VECTOR], [PICTURE], ["".join(texts).encode()])

    for text in texts:
        if any(len(set(text[at : at + 8])) >= 4 for at in range(len(text) - 7)):
            assert masked(text.encode()) in patterns.found_in(text.encode())


def test_hundreds_of_ids_that_begin_with_eight_different_letters_are_all_found() -> None:
    ids = [f"person-{number:024x}" for number in range(0, 1 << 60, 1 << 51)]
    patterns = ResiduePatterns(ids)

    assert patterns.count == len(ids) == 512
    assert len(patterns.found_in("".join(ids).encode())) == 512


@pytest.mark.parametrize(
    "text",
    [
        "J\u00fcrgen M\u00fcller-L\u00fcdenscheid",
        "\u041f\u0440\u0438\u0432\u0435\u0442 \u0434\u0440\u0443\u0433",
        "\u5c71\u7530\u592a\u90ce-\u6771\u4eac\u90fd",
        "\U0001f642 smile of a friend",
        'called "the dear one"',
        "one line\nand another",
        "C:\\people\\somebody",
    ],
    ids=ascii,
)
def test_a_text_is_found_as_json_and_python_write_it(text: str) -> None:
    patterns = ResiduePatterns([text])

    held = ctypes.string_at(id(text), sys.getsizeof(text))
    for form in (
        text.encode(),
        held,
        json.dumps(text).encode(),
        Entry("", "", metadata={"": text}).metadata_json.encode(),
    ):
        assert patterns.found_in(form) == {masked(text.encode())}
    assert patterns.count == 1


def test_a_long_text_is_found_though_its_file_breaks_it_up() -> None:
    text = RNG.bytes(4000).hex()
    patterns = ResiduePatterns([text])
    data = text[:3000].encode() + bytes(4) + text[3000:].encode()

    assert patterns.count == 1
    assert len(patterns.found_in(data)) == len(text) // TEXT_PIECE - 1


def test_texts_with_one_ending_are_looked_for_where_they_differ() -> None:
    texts = [f"{RNG.bytes(8).hex()}{'-' * number} by somebody" for number in range(200)]
    patterns = ResiduePatterns(texts)

    assert max(map(len, patterns._text_probes.values())) < 20
    assert len(patterns.found_in("".join(texts).encode())) == 200


def test_pictures_that_stay_take_no_room() -> None:
    others = [RNG.bytes(500_000) for _ in range(8)]
    tracemalloc.start()

    ResiduePatterns((), (), [PICTURE], others)

    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


@given(st.integers(1000, len(PICTURE) - FRAGMENT_BYTES), st.integers(1, 12))
def test_one_picture_under_many_headers_is_looked_for(start: int, count: int) -> None:
    pictures = [number.to_bytes(8, "big") * 8 + PICTURE for number in range(count)]
    patterns = ResiduePatterns((), (), pictures)

    assert patterns.count == count
    assert patterns.found_in(PICTURE[start : start + FRAGMENT_BYTES])


def test_what_is_not_looked_for_any_more_is_not_counted() -> None:
    assert ResiduePatterns((), (), [PICTURE], [PICTURE]).count == 0
    assert ResiduePatterns((), [VECTOR], [PICTURE], [PICTURE]).count == 1


def test_what_is_looked_for_is_not_kept_as_it_was() -> None:
    patterns = ResiduePatterns([TEXT], [VECTOR])
    (piece,) = patterns.found_in(TEXT.encode())

    assert masked(piece) == TEXT.encode()
    kept = [*patterns._texts, *patterns._texts.values(), patterns._fragments.around.tobytes()]
    assert not patterns.found_in(b"".join(kept))
    assert masked(masked(b"abc")) == b"abc"


@pytest.mark.parametrize("count", [1, 5000])
def test_whole_ones_are_found_among_very_many(count: int) -> None:
    vectors = [RNG.standard_normal(768).astype("<f4").tobytes() for _ in range(count)]
    patterns = ResiduePatterns((), vectors)

    shown = vectors[:: max(1, count // 7)]
    found = [masked(piece) for piece in patterns.found_in(b"".join(shown))]

    assert all(any(piece in vector for piece in found) for vector in shown)
