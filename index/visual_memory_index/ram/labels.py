"""The labels of entries as numbers, with a table of their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.entry import Texts
from visual_memory_index.records.steps import distinct

Codes = NDArray[np.int32]

FIRST_CAPACITY = 16


class Factorized(NamedTuple):
    """The labels of n rows: the ``distinct`` ones, and the number of each row's: int32 (n,)."""

    distinct: Sequence[str]
    numbers: Codes

    def of_rows(self) -> NDArray[np.object_]:
        """Return the label of each row: (n,)."""
        labels: NDArray[np.object_] = np.array(self.distinct, dtype=object)[self.numbers]
        return labels


def factorized(labels: Texts) -> Factorized:
    """Return ``labels`` (n,) as they are added at once, however many there are."""
    numbers = {label: number for number, label in enumerate(distinct(labels))}
    of_rows = np.fromiter((numbers[label] for label in labels), np.int32, len(labels))
    return Factorized([*numbers], of_rows)


class Labels:
    """Labels by code: a number that stays as long as an entry has the label.

    ``counts`` says how many entries have each. Nothing may read during a change.
    """

    def __init__(self) -> None:
        self._texts = np.full(FIRST_CAPACITY, None, dtype=object)
        self.counts: Counter[str] = Counter()
        self._codes: dict[str, int] = {}
        self._free = [*range(FIRST_CAPACITY)][::-1]

    def add(self, labels: Factorized) -> Codes:
        """Count entries with these ``labels`` (n,) and return their codes: int32 (n,)."""
        counts = np.bincount(labels.numbers, minlength=len(labels.distinct))
        for label, count in zip(labels.distinct, counts.tolist(), strict=True):
            if label not in self._codes:
                self._add(label)
            self.counts[label] += count
        codes = np.array([self._codes[label] for label in labels.distinct], np.int32)
        return codes[labels.numbers]

    def drop(self, codes: Codes) -> None:
        """Count down for entries that lose these ``codes``; forget labels that none has left."""
        counts = np.bincount(codes)
        dropped = np.flatnonzero(counts)
        for code, count in zip(dropped.tolist(), counts[dropped].tolist(), strict=True):
            label = self._texts[code]
            self.counts[label] -= count
            if not self.counts[label]:
                del self.counts[label], self._codes[label]
                self._texts[code] = None
                self._free.append(code)

    def of(self, codes: Codes) -> NDArray[np.object_]:
        """Return the labels of ``codes``, in their shape."""
        labels: NDArray[np.object_] = self._texts[codes]
        return labels

    def code(self, label: str) -> int:
        """Return the code of a label, or −1 if no entry has it."""
        return self._codes.get(label, -1)

    def match(self, matches: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Return for each code if its label ``matches``; False where a code has none."""
        found = (text is not None and matches(text) for text in self._texts)
        return np.fromiter(found, bool, len(self._texts))

    def count(self, codes: Codes) -> Counter[str]:
        """Count the entries of each label among those with these ``codes``."""
        counts = np.bincount(codes)
        found = np.flatnonzero(counts)
        return Counter(dict(zip(self._texts[found], counts[found].tolist(), strict=True)))

    def _add(self, label: str) -> None:
        if not self._free:
            size = len(self._texts)
            self._texts = np.append(self._texts, np.full(size, None, dtype=object))
            self._free = [*range(size, 2 * size)][::-1]
        code = self._codes[label] = self._free.pop()
        self._texts[code] = label
