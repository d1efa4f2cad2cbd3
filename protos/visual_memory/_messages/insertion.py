"""Entries to insert, in one message or in batches of an import."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from visual_memory._messages import fields
from visual_memory._messages.call import Call
from visual_memory._messages.contents import (
    ITEM_BYTES,
    PART_BYTES,
    PART_ITEMS,
    Pictures,
    contents,
    parts,
    room,
)
from visual_memory._messages.images import SomeImages
from visual_memory._messages.pace import FIRST_ITEMS, Pace
from visual_memory.errors import refuse
from visual_memory.types import InsertResult, Limits
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

SHA256 = re.compile(r"([0-9a-f]{64})?")


class Insertion:
    """Entries to insert, checked by the client before anything is sent.

    Raises InvalidArgument with the path of the field at fault.
    """

    def __init__(
        self,
        memory: str,
        *,
        images: SomeImages | None,
        vectors: ArrayLike | None,
        labels: Iterable[str],
        ids: Iterable[str] | None,
        metadata: Iterable[fields.Metadata] | None,
        content_sha256: Iterable[str] | None,
        request_id: str | None,
        replace_existing: bool,
    ) -> None:
        self.memory, self.request_id = memory, fields.or_new_id(request_id)
        self.replace_existing = replace_existing
        self.beside = None
        if images is not None and vectors is not None:
            self.beside, images = Pictures(images, optional=True), None
        self.contents = contents(images, vectors, "entries[{}].vector")
        self.labels = fields.strings(labels, "labels")
        self.ids = None if ids is None else fields.strings(ids, "ids")
        self.metadata = None if metadata is None else fields.mappings(metadata)
        self.hashes = (
            None if content_sha256 is None else fields.strings(content_sha256, "content_sha256")
        )
        self._check()

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def pictures(self) -> int:
        """Count the pictures that the server has to decode, 0 for vectors alone."""
        return len(self) if self.beside or isinstance(self.contents, Pictures) else 0

    def is_one_message(self, limits: Limits, *, atomic: bool | None) -> bool:
        """Return True if all entries go into one message: they fit, with at most 256 pictures.

        ``atomic=True`` lifts the limit of pictures, and raises InvalidArgument if the entries do
        not fit; ``atomic=False`` allows one message for at most 4 entries.
        """
        self.contents.check(limits)
        if self.beside is not None:
            self.beside.check(limits)
        if (atomic is None and self.pictures > PART_ITEMS) or (
            atomic is False and len(self) > FIRST_ITEMS
        ):
            return False
        most, all_of_it = room(limits, self._header()), range(len(self))
        known = self.contents.bytes_known + (self.beside.bytes_known if self.beside else 0)
        fits = len(self) <= limits.items and known <= most
        if fits and all_of_it == next(self._parts(most=most, soft=most, items=lambda: len(self))):
            return True
        if atomic:
            refuse(
                "atomic",
                f"needs one message, which holds {limits.items:,} entries and "
                f"{limits.message_bytes:,} bytes; these {len(self):,} entries need more: insert "
                "fewer, or do without atomic",
            )
        return False

    def whole(self) -> Call[InsertResult]:
        """Return a call that inserts all entries in one message."""
        request = self._header()
        self._write(range(len(self)), request.batch)

        def read(answer: pb.InsertEntriesResponse) -> InsertResult:
            return InsertResult(list(answer.ids), self.request_id, list(answer.unlearned_ids))

        return Call("InsertEntries", request, read)

    def batches(
        self, limits: Limits, start: int, pace: Pace | None
    ) -> Iterator[pb.ImportEntriesRequest]:
        """Yield the entries from number ``start`` on as messages of an import.

        A message has at most ``pace.items`` entries; if ``pace`` is None, as many as the server
        allows.
        """
        most = room(limits, self._header())
        if pace is None:
            parts = self._parts(start=start, most=most, soft=most, items=lambda: limits.items)
        else:
            parts = self._parts(
                start=start, most=most, items=lambda: min(pace.items, PART_ITEMS, limits.items)
            )
        return map(self.batch, parts)

    def batch(self, part: range) -> pb.ImportEntriesRequest:
        """Return the entries numbered ``part`` as a message of an import."""
        batch = pb.ImportBatch(offset=part.start, count=len(self))
        self._write(part, batch.batch)
        return pb.ImportEntriesRequest(batch=batch)

    def _header(self) -> pb.InsertEntriesRequest:
        return fields.message(
            pb.InsertEntriesRequest,
            memory=self.memory,
            request_id=self.request_id,
            replace_existing=self.replace_existing,
        )

    def _check(self) -> None:
        kind, count = self.contents.name, len(self)
        columns = {
            "labels": self.labels,
            "ids": self.ids,
            "metadata": self.metadata,
            "content_sha256": self.hashes,
            "images": self.beside,
        }
        for name, column in columns.items():
            if column is not None and len(column) != count:
                refuse(name, f"must be as many as the {kind}, but are {len(column)} for {count}")
        for number, label in enumerate(self.labels):
            fields.check_text(label, f"entries[{number}].label")
        for number, metadata in enumerate(self.metadata or ()):
            fields.check_metadata(metadata, f"entries[{number}]")
        if self.hashes is not None and isinstance(self.contents, Pictures):
            refuse("content_sha256", "goes with vectors; of images the server computes it")
        for number, sha256 in enumerate(self.hashes or ()):
            if not SHA256.fullmatch(sha256):
                refuse(
                    f"entries[{number}].content_sha256",
                    f"must be 64 lower-case hex digits, or empty, but is {sha256!r:.80}",
                )
        seen: set[str] = set()
        for number, id in enumerate(self.ids or ()):
            fields.check_text(id, f"entries[{number}].id")
            if id in seen:
                refuse(f"entries[{number}].id", f"comes twice: {id}")
            seen.add(id)

    def _parts(
        self, *, most: int, items: Callable[[], int], start: int = 0, soft: int = PART_BYTES
    ) -> Iterator[range]:
        return parts(
            self.contents, most=most, items=items, start=start, soft=soft, extra=self._entry_bytes
        )

    def _entry(self, number: int) -> entry_pb2.Entry:
        return entry_pb2.Entry(
            id=self.ids[number] if self.ids else "",
            label=self.labels[number],
            metadata=self.metadata[number] if self.metadata else None,
            content_sha256=bytes.fromhex(self.hashes[number]) if self.hashes else b"",
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
