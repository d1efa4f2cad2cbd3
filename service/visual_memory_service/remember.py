"""The write path: images become vectors, entries reach the disk, and only then the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Entry, Request, StoredBatch
from visual_memory_service.memories import OpenMemory


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Entries without vectors beside their content: images still encoded, or unit rows (b, d)."""

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
    """Remember a batch, all of it or nothing; the ids, in order."""
    vectors = batch.content
    if not isinstance(vectors, np.ndarray):
        answered = memory.memory.recall(batch.request)  # before the work of embedding them again
        if answered is not None:
            return answered
        vectors = memory.embedder().embed(vectors)
    return memory.memory.insert(
        batch.entries, vectors, request=batch.request, replace_existing=batch.replace_existing
    )


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
