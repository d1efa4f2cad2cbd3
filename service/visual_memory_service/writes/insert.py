"""The write path: images become vectors, entries reach the disk, and only then the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders.errors import UndecodableImage
from visual_memory_index import Entry, Memory, Request, StoredBatch
from visual_memory_service.errors import BadField, ImagesNotStored
from visual_memory_service.runtime.memories import Memories, ServedMemory


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Entries with unit ``rows`` (b, d), or None where their images are to be embedded.

    With rows an entry may bring the image that its row was made from.
    """

    entries: Sequence[Entry]
    rows: NDArray[np.float32] | None
    request: Request
    replace_existing: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """New label and metadata of an entry; None leaves each as it is."""

    id: str
    label: str | None
    metadata: Mapping[str, str] | None
    request: Request


def insert(batch: Batch, served: ServedMemory) -> list[str]:
    """Insert a batch, all of it or nothing; return the ids, in order.

    Raises ImagesNotStored, and what embedding and the memory refuse.
    """
    entries, vectors = batch.entries, batch.rows
    pictured = any(entry.image for entry in entries)
    if pictured or vectors is None:
        answered = served.memory.recall(batch.request)  # before the work of embedding them again
        if answered is not None:
            return answered
    if vectors is None:
        vectors = served.embedder().embed([entry.image for entry in entries])
    elif pictured and not served.memory.identity.store_images:
        raise ImagesNotStored(served.memory.identity.name)
    return served.memory.insert(
        to_keep(entries, served) if pictured else entries,
        vectors,
        request=batch.request,
        replace_existing=batch.replace_existing,
    )


def to_keep(entries: Sequence[Entry], served: ServedMemory) -> list[Entry]:
    """Add thumbnails to entries with images, or drop the images where none are stored."""
    if not served.memory.identity.store_images:
        return [replace(entry, image=b"") for entry in entries]
    pictured = [at for at, entry in enumerate(entries) if entry.image]
    try:
        small = served.embedders.thumbnails([entries[at].image for at in pictured])
    except UndecodableImage as bad:
        raise BadField(f"entries[{pictured[bad.position]}].image", bad.problem) from None
    thumbnails = dict(zip(pictured, small, strict=True))
    return [replace(entry, thumbnail=thumbnails.get(at, b"")) for at, entry in enumerate(entries)]


def import_batch(batch: Batch, served: ServedMemory) -> StoredBatch:
    """Insert a batch of an import, which must begin where the stored ones end."""
    request = batch.request
    assert request is not None
    return StoredBatch(request.start, insert(batch, served), request.fingerprint)


def update(change: Change, memory: Memory) -> Entry:
    """Set label, metadata or both of one entry. Raises UnknownEntries, NotWritten."""
    return memory.update(
        change.id, label=change.label, metadata=change.metadata, request=change.request
    )


def unlearned(batch: Batch, served: ServedMemory, memories: Memories) -> list[str]:
    """Return the ids of a batch that were unlearned before; to be asked before it is stored.

    Asked afterwards it could fail for a batch that is stored.
    """
    return memories.unlearned(served.memory, [entry.id for entry in batch.entries if entry.id])
