"""The memories of one data folder: which there are, and in which file each lies."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from visual_memory_index.catalog import listing, noted, tombstones
from visual_memory_index.catalog.folder import (
    CATALOG,
    LATEST,
    MEMORIES,
    SECRET,
    UNFINISHED,
    FolderLock,
    check_not_lost,
    new_name,
)
from visual_memory_index.catalog.inspection import look, look_through
from visual_memory_index.catalog.noted import Latest
from visual_memory_index.catalog.rebuilt import Doubt, Outdated, Rebuilt, of_backup, rebuild
from visual_memory_index.erasure.residue import Traces
from visual_memory_index.errors import (
    FOLDER_BACK,
    PUT_BACK,
    CorruptStore,
    MemoryExists,
    NotWritten,
    OtherMemory,
    UnknownMemory,
    UnlistedFile,
    listed,
)
from visual_memory_index.files.damage import relabelled
from visual_memory_index.files.database import Database
from visual_memory_index.files.disk import (
    copy_database,
    make_folder,
    opened,
    remove_database,
    sync,
    written,
)
from visual_memory_index.files.migrations import CATALOG_STEPS
from visual_memory_index.files.reserve import Reserve
from visual_memory_index.files.unfinished import Unfinished
from visual_memory_index.ledger.standing import Noted, Told, refusal
from visual_memory_index.memory import Memory
from visual_memory_index.records.request import Request
from visual_memory_index.sqlite import requests
from visual_memory_index.sqlite.backup import NAME_SETTING, Arrival
from visual_memory_index.store.store import Identity, Transaction, new_identity

TEXTS = (
    "SELECT CAST(name AS BLOB), CAST(ifnull(sql, '') AS BLOB) FROM sqlite_schema",
    "SELECT CAST(file AS BLOB) FROM memories",
    "SELECT CAST(file AS BLOB) FROM dropped",
    "SELECT CAST(uid AS BLOB), CAST(last AS BLOB), CAST(ifnull(erasing, '') AS BLOB) FROM noted",
    "SELECT CAST(request_id AS BLOB), CAST(answer AS BLOB) FROM requests",
)


class Catalog:
    """A folder locked for this process; its list of memories is the truth, files follow it.

    A memory is listed as ``creating`` before its file is made, and moved to ``dropped`` before its
    file goes, so that opening can finish what a crash cut short; a file that is not listed then
    belongs to a memory that the list has lost. What is not listed yet is in ``unfinished``, which
    is emptied. The caller lets one thread at a time into ``create``, ``adopt``, ``accept``,
    ``drop`` and ``clear``. Raises FolderInUse, LostCatalog, CorruptStore, NewerStore, LostSecret.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._memories = folder / MEMORIES
        make_folder(self._memories)
        self._writing = threading.Lock()
        self._lock = FolderLock(folder)
        self.reserve = Reserve(folder / "reserve")
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            self.reserve.freeing(self._begin)  # or a full disk would keep it from freeing any
            undo.pop_all()

    def _begin(self) -> None:
        """Open the list, and finish what a crash cut short."""
        with ExitStack() as undo:
            with relabelled(self.folder / CATALOG, FOLDER_BACK):
                check_not_lost(self.folder)
                self._database = Database(self.folder / CATALOG, CATALOG_STEPS)
                undo.callback(self._database.close)
                with self._database.reading() as db:
                    self._lost = listing.unlisted(db, self._memories)
                self._check()
                with self._transaction() as db:
                    self._secret = tombstones.read_secret(db, self.folder / SECRET)
                self._latest = Latest(self.folder / LATEST, self._memories)
                self._unfinished = Unfinished(self.folder / UNFINISHED)
                with self._transaction() as db:
                    listing.keep_ready(db, self._latest.has)
                self.clear()
            undo.pop_all()

    def close(self) -> None:
        """Let another server have the folder."""
        with closing(self._lock):
            self._database.close()

    def cut_log(self) -> None:
        """Leave nothing of what was dropped in the log, if nobody reads it. Raises NotWritten."""
        with self._writing:
            self._database.truncate_log()
        self.reserve.renew()

    def descriptors(self) -> list[int]:
        """The files of the list of memories, opened to be read."""
        return self._database.descriptors()

    def found_in(self, traces: Traces) -> frozenset[bytes]:
        """The pieces of ``traces`` that are in names, requests and the schema, masked."""
        found: set[bytes] = set()
        with self._database.apart() as db:
            for select in TEXTS:
                for text in chain.from_iterable(db.execute(select)):
                    found |= traces.found_in(text)
        return frozenset(found)

    def names(self) -> list[str]:
        """The memories that exist, sorted, also those of which only the file is left."""
        with self._database.reading() as db:
            return sorted({*self._lost, *listing.names(db)})

    def open(self, name: str) -> Memory:
        """Read a memory. Raises UnknownMemory, UnlistedFile, and what ``Memory.open`` raises.

        And OtherMemory, OlderMemory, OlderCatalog where its file is not the one that was there. One
        that may not belong to its log is looked through. A full disk has the reserve for it.
        """
        return self.reserve.freeing(partial(self._open, name))

    def _open(self, name: str) -> Memory:
        path = self._path(name)
        known = self._noted(path.name)
        with opened(path):
            found = look(path, known)
            if found and (refused := refusal(path, name, found, known)):
                raise refused
            if self._latest.may_be_mixed(known, path.name):
                look_through(path)
            memory = Memory.open(path, self._told(path.name), self.reserve.give_up)
        with suppress(NotWritten):  # it can be read all the same, and what was noted stays true
            self.note(memory, erased=bool(found and found.unlearnings))
        self._latest.keep(path.name, memory.noted().kept)
        return memory

    def note(self, memory: Memory, *, erased: bool = False) -> None:
        """Keep for good where a memory stands, if that is new. Raises NotWritten.

        ``erased`` says that what ``bury`` marked was deleted.
        """
        with self._transaction() as db:
            known = noted.read(db, memory.path.name)
            erasing = known.erasing if known and not erased else None
            noted.keep(db, memory.path.name, memory.noted(erasing))

    def create(
        self,
        name: str,
        *,
        dimension: int,
        embedder: str | None,
        store_images: bool = False,
        request: Request | None = None,
    ) -> Memory | None:
        """A new memory; None where this request created it before.

        Raises MemoryExists, RequestReused, NotWritten.
        """

        def make(path: Path) -> Memory:
            identity = new_identity(name, dimension, embedder, store_images=store_images)
            return Memory.create(path, identity, self._told(path.name), self.reserve.give_up)

        return self._add(name, make, name, request)

    def recall(self, request: Request | None) -> Any:
        """What a request that made or dropped a memory was answered with before, or None.

        Raises RequestReused.
        """
        with self._database.reading() as db:
            return requests.recall(db, request)

    def check_free(self, name: str, request_id: str) -> None:
        """Refuse a name that is taken, unless a request of this id made the memory before.

        Raises MemoryExists.
        """
        with self._database.reading() as db:
            known = "SELECT 1 FROM requests WHERE request_id = ?"
            if not db.execute(known, (request_id,)).fetchone():
                self._check_free(db, name)

    def bury(self, memory: Memory, ids: Sequence[str], operation: str | None) -> int:
        """Note for good that these entries are unlearned, as an operation is about to; the tick.

        Without one they were deleted before. No backup of before brings them back from now on,
        and no older file. Raises NotWritten.
        """

        def bury() -> int:
            with self._transaction() as db:
                if operation is not None:
                    noted.keep(db, memory.path.name, memory.noted(operation))
                return tombstones.bury(db, self._secret, memory.identity.uid, ids)

        return self.reserve.freeing(bury)

    def unlearned(self, memory: Memory, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that this memory or a copy of it was ever to unlearn."""
        with self._database.reading() as db:
            return tombstones.unlearned(db, self._secret, memory.identity.uid, ids)

    def backup(
        self, memory: Memory, *, settings: Iterable[str], check: Callable[[], None]
    ) -> BinaryIO:
        """All of a memory as it is now, as an open file without a name.

        Entries that wait to be unlearned are not in it, nor ``settings`` where there are such.
        ``check`` is asked all the time, and may raise.

        Raises CorruptStore, BadAuditLog, NotWritten.
        """
        backup = secrets.token_hex(16)

        def begin(transaction: Transaction) -> None:
            with self._transaction() as db:
                tombstones.note_backup(db, backup)
            transaction.log("BackupMemory", transaction.count())

        with self._unfinished.file() as path:
            with memory.copying(path, check, begin) as replica:
                replica.write(
                    memory.identity,
                    memory.identity.name,
                    lambda transaction: transaction.keep_setting(NAME_SETTING, backup),
                    settings=settings,
                )
            self.note(memory)
            return path.open("rb")

    def arrival(self) -> Arrival:
        """Where a backup can come in. Raises NotWritten."""
        return Arrival(self._unfinished.path())

    @contextmanager
    def rebuilt(
        self, arrival: Arrival, name: str, *, settings: Iterable[str], check: Callable[[], None]
    ) -> Iterator[Rebuilt]:
        """A memory of this ``name`` from a backup, without what was unlearned since.

        Where something was, ``settings`` go as well. ``check`` is asked all the time, and may
        raise. Raises BadBackup, NewerStore, NotWritten.
        """
        with self._unfinished.file() as path:
            with of_backup():
                rebuilt = self._rebuild(
                    arrival.path,
                    path,
                    name,
                    call="RestoreMemory",
                    since=tombstones.tick_of_backup,
                    settings=settings,
                    check=check,
                )
            yield rebuilt

    def doubt(self, name: str) -> Doubt | None:
        """Why a memory is refused for what was noted of it, or not listed; None where it is not.

        Raises UnknownMemory, OtherMemory, CorruptStore, and UnlistedFile for one to be renamed.
        """
        try:
            path = self._path(name)
        except UnlistedFile as lost:
            if lost.to_rename:
                raise
            return Doubt(Path(lost.path), name, lost, tombstones.BEFORE_ALL)
        known = self._noted(path.name)
        found = look(path, known)
        refused = refusal(path, name, found, known) if found else None
        if isinstance(refused, OtherMemory):
            raise refused
        if not (refused and found and known):
            return None
        since = self._ticks() if found.has_all_of(known) else tombstones.BEFORE_ALL
        return Doubt(path, name, refused, since)

    @contextmanager
    def accepting(self, doubt: Doubt, *, settings: Iterable[str]) -> Iterator[Rebuilt]:
        """What a memory in doubt holds, without what was unlearned, written anew for ``accept``.

        Its file is left as it is. Raises CorruptStore, BadAuditLog, NewerStore, NotWritten.
        """
        with self._unfinished.file() as copy, self._unfinished.file() as path:
            copy_database(doubt.path, copy)
            with relabelled(doubt.path):
                rebuilt = self._rebuild(
                    copy,
                    path,
                    doubt.name,
                    call="AcceptMemory",
                    since=lambda db, backup: doubt.since,
                    settings=settings,
                )
            yield rebuilt

    def accept(self, doubt: Doubt, rebuilt: Rebuilt) -> None:
        """List what was rebuilt in the place of what is in doubt. Raises NotWritten."""
        path = self._memories / new_name(doubt.name)
        with self._transaction() as db:  # it goes where this is cut short
            db.execute("INSERT INTO dropped VALUES (?)", (path.name,))
        with written(path):
            rebuilt.path.rename(path)
        sync(self._memories)
        with closing(Memory.open(path)) as memory, self._transaction() as db:
            db.execute("DELETE FROM dropped WHERE file = ?", (path.name,))
            db.execute("DELETE FROM memories WHERE name = ?", (doubt.name,))
            db.execute("INSERT INTO memories VALUES (?, ?, 'ready')", (doubt.name, path.name))
            db.execute("INSERT INTO dropped VALUES (?)", (doubt.path.name,))
            noted.keep(db, memory.path.name, memory.noted())
        self._lost = {name: each for name, each in self._lost.items() if each is not doubt.refusal}
        self.clear()

    @contextmanager
    def copied(
        self, memory: Memory, name: str, *, settings: Iterable[str], check: Callable[[], None]
    ) -> Iterator[Rebuilt]:
        """A memory of another ``name`` with all that this one holds now, as ``backup`` would.

        Raises CorruptStore, BadAuditLog, NotWritten.
        """
        with self._unfinished.file() as path:
            since = self._ticks()
            with memory.copying(path, check) as replica:
                left_out = replica.write(
                    memory.identity,
                    name,
                    lambda transaction: transaction.log("CopyMemory", transaction.count()),
                    settings=settings,
                )
            sync(path)
            yield Rebuilt(path, name, memory.identity, left_out, since)

    def adopt(self, rebuilt: Rebuilt, answer: Any, request: Request | None) -> Memory | None:
        """List a rebuilt memory and open it; None where this request did so before.

        Raises MemoryExists, RequestReused, NotWritten, Outdated.
        """

        def make(path: Path) -> Memory:
            with written(path):
                rebuilt.path.rename(path)
            return Memory.open(path, self._told(path.name), self.reserve.give_up)

        def check(db: sqlite3.Connection, memory: Memory) -> None:
            uid, since = rebuilt.identity.uid, rebuilt.since
            if any(tombstones.buried(db, self._secret, uid, memory.ids(), since)):
                raise Outdated

        return self._add(rebuilt.name, make, answer, request, check)

    def drop(self, name: str, *, request: Request | None = None) -> None:
        """Forget a memory. Its file goes when it is closed, by ``clear``.

        Raises UnknownMemory, RequestReused, NotWritten, and UnlistedFile for one to be renamed.
        """

        def drop() -> None:
            with self._transaction() as db:
                row = db.execute("DELETE FROM memories WHERE name = ? RETURNING file", (name,))
                dropped = row.fetchone()
                lost = self._lost.get(name)
                if dropped:
                    (file,) = dropped
                elif lost and not lost.to_rename:
                    file = Path(lost.path).name
                else:
                    raise lost or UnknownMemory(name)
                db.execute("INSERT INTO dropped VALUES (?)", (file,))
                requests.keep(db, request, name)

        self.reserve.freeing(drop)
        self._lost.pop(name, None)

    def clear(self) -> None:
        """Remove the files of memories that were dropped, or never finished. Raises NotWritten."""
        with self._transaction() as db:
            listing.drop_unfinished(db)
        with self._database.reading() as db:
            files = [file for (file,) in db.execute("SELECT file FROM dropped")]
        for file in files:
            remove_database(self._memories / file)
            self._latest.drop(file)
        if files:
            sync(self._memories)
            with self._transaction() as db:
                db.execute("DELETE FROM dropped")
        self.reserve.renew()

    def _add(
        self,
        name: str,
        make: Callable[[Path], Memory],
        answer: Any,
        request: Request | None,
        check: Callable[[sqlite3.Connection, Memory], None] = lambda db, memory: None,
    ) -> Memory | None:
        """List what ``make`` makes of a path, unless ``check`` refuses it at last.

        None where this request was answered before. Raises MemoryExists, RequestReused.
        """
        self.clear()  # a disk that was full may have kept the last one from being undone
        file = new_name(name)
        with self._transaction() as db:
            if requests.recall(db, request) is not None:
                return None
            self._check_free(db, name)
            db.execute("INSERT INTO memories VALUES (?, ?, 'creating')", (name, file))
        memory = None
        try:
            memory = make(self._memories / file)
            sync(self._memories)
            with self._transaction() as db:
                check(db, memory)
                db.execute("UPDATE memories SET state = 'ready' WHERE name = ?", (name,))
                noted.keep(db, memory.path.name, memory.noted())
                requests.keep(db, request, answer)
            self._latest.keep(file, memory.noted().kept)
        except BaseException:
            if memory is not None:
                memory.close()
            self.clear()
            raise
        return memory

    def _path(self, name: str) -> Path:
        """Where a memory lies. Raises UnknownMemory, UnlistedFile, CorruptStore, NotWritten."""
        with self._database.reading() as db:
            file = listing.file_of(db, name)
        if file is None:
            raise self._unlisted(name) or UnknownMemory(name)
        path = self._memories / file
        with opened(path):
            if not path.exists():
                raise CorruptStore(str(path), "the file is missing", way_out=PUT_BACK)
        return path

    def _unlisted(self, name: str) -> UnlistedFile | None:
        """The file that is called so, or may have been before another was listed or dropped."""
        stems = {Path(each.path).stem: each for each in self._lost.values()}
        return self._lost.get(name) or (stems.get(name) if listing.NAME.fullmatch(name) else None)

    def _noted(self, file: str) -> Noted | None:
        with self._database.reading() as db:
            return self._latest.add_to(noted.read(db, file), file)

    def _told(self, file: str) -> Told:
        return partial(self._latest.keep, file)

    def _rebuild(
        self,
        source: Path,
        target: Path,
        name: str,
        *,
        call: str,
        since: Callable[[sqlite3.Connection, str], int],
        settings: Iterable[str],
        check: Callable[[], None] = lambda: None,
    ) -> Rebuilt:
        """See ``rebuild``; what was unlearned after the tick ``since`` is left out."""

        def unlearned(identity: Identity, backup: str, ids: Iterable[str]) -> list[str]:
            with self._database.reading() as db:
                then = since(db, backup)
                return list(tombstones.buried(db, self._secret, identity.uid, ids, then))

        now = self._ticks()
        identity, left_out = rebuild(
            source, target, name, call=call, unlearned=unlearned, settings=settings, check=check
        )
        sync(target)
        return Rebuilt(target, name, identity, left_out, now)

    def _ticks(self) -> int:
        with self._database.reading() as db:
            return tombstones.ticks(db)

    def _check(self) -> None:
        """Raises CorruptStore, which names what the list has lost."""
        try:
            self._database.check()
        except CorruptStore as damage:
            files = [Path(each.path).name for each in self._lost.values()]
            lost = f"; it has lost {listed(files)}" if files else ""
            raise CorruptStore(damage.path, damage.problem + lost) from damage

    def _check_free(self, db: sqlite3.Connection, name: str) -> None:
        """Raises MemoryExists."""
        if name in self._lost or listing.is_taken(db, name):
            raise MemoryExists(name)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, self._database.transaction() as db:
            yield db
