"""Byte patterns of unlearned entries, to search files and memory for their residue."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray

FRAGMENT_BYTES = 32  # of a vector or picture: the least that is residue
TEXT_BYTES_MIN = 12  # a shorter text could be there by chance
TEXT_PIECE = 256  # characters; longer texts are searched for in pieces, as files may split them
TEXT_STRETCHES, TEXTS_COMPARED = 4, 50_000  # for probes; to find the rarest probe
DISTINCT_MIN = 12  # different bytes that a piece must have, so that it is not there by chance
HEAD_SHARE = 4  # this part of a picture is left out: headers are alike
PROBE_BYTES = 8
PROBE_DISTINCT_MIN = 4  # zeros, for example, are everywhere
STRIDE = 4  # bytes from one place of the data where probes are looked up to the next
CONTEXT_BYTES = FRAGMENT_BYTES - PROBE_BYTES  # of a fragment before its probes, at most
BESIDE = (CONTEXT_BYTES - STRIDE + 1) // 2  # bytes before the probes, or behind them, at least
PROBES_MAX = 400_000
STRIDED_PROBES_MAX = 60_000  # more take longer to collect than a search at STRIDE saves
SHARED_MAX = 4  # different contexts that a probe may have
TABLE_BITS_MIN, TABLE_BITS_MAX = 14, 24
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
MASK = 0xA5  # patterns are kept masked, or the search would find them in its own memory
SEARCHED_AT_ONCE = 1 << 18  # so that all arrays stay in the processor's cache


class ResiduePatterns:
    """Byte patterns of texts, vectors and pictures to search for, unless they may occur by chance.

    Vectors and pictures are searched for by fragments, and if there is very much data, by some that
    still find whole ones. What also occurs in ``others``, content of the remaining entries, is not
    searched for, nor are fragments with 8 bytes that many different ones have. Texts are also found
    in the forms in which JSON and Python write them, and also if many have the same beginning or
    end.

    A search looks up 8 bytes of the data at every fourth byte, and compares what is around them. So
    each fragment and text has four probes, 8 bytes each, at places that follow each other: wherever
    it lies, one of them is looked up. If some have not four good probes, or there are very many,
    each has one, and the data is looked up at every byte. Patterns are kept masked (see
    ``masked``), or the search would find them in its own memory.
    """

    def __init__(
        self,
        texts: Iterable[str],
        vectors: Iterable[bytes] = (),
        pictures: Iterable[bytes] = (),
        others: Iterable[bytes] = (),
    ) -> None:
        self._texts: dict[bytes, bytes] = {}  # each written form to the UTF-8 form
        self._text_probes: dict[int, set[tuple[int, int]]] = {}  # to (offset, text length)
        self._probes: dict[int, list[tuple[bytes, int, int]]] = {}  # to (context, place, number)
        known = {each for each in texts if len(each.encode()) >= TEXT_BYTES_MIN}
        contents = [(each, 0) for each in dict.fromkeys(vectors)]
        contents += [(each, len(each) // HEAD_SHARE) for each in dict.fromkeys(pictures)]
        contents = [(data, start) for data, start in contents if len(data) >= FRAGMENT_BYTES]
        self._stride = STRIDE if have_good_probes(known, contents) else 1
        self._length = PROBE_BYTES + self._stride - 1  # of all probes of a fragment together
        text_count = self._note_texts(known)
        places = places_of(contents, self._stride)
        every = max(1, -(-self._stride * sum(map(len, places)) // PROBES_MAX))
        fragments: dict[tuple[bytes, int], list[int]] = {}  # (context, place) to its probes
        noted = [
            self._note(data, each[::every], fragments)
            for (data, _), each in zip(contents, places, strict=True)
        ]
        shared = self._shared(fragments.values(), others)
        for (context, place), probes in fragments.items():
            if shared.isdisjoint(probes):
                for number, probe in enumerate(probes):
                    self._probes.setdefault(probe, []).append((context, place, number))
        self._index(self._probes.keys() | self._text_probes.keys())
        self.count = text_count + sum(any(map(shared.isdisjoint, each)) for each in noted)
        """How many are looked for."""

    @property
    def texts(self) -> frozenset[bytes]:
        """Return the pieces of texts among the patterns, masked."""
        return frozenset(self._texts.values())

    def found_in(self, data: bytes | bytearray | memoryview) -> set[bytes]:
        """Return the pieces of the patterns that occur in ``data``, masked.

        They are whole pieces of texts, and parts of vectors and pictures of at least 32 bytes, at
        least 12 of them different.
        """
        return set(self._pieces(memoryview(data)))

    def _pieces(self, whole: memoryview) -> Iterator[bytes]:
        if not len(self._values):  # nothing can be searched for
            return
        room = np.empty(SEARCHED_AT_ONCE // PROBE_BYTES + 1, np.uint64)
        for start in range(0, len(whole), SEARCHED_AT_ONCE):
            part = whole[start : start + SEARCHED_AT_ONCE + PROBE_BYTES]
            for offset in range(0, min(PROBE_BYTES, len(part)), self._stride):
                words = np.frombuffer(part, "<u8", (len(part) - offset) // PROBE_BYTES, offset)
                for near in self._near(words, room).tolist():
                    at, probe = start + offset + near * PROBE_BYTES, int(words[near])
                    for place, length in self._text_probes.get(probe, ()):
                        text = masked(whole[max(0, at - place) : at - place + length])
                        if text in self._texts:
                            yield self._texts[text]
                    for context, place, number in self._probes.get(probe, ()):
                        piece = held(whole, at - number, context, place, self._length)
                        if piece:
                            yield piece

    def _note_texts(self, texts: Iterable[str]) -> int:
        """Add patterns of texts; return the number of texts that can be searched for."""
        forms: dict[bytes, list[int]] = {}  # with places for their first probe
        count = 0
        for text in texts:
            looked_for = False
            for piece in pieces_of(text):
                whole = piece.encode()
                if places := places_in(whole, self._stride):
                    looked_for = True
                    kept = masked(whole)
                    for form in written(piece):
                        if found := places if form == whole else places_in(form, self._stride):
                            forms[form] = found
                            self._texts[kept if form == whole else masked(form)] = kept
            count += looked_for
        compared = list(forms)[:: max(1, -(-len(forms) // TEXTS_COMPARED))]
        often = Counter(
            probe for form in compared for at in forms[form] for probe in self._probes_at(form, at)
        )
        for form, places in forms.items():
            rarest = min(
                places, key=lambda at: max(often[each] for each in self._probes_at(form, at))
            )
            for at, probe in enumerate(self._probes_at(form, rarest), rarest):
                self._text_probes.setdefault(probe, set()).add((at, len(form)))
        return count

    def _note(
        self, data: bytes, places: Iterable[int], fragments: dict[tuple[bytes, int], list[int]]
    ) -> list[list[int]]:
        """Add the fragments of a vector or picture around each of ``places`` to ``fragments``.

        Returns the probes of each. A fragment with too few different bytes is left out.
        """
        whole, noted = masked(data), []
        for place in places:
            start = max(0, place - CONTEXT_BYTES)
            context = whole[start : place + FRAGMENT_BYTES]
            if distinct(data, place) >= PROBE_DISTINCT_MIN and len(set(context)) >= DISTINCT_MIN:
                probes = self._probes_at(data, place)
                fragments[context, place - start] = probes
                noted.append(probes)
        return noted

    def _shared(self, fragments: Iterable[list[int]], others: Iterable[bytes]) -> set[int]:
        """Return the probes that prove nothing if they are found.

        These occur in more than SHARED_MAX different fragments, or in ``others``, which are
        pictures of entries that are still stored.
        """
        often = Counter(itertools.chain.from_iterable(fragments))
        shared = {probe for probe, count in often.items() if count > SHARED_MAX}
        for number, other in enumerate(others):
            if not number:
                self._index(often.keys())
            for offset in range(min(PROBE_BYTES, len(other))):
                count = (len(other) - offset) // PROBE_BYTES
                words = np.frombuffer(other, "<u8", count, offset)
                shared.update(words[self._near(words, np.empty(count, np.uint64))].tolist())
        return shared

    def _probes_at(self, data: bytes, place: int) -> list[int]:
        """Return the probes of a fragment or text, the first of them at ``place``."""
        return [probe_at(data, place + number) for number in range(self._stride)]

    def _index(self, probes: Set[int]) -> None:
        bits = min(max(len(probes).bit_length() + 8, TABLE_BITS_MIN), TABLE_BITS_MAX)
        self._shift = np.uint64(64 - bits)
        self._values = np.sort(np.fromiter(probes, np.uint64, len(probes)))
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[(self._values * MULTIPLIER) >> self._shift] = True

    def _near(self, words: NDArray[np.uint64], room: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the positions in ``words``, numbers of 8 bytes, at which there are probes.

        ``room``, as many numbers at least, is written to: new memory would take longer than the
        search.
        """
        hashed = np.multiply(words, MULTIPLIER, out=room[: len(words)])
        hashed >>= self._shift
        near = np.flatnonzero(self._table.take(hashed.view(np.int64), mode="clip"))
        if not len(near):
            return near
        values = words[near]
        places = np.searchsorted(self._values, values)
        places[places == len(self._values)] = 0
        probes: NDArray[np.intp] = near[self._values[places] == values]
        return probes


def have_good_probes(texts: Iterable[str], contents: Sequence[tuple[bytes, int]]) -> bool:
    """Return True if each text and fragment has STRIDE good probes, and they are not too many.

    ``contents`` are vectors and pictures, each with the place from which on it is searched for.
    """
    places = places_of(contents, STRIDE)
    left = STRIDED_PROBES_MAX // STRIDE - sum(map(len, places))
    forms: set[bytes] = set()
    for text in texts:
        if len(forms) > left:
            return False
        forms.update(form for piece in pieces_of(text) for form in written(piece))
    return (
        len(forms) <= left
        and all(places_in(form, STRIDE) or not places_in(form, 1) for form in forms)
        and all(
            good_probes(data, place, STRIDE)
            for (data, _), each in zip(contents, places, strict=True)
            for place in each
        )
    )


def good_probes(data: bytes, place: int, count: int) -> bool:
    """Return True if each of ``count`` probes from ``place`` on has enough different bytes."""
    return all(distinct(data, place + number) >= PROBE_DISTINCT_MIN for number in range(count))


def places_of(contents: Iterable[tuple[bytes, int]], stride: int) -> list[range]:
    """Return for each of ``contents`` the places of its fragments' first probes.

    They are so close that any 32 bytes contain all ``stride`` probes of one place.
    """
    length = PROBE_BYTES + stride - 1
    return [
        range(start, len(data) - length + 1, FRAGMENT_BYTES - length) for data, start in contents
    ]


def held(data: memoryview, at: int, context: bytes, place: int, length: int) -> bytes:
    """Return the bytes of ``context``, of a masked fragment, that ``data`` has around its probes.

    The probes are the ``length`` bytes at ``place`` in ``context``, and at ``at`` in ``data``.
    Return b"" if ``data`` does not have all of them, fewer than 32 equal bytes around them, or too
    few different ones.
    """
    if at < 0 or not (
        alike(data, at - BESIDE, context, place - BESIDE)
        or alike(data, at + length, context, place + length)
    ):
        return b""
    start, end = max(0, place - at), min(len(context), place + len(data) - at)
    here = np.frombuffer(data[at + start - place : at + end - place], np.uint8) ^ np.uint8(MASK)
    differing = np.flatnonzero(here != np.frombuffer(context, np.uint8)[start:end])
    before, after = differing[differing < place - start], differing[differing >= place - start]
    first = start + int(before[-1]) + 1 if len(before) else start
    last = start + int(after[0]) if len(after) else end
    piece = context[first:last]
    whole = last >= place + length and len(piece) >= FRAGMENT_BYTES
    return piece if whole and len(set(piece)) >= DISTINCT_MIN else b""


def alike(data: memoryview, at: int, around: bytes, place: int) -> bool:
    """Return True if BESIDE bytes of ``data`` from ``at``, masked, equal ``around`` from ``place``.

    Return False if either has fewer.
    """
    here, there = data[max(0, at) : at + BESIDE], around[max(0, place) : place + BESIDE]
    return len(here) == len(there) == BESIDE and masked(here) == there


def pieces_of(text: str) -> list[str]:
    """Cut a long text into pieces of 256 to 511 characters."""
    count = max(1, len(text) // TEXT_PIECE)
    bounds = [len(text) * number // count for number in range(count + 1)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def written(text: str) -> set[bytes]:
    """Return the bytes of a text in each form: UTF-8, JSON, and Python's internal encodings."""
    if text.isascii() and text.isprintable() and not {'"', "\\"} & set(text):
        return {text.encode()}
    escaped = [json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (False, True)]
    top = max(text)
    coding = "latin-1" if top < "\u0100" else "utf-16-le" if top < "\U00010000" else "utf-32-le"
    return {text.encode(), text.encode(coding), *(each.encode() for each in escaped)}


def places_in(data: bytes, count: int) -> list[int]:
    """Return places for ``count`` probes in ``data``: one a quarter at most, the last first.

    In each quarter the place with the most different bytes is chosen, if each of its probes has
    enough.
    """
    last = len(data) - PROBE_BYTES - count + 1
    places = []
    for number in range(TEXT_STRETCHES, 0, -1):
        most = 0
        start, end = ((last + 1) * each // TEXT_STRETCHES for each in (number - 1, number))
        for at in range(end - 1, start - 1, -1):
            if (here := distinct(data, at)) > most and good_probes(data, at, count):
                place, most = at, here
                if most == PROBE_BYTES:
                    break
        if most:
            places.append(place)
    return places


def probe_at(data: bytes, place: int) -> int:
    """Return the 8 bytes at ``place`` as a number."""
    return int.from_bytes(data[place : place + PROBE_BYTES], "little")


def distinct(data: bytes, at: int) -> int:
    """Count the different bytes among the 8 bytes at ``at``."""
    return len(set(data[at : at + PROBE_BYTES]))


def masked(data: bytes | memoryview) -> bytes:
    """XOR bytes with MASK, which masks them, or unmasks masked bytes."""
    return (np.frombuffer(data, np.uint8) ^ np.uint8(MASK)).tobytes()
