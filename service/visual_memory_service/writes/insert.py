"""The write path: images become vectors, entries reach the disk, and only then the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders import UndecodableImage
from visual_memory_index import Entry, Request, StoredBatch
from visual_memory_service.errors import BadField, ImagesNotStored
from visual_memory_service.runtime.memories import OpenMemory


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Entries, and their unit rows (b, d), or None where their images are to be embedded.

    With rows an entry may bring the image that its row was made of.
    """

    entries: Sequence[Entry]
    rows: NDArray[np.float32] | None
    request: Request | None
    replace_existing: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What an update sets; None leaves it as it is."""

    id: str
    label: str | None
    metadata: Mapping[str, str] | None
    request: Request | None


def insert(batch: Batch, memory: OpenMemory) -> list[str]:
    """Remember a batch, all of it or nothing; the ids, in order.

    Raises ImagesNotStored, and what embedding and the memory refuse.
    """
    entries, vectors = batch.entries, batch.rows
    pictured = any(entry.image for entry in entries)
    if pictured or vectors is None:
        answered = memory.memory.recall(batch.request)  # before the work of embedding them again
        if answered is not None:
            return answered
    if vectors is None:
        vectors = memory.embedder().embed([entry.image for entry in entries])
    elif pictured and not memory.memory.identity.store_images:
        raise ImagesNotStored(memory.memory.identity.name)
    return memory.memory.insert(
        to_keep(entries, memory) if pictured else entries,
        vectors,
        request=batch.request,
        replace_existing=batch.replace_existing,
    )


def to_keep(entries: Sequence[Entry], memory: OpenMemory) -> list[Entry]:
    """The entries with thumbnails of their images, or without images where none are kept."""
    if not memory.memory.identity.store_images:
        return [replace(entry, image=b"") for entry in entries]
    pictured = [at for at, entry in enumerate(entries) if entry.image]
    try:
        small = memory.embedders.thumbnails([entries[at].image for at in pictured])
    except UndecodableImage as bad:
        raise BadField(f"entries[{pictured[bad.position]}].image", bad.problem) from None
    thumbnails = dict(zip(pictured, small, strict=True))
    return [replace(entry, thumbnail=thumbnails.get(at, b"")) for at, entry in enumerate(entries)]


def import_batch(batch: Batch, memory: OpenMemory) -> StoredBatch:
    """Remember a batch of an import, which must begin where the stored ones end."""
    request = batch.request
    assert request is not None
    return StoredBatch(request.start, insert(batch, memory), request.fingerprint)


def update(change: Change, memory: OpenMemory) -> Entry:
    """Set label, metadata or both of one entry."""
    return memory.memory.update(
        change.id, label=change.label, metadata=change.metadata, request=change.request
    )
