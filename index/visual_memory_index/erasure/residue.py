"""Byte patterns of unlearned entries, to search files and memory for their residue."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Set

import numpy as np
from numpy.typing import NDArray

FRAGMENT_BYTES = 32  # of a vector or picture: the least that is residue
TEXT_BYTES_MIN = 12  # a shorter text could be there by chance
TEXT_PIECE = 256  # characters; longer texts are searched for in pieces, as files may split them
TEXT_STRETCHES, TEXTS_COMPARED = 4, 50_000  # for probes; to find the rarest probe
DISTINCT_MIN = 12  # different bytes that a fragment must have, so that it is not there by chance
HEAD_SHARE = 4  # this part of a picture is left out: headers are alike
PROBE_BYTES = 8
PROBE_DISTINCT_MIN = 4  # zeros, for example, are everywhere
STEP = FRAGMENT_BYTES - PROBE_BYTES  # so every fragment contains a whole probe
BESIDE = STEP // 2  # bytes of a fragment before its probe, or behind it, at least
PROBES_MAX = 400_000
SHARED_MAX = 4  # different contexts that a probe may have
TABLE_BITS_MIN, TABLE_BITS_MAX = 14, 24
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
MASK = 0xA5  # patterns are kept masked, or the search would find them in its own memory
SEARCHED_AT_ONCE = 1 << 18  # so that all arrays stay in the processor's cache


class ResiduePatterns:
    """Byte patterns of texts, vectors and pictures to search for, unless they may occur by chance.

    Vectors and pictures are searched for by fragments, and if there is very much data, by some that
    still find whole ones. What also occurs in ``others``, content of the remaining entries, is not
    searched for, nor are 8 bytes that occur in many different fragments. Texts are also found in
    the forms in which JSON and Python write them, and also if many have the same beginning or end.
    A search looks up probes, 8 bytes of each fragment or text, and then compares the bytes around
    them. Patterns are kept masked (see ``masked``), or the search would find them in its own
    memory.
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
        self._probes: dict[int, list[tuple[bytes, int]]] = {}  # to (context, offset)
        text_count = self._note_texts(set(texts))
        contents = [(each, 0) for each in dict.fromkeys(vectors)]
        contents += [(each, len(each) // HEAD_SHARE) for each in dict.fromkeys(pictures)]
        wanted = sum(len(data) // STEP for data, _ in contents)
        step = STEP * max(1, -(-wanted // PROBES_MAX))
        noted = [
            self._note(data, range(start, len(data) - PROBE_BYTES + 1, step))
            for data, start in contents
            if len(data) >= FRAGMENT_BYTES
        ]
        self._index(self._probes.keys())
        self._drop_shared(others)
        self._index(self._probes.keys() | self._text_probes.keys())
        self.count = text_count + sum(not self._probes.keys().isdisjoint(each) for each in noted)
        """How many are looked for."""

    @property
    def texts(self) -> frozenset[bytes]:
        """Return the pieces of texts among the patterns, masked."""
        return frozenset(self._texts.values())

    def found_in(self, data: bytes | bytearray | memoryview) -> set[bytes]:
        """Return the pieces of the patterns that occur in ``data``, masked.

        They are whole pieces of texts, and parts of vectors and pictures of at least 32 bytes.
        """
        return set(self._pieces(memoryview(data)))

    def _pieces(self, whole: memoryview) -> Iterator[bytes]:
        if not len(self._values):  # nothing can be searched for
            return
        for start in range(0, len(whole), SEARCHED_AT_ONCE):
            part = whole[start : start + SEARCHED_AT_ONCE + PROBE_BYTES]
            for offset in range(min(PROBE_BYTES, len(part))):
                words = np.frombuffer(part, "<u8", (len(part) - offset) // PROBE_BYTES, offset)
                for near in self._near(words).tolist():
                    at, probe = start + offset + near * PROBE_BYTES, int(words[near])
                    for place, length in self._text_probes.get(probe, ()):
                        text = masked(whole[max(0, at - place) : at - place + length])
                        if text in self._texts:
                            yield self._texts[text]
                    for around, place in self._probes.get(probe, ()):
                        piece = held(whole, at, around, place)
                        if piece:
                            yield piece

    def _note_texts(self, texts: Iterable[str]) -> int:
        """Add patterns of texts; return the number of texts that can be searched for."""
        forms: dict[bytes, list[int]] = {}  # with places for a probe
        count = 0
        for text in texts:
            looked_for = False
            if len(text.encode()) < TEXT_BYTES_MIN:
                continue
            for piece in pieces_of(text):
                whole = piece.encode()
                if places := places_in(whole):
                    looked_for = True
                    kept = masked(whole)
                    for form in written(piece):
                        if found := places if form == whole else places_in(form):
                            forms[form] = found
                            self._texts[kept if form == whole else masked(form)] = kept
            count += looked_for
        compared = list(forms)[:: max(1, -(-len(forms) // TEXTS_COMPARED))]
        often = Counter(probe_at(form, at) for form in compared for at in forms[form])
        for form, places in forms.items():
            place = min(places, key=lambda at: often[probe_at(form, at)])
            self._text_probes.setdefault(probe_at(form, place), set()).add((place, len(form)))
        return count

    def _note(self, data: bytes, places: Iterable[int]) -> list[int]:
        """Add the fragments of a vector or picture around each of ``places``; return their probes.

        A probe is the 8 bytes at the place. A fragment with too few different bytes is left out.
        """
        whole, probes = masked(data), []
        for place in places:
            near = min(place, len(data) - FRAGMENT_BYTES)
            fragment = data[near : near + FRAGMENT_BYTES]
            if distinct(data, place) >= PROBE_DISTINCT_MIN and len(set(fragment)) >= DISTINCT_MIN:
                start = max(0, place - STEP)
                around = (whole[start : place + FRAGMENT_BYTES], place - start)
                probe = probe_at(data, place)
                known = self._probes.setdefault(probe, [])
                if len(known) <= SHARED_MAX and around not in known:
                    known.append(around)
                probes.append(probe)
        return probes

    def _drop_shared(self, others: Iterable[bytes]) -> None:
        """Drop the probes that prove nothing if they are found.

        These occur in more than SHARED_MAX different fragments, or in ``others``, which are
        pictures of entries that are still stored.
        """
        shared = {probe for probe, known in self._probes.items() if len(known) > SHARED_MAX}
        for other in others:
            for offset in range(min(PROBE_BYTES, len(other))):
                count = (len(other) - offset) // PROBE_BYTES
                words = np.frombuffer(other, "<u8", count, offset)
                shared.update(words[self._near(words)].tolist())
        for probe in shared & self._probes.keys():
            del self._probes[probe]

    def _index(self, probes: Set[int]) -> None:
        bits = min(max(len(probes).bit_length() + 8, TABLE_BITS_MIN), TABLE_BITS_MAX)
        self._shift = np.uint64(64 - bits)
        self._values = np.array(sorted(probes), dtype=np.uint64)
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[self._hashed(self._values)] = True

    def _near(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the positions in ``words``, numbers of 8 bytes, at which there are probes."""
        near = np.flatnonzero(self._table.take(self._hashed(words)))
        if not len(near):
            return near
        values = words[near]
        places = np.searchsorted(self._values, values)
        places[places == len(self._values)] = 0
        probes: NDArray[np.intp] = near[self._values[places] == values]
        return probes

    def _hashed(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        places = (words * MULTIPLIER) >> self._shift
        return places.view(np.int64)  # the type that ``take`` needs no conversion of


def held(data: memoryview, at: int, around: bytes, place: int) -> bytes:
    """Return the bytes of ``around``, a masked fragment, that ``data`` has around a probe.

    The probe is the 8 bytes at ``place`` in ``around``, and at ``at`` in ``data``. Return b"" if
    fewer than 32 bytes around it are equal.
    """
    if not (
        alike(data, at - BESIDE, around, place - BESIDE)
        or alike(data, at + PROBE_BYTES, around, place + PROBE_BYTES)
    ):
        return b""
    start, end = max(0, place - at), min(len(around), place + len(data) - at)
    here = np.frombuffer(data[at + start - place : at + end - place], np.uint8) ^ np.uint8(MASK)
    differing = np.flatnonzero(here != np.frombuffer(around, np.uint8)[start:end])
    before, after = differing[differing < place - start], differing[differing >= place - start]
    first = start + int(before[-1]) + 1 if len(before) else start
    last = start + int(after[0]) if len(after) else end
    return around[first:last] if last - first >= FRAGMENT_BYTES else b""


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


def places_in(data: bytes) -> list[int]:
    """Return places for a probe of 8 bytes in ``data``: one a quarter at most, the last first.

    In each quarter the place with the most different bytes is chosen, if there are enough.
    """
    last = len(data) - PROBE_BYTES
    places = []
    for number in range(TEXT_STRETCHES, 0, -1):
        most = PROBE_DISTINCT_MIN - 1
        start, end = ((last + 1) * each // TEXT_STRETCHES for each in (number - 1, number))
        for at in range(end - 1, start - 1, -1):
            if (here := distinct(data, at)) > most:
                place, most = at, here
                if most == PROBE_BYTES:
                    break
        if most >= PROBE_DISTINCT_MIN:
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
