"""Rebuilding a memory's file from a backup, a copy or a file that was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from visual_memory_index.errors import BadAuditLog, BadBackup, CorruptStore, MemoryRefusal
from visual_memory_index.files.damage import attribute_damage
from visual_memory_index.sqlite.backup import NAME_SETTING
from visual_memory_index.sqlite.replica import Replica, check_tables
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.log_check import check_end
from visual_memory_index.store.store import Identity

Unlearned: TypeAlias = Callable[[Identity, str, Iterable[str]], list[str]]


class Outdated(Exception):
    """A rebuilt memory holds entries that were unlearned meanwhile; it has to be rebuilt again."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The file of a memory that waits to be listed under a ``name``.

    ``left_out`` counts entries that were left out. Entries unlearned up to the tick ``since`` are
    not in it.
    """

    path: Path
    name: str
    identity: Identity
    left_out: int
    since: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A memory whose file is refused, and why.

    Entries unlearned after the tick ``since`` may be in its file.
    """

    path: Path
    name: str
    refusal: MemoryRefusal
    since: int


def look_at(
    path: Path, check: Callable[[], None], unlearned: Unlearned
) -> tuple[Identity, list[str]]:
    """Return a file's identity and its ``unlearned`` ids, by identity, backup and all ids.

    Raises CorruptStore, NewerStore, BadAuditLog.
    """
    check_tables(path)
    with closing(SqliteStore(path)) as store:
        store.complete()
        identity, backup = store.identity(), store.settings().get(NAME_SETTING, "")
        with store.contents() as contents:
            contents.check_file(check)
            check_end(contents, identity.name, identity.kind)
            return identity, unlearned(identity, backup, contents.ids())


def rebuild(
    source: Path,
    target: Path,
    name: str,
    *,
    call: str,
    principal: str,
    unlearned: Unlearned,
    settings: Iterable[str],
    check: Callable[[], None],
) -> tuple[Identity, int]:
    """Copy a file without unlearned entries, logged as ``call``; return identity and their count.

    Raises CorruptStore, NewerStore, BadAuditLog, NotWritten.
    """
    identity, leave_out = look_at(source, check, unlearned)
    with Replica(source, target, check) as replica:
        replica.begin()
        left_out = replica.write(
            identity,
            name,
            lambda transaction: transaction.log(call, transaction.count(), principal),
            principal=principal,
            leave_out=leave_out,
            settings=settings,
        )
    return identity, left_out


@contextmanager
def of_backup() -> Iterator[None]:
    """Re-raise damage of a backup's file as BadBackup."""
    try:
        with attribute_damage(Path("The backup")):
            yield
    except (BadAuditLog, CorruptStore) as bad:
        raise BadBackup(bad.problem) from bad
