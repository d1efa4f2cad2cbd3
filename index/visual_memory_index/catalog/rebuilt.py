"""Rebuilding a memory's file from a backup, a copy or a file that was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from visual_memory_index.catalog.registry import Registry
from visual_memory_index.errors import MemoryRefusal
from visual_memory_index.files.disk import sync
from visual_memory_index.sqlite.backup import NAME_SETTING
from visual_memory_index.sqlite.replica import Replica, check_tables
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.store.contents import check_end
from visual_memory_index.store.store import Identity


class Outdated(Exception):
    """A rebuilt memory holds entries that were unlearned meanwhile; it has to be rebuilt again."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A memory rebuilt in a file that is not registered yet, and the ``name`` to register it under.

    ``left_out`` entries of the source are not in it, since they were unlearned before the logical
    time ``since`` (``RegistryReader.ticks``); of what is unlearned later it knows nothing.
    """

    path: Path
    name: str
    identity: Identity
    left_out: int
    since: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A memory whose file is refused or not registered, and the reason.

    Entries unlearned after the logical time ``since`` may be in the file.
    """

    path: Path
    name: str
    refusal: MemoryRefusal
    since: int


def rebuild(
    source: Path,
    target: Path,
    name: str,
    registry: Registry,
    secret: bytes,
    *,
    since: int | None = None,
    call: str,
    principal: str,
    settings: Iterable[str],
    check: Callable[[], None] = lambda: None,
) -> Rebuilt:
    """Copy a memory from the file ``source`` to ``target`` without entries unlearned since.

    ``since`` is the logical time after which they were unlearned; if None, that of the backup in
    ``source``. If any entries are left out, so are the settings named in ``settings``. The copy's
    audit log names ``call`` and the ``principal``. ``check`` is called often, and may raise. Raises
    CorruptStore, NewerStore, BadAuditLog, FileUnavailable.
    """
    with registry.reading() as read:
        now = read.ticks()
    check_tables(source)
    with closing(SqliteStore(source)) as store:
        store.complete()
        store.check()
        identity, backup = store.identity(), store.settings().get(NAME_SETTING, "")
        with store.contents() as contents:
            contents.check_file(check)
            check_end(contents, identity.name, identity.kind)
            with registry.reading() as read:
                since = read.tick_of_backup(backup) if since is None else since
                leave_out = [*read.unlearned_since(secret, identity.uid, contents.ids(), since)]
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
    sync(target)
    return Rebuilt(target, name, identity, left_out, now)
