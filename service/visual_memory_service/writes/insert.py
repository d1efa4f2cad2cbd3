"""The write path: images become vectors, entries reach the disk, and only then the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders.errors import UndecodableImage
from visual_memory_index import Entry, Request
from visual_memory_service.errors import BadField, ImagesNotStored
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.runtime.timeline import part


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Entries to insert with unit ``rows`` (b, d), or None if their images are to be embedded.

    With rows an entry may have the image that its row was made from.
    """

    entries: Sequence[Entry]
    rows: NDArray[np.float32] | None
    request: Request
    replace_existing: bool = False


def insert(
    batch: Batch, served: ServedMemory, memories: Memories
) -> tuple[list[str], Sequence[str]]:
    """Insert a batch, all or nothing.

    Returns the ids of all entries in order, and those given ids that were unlearned before. A batch
    of an import must begin where the stored batches end. Raises ImagesNotStored, and errors of
    embedding and of the memory.
    """
    entries, vectors = batch.entries, batch.rows
    given = [entry.id for entry in entries if entry.id]
    unlearned = memories.catalog.unlearned(served.memory, given)  # could fail after the insertion
    pictured = any(entry.image for entry in entries)
    if pictured or vectors is None:
        answered = served.memory.recall(batch.request)  # before the work of embedding them again
        if answered is not None:
            return answered, unlearned
    if vectors is None:
        vectors = served.embed([entry.image for entry in entries])
    elif pictured and not served.memory.identity.store_images:
        raise ImagesNotStored(served.memory.identity.name)
    kept = to_keep(entries, served) if pictured else entries
    with part("commit"):
        ids = served.memory.insert(
            kept, vectors, request=batch.request, replace_existing=batch.replace_existing
        )
    return ids, unlearned


def to_keep(entries: Sequence[Entry], served: ServedMemory) -> list[Entry]:
    """Return entries with thumbnails added, or without images if the memory stores none.

    Raises BadField if an image cannot be decoded.
    """
    if not served.memory.identity.store_images:
        return [replace(entry, image=b"") for entry in entries]
    pictured = [at for at, entry in enumerate(entries) if entry.image]
    try:
        small = served.embedders.thumbnails([entries[at].image for at in pictured])
    except UndecodableImage as bad:
        raise BadField(f"entries[{pictured[bad.position]}].image", bad.problem) from None
    thumbnails = dict(zip(pictured, small, strict=True))
    return [replace(entry, thumbnail=thumbnails.get(at, b"")) for at, entry in enumerate(entries)]
