"""What tells a write from another of the same ``request_id``, for server and client alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from google.protobuf.message import Message

from visual_memory.v1 import service_pb2 as pb


def take_hashes(batch: pb.EntryBatch) -> list[bytes]:
    """Take the images or vectors out of ``batch``: the SHA-256 of each image or row."""
    if batch.HasField("images"):
        hashes = [hashlib.sha256(image).digest() for image in batch.images.data]
        batch.ClearField("images")
        return hashes
    rows = memoryview(batch.vectors.data)
    width = len(rows) // batch.vectors.rows
    batch.ClearField("vectors")
    return [hashlib.sha256(rows[at : at + width]).digest() for at in range(0, len(rows), width)]


def fingerprint(message: Message, hashes: Iterable[bytes] = ()) -> bytes:
    """SHA-256 of a message's name, what was not taken out of it, and the hashes of what was."""
    rest = message.SerializeToString(deterministic=True)
    return hashlib.sha256(b"".join([message.DESCRIPTOR.name.encode(), rest, *hashes])).digest()
