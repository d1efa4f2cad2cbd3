"""A loop over data in words of 8 bytes, which looks for some of them.

Compiled by Numba when it is first called.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visual_memory_index.rows.compiled import compiled

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that different numbers have different hashes
BITS = np.uint64(6)  # of a place in a word of the filter


@compiled
def look_up(words: Any, filter: Any, starts: Any, hashes: Any, shift: Any, found: Any) -> Any:
    """Write the positions in ``words`` of numbers with one of ``hashes`` to ``found``, count them.

    The hashes of which the first bits are i are from ``starts[i]`` to ``starts[i + 1]``.
    """
    count = 0
    for at in range(len(words)):
        hashed = words[at] * MULTIPLIER
        home = hashed >> shift
        bits = filter[home]
        one = bits >> (hashed >> (shift - BITS) & np.uint64(63))
        other = bits >> (hashed >> (shift - BITS - BITS) & np.uint64(63))
        if one & other & np.uint64(1):
            for place in range(starts[home], starts[home + np.uint64(1)]):
                if hashes[place] == hashed:
                    found[count] = at
                    count += 1
                    break
    return count


def compile_loop() -> None:
    """Have the loop compiled for data that may be written to or not, wherever a word begins."""
    numbers, shift = np.zeros(1, np.uint64), np.uint64(64 - 8)
    filter, starts = np.zeros(1 << 8, np.uint64), np.zeros(1 + (1 << 8), np.int64)
    for data in (bytes(16), bytearray(16)):
        for offset in (0, 1):
            words = np.frombuffer(data, "<u8", 1, offset)
            look_up(words, filter, starts, numbers, shift, np.zeros(1, np.int64))
