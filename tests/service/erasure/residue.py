"""A search for pieces of erased data in a server's files and memory, independent of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FRAGMENT, WORD, STEP = 32, 8, 24
PIECE = 1 << 22
AT_ONCE = 1 << 18  # so that all arrays stay in the processor's cache
DISTINCT = 8
HASH_BITS = 20


class Residue:
    """Secrets by name; 32 consecutive bytes of a secret count, or all of a shorter one."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = secrets
        self._words: dict[int, list[tuple[str, int]]] = {}
        for name, secret in secrets.items():
            last = len(secret) - WORD
            places = range(0, last + 1, STEP) if len(secret) >= FRAGMENT else [max(0, last)]
            for place in places:
                word = secret[place : place + WORD]
                if len(set(word)) >= WORD // 2:
                    number = int.from_bytes(word, "little")
                    self._words.setdefault(number, []).append((name, place))
        self._sorted = np.array(sorted(self._words), dtype=np.uint64)
        self._maybe = np.zeros(1 << HASH_BITS, dtype=bool)
        self._maybe[hashes(self._sorted)] = True

    def in_files(self, folder: Path) -> Counter[str]:
        """Count the pieces of each secret in all files below a folder."""
        found: Counter[str] = Counter()
        for path in folder.rglob("*"):
            if path.is_file():
                found += self.in_bytes(path.read_bytes())
        return found

    def in_process(self, pid: int) -> Counter[str]:
        """Count the pieces of each secret in the readable memory of a process."""
        found: Counter[str] = Counter()
        for piece in memory_of(pid):
            found += self.in_bytes(piece)
        return found

    def in_bytes(self, data: bytes) -> Counter[str]:
        """Count the pieces of each secret in ``data``."""
        found: Counter[str] = Counter()
        for start in range(0, len(data), AT_ONCE):
            end = min(len(data), start + AT_ONCE + WORD - 1)
            if not np.frombuffer(data, np.uint8, end - start, start).any():  # such as unused memory
                continue
            for offset in range(start, min(start + WORD, end)):
                words = np.frombuffer(data, "<u8", (end - offset) // WORD, offset)
                for at in self._matching(words).tolist():
                    for name, place in self._words[int(words[at])]:
                        if self._holds(data, offset + at * WORD, self._secrets[name], place):
                            found[name] += 1
        return found

    def _matching(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        maybe = np.flatnonzero(self._maybe.take(hashes(words)))
        places = np.searchsorted(self._sorted, words[maybe])
        places[places == len(self._sorted)] = 0
        matching: NDArray[np.intp] = maybe[self._sorted[places] == words[maybe]]
        return matching

    def _holds(self, data: bytes, at: int, secret: bytes, place: int) -> bool:
        if len(secret) < FRAGMENT:
            return at >= place and data[at - place : at - place + len(secret)] == secret
        starts = range(max(0, place - STEP), min(place, len(secret) - FRAGMENT) + 1)
        return any(
            at - place + start >= 0
            and len(set(fragment := secret[start : start + FRAGMENT])) >= DISTINCT
            and data[at - place + start : at - place + start + FRAGMENT] == fragment
            for start in starts
        )


def hashes(words: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Hash each word to a number below 2²⁰, by Fibonacci hashing."""
    products = words * np.uint64(0x9E3779B97F4A7C15)
    products >>= np.uint64(64 - HASH_BITS)
    return products.view(np.intp)


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield all readable memory of a process, in overlapping pieces."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \S+\s*(\[v\w+\])?", line)
            if match is None or match[4]:
                continue
            at, end, kept = int(match[1], 16), int(match[2], 16), b""
            memory.seek(at)
            while at < end:
                try:
                    piece = memory.read(min(PIECE, end - at))
                except OSError:
                    break
                if not piece:
                    break
                yield kept + piece
                kept, at = piece[-4096:], at + len(piece)
