"""A Merkle tree over an append-only log, after RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib
from functools import reduce

HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256 of one entry of the log, with a prefix that sets it apart from inner nodes."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the SHA-256 hash of the inner node above two nodes, of their hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


def append(size: int, peaks: bytes, leaf: bytes) -> bytes:
    """Return the peaks of a tree of ``size`` leaves after one more, given by its hash.

    The peaks are the roots of the tree's full subtrees, largest first: one for each 1 bit of
    ``size``. Raises ValueError for the peaks of another size.
    """
    hashes = split(size, peaks)
    while size & 1:
        leaf = node_hash(hashes.pop(), leaf)
        size >>= 1
    return b"".join((*hashes, leaf))


def root(size: int, peaks: bytes) -> bytes:
    """Return the root hash of a tree of ``size`` leaves with these peaks, see ``append``.

    Raises ValueError if the number of peaks does not fit ``size``.
    """
    hashes = split(size, peaks) or [hashlib.sha256(b"").digest()]
    return reduce(lambda below, peak: node_hash(peak, below), reversed(hashes))


def split(size: int, peaks: bytes) -> list[bytes]:
    """Return the hash of each peak, largest subtree first.

    Raises ValueError if their number does not fit ``size``.
    """
    hashes = [peaks[start : start + HASH_BYTES] for start in range(0, len(peaks), HASH_BYTES)]
    if len(hashes) != size.bit_count():
        raise ValueError(f"{size} leaves have {size.bit_count()} peaks, not {len(hashes)}")
    return hashes
