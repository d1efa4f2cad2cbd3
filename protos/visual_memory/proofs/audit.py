"""Audit logs, verified without trust in the server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import grpc

from visual_memory.errors import Error, InvalidCertificate
from visual_memory.proofs.canonical_json import canonical
from visual_memory.types import AuditEvent, AuditHead, MemoryInfo

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Statement

REBUILT = ("RestoreMemory", "CopyMemory", "AcceptMemory")  # may begin with an earlier state
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Log:
    """A memory's audit log as hashes and digests, checked event by event from its beginning.

    ``info`` is the memory's, and must have been fetched before the log.
    """

    def __init__(self, info: MemoryInfo) -> None:
        self._info = info
        self._leaves: list[bytes] = []
        self._digests: list[str] = []
        self._erasures: dict[int, tuple[datetime, int]] = {}  # when, how many entries
        self._rebuilt: list[AuditEvent] = []

    def add(self, events: Iterable[AuditEvent]) -> None:
        """Check and add the next events. Raises Error for one that does not follow the last."""
        for event in events:
            expected = len(self._leaves)
            if event.number != expected:
                raise self._bad(f"event {expected} is missing, event {event.number} is there")
            if text_of(event) != event.text:
                raise self._bad(f"event {expected} is not what its text says")
            if event.previous != self._last():
                raise self._bad(f"event {expected} does not follow the one before it")
            self._leaves.append(sha256(b"\0" + event.text.encode()).digest())
            self._digests.append(event.digest)
            if event.call in REBUILT:
                self._rebuilt.append(event)
            if event.call == "UnlearnEntries":
                self._erasures[expected] = (event.time.replace(microsecond=0), event.count)

    def end(self, head: AuditHead) -> None:
        """Check that the events are the whole log of ``head`` and lead to the memory's digest.

        Raises Error if not.
        """
        size, root = len(self._leaves), root_of(self._leaves).hex()
        if (size, root, self._last()) != (head.size, head.root, head.last):
            raise self._bad(f"its {size} events do not lead to its head, which has {head.size}")
        if self._digests[-1:] != [head.digest]:
            raise self._bad("the memory is in another state than after its last event")
        if self._info.digest not in self._digests:  # later writes are in the log too
            raise self._bad("no event led to the digest that the memory is said to have")

    def check_certificate(self, certificate: Statement) -> None:
        """Check that the log contains the erasure that a certificate states, as it states it.

        The certificate's signature by a key of the server must have been verified. Raises
        InvalidCertificate if the log does not, or if the certificate is of another memory.
        """
        if certificate.memory_uid != self._info.uid:
            raise unknown_memory(certificate)
        at = certificate.audit_index
        through = self._leaves[: at + 1]
        if len(through) <= at or through[at].hex() != certificate.audit_event:
            for event in self._rebuilt:  # before it may be one for entries left out
                if event.number <= at + 1 and event.time >= certificate.time:
                    raise self._of_before(event)
            raise self._forged(f"does not hold the erasure as its event {at}")
        if root_of(through).hex() != certificate.audit_root:
            raise self._forged(f"has another past before its event {at}")
        before = self._digests[at - 1] if at else ""
        if (before, self._digests[at]) != (certificate.digest_before, certificate.digest_after):
            raise self._forged(f"has other digests before and after its event {at}")
        if self._erasures.get(at) != (certificate.time, certificate.count):
            raise self._forged(f"has another time or count for its event {at}")

    def _last(self) -> str:
        return self._leaves[-1].hex() if self._leaves else ""

    def _bad(self, problem: str) -> Error:
        return Error(
            f'The audit log of the memory "{self._info.name}" does not fit ({problem}); do not '
            "rely on it, and ask whoever runs the server.",
            code=grpc.StatusCode.DATA_LOSS,
            reason="BAD_AUDIT_LOG",
        )

    def _forged(self, problem: str) -> InvalidCertificate:
        return InvalidCertificate(
            f'The audit log of the memory "{self._info.name}" on this server {problem}; do not '
            "rely on the certificate."
        )

    def _of_before(self, event: AuditEvent) -> InvalidCertificate:
        return InvalidCertificate(
            "The certificate is whole and signed by a key of this server, but the memory "
            f'"{self._info.name}" was put back since to a state of before the erasure, by '
            f"{event.call}, event {event.number} of its audit log, which therefore cannot confirm "
            "the erasure."
        )


def unknown_memory(certificate: Statement) -> InvalidCertificate:
    """Return the error for a certificate of a memory that this server does not have."""
    name, uid = certificate.memory[:60], certificate.memory_uid[:60]
    return InvalidCertificate(
        f"This server has no memory {name!r} with the uid {uid!r}, whose audit log would hold the "
        "erasure; it was deleted, or another server made the certificate."
    )


def text_of(event: AuditEvent) -> str:
    """Return an event's fields as canonical JSON, the text whose hash is in the log."""
    names = ("call", "count", "digest", "number", "previous", "principal")
    hashed = {name: getattr(event, name) for name in names}
    return canonical(hashed | {"time": (event.time - EPOCH) // timedelta(microseconds=1)})


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash (RFC 6962, section 2.1) of leaves, which are given as hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()
