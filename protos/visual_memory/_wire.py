"""What both clients say and understand, so that each of them only has to send and receive."""

from __future__ import annotations

import io
import operator
import os
import random
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

import grpc
import numpy as np
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from numpy.typing import ArrayLike, NDArray

from visual_memory import errors
from visual_memory.errors import DeadlineExceeded, Error, refuse
from visual_memory.types import (
    Decision,
    EmbedderSpec,
    Entry,
    InsertResult,
    Limits,
    MemoryInfo,
    Neighbors,
    PurgeResult,
    ServerInfo,
)
from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from PIL import Image as pil

T = TypeVar("T")
Image: TypeAlias = "str | os.PathLike[str] | bytes | pil.Image | NDArray[np.uint8]"
Images: TypeAlias = "Iterable[Image]"
Metadata: TypeAlias = Mapping[str, str]
Progress: TypeAlias = Callable[[int, int], None]

EMBEDDER = "efficientnet-lite0"
TEXT_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
INT32_MAX = 2**31 - 1
CHECKED_BYTES = 1 << 24  # of vectors looked at in one go

# Parts of a larger call: small enough to be answered well within the timeout, and to show progress.
PART_BYTES, PART_ITEMS = 4 << 20, 256
IN_FLIGHT_MAX = 4
ITEM_BYTES = 32  # tags and lengths around an item and its entry, rounded up
MARGIN_BYTES = 1 << 16

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.05, 2.0
CONNECTING_SECONDS = 5.0
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
BROKEN_WRITE = "Internal error from Core"  # grpc.aio, where a stream breaks while it is written to

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA", "F")  # F is refused by name
LOOPBACK = re.compile(r"(dns:/*|ipv[46]:)?(localhost|127\.|\[::1\])|unix:")


# Where a server is, and how long it may take


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a connection needs."""

    target: str
    options: Sequence[tuple[str, int]]
    credentials: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str], ...]
    timeout: float

    def patience(self, call: Call[Any] | None = None) -> Patience:
        """The time that one message has, with its retries."""
        if call is None:
            return Patience(self.target, self.timeout)
        request_id: str = getattr(call.request, "request_id", "")
        return Patience(self.target, self.timeout, request_id=request_id, start=call.start)


def endpoint(
    target: str,
    api_key: str | None,
    root_certificates: bytes | str | os.PathLike[str] | None,
    timeout: float,
) -> Endpoint:
    """Raises InvalidArgument."""
    if not 0 < timeout < threading.TIMEOUT_MAX:
        refuse("timeout", f"must be positive seconds, but is {timeout!r}")
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", 330_000),  # servers hang up on pings within 5 minutes
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if LOOPBACK.match(target):
        options.append(("grpc.enable_http_proxy", 0))
    return Endpoint(
        target=target,
        options=options,
        credentials=None if root_certificates is None else credentials(root_certificates),
        metadata=() if api_key is None else (("authorization", f"Bearer {api_key}"),),
        timeout=timeout,
    )


def credentials(root_certificates: bytes | str | os.PathLike[str]) -> grpc.ChannelCredentials:
    """Raises InvalidArgument where the file cannot be read."""
    if not isinstance(root_certificates, bytes):
        root_certificates = read_file(root_certificates, "root_certificates")
    return grpc.ssl_channel_credentials(root_certificates)


class Patience:
    """How long one message may still take, and how long to wait before it is sent again."""

    def __init__(
        self,
        target: str,
        timeout: float,
        *,
        request_id: str = "",
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._target, self._timeout = target, timeout
        self._request_id, self._start = request_id, start
        self._clock, self._jitter = clock, jitter
        self.renew(start)

    def renew(self, start: int) -> None:
        """Begin anew with the next message, whose first item is number ``start`` of the call."""
        self._start = start
        self._deadline = self._clock() + self._timeout
        self._pause = PAUSE_SECONDS
        self._connecting_until: float | None = None

    def answered(self) -> None:
        """There is a server, so that a connection refused from now on is another trouble."""
        self._connecting_until = None

    def extend(self, since: float) -> None:
        """Do not count the time since then, in which nobody waited for the server."""
        self._deadline += self._clock() - since

    def remaining(self) -> float:
        """Seconds."""
        return max(self._deadline - self._clock(), 0.0)

    def pause(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the next try, or raises what the caller has to know."""
        code, now = error.code(), self._clock()
        late = code is grpc.StatusCode.CANCELLED and now >= self._deadline
        if code is grpc.StatusCode.DEADLINE_EXCEEDED or late:
            self.give_up()
        if errors.never_connected(error):
            self._connecting_until = self._connecting_until or now + CONNECTING_SECONDS
        else:
            self._connecting_until = None
        pause = self._pause * (0.5 + 0.5 * self._jitter())
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        if self._connecting_until is not None:
            pause = min(pause, self._connecting_until - now)
        if not worth_a_retry(error) or pause <= 0 or now + pause >= self._deadline:
            raise self._told(errors.from_rpc(error, self._target)) from None
        return pause

    def give_up(self) -> NoReturn:
        """Raises DeadlineExceeded."""
        sentence = f"No answer from {self._target} within the timeout of {self._timeout:g} s"
        if self._request_id:
            sentence += (
                "; whether it was done is not known, but the same call with "
                f"request_id={self._request_id!r} does it once"
            )
        raise self._told(DeadlineExceeded(f"{sentence}.")) from None

    def _told(self, error: Error) -> Error:
        error.request_id = self._request_id or None
        error.shift(self._start)
        return error


def worth_a_retry(error: grpc.RpcError) -> bool:
    """Whether the same message may be taken a little later."""
    if error.code() is grpc.StatusCode.INTERNAL:
        return error.details() == BROKEN_WRITE
    return error.code() in RETRIED and not errors.too_large(error)


# Calls of one message


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One message to one method, and how its answer reads; ``start`` items went before it."""

    method: str
    request: Message
    read: Callable[[Any], T]
    start: int = 0


def server_info() -> Call[ServerInfo]:
    return Call("GetServerInfo", pb.GetServerInfoRequest(), to_server_info)


def create_memory(
    name: str, embedder: str | None, dimension: int | None, request_id: str | None
) -> Call[MemoryInfo]:
    """Raises InvalidArgument."""
    if embedder is not None and dimension is not None:
        refuse("embedder", "and dimension exclude each other: give one of them")
    request = pb.CreateMemoryRequest(name=name, request_id=named(request_id))
    if dimension is None:
        request.embedder = embedder or EMBEDDER
    else:
        request.dimension = whole(dimension, "dimension", least=1)
    return Call("CreateMemory", request, to_memory)


def list_memories(page_token: str) -> Call[tuple[list[MemoryInfo], str]]:
    def read(answer: pb.ListMemoriesResponse) -> tuple[list[MemoryInfo], str]:
        return [to_memory(memory) for memory in answer.memories], answer.next_page_token

    return Call("ListMemories", pb.ListMemoriesRequest(page_token=page_token), read)


def delete_memory(name: str, request_id: str | None) -> Call[None]:
    request = pb.DeleteMemoryRequest(name=name, request_id=named(request_id))
    return Call("DeleteMemory", request, lambda _: None)


def memory_info(name: str) -> Call[MemoryInfo]:
    return Call("GetMemory", pb.GetMemoryRequest(name=name), to_memory)


def delete_entries(
    memory: str, ids: Iterable[str], allow_missing: bool, request_id: str | None
) -> Call[int]:
    """Raises InvalidArgument."""
    request = pb.DeleteEntriesRequest(
        memory=memory,
        ids=strings(ids, "ids"),
        allow_missing=allow_missing,
        request_id=named(request_id),
    )
    return Call("DeleteEntries", request, lambda answer: int(answer.deleted_count))


def purge_entries(
    memory: str, filter: str, apply: bool, request_id: str | None
) -> Call[PurgeResult]:
    def read(answer: pb.PurgeEntriesResponse) -> PurgeResult:
        return PurgeResult(answer.purge_count, list(answer.sample_ids), answer.applied)

    request = pb.PurgeEntriesRequest(
        memory=memory,
        filter=filter,
        apply=apply,
        request_id=named(request_id) if apply else "",
    )
    return Call("PurgeEntries", request, read)


def get_entry(memory: str, id: str, include_vector: bool) -> Call[Entry]:
    request = pb.GetEntryRequest(memory=memory, id=id, include_vector=include_vector)
    return Call("GetEntry", request, to_entry)


def list_entries(
    memory: str, filter: str | None, include_vectors: bool, page_token: str
) -> Call[tuple[list[Entry], str]]:
    def read(answer: pb.ListEntriesResponse) -> tuple[list[Entry], str]:
        return [to_entry(entry) for entry in answer.entries], answer.next_page_token

    request = pb.ListEntriesRequest(
        memory=memory,
        filter=filter or "",
        page_token=page_token,
        include_vectors=include_vectors,
    )
    return Call("ListEntries", request, read)


def update_entry(
    memory: str, id: str, label: str | None, metadata: Metadata | None, request_id: str | None
) -> Call[Entry]:
    """Raises InvalidArgument."""
    if label is None and metadata is None:
        refuse("label", "or metadata must be given")
    entry, paths = entry_pb2.Entry(id=id), []
    if label is not None:
        check_text(label, "entry.label")
        entry.label = label
        paths.append("label")
    if metadata is not None:
        check_metadata(metadata, "entry")
        entry.metadata.update(metadata)
        paths.append("metadata")
    request = pb.UpdateEntryRequest(
        memory=memory,
        entry=entry,
        update_mask=FieldMask(paths=paths),
        request_id=named(request_id),
    )
    return Call("UpdateEntry", request, to_entry)


# Calls of as many messages as their queries need


@dataclass(frozen=True, slots=True)
class Queries(Generic[T]):
    """Images or vectors to ask about, and what every message about them says."""

    method: str
    header: pb.ClassifyRequest | pb.SearchRequest | pb.EmbedRequest
    contents: Contents
    read: Callable[[Any], list[T]]

    def calls(self, limits: Limits) -> Iterator[Call[list[T]]]:
        """One call after another, each written when it is asked for. Raises InvalidArgument."""
        self.contents.check(limits)
        most = room(limits, self.header)
        for part in parts(self.contents, most=most, items=min(PART_ITEMS, limits.items)):
            request = deepcopy(self.header)
            self.contents.write(part, request)
            yield Call(self.method, request, self.read, part.start)


def classify(
    memory: str,
    *,
    images: Images | None,
    vectors: ArrayLike | None,
    k: int,
    voting: str,
    filter: str | None,
    exclude_ids: Iterable[str],
    neighbors: int | None,
) -> Queries[Decision]:
    """Raises InvalidArgument."""
    header = pb.ClassifyRequest(
        memory=memory,
        k=whole(k, "k", least=1),
        voting=voting,
        filter=filter or "",
        exclude_ids=strings(exclude_ids, "exclude_ids"),
        neighbors=None if neighbors is None else whole(neighbors, "neighbors", least=0),
    )
    return Queries(
        "Classify",
        header,
        contents(images, vectors, "vectors[{}]"),
        lambda answer: [to_decision(decision) for decision in answer.decisions],
    )


def search(
    memory: str,
    *,
    images: Images | None,
    vectors: ArrayLike | None,
    k: int,
    filter: str | None,
    exclude_ids: Iterable[str],
) -> Queries[Neighbors]:
    """Raises InvalidArgument."""
    header = pb.SearchRequest(
        memory=memory,
        k=whole(k, "k", least=1),
        filter=filter or "",
        exclude_ids=strings(exclude_ids, "exclude_ids"),
    )
    return Queries(
        "Search",
        header,
        contents(images, vectors, "vectors[{}]"),
        lambda answer: [to_neighbors(result.neighbors) for result in answer.results],
    )


def embed(memory: str, images: Images) -> Queries[NDArray[np.float32]]:
    """Answers with one array (n, d) a message. Raises InvalidArgument."""
    header = pb.EmbedRequest(memory=memory)
    return Queries("Embed", header, Pictures(images), lambda answer: [to_vectors(answer.vectors)])


# Insertion


class Insertion:
    """Entries to be inserted, checked as far as a client can.

    Raises InvalidArgument with the path of what is wrong, before anything is sent.
    """

    def __init__(
        self,
        memory: str,
        *,
        images: Images | None,
        vectors: ArrayLike | None,
        labels: Iterable[str],
        ids: Iterable[str] | None,
        metadata: Iterable[Metadata] | None,
        request_id: str | None,
        replace_existing: bool,
    ) -> None:
        self.memory, self.request_id = memory, named(request_id)
        self.replace_existing = replace_existing
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
        request = pb.InsertEntriesRequest(
            memory=self.memory,
            request_id=self.request_id,
            replace_existing=self.replace_existing,
        )
        most, all_of_it = room(limits, request), range(len(self))
        fits = len(self) <= limits.items and self.contents.bytes_known <= most
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
        columns = {"labels": self.labels, "ids": self.ids, "metadata": self.metadata}
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
        return self._entry(number).ByteSize()

    def _write(self, part: range, batch: pb.EntryBatch) -> None:
        batch.entries.extend(self._entry(number) for number in part)
        self.contents.write(part, batch)


class Import:
    """An insertion on its way: what is on disk, and what to send next.

    It outlives a broken stream: ``begin`` opens the next one, whose first acknowledgements say
    where to go on.
    """

    def __init__(
        self, insertion: Insertion, limits: Limits, progress: Progress | None, patience: Patience
    ) -> None:
        self._insertion, self._limits, self._progress = insertion, limits, progress
        self._ids: list[str] = []
        self.patience = patience

    @property
    def stored(self) -> int:
        """How many leading entries are known to be on disk."""
        return len(self._ids)

    @property
    def finished(self) -> bool:
        """Whether everything is on disk, and no stream needs to say so again."""
        return self.going_on and self.stored == len(self._insertion)

    def begin(self) -> pb.ImportEntriesRequest:
        """The first message of a stream."""
        self.going_on, self.in_flight, self._acknowledged = False, 0, 0
        start = pb.ImportStart(
            memory=self._insertion.memory,
            request_id=self._insertion.request_id,
            replace_existing=self._insertion.replace_existing,
        )
        return pb.ImportEntriesRequest(start=start)

    def note(self, answer: pb.ImportEntriesResponse) -> None:
        """Take an acknowledgement to heart. Raises Error where it is of another import."""
        self.patience.answered()
        offset, ids, before = answer.offset, list(answer.ids), self.stored
        if offset != self._acknowledged:
            raise Error(
                f"The server acknowledged entries from {offset} on where {self._acknowledged} was "
                "due; this client and the server do not fit together."
            )
        if self.going_on:
            self.in_flight -= 1
        elif not ids:
            self.going_on = True
            del self._ids[offset:]
            self._batches = self._insertion.batches(self._limits, offset)
        self._check(offset, ids)
        self._ids[offset : offset + len(ids)] = ids
        self._acknowledged += len(ids)
        if self.stored > before:
            self.patience.renew(self.stored)
            if self._progress is not None:
                self._progress(self.stored, len(self._insertion))

    def next(self) -> pb.ImportEntriesRequest | None:
        """The next batch, or None after the last. Raises InvalidArgument where a file is gone."""
        began = time.monotonic()
        request = next(self._batches, None)
        self.patience.extend(began)
        self.in_flight += request is not None
        return request

    def result(self) -> InsertResult:
        """What the call answers with."""
        return InsertResult(self._ids, self._insertion.request_id)

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Let an error say what is stored, and how to go on."""
        try:
            yield
        except Error as error:
            error.stored, error.request_id = self.stored, self._insertion.request_id
            error.message = (
                f"{error.message.removesuffix('.')}. {self.stored:,} leading entries of "
                f"{len(self._insertion):,} are stored; the same call with "
                f"request_id={error.request_id!r} goes on after them."
            )
            raise

    def _check(self, offset: int, ids: list[str]) -> None:
        end, known = offset + len(ids), self._insertion.ids
        if end > len(self._insertion) or (known and known[offset:end] != ids):
            refuse("request_id", "belongs to an import of other entries; repeat that one exactly")


def cut_short() -> Error:
    """What to raise where a stream ends without a reason."""
    return Error("The server ended the import before everything was stored.")


# Images and vectors


class Pictures:
    """Images where they are: read, or written as PNG, when their message is.

    Raises InvalidArgument for what is no image at all, or not there.
    """

    name = "images"

    def __init__(self, images: Images) -> None:
        if is_one_image(images):
            refuse("images", "must be a list, but is a single image: give images=[image]")
        if not isinstance(images, Iterable):
            refuse("images", f"must be a list, but is {images!r:.80}")
        self._images = list(images)
        if not self._images:
            refuse("images", "must not be empty")
        self._sizes = [measure(image, f"images[{i}]") for i, image in enumerate(self._images)]
        self._loaded: dict[int, bytes] = {}
        self.bytes_known = sum(self._sizes)

    def __len__(self) -> int:
        return len(self._images)

    def check(self, limits: Limits) -> None:
        """Raises InvalidArgument where an image is larger than the server takes."""
        self._bytes_max = limits.image_bytes
        for number, (image, size) in enumerate(zip(self._images, self._sizes, strict=True)):
            self._check_size(number, size)
            width, height = dimensions(image)
            if width * height > limits.image_pixels:
                refuse(
                    f"images[{number}]",
                    f"has {width:,} × {height:,} pixels: send at most {limits.image_pixels:,}",
                )

    def size(self, number: int) -> int:
        """Bytes of one image, which is loaded for it."""
        if number not in self._loaded:
            data = load(self._images[number], f"images[{number}]")
            self._check_size(number, len(data))
            self._loaded[number] = data
        return len(self._loaded[number])

    def write(self, part: range, message: Holder) -> None:
        """Move what was loaded into a message."""
        message.images.data.extend(self._loaded.pop(number) for number in part)

    def _check_size(self, number: int, size: int) -> None:
        if size > self._bytes_max:
            refuse(f"images[{number}]", f"has {size:,} bytes: send at most {self._bytes_max:,}")


class Rows:
    """Vectors (n, d): little-endian float32 when their message is written.

    ``path`` names row ``{}`` in what is refused. Raises InvalidArgument for a wrong shape, for
    NaN, infinity and zero.
    """

    name = "vectors"

    def __init__(self, vectors: ArrayLike, path: str) -> None:
        try:
            self._vectors = np.asarray(vectors)
        except ValueError:
            refuse("vectors", "must be rows of the same length")
        shape = self._vectors.shape
        if len(shape) == 1:
            refuse(
                "vectors",
                f"must have the shape (n, d), but have {shape}: a single one is vector[None, :]",
            )
        if len(shape) != 2 or not shape[1]:
            refuse("vectors", f"must have the shape (n, d), but have {shape}")
        if self._vectors.dtype.kind not in "fiu":
            refuse("vectors", f"must be floats, but are {self._vectors.dtype}")
        if not shape[0]:
            refuse("vectors", "must not be empty")
        self._row_bytes = 4 * int(shape[1])
        self.bytes_known = self._row_bytes * shape[0]
        self._check_rows(path)

    def __len__(self) -> int:
        return len(self._vectors)

    def check(self, limits: Limits) -> None:
        """Rows have no limit of their own."""

    def size(self, number: int) -> int:
        """Bytes of a row."""
        return self._row_bytes

    def write(self, part: range, message: Holder) -> None:
        """Pack rows into a message."""
        message.vectors.rows = len(part)
        message.vectors.data = self._packed(part.start, part.stop).tobytes()

    def _packed(self, start: int, stop: int) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(self._vectors[start:stop], dtype="<f4")

    def _check_rows(self, path: str) -> None:
        step = max(1, CHECKED_BYTES // self._row_bytes)
        for start in range(0, len(self), step):
            rows = self._packed(start, start + step)
            bad = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1)))
            if bad.size:
                refuse(path.format(start + int(bad[0])), "must be finite and not zero")


Contents: TypeAlias = Pictures | Rows
Holder: TypeAlias = Any  # a message with the fields images and vectors, or with one of them


def contents(images: Images | None, vectors: ArrayLike | None, path: str) -> Contents:
    """Raises InvalidArgument."""
    if images is not None and vectors is not None:
        refuse("images", "and vectors exclude each other: give one of them")
    if images is not None:
        return Pictures(images)
    if vectors is not None:
        return Rows(vectors, path)
    refuse("images", "or vectors must be given")


def parts(
    contents: Contents,
    *,
    most: int,
    items: int,
    start: int = 0,
    soft: int = PART_BYTES,
    extra: Callable[[int], int] = lambda number: 0,
) -> Iterator[range]:
    """Cut contents into ranges of at most ``items``, each of about ``soft`` bytes or one item.

    Raises InvalidArgument where a single item needs more than ``most`` bytes.
    """
    first, filled, soft = start, 0, min(soft, most)
    for number in range(start, len(contents)):
        size = contents.size(number) + extra(number) + ITEM_BYTES
        if size > most:
            refuse(
                f"{contents.name}[{number}]",
                f"needs {size:,} bytes, where a message to this server has room for {most:,}",
            )
        if number > first and (filled + size > soft or number - first == items):
            yield range(first, number)
            first, filled = number, 0
        filled += size
    if first < len(contents):
        yield range(first, len(contents))


def room(limits: Limits, header: Message) -> int:
    """Bytes that a message has for items beside its header."""
    margin = min(MARGIN_BYTES, limits.message_bytes // 16)
    return limits.message_bytes - margin - header.ByteSize()


def is_one_image(images: object) -> bool:
    """Whether a single image was given where a list is wanted."""
    if isinstance(images, np.ndarray):
        return images.dtype == np.uint8 and images.ndim in (2, 3)
    return isinstance(images, str | bytes | bytearray | os.PathLike) or is_pil(images)


def is_pil(image: object) -> bool:
    """Whether this is a PIL image; nobody has one without having imported PIL."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def measure(image: Image, path: str) -> int:
    """Bytes of an image, 0 where they are known only when it is written. Raises InvalidArgument."""
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            refuse(path, "is empty: send the bytes of an image file")
        return len(image)
    if isinstance(image, str | os.PathLike):
        return file_size(image, path)
    if isinstance(image, np.ndarray) and (
        image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size
    ):
        refuse(path, f"must be uint8 (h, w, 3), but is {image.dtype} {image.shape}")
    if not (isinstance(image, np.ndarray) or is_pil(image)):
        kind = type(image).__name__
        refuse(path, f"must be a path, bytes, a PIL image or a uint8 array, but is a {kind}")
    return 0


def dimensions(image: Image) -> tuple[int, int]:
    """Width and height, (0, 0) where only the server will see them."""
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    width, height = getattr(image, "size", (0, 0)) if is_pil(image) else (0, 0)
    return width, height


def load(image: Image, path: str) -> bytes:
    """An image as it is sent. Raises InvalidArgument."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return read_file(image, path)
    return to_png(image, path)


def to_png(image: pil.Image | NDArray[np.uint8], path: str) -> bytes:
    """The pixels as PNG, upright as the server would turn them. Raises InvalidArgument."""
    from PIL import Image, ImageOps

    data = io.BytesIO()
    try:
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture = ImageOps.exif_transpose(picture)
        if picture.mode not in PNG_MODES:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.save(data, "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as problem:
        refuse(path, f"cannot be written as PNG ({problem})")
    return data.getvalue()


def file_size(file: str | os.PathLike[str], path: str) -> int:
    """Raises InvalidArgument where there is no such file."""
    try:
        found = os.stat(file)
    except OSError as problem:
        refuse_file(file, path, problem)
    if stat.S_ISDIR(found.st_mode):
        refuse(path, f"is a folder: {os.fspath(file)}", separator=": ")
    return found.st_size


def read_file(file: str | os.PathLike[str], path: str) -> bytes:
    """Raises InvalidArgument where it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as problem:
        refuse_file(file, path, problem)


def refuse_file(file: str | os.PathLike[str], path: str, problem: OSError) -> NoReturn:
    """Raise what an unreadable file is refused with."""
    missing = isinstance(problem, FileNotFoundError)
    why = "no such file" if missing else (problem.strerror or str(problem)).lower()
    refuse(path, f"{why}: {os.fspath(file)}", separator=": ")


# Fields


def named(request_id: str | None) -> str:
    """The request's id, made once where the caller has none."""
    return request_id or uuid.uuid4().hex


def whole(value: int, path: str, *, least: int) -> int:
    """A whole number; more than the wire takes means as many as there are."""
    try:
        number = operator.index(value)
    except TypeError:
        refuse(path, f"must be a whole number, but is {value!r}")
    if number < least:
        refuse(path, f"must be at least {least}, but is {number}")
    return min(number, INT32_MAX)


def strings(values: Iterable[str], path: str) -> list[str]:
    """A list of strings, which a single one is not. Raises InvalidArgument."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        refuse(path, f"must be a list of strings, but is {values!r:.80}")
    listed = list(values)
    for number, value in enumerate(listed):
        if not isinstance(value, str):
            refuse(f"{path}[{number}]", f"must be a string, but is {value!r:.80}")
        text_bytes(value, f"{path}[{number}]")
    return listed


def mappings(metadata: Iterable[Metadata]) -> list[Metadata]:
    """A list of mappings, which a single one is not. Raises InvalidArgument."""
    if isinstance(metadata, Mapping):
        refuse("metadata", "must be a list with one mapping for each entry, but is one mapping")
    return list(metadata)


def check_metadata(metadata: Metadata, path: str) -> None:
    """Raises InvalidArgument."""
    if not isinstance(metadata, Mapping):
        refuse(f"{path}.metadata", f"must map strings to strings, but is {metadata!r:.80}")
    size = 0
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            refuse(f"{path}.metadata", f"must map strings to strings, but has {key!r}: {value!r}")
        check_text(key, f"{path}.metadata key")
        size += text_bytes(key, f"{path}.metadata") + text_bytes(value, f"{path}.metadata")
    if size > METADATA_BYTES_MAX:
        refuse(f"{path}.metadata", f"must be at most {METADATA_BYTES_MAX} bytes, but has {size}")


def check_text(text: str, path: str) -> None:
    """An id, a label or a key of metadata. Raises InvalidArgument."""
    size = text_bytes(text, path)
    if not 1 <= size <= TEXT_BYTES_MAX or "\0" in text:
        refuse(path, f"must be 1 to {TEXT_BYTES_MAX} UTF-8 bytes without NUL, but has {size}")


def text_bytes(text: str, path: str) -> int:
    """How many bytes of UTF-8. Raises InvalidArgument for half of a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        refuse(path, f"must be UTF-8, but is {text!r:.80}")


# Answers


def to_server_info(answer: pb.GetServerInfoResponse) -> ServerInfo:
    limits = Limits(
        message_bytes=answer.limits.message_bytes,
        image_bytes=answer.limits.image_bytes,
        image_pixels=answer.limits.image_pixels,
        items=answer.limits.items,
    )
    return ServerInfo(answer.version, limits, list(answer.embedders))


def to_memory(memory: memory_pb2.Memory) -> MemoryInfo:
    return MemoryInfo(
        name=memory.name,
        dimension=memory.dimension,
        embedder=to_spec(memory.embedder) if memory.HasField("embedder") else None,
        create_time=memory.create_time.ToDatetime(tzinfo=UTC),
        count=memory.count,
        labels={label.label: label.count for label in memory.labels},
        disk_bytes=memory.disk_bytes,
    )


def to_spec(spec: memory_pb2.EmbedderSpec) -> EmbedderSpec:
    return EmbedderSpec(
        name=spec.name,
        weights_sha256=spec.weights_sha256,
        dimension=spec.dimension,
        preprocessing=spec.preprocessing,
        bit_equal=spec.bit_equal,
    )


def to_entry(entry: entry_pb2.Entry) -> Entry:
    return Entry(
        id=entry.id,
        label=entry.label,
        metadata=dict(entry.metadata),
        create_time=entry.create_time.ToDatetime(tzinfo=UTC),
        content_sha256=entry.content_sha256.hex(),
        vector=np.frombuffer(entry.vector, "<f4").astype(np.float32) if entry.vector else None,
    )


def to_decision(decision: decision_pb2.Decision) -> Decision:
    return Decision(
        label=decision.label,
        confidence=decision.confidence,
        scores={score.label: score.score for score in decision.scores},
        neighbors=to_neighbors(decision.neighbors),
    )


def to_neighbors(neighbors: Sequence[decision_pb2.Neighbor]) -> Neighbors:
    return Neighbors(
        ids=[each.id for each in neighbors],
        labels=[each.label for each in neighbors],
        distances=np.array([each.distance for each in neighbors], np.float64),
        weights=np.array([each.weight for each in neighbors], np.float64),
    )


def to_vectors(vectors: entry_pb2.Vectors) -> NDArray[np.float32]:
    rows = np.frombuffer(vectors.data, "<f4").astype(np.float32)
    return rows.reshape(vectors.rows, -1)
