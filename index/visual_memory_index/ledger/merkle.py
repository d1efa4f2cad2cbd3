"""A Merkle tree over an append-only log, after RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256 of one entry of the log, with a prefix that sets it apart from inner nodes."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the SHA-256 hash of the inner node above two nodes, of their hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The peaks of a growing Merkle tree: the roots of its full subtrees, largest first.

    There is one peak for each 1 bit of ``size``, the number of leaves.
    """

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        self.size, self._peaks = size, list(peaks)
        if len(self._peaks) != size.bit_count():
            raise ValueError(f"{size} leaves have {size.bit_count()} peaks, not {len(self._peaks)}")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Parse the peaks of a tree of ``size`` leaves from ``to_bytes``. Raises ValueError."""
        starts = range(0, len(data), HASH_BYTES)
        return cls(size, [data[start : start + HASH_BYTES] for start in starts])

    def to_bytes(self) -> bytes:
        """Concatenate the peaks."""
        return b"".join(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root hash of the tree."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root
