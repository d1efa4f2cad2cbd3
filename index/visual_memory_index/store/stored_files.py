"""The files of a store that keeps its bytes on this machine, which erasing searches and rewrites.

A store elsewhere, such as a database server, is a ``Store`` that does without these protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.records.entry import Keys
from visual_memory_index.store.store import Transaction


@dataclass(slots=True)
class Remains:
    """The bytes to search for in stored files after entries were erased.

    ``texts`` are the entries' texts; ``contents`` has (content hash, vector, pictures) of each.
    """

    texts: set[str] = field(default_factory=set)
    contents: list[tuple[bytes, bytes, list[bytes]]] = field(default_factory=list)


@runtime_checkable
class SearchableTransaction(Transaction, Protocol):
    """A ``Transaction`` that returns the bytes to be searched for after entries are erased."""

    def remains_of(self, keys: Keys, limit_bytes: int) -> Remains:
        """Return the bytes of these entries, up to ``limit_bytes``."""

    def same_content(self, hashes: Iterable[bytes]) -> set[tuple[bytes, bytes]]:
        """Return (content hash, vector) of all stored entries with one of these SHA-256 ``hashes``.

        An entry without a content hash is not found.
        """

    def sample_images(self, limit: int, size: int) -> Iterator[bytes]:
        """Yield the first ``size`` bytes of the thumbnail, then of the image, of ``limit`` entries.

        Entries without pictures are left out.
        """


class StoredFiles(Protocol):
    """The files in which a store keeps a memory, write-ahead log included."""

    @property
    def path(self) -> Path:
        """The path of the main file, beside which SQLite keeps the others."""

    @property
    def version(self) -> int:
        """Number of transactions that have changed something since it was opened."""

    def descriptors(self) -> list[int]:
        """Return a read-only descriptor of each existing file; the store closes them."""

    def truncate_log(self) -> bool:
        """Fold the write-ahead log into the main file and empty it; return False if in use."""

    def rewrite(self) -> None:
        """Rewrite the main file without unused space. Raises FileUnavailable."""

    def renew_connections(self) -> None:
        """Replace all connections, as their buffers hold deleted bytes; no write may run then."""

    def found_in(self, patterns: ResiduePatterns) -> frozenset[bytes]:
        """Return the pieces of ``patterns`` that occur in texts and blobs that are still stored.

        Pieces are masked, as ``ResiduePatterns.found_in`` returns them.
        """
