"""Numbers of 8 bytes, to be found in data fast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.word_kernel import BITS, MULTIPLIER, look_up

PROBE_BYTES = 8
PROBE_DISTINCT_MIN = 4  # different bytes; zeros, for example, are everywhere
STRIDE = 4  # bytes from one place of the data where probes are looked up to the next
WORDS_BITS_MIN = 8


class Probes:
    """A set of numbers, each of them 8 bytes as read from data, lowest first.

    Data is compared with a Bloom filter of two bits for each number, both in one word (Putze,
    Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters", 2007), and what passes
    it with the sorted hashes.
    """

    def __init__(self, values: NDArray[np.uint64]) -> None:
        """Take numbers (n,), which may repeat."""
        self._hashes = np.sort(values * MULTIPLIER)
        self._shift = np.uint64(64 - max(WORDS_BITS_MIN, len(values).bit_length() - 1))
        self._filter = np.zeros(1 << 64 - int(self._shift), np.uint64)
        for after in (BITS, BITS + BITS):
            bits = np.uint64(1) << (self._hashes >> self._shift - after & np.uint64(63))
            np.bitwise_or.at(self._filter, self._hashes >> self._shift, bits)
        ends = np.arange(1 + len(self._filter), dtype=np.uint64)
        self._starts = np.searchsorted(self._hashes >> self._shift, ends)

    def __len__(self) -> int:
        return len(self._hashes)

    def near(self, words: NDArray[np.uint64], room: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in ``words`` at which there are probes, ascending.

        They are written to ``room``, of as many numbers: new memory would take longer.
        """
        values = self._filter, self._starts, self._hashes
        return room[: look_up(words, *values, self._shift, room)]
