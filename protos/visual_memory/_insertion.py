"""Entries to be inserted, by one message or by the batches of an import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from numpy.typing import ArrayLike

from visual_memory._calls import Call
from visual_memory._contents import (
    ITEM_BYTES,
    PART_BYTES,
    PART_ITEMS,
    Pictures,
    contents,
    parts,
    room,
)
from visual_memory._fields import (
    Metadata,
    check_metadata,
    check_text,
    mappings,
    message,
    named,
    strings,
)
from visual_memory._images import SomeImages
from visual_memory.errors import refuse
from visual_memory.types import Limits
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb


class Insertion:
    """Entries to be inserted, checked as far as a client can.

    Raises InvalidArgument with the path of what is wrong, before anything is sent.
    """

    def __init__(
        self,
        memory: str,
        *,
        images: SomeImages | None,
        vectors: ArrayLike | None,
        labels: Iterable[str],
        ids: Iterable[str] | None,
        metadata: Iterable[Metadata] | None,
        request_id: str | None,
        replace_existing: bool,
    ) -> None:
        self.memory, self.request_id = memory, named(request_id)
        self.replace_existing = replace_existing
        self.beside = None
        if images is not None and vectors is not None:
            self.beside, images = Pictures(images, optional=True), None
        self.contents = contents(images, vectors, "entries[{}].vector")
        self.labels = strings(labels, "labels")
        self.ids = None if ids is None else strings(ids, "ids")
        self.metadata = None if metadata is None else mappings(metadata)
        self._check()

    def __len__(self) -> int:
        return len(self.contents)

    def whole(self, limits: Limits, *, atomic: bool) -> Call[list[str]] | None:
        """All of it as one message, or None where one does not hold it. Raises InvalidArgument."""
        self.contents.check(limits)
        if self.beside is not None:
            self.beside.check(limits)
        request = message(
            pb.InsertEntriesRequest,
            memory=self.memory,
            request_id=self.request_id,
            replace_existing=self.replace_existing,
        )
        most, all_of_it = room(limits, request), range(len(self))
        known = self.contents.bytes_known + (self.beside.bytes_known if self.beside else 0)
        fits = len(self) <= limits.items and known <= most
        if fits and all_of_it == next(self._parts(most=most, soft=most, items=limits.items)):
            self._write(all_of_it, request.batch)
            return Call("InsertEntries", request, lambda answer: list(answer.ids))
        if atomic:
            refuse(
                "atomic",
                f"needs one message, which holds {limits.items:,} entries and "
                f"{limits.message_bytes:,} bytes; these {len(self):,} entries need more: insert "
                "fewer, or do without atomic",
            )
        return None

    def batches(self, limits: Limits, start: int) -> Iterator[pb.ImportEntriesRequest]:
        """The entries from number ``start`` on as the messages of an import.

        They are cut where an earlier try cut them: the server knows a batch by its offset.
        """
        request = pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=len(self)))
        most, items = room(limits, request), min(PART_ITEMS, limits.items)
        for part in self._parts(start=start, most=most, items=items):
            request = pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=part.start))
            self._write(part, request.batch.batch)
            yield request

    def _check(self) -> None:
        kind, count = self.contents.name, len(self)
        columns = {
            "labels": self.labels,
            "ids": self.ids,
            "metadata": self.metadata,
            "images": self.beside,
        }
        for name, column in columns.items():
            if column is not None and len(column) != count:
                refuse(name, f"must be as many as the {kind}, but are {len(column)} for {count}")
        for number, label in enumerate(self.labels):
            check_text(label, f"entries[{number}].label")
        for number, metadata in enumerate(self.metadata or ()):
            check_metadata(metadata, f"entries[{number}]")
        seen: set[str] = set()
        for number, id in enumerate(self.ids or ()):
            check_text(id, f"entries[{number}].id")
            if id in seen:
                refuse(f"entries[{number}].id", f"comes twice: {id}")
            seen.add(id)

    def _parts(
        self, *, most: int, items: int, start: int = 0, soft: int = PART_BYTES
    ) -> Iterator[range]:
        return parts(
            self.contents, most=most, items=items, start=start, soft=soft, extra=self._entry_bytes
        )

    def _entry(self, number: int) -> entry_pb2.Entry:
        return entry_pb2.Entry(
            id=self.ids[number] if self.ids else "",
            label=self.labels[number],
            metadata=self.metadata[number] if self.metadata else None,
        )

    def _entry_bytes(self, number: int) -> int:
        image_bytes = self.beside.size(number) + ITEM_BYTES if self.beside else 0
        return self._entry(number).ByteSize() + image_bytes

    def _write(self, part: range, batch: pb.EntryBatch) -> None:
        batch.entries.extend(self._entry(number) for number in part)
        self.contents.write(part, batch)
        if self.beside is not None:
            for number, entry in zip(part, batch.entries, strict=True):
                entry.image = self.beside.take(number)
