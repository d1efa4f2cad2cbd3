"""Erasing entries from a memory's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from visual_memory_index.erasure.residue import Traces
from visual_memory_index.errors import TooManyIds
from visual_memory_index.ram.change import Removed
from visual_memory_index.store.store import Transaction

UNLEARNED_MAX = 1_000_000  # ids at once
LEFT_BYTES_MAX = 1 << 29  # of vectors and pictures that are looked for
OTHERS = 32  # pictures that stay, with whose headers those of the erased are compared


@dataclass(frozen=True, slots=True)
class Facts:
    """What an erasure was, before it is searched whether it left anything.

    Times are in microseconds since 1970. ``audit_index`` and ``audit_event`` are the number and
    hash of its event in the audit log, ``audit_root`` is the log's root up to there. ``backups``
    are the times of backups made before.
    """

    ids: Sequence[str]
    time: int
    digest_before: str
    digest_after: str
    audit_index: int
    audit_event: str
    audit_root: str
    backups: Sequence[int]


def check_count(ids: Sequence[str]) -> None:
    """Raises TooManyIds."""
    if len(ids) > UNLEARNED_MAX:
        raise TooManyIds(len(ids), UNLEARNED_MAX)


def erase(
    transaction: Transaction,
    operation: str,
    settings: Iterable[str],
    draft: Callable[[Facts], str],
) -> tuple[Traces, Removed]:
    """Delete the entries that an operation is to erase, with all that names them elsewhere.

    ``settings`` go too, which were made of the entries. What ``draft`` makes of the facts is kept
    as the operation's result to be. Answers what is to be looked for, which a content that other
    entries have too is not.
    """
    noted = transaction.erasing(operation)
    known = transaction.look_up(noted)
    keys = [each.key for each in known.values()]
    left = transaction.left(keys, LEFT_BYTES_MAX)
    before = transaction.digest()
    transaction.delete(keys)
    gone = transaction.scrub(operation, left.labels, settings)
    event = transaction.log("UnlearnEntries", len(keys))
    head = transaction.head
    facts = Facts(
        ids=list(known),
        time=event.time,
        digest_before=before,
        digest_after=transaction.digest(),
        audit_index=head.size - 1,
        audit_event=head.last,
        audit_root=head.root(),
        backups=transaction.backups(),
    )
    transaction.draft(operation, draft(facts))
    texts = {*noted, *gone, *left.texts}
    twins = transaction.twins(content_sha256 for content_sha256, _, _ in left.contents)
    alone = [each for each in left.contents if each[:2] not in twins]
    vectors = [vector for _, vector, _ in alone]
    pictures = [picture for _, _, pictures in alone for picture in pictures]
    traces = Traces(texts, vectors, pictures, transaction.others(OTHERS))
    return traces, Removed(list(known))
