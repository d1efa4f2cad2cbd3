"""A memory's file made anew from one that came from elsewhere or is in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from visual_memory_index.errors import BadAuditLog, BadBackup, CorruptStore, MemoryRefusal
from visual_memory_index.files.damage import relabelled
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

    So many entries were ``left_out``. Nothing that was unlearned until the tick ``since`` is in it.
    """

    path: Path
    name: str
    identity: Identity
    left_out: int
    since: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A memory that is refused for what was noted of it, and why.

    What was unlearned after the tick ``since`` may be in its file.
    """

    path: Path
    name: str
    refusal: MemoryRefusal
    since: int


def look_at(
    path: Path, check: Callable[[], None], unlearned: Unlearned
) -> tuple[Identity, list[str]]:
    """Whose file it is, and what of it was ``unlearned``, which is told whose, and of which backup.

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
    unlearned: Unlearned,
    settings: Iterable[str],
    check: Callable[[], None],
) -> tuple[Identity, int]:
    """Write all of a file but what was unlearned, as ``call``; whose it is, and how much that was.

    Raises CorruptStore, NewerStore, BadAuditLog, NotWritten.
    """
    identity, leave_out = look_at(source, check, unlearned)
    with Replica(source, target, check) as replica:
        replica.begin()
        left_out = replica.write(
            identity,
            name,
            lambda transaction: transaction.log(call, transaction.count()),
            leave_out=leave_out,
            settings=settings,
        )
    return identity, left_out


@contextmanager
def of_backup() -> Iterator[None]:
    """Say of what is wrong with the file of a backup that it is a backup."""
    try:
        with relabelled(Path("The backup")):
            yield
    except (BadAuditLog, CorruptStore) as bad:
        raise BadBackup(bad.problem) from bad
