"""Reads messages as core types, and checks every field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from numpy.typing import NDArray

import visual_memory_embedders as embedders
import visual_memory_index as index
from visual_memory.protocol import fingerprint, take_hashes
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.errors import TooManyIds
from visual_memory_service.config import Settings
from visual_memory_service.convert.page_token import to_page_bounds
from visual_memory_service.errors import BadField
from visual_memory_service.writes.insert import Batch

SERVICE = pb.DESCRIPTOR.services_by_name["VisualMemory"].full_name
TEXT_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
DIMENSION_MAX = 16_384
SHA256_BYTES = 32
COUNTS_K_MAX = 1000
ALIVE_SECONDS_MIN = 0.1
SECONDS_MAX = 600.0
DIGITS_MAX = 18  # of a number that SQLite takes

Number = TypeVar("Number", int, float)
Page: TypeAlias = tuple[index.Filter | None, str, int, index.Parts]


def to_name(name: str, path: str) -> str:
    """Check and return the name of a memory. Raises BadField at ``path``."""
    if not index.NAME.fullmatch(name):
        raise BadField(
            path,
            "must be 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, "
            f"but is {name[:80]!r}",
        )
    return name


def to_creation(request: pb.CreateMemoryRequest) -> tuple[str | None, int | None]:
    """Read what a new memory takes: an embedder's name, or a dimension, and None for the other.

    Raises BadField if neither is given, or it is not valid.
    """
    content = request.WhichOneof("content")
    if content is None:
        raise BadField("embedder", "or dimension must be given")
    if content == "embedder":
        return to_text(request.embedder, "embedder"), None
    return None, to_number(request.dimension, "dimension", 1, DIMENSION_MAX)


def to_request(message: Any, principal: str, hashes: Sequence[bytes] = ()) -> index.Request:
    """Return the request_id with a fingerprint of message and ``hashes``, and who asked.

    Raises BadField.
    """
    if not message.request_id:
        return index.Request(principal=principal)
    id = to_text(message.request_id, "request_id")
    return index.Request(id, fingerprint(message, hashes), principal=principal)


def pixels(message: Message) -> int:
    """Return the number of pixels of all images in a request, as their headers name them."""
    count = 0
    for _, value in message.ListFields():
        if isinstance(value, entry_pb2.Images):
            count += sum(map(embedders.pixels, value.data))
        elif isinstance(value, Message):
            count += pixels(value)
    return count


async def to_pieces(
    first: pb.RestoreMemoryRequest, following: AsyncIterator[pb.RestoreMemoryRequest]
) -> AsyncIterator[bytes]:
    """Yield the pieces of a file from the ``first`` and all later messages. Raises BadField."""
    yield first.data
    async for request in following:
        if request.name or request.request_id:
            raise BadField("name" if request.name else "request_id", "goes into the first message")
        yield request.data


def to_restoring(
    first: pb.RestoreMemoryRequest, file_sha256: bytes, principal: str
) -> index.Request:
    """Return the request_id of a restore and a fingerprint of name and file. Raises BadField."""
    about = pb.RestoreMemoryRequest(name=first.name, request_id=first.request_id)
    return to_request(about, principal, [file_sha256])


def to_insertion(request: pb.InsertEntriesRequest, settings: Settings, principal: str) -> Batch:
    """Read a batch, taking its images or vectors out of the message. Raises BadField."""
    entries, rows, hashes = to_entries_and_rows(request.batch, settings)
    return Batch(entries, rows, to_request(request, principal, hashes), request.replace_existing)


def to_import_start(request: pb.ImportEntriesRequest) -> pb.ImportStart:
    """Read the first message of an import. Raises BadField."""
    if request.WhichOneof("step") != "start":
        raise BadField("start", "must be in the first message of an import")
    to_text(request.start.request_id, "start.request_id")
    return request.start


def to_alive_seconds(start: pb.ImportStart) -> float | None:
    """Read the seconds after which an import says that it is still working; None if never.

    Raises BadField if they are too few or too many.
    """
    if not start.HasField("alive_every"):
        return None
    seconds = to_seconds(start.alive_every, "start.alive_every")
    if seconds < ALIVE_SECONDS_MIN:
        raise BadField(
            "start.alive_every", f"must be {ALIVE_SECONDS_MIN:g} s or more, but is {seconds:g} s"
        )
    return seconds


def to_import_batch(
    request: pb.ImportEntriesRequest, start: pb.ImportStart, settings: Settings, principal: str
) -> Batch:
    """Read a batch of an import, taking images or vectors out of the message. Raises BadField."""
    if request.WhichOneof("step") != "batch":
        raise BadField("batch", "must be in every message of an import but the first")
    step = request.batch
    to_number(step.offset, "offset", 0)
    if step.count and not step.offset + len(step.batch.entries) <= step.count:
        raise BadField("count", f"is {step.count}, but the batch goes beyond")
    entries, rows, hashes = to_entries_and_rows(step.batch, settings)
    again = index.Request(start.request_id, fingerprint(step, hashes), step.offset, principal)
    return Batch(entries, rows, again, start.replace_existing)


def to_entries_and_rows(
    batch: pb.EntryBatch, settings: Settings
) -> tuple[list[index.Entry], NDArray[np.float32] | None, list[bytes]]:
    """Return a batch's entries, its unit rows (None for images), and the SHA-256 of each content.

    Contents are images or rows, hashed as sent, and are taken out of the batch. Raises BadField.
    """
    if not batch.entries:
        raise BadField("entries", "must not be empty")
    check_count(len(batch.entries), "entries", settings)
    name = batch.WhichOneof("content") or "images"
    content = to_content(batch, settings)
    if len(content) != len(batch.entries):
        raise BadField(
            name, f"must be as many as the entries, but are {len(content)} for {len(batch.entries)}"
        )
    hashes = take_hashes(batch)
    if isinstance(content, np.ndarray):
        return to_entries(batch, [], hashes), content, hashes
    return to_entries(batch, content, hashes), None, hashes


def to_entries(
    batch: pb.EntryBatch, images: Sequence[bytes], hashes: Sequence[bytes]
) -> list[index.Entry]:
    """Read the entries of a batch; ``hashes`` are the SHA-256 of its images or rows.

    A picture sent beside a row, or its hash alone, replaces the row's hash. Raises BadField.
    """
    seen: set[str] = set()
    entries = []
    for number, (entry, content_sha256) in enumerate(zip(batch.entries, hashes, strict=True)):
        id = entry.id
        if id:
            to_text(id, "entries[{}].id", number)
            if id in seen:
                raise BadField(f"entries[{number}].id", f"comes twice in this batch: {id}")
            seen.add(id)
        if entry.image and images:
            raise BadField(f"entries[{number}].image", "belongs beside a vector; send it in images")
        entries.append(
            index.Entry(
                id=id,
                label=to_text(entry.label, "entries[{}].label", number),
                metadata=to_metadata(entry.metadata, "entries[{}].metadata", number),
                content_sha256=to_sha256(entry, number, beside=not images) or content_sha256,
                image=images[number] if images else entry.image,
            )
        )
    return entries


def to_sha256(entry: entry_pb2.Entry, number: int, *, beside: bool) -> bytes:
    """Return the SHA-256 of the picture of entry ``number`` of a batch, empty if there is none.

    If the batch has rows, ``beside`` is True, and the hash may come without the picture. Raises
    BadField.
    """
    if entry.image:
        return sha256(entry.image).digest()
    if beside and len(entry.content_sha256) not in (0, SHA256_BYTES):
        raise BadField(
            f"entries[{number}].content_sha256",
            f"must have {SHA256_BYTES} bytes, but has {len(entry.content_sha256)}",
        )
    return entry.content_sha256 if beside else b""


def to_content(
    message: pb.EntryBatch
    | pb.ClassifyRequest
    | pb.SearchRequest
    | pb.ValueEntriesRequest
    | pb.ExplainDecisionRequest
    | pb.CalibrateMemoryRequest,
    settings: Settings,
) -> Sequence[bytes] | NDArray[np.float32]:
    """Read encoded images, or vectors scaled to unit length. Raises BadField."""
    if message.HasField("vectors"):
        path = "entries" if isinstance(message, pb.EntryBatch) else "vectors"
        return to_vectors(message.vectors, path, settings)
    if message.HasField("images"):
        return to_images(message.images, settings)
    raise BadField("images", "or vectors must be given")


def to_images(images: entry_pb2.Images, settings: Settings) -> Sequence[bytes]:
    """Return the encoded images of a message, at least one. Raises BadField."""
    if not images.data:
        raise BadField("images", "must not be empty")
    check_count(len(images.data), "images", settings)
    return images.data


def to_vectors(vectors: entry_pb2.Vectors, path: str, settings: Settings) -> NDArray[np.float32]:
    """Read packed rows as float32 (n, d) of unit length. Raises BadField."""
    data = vectors.data
    if vectors.rows < 1 or not data or len(data) % (4 * vectors.rows):
        raise BadField(
            "vectors.rows",
            f"must divide the data into rows of float32, but {vectors.rows} rows do not divide "
            f"{len(data)} bytes",
        )
    check_count(vectors.rows, "vectors.rows", settings)
    if len(data) // (4 * vectors.rows) > DIMENSION_MAX:
        raise BadField("vectors.rows", f"must have at most {DIMENSION_MAX} dimensions")
    rows = np.frombuffer(data, "<f4").reshape(vectors.rows, -1).astype(np.float32, copy=False)
    units = index.unit_rows(rows)
    if units is rows:
        return rows
    bad = index.bad_rows(units)
    if bad.size:
        field = f"entries[{bad[0]}].vector" if path == "entries" else f"{path}[{bad[0]}]"
        raise BadField(field, "must be finite and not zero")
    return units


def check_count(count: int, path: str, settings: Settings) -> None:
    """Raise BadField at ``path`` if ``count`` items are more than one message may hold."""
    if count > settings.items_max:
        raise BadField(
            path, f"are {count}, but one message takes {settings.items_max}; send several"
        )


def to_text(text: str, path: str, item: object = 0) -> str:
    """Return an id, label or name of 1 to 256 UTF-8 bytes, else raise BadField.

    A ``{}`` in ``path``, the field that the error names, is replaced by ``item``.
    """
    size = len(text.encode())
    if not 1 <= size <= TEXT_BYTES_MAX or "\0" in text:
        raise BadField(
            path.format(item),
            f"must be 1 to {TEXT_BYTES_MAX} UTF-8 bytes without NUL, but has {size}",
        )
    return text


def to_texts(texts: Iterable[str], path: str) -> list[str]:
    """Check and return ids or labels; ``path`` is their field's name in errors. Raises BadField."""
    path = path + "[{}]"
    return [to_text(text, path, number) for number, text in enumerate(texts)]


def to_ids(ids: Collection[str], path: str = "ids") -> list[str]:
    """Check and return ids, at least one. Raises BadField."""
    if not ids:
        raise BadField(path, "must not be empty")
    return to_texts(ids, path)


def check_labels(labels: Mapping[str, str], path: str) -> None:
    """Check that ids and their new labels are valid. Raises BadField at ``path``."""
    for id, label in labels.items():
        to_text(id, f"{path} key")
        to_text(label, path + "[{!r:.80}]", id)


def to_metadata(given: Mapping[str, str], path: str, number: int = 0) -> dict[str, str]:
    """Check and return metadata. Raises BadField at ``path``, where ``{}`` becomes ``number``."""
    if not given:
        return {}
    metadata, path = dict(given), path.format(number)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise BadField(path, f"must be at most {METADATA_BYTES_MAX} bytes, but has {size}")
    for key, value in metadata.items():
        to_text(key, f"{path} key")
        if "\0" in value:
            raise BadField(f"{path}[{key!r}]", "must not hold NUL")
    return metadata


def to_counts_k(k: int, path: str) -> int:
    """Return the K of misleading counts, from 1 to 1000, else raise BadField at ``path``."""
    return to_number(k, path, 1, COUNTS_K_MAX)


def to_number(value: Number, path: str, least: int, most: int | None = None) -> Number:
    """Return ``value`` if it is in [``least``, ``most``]; None means no limit. Raises BadField."""
    if value >= least and (most is None or value <= most):
        return value
    if most is not None:
        raise BadField(path, f"must be {least} to {most}, but is {value}")
    wish = f"be at least {least}" if least else "not be negative"
    raise BadField(path, f"must {wish}, but is {value}")


def to_fraction(fraction: float, path: str) -> float:
    """Return a fraction between 0 and 1, both excluded, else raise BadField."""
    if not 0 < fraction < 1:
        raise BadField(path, f"must be between 0 and 1, both excluded, but is {fraction}")
    return fraction


def to_seconds(duration: Duration, path: str) -> float:
    """Convert a duration of 0 to 600 seconds to a number. Raises BadField."""
    seconds = duration.seconds + duration.nanos / 1e9
    if not 0 <= seconds <= SECONDS_MAX:
        raise BadField(path, f"must be 0 to {SECONDS_MAX:g} s, but is {seconds:g} s")
    return seconds


def to_page(request: pb.ListEntriesRequest, memory: index.Memory) -> Page:
    """Read the filter, last id, size and parts of a page of entries. Raises BadField, BadFilter."""
    after, size = to_page_bounds(request, memory)
    parts = to_parts(
        vector=request.include_vectors,
        image=request.include_images,
        thumbnail=request.include_thumbnails,
    )
    return index.parse(request.filter), after, size, parts


def to_parts(*, vector: bool, image: bool, thumbnail: bool) -> index.Parts:
    """Return the parts of an entry to read."""
    return (
        (index.Parts.VECTOR if vector else index.Parts.NONE)
        | (index.Parts.IMAGE if image else index.Parts.NONE)
        | (index.Parts.THUMBNAIL if thumbnail else index.Parts.NONE)
    )


def to_change(request: pb.UpdateEntryRequest) -> tuple[str, str | None, dict[str, str] | None]:
    """Read an id with new label and metadata; None means no change. Raises BadField."""
    entry, paths = request.entry, list(request.update_mask.paths)
    if not paths:
        paths = [name for name in ("label", "metadata") if getattr(entry, name)]
    if not paths:
        raise BadField("update_mask", "must name label or metadata")
    for path in paths:
        if path not in ("label", "metadata"):
            raise BadField("update_mask", f'may name label and metadata, but names "{path}"')
    return (
        to_text(entry.id, "entry.id"),
        to_text(entry.label, "entry.label") if "label" in paths else None,
        to_metadata(entry.metadata, "entry.metadata") if "metadata" in paths else None,
    )


def to_purge(request: pb.PurgeEntriesRequest) -> index.Filter:
    """Read the filter of a deletion. Raises BadField, BadFilter."""
    filter = index.parse(request.filter)
    if filter is None:
        raise BadField("filter", "must not be empty; to forget everything, delete the memory")
    return filter


def to_audit_page(request: pb.ListAuditEventsRequest, memory: index.Memory) -> tuple[int, int]:
    """Read the first event's number from the page token, and the page size. Raises BadField."""
    token, size = to_page_bounds(request, memory)
    return to_token_number(token or "0"), size


def to_token_number(text: str) -> int:
    """Read a number from a page token. Raises BadField."""
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX):
        raise BadField("page_token", "must be one that this call answered with")
    return int(text)


async def joined(messages: AsyncIterator[pb.UnlearnEntriesRequest]) -> pb.UnlearnEntriesRequest:
    """Join a stream's messages, which must have exactly as many ids as the first one announces.

    Stops reading at the first id too many. Raises BadField, TooManyIds.
    """
    whole = await anext(messages, pb.UnlearnEntriesRequest())
    if whole.id_count < 1:
        raise BadField(
            "id_count",
            "must say in the first message how many ids come in all, at least 1, so that a stream "
            "that breaks off erases nothing",
        )
    if whole.id_count > index.UNLEARNED_MAX:
        raise TooManyIds(whole.id_count, index.UNLEARNED_MAX)
    while len(whole.ids) <= whole.id_count:
        message = await anext(messages, None)
        if message is None:
            break
        if any(field.name != "ids" for field, _ in message.ListFields()):
            raise BadField("memory", "and all but ids must be in the first message only")
        whole.ids.extend(message.ids)
    if len(whole.ids) != whole.id_count:
        more = " or more" if len(whole.ids) > whole.id_count else ""
        raise BadField(
            "id_count",
            f"is {whole.id_count}, but {len(whole.ids)}{more} ids came, and nothing was erased; "
            "send all of them again with their number",
        )
    return whole


def to_unlearning(
    message: pb.UnlearnEntriesRequest, principal: str
) -> tuple[list[str], index.Request]:
    """Read the ids and, unless it is a dry run, the request_id. Raises BadField."""
    ids = to_texts(message.ids, "ids")
    asked = pb.UnlearnEntriesRequest(
        memory=message.memory,
        allow_missing=message.allow_missing,
        ids=message.ids,
        request_id=message.request_id if message.apply else "",
    )
    return ids, to_request(asked, principal)
