"""Fragments of vectors and pictures, with the probes by which they are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.erasure.masks import MASK, masked
from visual_memory_index.erasure.probes import PROBE_BYTES, PROBE_DISTINCT_MIN, STRIDE

FRAGMENT_BYTES = 32  # the least that is residue
CONTEXT_BYTES = FRAGMENT_BYTES - PROBE_BYTES  # of a fragment before its probes, at most
AROUND_BYTES = CONTEXT_BYTES + FRAGMENT_BYTES
BESIDE = (CONTEXT_BYTES - STRIDE + 1) // 2  # bytes before the probes, or behind them, at least
JOINED_BYTES = 1 << 22  # of contents of one length, worked on at once
DISTINCT_MIN = 12  # different bytes that a fragment must have, so that it is not there by chance

Content = tuple[bytes, int]
"""A vector or picture, and the place from which on it is searched for."""


class Fragments(NamedTuple):
    """Bytes around f places, masked, and numbers of the contents that have them.

    Of ``around`` uint8 (f, AROUND_BYTES), in which the place is CONTEXT_BYTES, those from
    ``starts`` to ``ends`` uint8 (f,) are the content's; ``probes`` uint64 (f, stride) begin at the
    place, each a byte after the one before.
    """

    around: NDArray[np.uint8]
    starts: NDArray[np.uint8]
    ends: NDArray[np.uint8]
    probes: NDArray[np.uint64]
    contents: NDArray[np.intp]

    def at(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Fragments:
        """Return the ``chosen`` fragments."""
        return Fragments(
            self.around[chosen],
            self.starts[chosen],
            self.ends[chosen],
            self.probes[chosen],
            self.contents[chosen],
        )

    def good(self) -> NDArray[np.bool_]:
        """Return a mask (f,) of those of which each probe has enough different bytes."""
        places = range(CONTEXT_BYTES, CONTEXT_BYTES + self.probes.shape[1])
        of_each = [
            distinct(self.around[:, at : at + PROBE_BYTES]) >= PROBE_DISTINCT_MIN for at in places
        ]
        good: NDArray[np.bool_] = np.all(of_each, axis=0)
        return good

    def distinct(self) -> NDArray[np.intp]:
        """Count the different bytes of the content around each place: (f,)."""
        return distinct(self.around)

    def one_of_each(self) -> NDArray[np.intp]:
        """Return the number of one of all fragments that have the same bytes around their place."""
        rows = np.column_stack([self.around, self.starts, self.ends])
        whole = rows.view(np.dtype((np.void, rows.shape[1])))[:, 0]
        return np.unique(whole, return_index=True)[1]

    def context(self, number: int) -> tuple[bytes, int]:
        """Return the masked bytes of a fragment and around it, and where its probes begin there."""
        start = int(self.starts[number])
        return self.around[number, start : self.ends[number]].tobytes(), CONTEXT_BYTES - start


def fragments_of(contents: Sequence[Content], stride: int, every: int = 1) -> Fragments:
    """Return each fragment of ``contents`` at ``every`` place, with ``stride`` probes."""
    alike = defaultdict[tuple[int, int], list[int]](list)
    for number, (data, start) in enumerate(contents):
        alike[len(data), start].append(number)
    none = np.empty(0, np.intp)
    columns = [(np.empty((0, AROUND_BYTES), np.uint8), none, none, none)]
    for (length, start), numbers in alike.items():
        places = np.array(places_of(length, start, stride)[::every], np.intp)
        at = places[:, np.newaxis] + np.arange(-CONTEXT_BYTES, FRAGMENT_BYTES)
        at = np.where((at >= 0) & (at < length), at, places[:, np.newaxis])  # no different byte
        some = max(1, JOINED_BYTES // length)
        for first in range(0, len(numbers), some):
            part = numbers[first : first + some]
            joined = np.frombuffer(b"".join(contents[each][0] for each in part), np.uint8)
            bytes_around = joined.reshape(len(part), length)[:, at].reshape(-1, AROUND_BYTES)
            before = np.tile(CONTEXT_BYTES - places, len(part))
            columns.append((bytes_around, before, before + length, np.repeat(part, len(places))))
    bytes_around, before, after, of_each = map(np.concatenate, zip(*columns, strict=True))
    starts = np.maximum(before, 0).astype(np.uint8)
    ends = np.minimum(after, AROUND_BYTES).astype(np.uint8)
    probes = probes_in(bytes_around, stride)
    bytes_around ^= np.uint8(MASK)
    return Fragments(bytes_around, starts, ends, probes, of_each)


def probes_in(around: NDArray[np.uint8], stride: int) -> NDArray[np.uint64]:
    """Return the ``stride`` probes of each of f places, uint64 (f, stride)."""
    probes = np.empty((len(around), stride), np.uint64)
    for number in range(stride):
        at = CONTEXT_BYTES + number
        words = np.ascontiguousarray(around[:, at : at + PROBE_BYTES])
        probes[:, number] = words.view("<u8")[:, 0]
    return probes


def places_of(length: int, start: int, stride: int) -> range:
    """Return the places of the first probes of fragments of a content, from ``start`` on.

    They are so close that any 32 bytes contain all ``stride`` probes of one place.
    """
    probed = PROBE_BYTES + stride - 1
    return range(start, length - probed + 1, FRAGMENT_BYTES - probed)


def count_places(contents: Iterable[Content], stride: int) -> int:
    """Count the places of all ``contents``; see ``places_of``."""
    return sum(len(places_of(len(data), start, stride)) for data, start in contents)


def distinct(rows: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Count the different bytes of each of ``rows`` (n, m): (n,)."""
    ordered = np.sort(rows, axis=1)
    changes: NDArray[np.intp] = np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)
    return 1 + changes


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
