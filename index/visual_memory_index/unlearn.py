"""Erasing entries from a memory, with facts for the certificate and patterns for the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.errors import TooManyIds
from visual_memory_index.ram.change import Change
from visual_memory_index.records.operation import Operation
from visual_memory_index.store.store import Transaction
from visual_memory_index.store.stored_files import Remains, SearchableTransaction

UNLEARNED_MAX = 1_000_000  # ids at once
LEFT_BYTES_MAX = 1 << 29  # of vectors and pictures that are looked for
SAMPLE_IMAGES = 32  # entries that stay: headers of their pictures are no residue


@dataclass(frozen=True, slots=True)
class Facts:
    """An erasure as it is before the search for residues.

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
    operation: Operation,
    settings: Iterable[str],
    draft: Callable[[Facts], str],
) -> tuple[ResiduePatterns | None, Change]:
    """Delete the entries that an operation has to erase, with all that names them elsewhere.

    ``settings``, made of the entries, go too. ``draft`` of the facts is kept as the coming result.
    Return patterns of the erased bytes to search for, without a content that other entries have
    too; None where the store has no files to search.
    """
    noted = transaction.ids_to_unlearn(operation.name)
    known = transaction.look_up(noted)
    keys = [each.key for each in known.values()]
    searchable = transaction if isinstance(transaction, SearchableTransaction) else None
    remains = searchable.remains_of(keys, LEFT_BYTES_MAX) if searchable else None
    before = transaction.digest()
    transaction.delete(keys)
    gone = transaction.scrub(operation.name, {each.label for each in known.values()}, settings)
    event = transaction.log("UnlearnEntries", len(keys), operation.principal)
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
    transaction.draft(operation.name, draft(facts))
    change = Change(list(known))
    if searchable is None or remains is None:
        return None, change
    return to_patterns(searchable, remains, [*noted, *gone]), change


def to_patterns(
    transaction: SearchableTransaction, remains: Remains, names: Iterable[str]
) -> ResiduePatterns:
    """Return patterns of erased ``names`` and ``remains``; content of other entries is left out."""
    same_content = transaction.same_content(hash for hash, *_ in remains.contents)
    alone = [each for each in remains.contents if each[:2] not in same_content]
    vectors = [vector for _, vector, _ in alone]
    pictures = [picture for _, _, pictures in alone for picture in pictures]
    return ResiduePatterns(
        {*names, *remains.texts}, vectors, pictures, transaction.sample_images(SAMPLE_IMAGES)
    )
