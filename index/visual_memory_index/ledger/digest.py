"""The digest: one value for a set of entries, updated by each edit at the cost of the edit.

LtHash (Bellare and Micciancio, "A new paradigm for collision-free hashing", 1997; Lewi et al.,
"Securing update propagation with homomorphic hashing", 2019): every entry is hashed to 1,024
numbers of 16 bits, and the state of a set is their sum modulo 2¹⁶, whatever the order of additions
and deletions. Only a hash of the state is published, since other sets with the same digest could be
made from the state itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from visual_memory_index.records.entry import Entry

LANES = 1024
ELEMENT, LENGTHS = b"visual-memory entry 1", Struct("<5Q")
SHOWN = b"visual-memory digest 1"

State: TypeAlias = NDArray[np.uint16]


def empty() -> State:
    """Return the digest's state for an empty memory: zeros, uint16 (1024,)."""
    return np.zeros(LANES, dtype=np.uint16)


def element(
    id: str, label: str, metadata: str, vector: bytes, image_sha256: bytes, votes: bool
) -> bytes:
    """Hash an entry to 1,024 numbers of 16 bits, little-endian.

    ``metadata`` is JSON with sorted keys, ``vector`` the stored row as little-endian float32, and
    ``image_sha256`` is empty if no image is stored.
    """
    texts = id.encode(), label.encode(), metadata.encode()
    lengths = LENGTHS.pack(*map(len, texts), len(vector), len(image_sha256))
    hasher = blake3()  # a copy of data given to it here would stay on the stack
    vote = b"\1" if votes else b"\0"
    hasher.update(b"".join((ELEMENT, lengths, *texts, vector, image_sha256, vote)))
    return hasher.digest(length=2 * LANES)


def elements(
    ids: Sequence[str], entries: Sequence[Entry], vectors: NDArray[np.float32]
) -> list[bytes]:
    """Return the ``element`` of each of ``entries``, all of which vote; ``vectors`` is (b, d)."""
    data = np.ascontiguousarray(vectors, "<f4").tobytes()
    width = 4 * vectors.shape[1]
    return [
        element(
            id,
            entry.label,
            entry.metadata_json,
            data[at * width : (at + 1) * width],
            entry.content_sha256 if entry.image else b"",
            True,
        )
        for at, (id, entry) in enumerate(zip(ids, entries, strict=True))
    ]


def to_bytes(state: State) -> bytes:
    """Serialise a digest's state."""
    return state.astype("<u2").tobytes()


def from_bytes(data: bytes) -> State:
    """Parse a digest's state from the bytes that ``to_bytes`` returned."""
    return np.frombuffer(data, dtype="<u2").astype(np.uint16)


def total(elements: Sequence[bytes]) -> State:
    """Return the digest's state for the entries that have these ``elements``."""
    lanes = np.frombuffer(b"".join(elements), dtype="<u2").reshape(-1, LANES)
    state: State = lanes.sum(axis=0, dtype=np.uint16)
    return state


def moved(state: State, *, came: Iterable[bytes] = (), went: Iterable[bytes] = ()) -> State:
    """Return the digest's state after the elements ``came`` are added and ``went`` are removed."""
    moved: State = state + total(list(came)) - total(list(went))
    return moved


def shown(state: State, kind: str) -> str:
    """Return the memory's digest as lower-case hex; it also covers ``kind``.

    ``kind`` is ``Identity.kind``: the memory's embedder or dimension.
    """
    named = kind.encode()
    header = SHOWN + len(named).to_bytes(8, "little") + named
    return hashlib.sha256(header + to_bytes(state)).hexdigest()
