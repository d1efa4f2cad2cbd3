"""An entry: one remembered exemplar."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag
from json.encoder import encode_basestring as quoted  # much faster than all of a JSONEncoder
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
Texts: TypeAlias = Sequence[str] | NDArray[np.object_]

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80
ENTRY_BYTES, UTF8_BYTES = 200, 4  # without its texts; at most, of a character


class Parts(Flag):
    """The large parts of an entry, each read only on request."""

    NONE = 0
    VECTOR = 1
    IMAGE = 2
    THUMBNAIL = 4


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A labelled vector with its metadata.

    ``vector`` is float32 (d,) of unit length, or None if it was not read. ``created_at`` is in
    microseconds since 1970. ``content_sha256`` is the hash of the image, or of the vector as
    little-endian float32, as it was sent. ``pruned_by`` names the operation that pruned the entry,
    and is empty while the entry votes. ``image`` is the picture as it was sent and ``thumbnail`` a
    small JPEG of it: each is empty if it is not stored or was not read.
    """

    id: str
    label: str
    vector: NDArray[np.float32] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: int = 0
    content_sha256: bytes = b""
    pruned_by: str = ""
    image: bytes = b""
    thumbnail: bytes = b""

    @property
    def size(self) -> int:
        """Estimate the size in bytes of the entry, with the parts that were read."""
        row = 0 if self.vector is None else self.vector.nbytes
        texts = [self.id, self.label, *self.metadata.keys(), *self.metadata.values()]
        return (
            ENTRY_BYTES
            + sum(map(len, texts)) * UTF8_BYTES
            + row
            + len(self.image)
            + len(self.thumbnail)
        )

    @property
    def metadata_json(self) -> str:
        """Return the metadata as JSON with sorted keys, as stored and as hashed for the digest."""
        if not self.metadata:
            return "{}"
        pairs = [f"{quoted(key)}: {quoted(self.metadata[key])}" for key in sorted(self.metadata)]
        return f"{{{', '.join(pairs)}}}"


class VotingEntries(NamedTuple):
    """Voting entries with the fields needed in RAM, ``vectors`` as float32 (b, d).

    If ``codes`` are given, they are those of the vectors, by ``VectorIndex.encode``.
    """

    keys: Keys
    ids: Texts
    labels: Texts
    vectors: NDArray[np.float32]
    codes: NDArray[np.uint8] | None = None


class Known(NamedTuple):
    """Stored entries, each once: n of them, in arrays (n,)."""

    ids: NDArray[np.object_]
    keys: Keys
    labels: NDArray[np.object_]
    votes: NDArray[np.bool_]

    def at(self, places: NDArray[np.bool_] | NDArray[np.intp]) -> Known:
        """Return the entries at some ``places``, given as numbers or as a mask (n,)."""
        ids, keys, labels, votes = self
        return Known(ids[places], keys[places], labels[places], votes[places])


class CodedEntries(NamedTuple):
    """Voting entries with the fields needed in RAM where vectors are kept on disk.

    ``codes`` are uint8 (b, bytes of a code); those that are not ``stored`` (b,) were just made.
    """

    keys: Keys
    ids: Texts
    labels: Texts
    codes: NDArray[np.uint8]
    stored: NDArray[np.bool_]


def now() -> int:
    """Return the time in microseconds since 1970, as it is stored everywhere."""
    return time.time_ns() // 1000


class IdMaker:
    """Makes ids that sort by the time they were made, also within a batch (ULID, in lower case).

    All ids sort after the id ``after``, whatever the clock says.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, after: str = "") -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = to_number(after)

    def make(self) -> str:
        """Return 26 characters that encode 48 bits of milliseconds, then 80 random bits.

        Within a millisecond each id is the one before plus one.
        """
        with self._lock:
            milliseconds = int(self._clock() * 1000)
            if milliseconds > self._last >> RANDOM_BITS:
                self._last = milliseconds << RANDOM_BITS | secrets.randbits(RANDOM_BITS - 1)
            else:
                self._last += 1
            number = self._last
        return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def to_number(id: str) -> int:
    """Return the number of 130 bits that an id of ``IdMaker`` encodes; 0 for an empty text.

    Characters after the first 26 are ignored.
    """
    number = 0
    for character in id[:26]:
        number = number << 5 | CROCKFORD.find(character) & 31
    return number
