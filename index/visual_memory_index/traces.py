"""What erased entries could have left behind, and whether some bytes hold any of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

FRAGMENT_BYTES = 32  # of a vector or picture: so much of it is a trace
TEXT_BYTES_MIN = 12  # a shorter text could be there by chance
DISTINCT_MIN = 12  # different bytes that a fragment must have, so that it is not there by chance
HEAD_SHARE = 4  # this part of a picture is left out: headers are alike
PROBE_BYTES = 8
PROBE_DISTINCT_MIN = 4  # zeros, for one, are everywhere
STEP = FRAGMENT_BYTES - PROBE_BYTES  # every fragment then holds a probe as a whole
PROBES_MAX = 400_000
SHARED_MAX = 4  # so many vectors or pictures may have a probe alike
TABLE_BITS_MIN, TABLE_BITS_MAX = 14, 24
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
MASK = 0xA5  # what is looked for is kept masked, or it would be found where it is kept
SEARCHED_AT_ONCE = 1 << 18  # with what is computed of it, it stays near the processor


class Traces:
    """Texts, vectors and pictures to look for, as far as they can be told from chance.

    Where there are very many, fragments are looked for at some places only, and a whole one is
    still found. What several vectors or pictures have, or one of ``others`` that stay, is a header,
    and no trace. Texts may begin and end alike.
    """

    def __init__(
        self,
        texts: Iterable[str],
        vectors: Iterable[bytes] = (),
        pictures: Iterable[bytes] = (),
        others: Iterable[bytes] = (),
    ) -> None:
        self._texts: set[bytes] = set()
        self._text_probes: dict[int, set[tuple[int, int]]] = {}  # how far in, how long the text is
        self._contents: list[bytes] = []
        self._probes: dict[int, list[tuple[int, int]]] = {}  # in which content, how far in
        for text in texts:
            self._note_text(text.encode())
        contents = [(each, 0) for each in dict.fromkeys(vectors)]
        contents += [(each, len(each) // HEAD_SHARE) for each in dict.fromkeys(pictures)]
        wanted = sum(len(data) // STEP for data, _ in contents)
        step = STEP * max(1, -(-wanted // PROBES_MAX))
        for data, start in contents:
            if len(data) >= FRAGMENT_BYTES:
                self._note(data, range(start, len(data) - PROBE_BYTES + 1, step))
        self._drop_headers(others)
        probes = self._probes.keys() | self._text_probes.keys()
        bits = min(max(len(probes).bit_length() + 8, TABLE_BITS_MIN), TABLE_BITS_MAX)
        self._shift = np.uint64(64 - bits)
        self._values = np.array(sorted(probes), dtype=np.uint64)
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[self._hashed(self._values)] = True

    @property
    def count(self) -> int:
        """How many are looked for."""
        contents = {number for owners in self._probes.values() for number, _ in owners}
        return len(self._texts) + len(contents)

    def found_in(self, data: bytes | bytearray | memoryview) -> set[bytes]:
        """The pieces of them that ``data`` holds, masked: texts, and fragments or more."""
        return set(self._pieces(memoryview(data)))

    def _pieces(self, whole: memoryview) -> Iterator[bytes]:
        for start in range(0, len(whole), SEARCHED_AT_ONCE):
            part = whole[start : start + SEARCHED_AT_ONCE + PROBE_BYTES]
            for offset in range(min(PROBE_BYTES, len(part))):
                words = np.frombuffer(part, "<u8", (len(part) - offset) // PROBE_BYTES, offset)
                for near in self._near(words).tolist():
                    at, probe = start + offset + near * PROBE_BYTES, int(words[near])
                    for place, length in self._text_probes.get(probe, ()):
                        text = masked(whole[max(0, at - place) : at - place + length])
                        if text in self._texts:
                            yield text
                    for number, place in self._probes.get(probe, ()):
                        piece = held(whole, at, self._contents[number], place)
                        if piece:
                            yield piece

    def _note_text(self, data: bytes) -> None:
        if len(data) < TEXT_BYTES_MIN:
            return
        # Of the places that are as good the last: texts differ more often where they end.
        place = max(range(len(data) - PROBE_BYTES, -1, -1), key=lambda at: distinct(data, at))
        if distinct(data, place) >= PROBE_DISTINCT_MIN:
            self._texts.add(masked(data))
            self._text_probes.setdefault(probe_at(data, place), set()).add((place, len(data)))

    def _note(self, data: bytes, places: Iterable[int]) -> None:
        number, kept = len(self._contents), False
        for place in places:
            around = min(place, len(data) - FRAGMENT_BYTES)
            fragment = data[around : around + FRAGMENT_BYTES]
            if distinct(data, place) >= PROBE_DISTINCT_MIN and len(set(fragment)) >= DISTINCT_MIN:
                self._probes.setdefault(probe_at(data, place), []).append((number, place))
                kept = True
        if kept:
            self._contents.append(masked(data))

    def _drop_headers(self, others: Iterable[bytes]) -> None:
        """Look no more for what is in more than one vector or picture."""
        shared = {probe for probe, owners in self._probes.items() if len(owners) > SHARED_MAX}
        for other in others:
            for offset in range(min(PROBE_BYTES, len(other))):
                count = (len(other) - offset) // PROBE_BYTES
                shared.update(np.frombuffer(other, "<u8", count, offset).tolist())
        for probe in shared & self._probes.keys():
            del self._probes[probe]

    def _near(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Which of ``words`` are probes."""
        near = np.flatnonzero(self._table[self._hashed(words)])
        if not len(near):
            return near
        values = words[near]
        places = np.searchsorted(self._values, values)
        places[places == len(self._values)] = 0
        probes: NDArray[np.intp] = near[self._values[places] == values]
        return probes

    def _hashed(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        places: NDArray[np.uint64] = (words * MULTIPLIER) >> self._shift
        return places


def held(data: memoryview, at: int, content: bytes, place: int) -> bytes:
    """What ``data`` holds of a masked content around a probe, masked; empty for no fragment."""
    start = max(0, place - at, place - STEP)
    end = min(len(content), place + len(data) - at, place + FRAGMENT_BYTES)
    here = np.frombuffer(data[at + start - place : at + end - place], np.uint8) ^ np.uint8(MASK)
    differing = np.flatnonzero(here != np.frombuffer(content, np.uint8)[start:end])
    before, after = differing[differing < place - start], differing[differing >= place - start]
    first = start + int(before[-1]) + 1 if len(before) else start
    last = start + int(after[0]) if len(after) else end
    return content[first:last] if last - first >= FRAGMENT_BYTES else b""


def probe_at(data: bytes, place: int) -> int:
    """The bytes from there that make a candidate."""
    return int.from_bytes(data[place : place + PROBE_BYTES], "little")


def distinct(data: bytes, at: int) -> int:
    """How many different bytes a probe from there has."""
    return len(set(data[at : at + PROBE_BYTES]))


def masked(data: bytes | memoryview) -> bytes:
    """Bytes that look otherwise; once more and they are as before."""
    return (np.frombuffer(data, np.uint8) ^ np.uint8(MASK)).tobytes()
