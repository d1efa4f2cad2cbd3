"""The write path: images become vectors, entries reach the disk, and only then the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders import UndecodableImage
from visual_memory_index import Entry, Request, StoredBatch
from visual_memory_service.errors import BadField, ImagesNotStored
from visual_memory_service.memories import OpenMemory


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Entries without vectors beside their content: images still encoded, or unit rows (b, d).

    With rows an entry may bring the picture that they were made of.
    """

    entries: Sequence[Entry]
    content: Sequence[bytes] | NDArray[np.float32]
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
    if not isinstance(batch.content, np.ndarray) or any(entry.image for entry in batch.entries):
        answered = memory.memory.recall(batch.request)  # before the work of embedding them again
        if answered is not None:
            return answered
    return memory.memory.insert(
        to_keep(batch, memory),
        to_vectors(batch.content, memory),
        request=batch.request,
        replace_existing=batch.replace_existing,
    )


def to_vectors(
    content: Sequence[bytes] | NDArray[np.float32], memory: OpenMemory
) -> NDArray[np.float32]:
    """The vectors of a batch."""
    return content if isinstance(content, np.ndarray) else memory.embedder().embed(content)


def to_keep(batch: Batch, memory: OpenMemory) -> Sequence[Entry]:
    """The entries of a batch, with their pictures where the memory keeps them."""
    if not isinstance(batch.content, np.ndarray):
        embedded = batch.content if memory.memory.identity.store_images else []
        return with_pictures(batch.entries, dict(enumerate(embedded)), memory)
    images = {at: entry.image for at, entry in enumerate(batch.entries) if entry.image}
    if images and not memory.memory.identity.store_images:
        raise ImagesNotStored(memory.memory.identity.name)
    try:
        return with_pictures(batch.entries, images, memory)
    except UndecodableImage as bad:
        raise BadField(f"entries[{list(images)[bad.position]}].image", bad.problem) from None


def with_pictures(
    entries: Sequence[Entry], images: Mapping[int, bytes], memory: OpenMemory
) -> Sequence[Entry]:
    """The entries with the images at their positions, and thumbnails of them."""
    if not images:
        return entries
    kept = list(entries)
    small = memory.embedders.thumbnails(list(images.values()))
    for (at, image), thumbnail in zip(images.items(), small, strict=True):
        kept[at] = replace(entries[at], image=image, thumbnail=thumbnail)
    return kept


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
