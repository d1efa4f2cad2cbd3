"""Fingerprints of writes, which tell a retry from another write of the same ``request_id``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from google.protobuf.message import Message

from visual_memory.v1 import service_pb2 as pb


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
    """Return SHA-256 of a message's name and content, and of the hashes of what was removed."""
    rest = message.SerializeToString(deterministic=True)
    return hashlib.sha256(b"".join([message.DESCRIPTOR.name.encode(), rest, *hashes])).digest()
