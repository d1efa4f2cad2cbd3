"""Byte patterns of unlearned entries, to search files and memory for their residue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.erasure.fragments import (
    DISTINCT_MIN,
    FRAGMENT_BYTES,
    Content,
    count_places,
    fragments_of,
    held,
)
from visual_memory_index.erasure.masks import masked
from visual_memory_index.erasure.probes import PROBE_BYTES, STRIDE, Probes
from visual_memory_index.erasure.texts import (
    TEXT_BYTES_MIN,
    pieces_of,
    places_in,
    probes_at,
    written,
)

TEXTS_COMPARED = 50_000  # to find the rarest probe
HEAD_SHARE = 4  # this part of a picture is left out: headers are alike
PROBES_MAX = 400_000
STRIDED_PROBES_MAX = 60_000  # more take longer to collect than a search at STRIDE saves
SHARED_MAX = 4  # different contexts that a probe may have
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
        known = {each for each in texts if len(each.encode()) >= TEXT_BYTES_MIN}
        contents = [(each, 0) for each in dict.fromkeys(vectors)]
        contents += [(each, len(each) // HEAD_SHARE) for each in dict.fromkeys(pictures)]
        contents = [(data, start) for data, start in contents if len(data) >= FRAGMENT_BYTES]
        self._stride = STRIDE if have_good_probes(known, contents) else 1
        self._length = PROBE_BYTES + self._stride - 1  # of all probes of a fragment together
        text_count = self._note_texts(known)
        content_count = self._note(contents, others)
        text_probes = np.fromiter(self._text_probes, np.uint64, len(self._text_probes))
        self._known = Probes(np.concatenate([text_probes, self._probes]))
        self.count = text_count + content_count
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
        if not len(self._known):  # nothing can be searched for
            return
        room = np.empty(SEARCHED_AT_ONCE // PROBE_BYTES + 1, np.int64)
        for start in range(0, len(whole), SEARCHED_AT_ONCE):
            part = whole[start : start + SEARCHED_AT_ONCE + PROBE_BYTES]
            for offset in range(0, min(PROBE_BYTES, len(part)), self._stride):
                words = np.frombuffer(part, "<u8", (len(part) - offset) // PROBE_BYTES, offset)
                near = self._known.near(words, room)
                places = (start + offset + near * PROBE_BYTES).tolist()
                firsts, ends = (
                    np.searchsorted(self._probes, words[near], side).tolist()
                    for side in ("left", "right")
                )
                for at, probe in zip(places, words[near].tolist(), strict=True):
                    yield from self._texts_at(whole, at, probe)
                for at, first, end in zip(places, firsts, ends, strict=True):
                    yield from self._parts_at(whole, at, self._owners[first:end].tolist())

    def _texts_at(self, whole: memoryview, at: int, probe: int) -> Iterator[bytes]:
        """Yield the texts that ``whole`` has around a probe."""
        for place, length in self._text_probes.get(probe, ()):
            text = masked(whole[max(0, at - place) : at - place + length])
            if text in self._texts:
                yield self._texts[text]

    def _parts_at(self, whole: memoryview, at: int, owners: Iterable[int]) -> Iterator[bytes]:
        """Yield the parts of vectors and pictures that ``whole`` has around a probe of theirs."""
        for owner in owners:
            fragment, number = divmod(owner, self._stride)
            piece = held(whole, at - number, *self._fragments.context(fragment), self._length)
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
            probe
            for form in compared
            for at in forms[form]
            for probe in probes_at(form, at, self._stride)
        )
        for form, places in forms.items():
            rarest = min(
                places,
                key=lambda at: max(often[each] for each in probes_at(form, at, self._stride)),
            )
            for at, probe in enumerate(probes_at(form, rarest, self._stride), rarest):
                self._text_probes.setdefault(probe, set()).add((at, len(form)))
        return count

    def _note(self, contents: Sequence[Content], others: Iterable[bytes]) -> int:
        """Note fragments of ``contents`` that could not be there by chance; count who has some.

        Left out are those with a probe that proves nothing if it is found: more than SHARED_MAX
        different fragments have it, or ``others``, pictures of entries that are still stored.
        """
        count = count_places(contents, self._stride)
        every = max(1, -(-self._stride * count // PROBES_MAX))
        found = fragments_of(contents, self._stride, every)
        found = found.at(found.good() & (found.distinct() >= DISTINCT_MIN))
        one_of_each = found.one_of_each()
        probes, often = np.unique(found.probes[one_of_each], return_counts=True)
        shared = [probes[often > SHARED_MAX], *looked_up(Probes(probes), others)]
        proves = ~np.any(np.isin(found.probes, np.concatenate(shared)), axis=1)
        self._fragments = found.at(one_of_each[proves[one_of_each]])
        self._owners = np.argsort(self._fragments.probes, axis=None)
        self._probes = self._fragments.probes.ravel()[self._owners]
        return int(np.count_nonzero(np.bincount(found.contents[proves])))


def have_good_probes(texts: Iterable[str], contents: Sequence[Content]) -> bool:
    """Return True if each text and fragment has STRIDE good probes, and they are not too many."""
    left = STRIDED_PROBES_MAX // STRIDE - count_places(contents, STRIDE)
    forms: set[bytes] = set()
    for text in texts:
        if len(forms) > left:
            return False
        forms.update(form for piece in pieces_of(text) for form in written(piece))
    return (
        len(forms) <= left
        and all(places_in(form, STRIDE) or not places_in(form, 1) for form in forms)
        and bool(fragments_of(contents, STRIDE).good().all())
    )


def looked_up(probes: Probes, others: Iterable[bytes]) -> Iterator[NDArray[np.uint64]]:
    """Yield those of ``probes`` that occur in ``others``, wherever they begin."""
    for other in others:
        for offset in range(min(PROBE_BYTES, len(other))):
            count = (len(other) - offset) // PROBE_BYTES
            words = np.frombuffer(other, "<u8", count, offset)
            yield words[probes.near(words, np.empty(count, np.int64))]
