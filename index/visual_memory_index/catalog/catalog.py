"""The catalog of a data folder: it makes, opens, copies, restores and drops memories."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from visual_memory_index import errors
from visual_memory_index.catalog import listing, tombstones
from visual_memory_index.catalog.folder import (
    CATALOG,
    LATEST,
    MEMORIES,
    RESERVE,
    SECRET,
    UNFINISHED,
    FolderLock,
    Reserve,
    Unfinished,
    check_folder,
    new_name,
    was_used,
)
from visual_memory_index.catalog.inspection import holds, look, look_through
from visual_memory_index.catalog.noted import Latest
from visual_memory_index.catalog.rebuilt import Doubt, Outdated, Rebuilt, rebuild
from visual_memory_index.catalog.registry import Registry, RegistryReader
from visual_memory_index.catalog.sqlite_registry import SqliteRegistry
from visual_memory_index.files.damage import attribute_damage
from visual_memory_index.files.database import keeping_log, missing, schema_of
from visual_memory_index.files.disk import (
    copy_database,
    make_folder,
    remove_database,
    sync,
    translate_os_errors,
)
from visual_memory_index.ledger.standing import Found, Noted, refusal
from visual_memory_index.memory.memory import Memory
from visual_memory_index.records.request import LOCAL, WITHOUT_ID, Request
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.vectors import IndexFactory
from visual_memory_index.sqlite.backup import NAME_SETTING, IncomingBackup
from visual_memory_index.store.store import Reembedded, Sought, Transaction, new_identity
from visual_memory_index.store.stored_files import StoredFiles


class Catalog:
    """The memories of a data folder, which is locked for this process.

    The registry says which memories there are. A memory is registered as ``creating`` before its
    file is made, and a file as dropped before it is removed, so that opening the catalog finishes
    what a crash interrupted. Other files in the folder ``memories`` are of memories that the
    registry has lost. Files that are not registered yet are in ``unfinished``: opening the catalog
    removes those that a crash left there. The caller lets one thread at a time into ``create``,
    ``adopt``, ``accept``, ``drop`` and ``clear``. Raises ForeignFolder, FolderInUse, LostCatalog,
    CorruptStore, NewerStore, LostSecret.
    """

    def __init__(self, folder: Path, indexes: IndexFactory | None = None) -> None:
        self.folder, self._indexes = folder, indexes or ScannedIndexes()
        self._memories = folder / MEMORIES
        self._preparing = set[str]()  # files registered as dropped, until they replace others
        check_folder(folder)
        make_folder(self._memories)
        self._lock = FolderLock(folder)
        self.reserve = Reserve(folder / RESERVE)
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            self.reserve.freeing(self._begin)  # or a full disk could not be freed
            undo.pop_all()

    def _begin(self) -> None:
        """Open the registry, list the files it has lost, and finish what a crash interrupted."""
        path = self.folder / CATALOG
        with attribute_damage(path, errors.FOLDER_BACK):
            if was_used(self.folder) and not schema_of(path):
                raise errors.LostCatalog(path)
            with keeping_log(path), ExitStack() as undo:
                registry = SqliteRegistry(path)
                undo.callback(registry.close)
                self._registry: Registry = registry
                self.files: StoredFiles = registry
                with registry.reading() as read:
                    self._lost = listing.unlisted(read.files(), self._memories)
                self._check()
                with registry.transaction() as write:
                    self._secret = write.read_secret(self.folder / SECRET)
                self._latest = Latest(self.folder / LATEST, self._memories)
                self._unfinished = Unfinished(self.folder / UNFINISHED)
                with registry.transaction() as write:
                    write.keep_ready(self._latest.has)
                with suppress(errors.WriteFailed):  # as of a file that cannot be removed
                    self.clear()
                undo.pop_all()

    def close(self) -> None:
        """Close the registry and unlock the folder."""
        with closing(self._lock):
            self._registry.close()

    def names(self) -> list[str]:
        """Return the names of all memories, sorted, also of those that the registry has lost."""
        with self._registry.reading() as read:
            return sorted({*self._lost, *read.names()})

    def names_by_use(self) -> list[str]:
        """Return the ``names``, of memories opened or written last first.

        Before all others are those that are being erased from, those that cannot be opened, and
        those of which the time is unknown.
        """
        with self._registry.reading() as read:
            files = {name: file for file, name in read.files().items() if name}
            noted = {name: read.noted(file) for name, file in files.items()}

        def order(name: str) -> float:
            known = noted.get(name)
            if known is not None and known.unlearning:
                return -math.inf
            return self._latest.written(files.get(name))

        return sorted(self.names(), key=order)

    def open(self, name: str) -> Memory:
        """Open a memory; if the disk is full, the reserve file is removed to make space.

        If the write-ahead log may not belong to the file, both are checked in full. Raises
        UnknownMemory, UnlistedFile, OtherMemory, OlderMemory, OlderCatalog, FileUnavailable if the
        memory's position file cannot be read or written, and the errors of ``Memory.open``.
        """
        return self.reserve.freeing(partial(self._open, name))

    def holds(self, name: str, sought: Sought) -> bool | None:
        """Return True if a memory that is not open has an entry of ``sought``, or its content.

        Return None if its file has to be opened first, to be migrated. Raises as ``open``.
        """
        path = self._path(name)
        with translate_os_errors(path, opening=True):
            _, _, refused = self._compare(path, name)
            if refused:
                raise refused
            return holds(path, sought)

    def _open(self, name: str) -> Memory:
        path = self._path(name)
        with translate_os_errors(path, opening=True):
            _, _, refused = self._compare(path, name)
            if refused:
                raise refused
            memory = self._open_file(path)
        with ExitStack() as undo:
            undo.callback(memory.close)
            with suppress(errors.FileUnavailable):  # the former note stays true
                self.note(memory)
            self._latest.begin(path.name, memory.noted().kept)
            undo.pop_all()
        return memory

    def _compare(
        self, path: Path, name: str
    ) -> tuple[Found, Noted | None, errors.MemoryRefusal | None]:
        """Return a file's state, the state that was recorded or None, and a refusal or None."""
        with self._registry.reading() as read:
            known = self._latest.add_to(read.noted(path.name), path.name)
        found = look(path, known)
        refused = refusal(path, name, found, known)
        if not refused and self._latest.may_be_mixed(known, path.name):
            look_through(path)
        return found, known, refused

    def _open_file(self, path: Path) -> Memory:
        keep = partial(self._latest.keep, path.name)
        return Memory.open(path, keep, self.reserve.give_up, self._indexes)

    def note(self, memory: Memory) -> None:
        """Record a memory's audit log position and open unlearning. Raises FileUnavailable."""
        with self._registry.transaction() as write:
            known = write.noted(memory.path.name)
            unlearning = known.unlearning if known else None
            if unlearning and not memory.unlearning.ids(unlearning):
                unlearning = None
            write.note(memory.path.name, memory.noted(unlearning))

    def create(
        self,
        name: str,
        *,
        dimension: int,
        embedder: str | None,
        store_images: bool = False,
        request: Request = WITHOUT_ID,
    ) -> Memory | None:
        """Make a new memory without entries; return None if this request was answered before.

        Raises MemoryExists, RequestReused, FileUnavailable.
        """

        def make(path: Path) -> Memory:
            identity = new_identity(name, dimension, embedder, store_images=store_images)
            keep, give_up = partial(self._latest.keep, path.name), self.reserve.give_up
            return Memory.create(
                path, identity, keep, give_up, self._indexes, principal=request.principal
            )

        return self._add(name, make, name, request)

    def recall(self, request: Request) -> Any:
        """Return the answer that a request to make or drop a memory got before, or None.

        Raises RequestReused.
        """
        with self._registry.reading() as read:
            return read.recall(request)

    def check_free(self, name: str, request_id: str) -> None:
        """Raise MemoryExists if a name is taken, unless this request id was answered before."""
        with self._registry.reading() as read:
            if not read.knows_request(request_id):
                self._check_free(read, name)

    def mark_unlearned(self, memory: Memory, ids: Sequence[str], operation: str | None) -> int:
        """Record entries as unlearned, so that no earlier backup or older file brings them back.

        ``operation`` is the name of the operation that is about to delete the entries, or None if
        they are deleted already. Returns the logical time, see ``RegistryReader.ticks``. Raises
        FileUnavailable.
        """

        def mark_unlearned() -> int:
            with self._registry.transaction() as write:
                if operation is not None:
                    write.note(memory.path.name, memory.noted(operation))
                return write.mark_unlearned(self._secret, memory.identity.uid, ids)

        return self.reserve.freeing(mark_unlearned)

    def unlearned(self, memory: Memory, ids: Iterable[str]) -> list[str]:
        """Return the ``ids`` that were ever unlearned in this memory or a copy of it."""
        with self._registry.reading() as read:
            return read.unlearned(self._secret, memory.identity.uid, ids)

    def backups(self, memory: Memory) -> list[int]:
        """Return the times of backups of a memory and its copies, in microseconds since 1970."""
        with self._registry.reading() as read:
            return read.backups(memory.identity.uid)

    def backup(
        self,
        memory: Memory,
        *,
        settings: Iterable[str],
        check: Callable[[], None],
        request: Request = WITHOUT_ID,
    ) -> BinaryIO:
        """Write a memory's current content to a file without a name; return the open file.

        Entries that wait to be unlearned are left out, and if there are any, so are the settings
        named in ``settings``. ``check`` is called often, and may raise. Raises CorruptStore,
        BadAuditLog, FileUnavailable.
        """
        backup = secrets.token_hex(16)

        def begin(transaction: Transaction) -> None:
            event = transaction.log("BackupMemory", transaction.count(), request.principal)
            with self._registry.transaction() as write:
                write.note_backup(backup, memory.identity.uid, event.time)

        with self._unfinished.file() as path:
            with memory.copying(path, check, begin) as replica:
                replica.write(
                    memory.identity,
                    memory.identity.name,
                    lambda transaction: transaction.keep_setting(NAME_SETTING, backup),
                    principal=request.principal,
                    settings=settings,
                )
            self.note(memory)
            return path.open("rb")

    def arrival(self) -> IncomingBackup:
        """Return a temporary file to write an incoming backup to. Raises FileUnavailable."""
        return IncomingBackup(self._unfinished.path())

    @contextmanager
    def rebuilt(
        self,
        arrival: IncomingBackup,
        name: str,
        *,
        settings: Iterable[str],
        check: Callable[[], None],
        request: Request = WITHOUT_ID,
    ) -> Iterator[Rebuilt]:
        """Yield the memory in the backup ``arrival`` as ``name``, without entries unlearned since.

        If any entries are left out, so are the settings named in ``settings``. ``check`` is called
        often, and may raise. Raises BadBackup, NewerStore, FileUnavailable.
        """
        with self._unfinished.file() as path:
            try:
                with attribute_damage(Path("The backup"), but=self.files.path):
                    rebuilt = rebuild(
                        arrival.path,
                        path,
                        name,
                        self._registry,
                        self._secret,
                        call="RestoreMemory",
                        principal=request.principal,
                        settings=settings,
                        check=check,
                    )
            except (errors.BadAuditLog, errors.CorruptStore) as bad:
                if isinstance(bad, errors.CorruptStore) and bad.path == self.files.path:
                    raise
                raise errors.BadBackup(bad.problem) from bad
            yield rebuilt

    def doubt(self, name: str) -> Doubt | None:
        """Return why a memory's file is refused or not registered, or None if the file is accepted.

        Raises UnknownMemory, OtherMemory, CorruptStore, BadAuditLog, NewerStore, FileUnavailable,
        and UnlistedFile if the file has to be renamed.
        """
        try:
            path = self._path(name)
        except errors.UnlistedFile as lost:
            if lost.to_rename:
                raise
            return Doubt(lost.path, name, lost, tombstones.BEFORE_ALL)
        found, known, refused = self._compare(path, name)
        if isinstance(refused, errors.OtherMemory):
            raise refused
        if refused is None or known is None:
            return None
        since = self._ticks() if found.has_all_of(known) else tombstones.BEFORE_ALL
        return Doubt(path, name, refused, since)

    @contextmanager
    def accepting(self, doubt: Doubt, *, settings: Iterable[str]) -> Iterator[Rebuilt]:
        """Yield the memory of ``doubt`` without unlearned entries, to be passed to ``accept``.

        It is a copy. If any entries are left out, so are the settings named in ``settings``. The
        refused file is not changed. Raises CorruptStore, BadAuditLog, NewerStore, FileUnavailable.
        """
        with self._unfinished.file() as copy, self._unfinished.file() as path:
            copy_database(doubt.path, copy)
            with attribute_damage(doubt.path, but=self.files.path):
                rebuilt = rebuild(
                    copy,
                    path,
                    doubt.name,
                    self._registry,
                    self._secret,
                    since=doubt.since,
                    call="AcceptMemory",
                    principal=LOCAL,
                    settings=settings,
                )
            yield rebuilt

    def accept(self, doubt: Doubt, rebuilt: Rebuilt) -> None:
        """Register the rebuilt file in place of the file of ``doubt``. Raises FileUnavailable."""
        path = self._memories / new_name(doubt.name)
        with self._registry.transaction() as write:  # so that a crash here removes it
            write.drop(path.name)
        with translate_os_errors(path):
            rebuilt.path.rename(path)
        sync(self._memories)
        with closing(self._open_file(path)) as memory, self._registry.transaction() as write:
            write.replace(doubt.name, path.name)
            write.drop(doubt.path.name)
            write.note(path.name, memory.noted())
        self._lost = {name: each for name, each in self._lost.items() if each is not doubt.refusal}
        self.clear()

    @contextmanager
    def copied(
        self,
        memory: Memory,
        name: str,
        *,
        settings: Iterable[str],
        check: Callable[[], None],
        request: Request = WITHOUT_ID,
        held: bool = False,
    ) -> Iterator[Rebuilt]:
        """Yield a copy of a memory under another ``name``, without entries waiting to be unlearned.

        If any are waiting, the settings in ``settings`` are left out, too. ``check`` is called
        often, and may raise; ``held`` is as for ``Memory.copying``. Raises CorruptStore,
        BadAuditLog, FileUnavailable.
        """
        with self._unfinished.file() as path:
            since = self._ticks()
            with memory.copying(path, check, held=held) as replica:
                left_out = replica.write(
                    memory.identity,
                    name,
                    lambda transaction: transaction.log(
                        "CopyMemory", transaction.count(), request.principal
                    ),
                    principal=request.principal,
                    settings=settings,
                )
            sync(path)
            yield Rebuilt(path, name, memory.identity, left_out, since)

    @contextmanager
    def reembedded(
        self,
        memory: Memory,
        change: Reembedded,
        finish: Callable[[Transaction], object],
        *,
        check: Callable[[], None],
        held: bool,
    ) -> Iterator[Path]:
        """Yield a file with a copy of a memory that has new vectors, to replace the memory.

        No entry of it waits to be unlearned. ``finish`` may add to the copy, ``check`` is called
        often, and may raise; ``held`` is as for ``Memory.copying``. Raises CorruptStore,
        BadAuditLog, FileUnavailable.
        """
        with self._unfinished.file() as path:
            with memory.copying(path, check, held=held) as replica:
                replica.write(
                    memory.identity,
                    memory.identity.name,
                    finish,
                    reembedded=change,
                )
            sync(path)
            yield path

    @contextmanager
    def replacing(
        self, memory: Memory, path: Path, former: Rebuilt
    ) -> Iterator[Callable[[], Memory]]:
        """Open the file of ``reembedded``; yield a function that puts it in a memory's place.

        The function returns the new memory, and registers ``former``, a copy of the memory, in the
        same step; it raises MemoryExists, and Outdated if an entry of the copy was unlearned since
        in another copy. The memory's file is removed by ``clear``, once it is
        closed; without a call of the function the new files are. Raises CorruptStore,
        FileUnavailable.
        """
        name, replaced = memory.identity.name, False
        new_path, kept = (self._memories / new_name(each) for each in (name, former.name))
        files = [new_path.name, kept.name]
        self._preparing.update(files)

        def replace() -> Memory:
            nonlocal replaced
            with self._registry.transaction() as write:
                self._check_free(write, former.name)
                self._check_not_outdated(write, former, memory)
                write.replace(former.name, kept.name)
                write.replace(name, new_path.name)
                write.drop(memory.path.name)
                write.note(new_path.name, new.noted())
            replaced = True
            self._latest.keep(new_path.name, new.noted().kept)
            return new

        try:
            with self._registry.transaction() as write:  # so that a crash here removes them
                for file in files:
                    write.drop(file)
            for source, target in ((path, new_path), (former.path, kept)):
                with translate_os_errors(target):
                    source.rename(target)
            sync(self._memories)
            new = self._open_file(new_path)
            try:
                yield replace
            finally:
                if not replaced:
                    new.close(keep=False)
        finally:
            self._preparing.difference_update(files)
            if not replaced:
                self._remove(files)

    def adopt(self, rebuilt: Rebuilt, answer: Any, request: Request) -> Memory | None:
        """Register a rebuilt memory and open it; return None if this request was answered before.

        ``answer`` is kept for ``request``. Raises MemoryExists, RequestReused, FileUnavailable,
        Outdated.
        """

        def make(path: Path) -> Memory:
            with translate_os_errors(path):
                rebuilt.path.rename(path)
            return self._open_file(path)

        def check(read: RegistryReader, memory: Memory) -> None:
            self._check_not_outdated(read, rebuilt, memory)

        return self._add(rebuilt.name, make, answer, request, check)

    def drop(self, name: str, *, request: Request = WITHOUT_ID) -> None:
        """Remove a memory from the registry; once the memory is closed, ``clear`` removes its file.

        Raises UnknownMemory, RequestReused, FileUnavailable, and UnlistedFile if the file has to be
        renamed.
        """

        def drop() -> None:
            with self._registry.transaction() as write:
                file, lost = write.remove(name), self._lost.get(name)
                if file is None:
                    if lost is None or lost.to_rename:
                        raise lost or errors.UnknownMemory(name)
                    file = lost.path.name
                write.drop(file)
                write.keep(request, name)

        self.reserve.freeing(drop)
        self._lost.pop(name, None)

    def clear(self) -> None:
        """Remove the files of dropped and of unfinished memories. Raises FileUnavailable."""
        with self._registry.transaction() as write:
            write.drop_unfinished()
            files = [file for file in write.dropped() if file not in self._preparing]
        self._remove(files)
        self.reserve.renew()

    def _remove(self, files: Sequence[str]) -> None:
        """Remove the files of dropped memories, and forget them.

        Raises FileUnavailable, after the others, if one cannot be removed.
        """
        removed, kept = list[str](), list[errors.FileUnavailable]()
        for file in files:
            try:
                remove_database(self._memories / file)
                self._latest.drop(file)
                removed.append(file)
            except errors.FileUnavailable as problem:
                kept.append(problem)
        if removed:
            sync(self._memories)
            with self._registry.transaction() as write:
                write.forget_dropped(removed)
        if kept:
            raise kept[0]

    def _add(
        self,
        name: str,
        make: Callable[[Path], Memory],
        answer: Any,
        request: Request,
        check: Callable[[RegistryReader, Memory], None] = lambda read, memory: None,
    ) -> Memory | None:
        """Register the memory that ``make`` makes at the path passed to it, and return the memory.

        Undo this if ``check`` raises. ``answer`` is stored for ``request``; return None if the
        request was answered before. Raises MemoryExists, RequestReused.
        """
        self.clear()  # a full disk may have prevented undoing the last one
        file = new_name(name)
        with self._registry.transaction() as write:
            if write.recall(request) is not None:
                return None
            self._check_free(write, name)
            write.add(name, file)
        memory = None
        try:
            memory = make(self._memories / file)
            sync(self._memories)
            with self._registry.transaction() as write:
                check(write, memory)
                write.set_ready(name)
                write.note(file, memory.noted())
                write.keep(request, answer)
            self._latest.keep(file, memory.noted().kept)
        except BaseException:
            if memory is not None:
                memory.close()
            self.clear()
            raise
        return memory

    def _path(self, name: str) -> Path:
        """Return the path of the file of the memory ``name``.

        Raises UnknownMemory, UnlistedFile, CorruptStore, FileUnavailable.
        """
        with self._registry.reading() as read:
            file = read.file_of(name)
        if file is None:
            stems = {each.path.stem: each for each in self._lost.values()}
            meant = stems.get(name) if listing.NAME.fullmatch(name) else None
            raise self._lost.get(name) or meant or errors.UnknownMemory(name)
        path = self._memories / file
        with translate_os_errors(path, opening=True):
            if not path.exists():
                raise missing(path)
        return path

    def _ticks(self) -> int:
        with self._registry.reading() as read:
            return read.ticks()

    def _check(self) -> None:
        """Check the registry. Raises CorruptStore, which names the files that the registry lost."""
        try:
            self._registry.check()
        except errors.CorruptStore as damage:
            files = [each.path.name for each in self._lost.values()]
            lost = f"; it has lost {errors.listed(files)}" if files else ""
            raise errors.CorruptStore(damage.path, damage.problem + lost) from damage

    def _check_not_outdated(self, read: RegistryReader, rebuilt: Rebuilt, memory: Memory) -> None:
        """Raise Outdated if an entry of a ``memory`` was unlearned since it was rebuilt."""
        uid, since = rebuilt.identity.uid, rebuilt.since
        if any(read.unlearned_since(self._secret, uid, memory.ids(), since)):
            raise Outdated

    def _check_free(self, read: RegistryReader, name: str) -> None:
        """Check that a name is free. Raises MemoryExists."""
        if name in self._lost or read.is_taken(name):
            raise errors.MemoryExists(name)
