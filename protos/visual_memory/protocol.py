"""The protocol: conventions of client and server beside the messages.

Addresses and options of channels, fingerprints of writes, checksums of backups, fields of oneofs in
words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from google.protobuf.message import Message

from visual_memory.v1 import service_pb2 as pb

MESSAGE_BYTES = "message-bytes"  # of metadata: a server makes room before it receives a message
ADDRESS = re.compile(r"(?:\[[^\[\]/\s]+\]|[^\[\]:/\s]+):(\d{1,5})", re.ASCII)
NAMED_BY_GRPC = re.compile(r"(?:dns|ipv[46]|unix):")
PORT_MAX = 65_535
PIECE_BYTES = 1 << 18  # of a backup in one message
BACKUP_END = b"visual-memory 1\n"  # then the length of the database, and its SHA-256
LENGTH_BYTES, HASH_BYTES = 8, 32
TRAILER_BYTES = len(BACKUP_END) + LENGTH_BYTES + HASH_BYTES
LOOPBACK = re.compile(r"(dns:/*|ipv[46]:)?(localhost|127\.|\[::1\])|unix:")


def is_address(target: str) -> bool:
    """Return True for HOST:PORT, and for targets with a scheme of gRPC such as dns:."""
    if NAMED_BY_GRPC.match(target):
        return target.isprintable()
    found = ADDRESS.fullmatch(target)
    return found is not None and target.isprintable() and 0 < int(found[1]) <= PORT_MAX


def channel_options(target: str) -> list[tuple[str, int]]:
    """Return gRPC channel options for ``target``: no limit on messages sent, fast reconnects.

    Servers on this machine are reached without a proxy.
    """
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.keepalive_time_ms", 330_000),  # servers hang up on pings within 5 minutes
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if LOOPBACK.match(target):
        options.append(("grpc.enable_http_proxy", 0))
    return options


def take_hashes(batch: pb.EntryBatch) -> list[bytes]:
    """Remove the images or vectors from ``batch``; return the SHA-256 of each image or row."""
    if batch.HasField("images"):
        hashes = [hashlib.sha256(image).digest() for image in batch.images.data]
        batch.ClearField("images")
        return hashes
    rows = memoryview(batch.vectors.data)
    width = len(rows) // batch.vectors.rows
    batch.ClearField("vectors")
    return [hashlib.sha256(rows[at : at + width]).digest() for at in range(0, len(rows), width)]


def fingerprint(message: Message, hashes: Iterable[bytes] = ()) -> bytes:
    """Return SHA-256 of a message's name and content, and of the ``hashes`` of removed parts.

    The fingerprint tells a retry from another write with the same ``request_id``.
    """
    rest = message.SerializeToString(deterministic=True)
    return hashlib.sha256(b"".join([message.DESCRIPTOR.name.encode(), rest, *hashes])).digest()


def with_checksum(database: BinaryIO) -> Iterator[bytes]:
    """Yield a backup in pieces: the database, then a trailer of its length and SHA-256."""
    hasher, length = hashlib.sha256(), 0
    while piece := database.read(PIECE_BYTES):
        hasher.update(piece)
        length += len(piece)
        yield piece
    yield BACKUP_END + length.to_bytes(LENGTH_BYTES, "little") + hasher.digest()


class BackupReader:
    """A reader that separates a backup, given in pieces, into its database and its checksum."""

    def __init__(self) -> None:
        self._hasher, self._length = hashlib.sha256(), 0
        self._last = b""  # it may be the end

    def read(self, piece: bytes) -> memoryview:
        """Add the next piece of a backup; return the bytes that are surely part of the database."""
        data = self._last + piece
        self._last = data[-TRAILER_BYTES:]
        body = memoryview(data)[: len(data) - len(self._last)]
        self._hasher.update(body)
        self._length += len(body)
        return body

    @property
    def sha256(self) -> bytes:
        """Return the hash of the database, without the trailer."""
        return self._hasher.digest()

    def check(self) -> None:
        """Check the trailer, after the last piece.

        Raises ValueError, with a clause that says why, if the backup is incomplete or altered.
        """
        if not self._last.startswith(BACKUP_END) or len(self._last) != TRAILER_BYTES:
            raise ValueError("its end is missing, so it was cut short or is another kind of file")
        length = int.from_bytes(self._last[len(BACKUP_END) : -HASH_BYTES], "little")
        if length != self._length:
            raise ValueError(f"of its {length:,} bytes {self._length:,} are there")
        if self.sha256 != self._last[-HASH_BYTES:]:
            raise ValueError("it was altered")


def choices(request: type[Message], oneof: str) -> str:
    """Return the names of a oneof's fields in a request, joined as ``a, b or c``."""
    *others, last = [field.name for field in request.DESCRIPTOR.oneofs_by_name[oneof].fields]
    return f"{', '.join(others)} or {last}"
