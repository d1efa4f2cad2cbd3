"""What erased entries could have left behind, and whether some bytes hold any of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
COMPARED_BYTES_MAX = 256  # of a text: its probe is there
TABLE_BITS_MIN, TABLE_BITS_MAX = 14, 24
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
MASK = 0xA5  # what is looked for is kept masked, or it would be found where it is kept
SEARCHED_AT_ONCE = 1 << 18  # with what is computed of it, it stays near the processor


class Trace(NamedTuple):
    """One text, or one vector or picture of which any fragment counts, masked."""

    masked: bytes
    fragments: bool


class Traces:
    """Texts, vectors and pictures to look for, as far as they can be told from chance.

    Where there are very many, fragments are looked for at some places only, and a whole one is
    still found. What several vectors or pictures have, or one of ``others`` that stay, is a header,
    and no trace. A text is one whatever it begins with: its probe is where it differs most from the
    other texts.
    """

    def __init__(
        self,
        texts: Iterable[str],
        vectors: Iterable[bytes] = (),
        pictures: Iterable[bytes] = (),
        others: Iterable[bytes] = (),
    ) -> None:
        self._traces: list[Trace] = []
        self._probes: dict[int, list[tuple[int, int]]] = {}
        encoded = [text.encode() for text in dict.fromkeys(texts)]
        long = [each for each in encoded if len(each) >= TEXT_BYTES_MIN]
        for data, place in zip(long, rarest(long), strict=True):
            self._note(data, [place], fragments=False)
        contents = [(each, 0) for each in dict.fromkeys(vectors)]
        contents += [(each, len(each) // HEAD_SHARE) for each in dict.fromkeys(pictures)]
        wanted = sum(len(data) // STEP for data, _ in contents)
        step = STEP * max(1, -(-wanted // PROBES_MAX))
        for data, start in contents:
            if len(data) >= FRAGMENT_BYTES:
                self._note(data, range(start, len(data) - PROBE_BYTES + 1, step), fragments=True)
        self._drop_headers(others)
        bits = min(max(len(self._probes).bit_length() + 8, TABLE_BITS_MIN), TABLE_BITS_MAX)
        self._shift = np.uint64(64 - bits)
        self._values = np.array(sorted(self._probes), dtype=np.uint64)
        self._table = np.zeros(1 << bits, dtype=bool)
        self._table[self._hashed(self._values)] = True

    @property
    def count(self) -> int:
        """How many are looked for."""
        return len({number for owners in self._probes.values() for number, _ in owners})

    def found_in(self, data: bytes | bytearray | memoryview) -> set[bytes]:
        """The pieces of them that ``data`` holds, masked: texts, and fragments or more."""
        return {piece for piece, _ in self.pieces(data)}

    def pieces(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[bytes, int]]:
        """The pieces of them that ``data`` holds, masked, and where each is."""
        whole = memoryview(data)
        for start in range(0, len(whole), SEARCHED_AT_ONCE):
            part = whole[start : start + SEARCHED_AT_ONCE + PROBE_BYTES]
            for offset in range(min(PROBE_BYTES, len(part))):
                words = np.frombuffer(part, "<u8", (len(part) - offset) // PROBE_BYTES, offset)
                for near in self._near(words).tolist():
                    at = start + offset + near * PROBE_BYTES
                    for number, place in self._probes[int(words[near])]:
                        piece = held(whole, at, self._traces[number], place)
                        if piece:
                            yield piece, at

    def _note(self, data: bytes, places: Iterable[int], *, fragments: bool) -> None:
        number, kept = len(self._traces), False
        for place in places:
            if distinct(data, place) < PROBE_DISTINCT_MIN:
                continue
            around = min(place, len(data) - FRAGMENT_BYTES)
            if fragments and len(set(data[around : around + FRAGMENT_BYTES])) < DISTINCT_MIN:
                continue
            probe = int.from_bytes(data[place : place + PROBE_BYTES], "little")
            self._probes.setdefault(probe, []).append((number, place))
            kept = True
        if kept:
            self._traces.append(Trace(masked(data), fragments))

    def _drop_headers(self, others: Iterable[bytes]) -> None:
        """Look no more for what is in more than one vector or picture; texts stay."""
        shared = {probe for probe, owners in self._probes.items() if len(owners) > SHARED_MAX}
        for other in others:
            for offset in range(min(PROBE_BYTES, len(other))):
                count = (len(other) - offset) // PROBE_BYTES
                shared.update(np.frombuffer(other, "<u8", count, offset).tolist())
        for probe in shared & self._probes.keys():
            owners = self._probes.pop(probe)
            texts = [each for each in owners if not self._traces[each[0]].fragments]
            if texts:
                self._probes[probe] = texts

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


def held(data: memoryview, at: int, trace: Trace, place: int) -> bytes:
    """What ``data`` holds of a trace where a probe of it matched, masked; empty for too little."""
    start, end = max(0, place - at), min(len(trace.masked), place + len(data) - at)
    if trace.fragments:
        start, end = max(start, place - STEP), min(end, place + FRAGMENT_BYTES)
    here = np.frombuffer(data[at + start - place : at + end - place], np.uint8) ^ np.uint8(MASK)
    differing = np.flatnonzero(here != np.frombuffer(trace.masked, np.uint8)[start:end])
    before, after = differing[differing < place - start], differing[differing >= place - start]
    first = start + int(before[-1]) + 1 if len(before) else start
    last = start + int(after[0]) if len(after) else end
    least = FRAGMENT_BYTES if trace.fragments else len(trace.masked)
    return trace.masked[first:last] if last - first >= least else b""


def rarest(texts: Sequence[bytes]) -> list[int]:
    """Where the bytes of each are that fewest of them have, and that could least be by chance."""
    if not texts:
        return []
    compared = [text[:COMPARED_BYTES_MAX] for text in texts]
    joined = np.frombuffer(b"".join(compared), np.uint8)
    windows = np.ascontiguousarray(sliding_window_view(joined, PROBE_BYTES))
    _, which, counts = np.unique(windows.view("<u8"), return_inverse=True, return_counts=True)
    different = 1 + np.count_nonzero(np.diff(np.sort(windows, axis=1), axis=1), axis=1)
    badness = counts[which.ravel()] * (PROBE_BYTES + 1) - different
    badness[different < PROBE_DISTINCT_MIN] = np.iinfo(badness.dtype).max
    ends = np.cumsum([len(each) for each in compared])
    return [
        int(np.argmin(badness[end - len(each) : end - PROBE_BYTES + 1]))
        for each, end in zip(compared, ends.tolist(), strict=True)
    ]


def distinct(data: bytes, at: int) -> int:
    """How many different bytes a probe from there has."""
    return len(set(data[at : at + PROBE_BYTES]))


def masked(data: bytes | memoryview) -> bytes:
    """Bytes that look otherwise; once more and they are as before."""
    return (np.frombuffer(data, np.uint8) ^ np.uint8(MASK)).tobytes()
