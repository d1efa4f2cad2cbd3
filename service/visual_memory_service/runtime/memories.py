"""Open memories by name, each with its searches and its embedder."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import structlog

import visual_memory_index as index
from visual_memory_index import errors
from visual_memory_index.records.operation import Progress
from visual_memory_index.store.store import Sought
from visual_memory_service.config import Settings
from visual_memory_service.runtime.check import Checks
from visual_memory_service.runtime.devices import decided
from visual_memory_service.runtime.embedders import Embedders
from visual_memory_service.runtime.heap import release_free_pages
from visual_memory_service.runtime.rejections import Rejections
from visual_memory_service.runtime.served_memory import ServedMemory, read_spec

KEPT_OPEN = 100  # memories, though nobody asks them
IDLE_SECONDS, OPENINGS_OF_IDLENESS = 60.0, 1000.0
TRY_AGAIN_SECONDS = 3.0  # between tries: opening reads the whole file
IMPORTS_AT_ONCE = 16  # others take turns with these
log = structlog.get_logger()

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Place:
    """One name's memory: open and ``served``, or refused with an error, or closed until asked.

    A memory that is found damaged while it serves is both. ``moving`` is held while it is opened or
    closed, ``tried`` is the time of the last try to reopen a refused one. ``rejections`` are kept
    while it is closed, and so is what was ``told`` of it, if that is still true.
    """

    served: ServedMemory | None = None
    refusal: errors.MemoryRefusal | None = None
    tried: float = -math.inf
    moving: threading.Lock = field(default_factory=threading.Lock)
    rejections: Rejections = field(default_factory=Rejections)
    told: Any = None

    def retry_path(self) -> Path | None:
        """Return the file to reopen; None if the disk is not the cause or a try was recent."""
        refusal, rested = self.refusal, time.monotonic() - self.tried >= TRY_AGAIN_SECONDS
        return refusal.path if rested and isinstance(refusal, errors.FileUnavailable) else None


class Duplicates(NamedTuple):
    """Sorted names of memories with the same content as some entries, and of memories not read.

    The memory of the entries is in ``also_in`` if another of its entries has the same content.
    """

    also_in: list[str]
    not_asked: list[str]


class Memories:
    """Opens memories when they are asked, and closes them when idle; a damaged one is refused.

    The ``kept_open`` memories asked last stay open; others are closed a minute after they were
    asked, or after a thousand times as long as it took to open them. One that is used, or that has
    operations by ``works_on``, is not closed. ``changed`` is called with the name of each memory
    that begins or ceases to serve, be it open or not, and ``unfinished`` with that of each that
    is opened and has operations to go on with. The settings named in ``fitted`` depend on entries:
    a copy or restore that leaves out entries drops them.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[str, bool], None] = lambda name, serves: None,
        unfinished: Callable[[str], None] = lambda name: None,
        *,
        works_on: Callable[[str], bool] = lambda name: False,
        fitted: Sequence[str] = (),
        kept_open: int = KEPT_OPEN,
        indexes: index.IndexFactory | None = None,
    ) -> None:
        self.fitted, self.kept_open = fitted, kept_open
        settings, decided_on = (settings, indexes) if indexes else decided(settings)
        self.indexes: index.IndexFactory = decided_on
        self.embedders = Embedders(settings)
        self.importing = index.running_threads(IMPORTS_AT_ONCE, "import")
        self._changed, self._unfinished, self._works_on = changed, unfinished, works_on
        self._editing = threading.RLock()
        self._states = threading.Lock()  # guards _places and what is in them; taken last
        self._closed, self._swept = False, -math.inf
        self._places: dict[str, Place] = {}
        self.checks = Checks(self._check)
        self.catalog = index.Catalog(settings.data, self.indexes)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._clear()
            names = self.catalog.names_by_use()
            self._places.update({name: Place() for name in sorted(names)})
            for name in reversed(names[:kept_open]):  # so that the last one used is the last asked
                with suppress(errors.TooManyFiles):
                    self._open_or_note(name, self._places[name])
            for name, place in self._places.items():
                if place.refusal is None:
                    changed(name, True)
            undo.pop_all()

    def names(self) -> list[str]:
        """Return the names of all memories, damaged ones included, sorted."""
        return sorted(self._places)

    @contextmanager
    def using(self, name: str) -> Iterator[ServedMemory]:
        """Yield a memory, which stays open until the end; raises as ``use``."""
        served = self.use(name)
        try:
            yield served
        finally:
            self.release(served)

    @contextmanager
    def visiting(self, name: str) -> Iterator[ServedMemory]:
        """Yield a memory as ``using`` does; if it was closed, and is not asked, close it again."""
        asked = math.nan
        if (served := self.use_if_open(name, asking=False)) is None:
            served = self.use(name, asking=False)
            asked = served.asked
        try:
            yield served
        finally:
            self.release(served)
            if served.asked == asked:
                self._close(name, served)

    def told(self, name: str, tell: Callable[[ServedMemory], T]) -> T:
        """Return what ``tell``, always the same, says of a memory; raises as ``use``.

        Of a closed one it is kept until that is opened.
        """
        place = self._places.get(name, Place())
        kept: T | None = place.told
        if kept is not None:
            return kept
        was_open = place.served is not None
        with self.visiting(name) as served:
            state, told = served.state, tell(served)
            if not was_open:  # its file is smaller once it is closed
                served.told = state, told
        return told

    def go_on(
        self, name: str, kind: str, start: Callable[[index.Operation, ServedMemory], None]
    ) -> None:
        """Start the unfinished operations of a ``kind`` on a memory, unless it was dropped.

        If the memory is refused, that is only logged.
        """
        try:
            with self.visiting(name) as served:
                for operation in served.memory.operations.unfinished(kind):
                    start(operation, served)
        except errors.UnknownMemory:
            return
        except errors.MemoryRefusal as refusal:  # such as a memory found damaged since
            problem = errors.in_full(refusal)
            log.warning("waits for the next start", kind=kind, memory=name, problem=problem)

    def use(self, name: str, *, asking: bool = True) -> ServedMemory:
        """Return a memory, which is opened if it has to be, and stays open until it is released.

        Opening may take as long as reading a file. Retries after a disk error are some seconds
        apart and need a writable folder; meanwhile other callers get the earlier error. Raises
        UnknownMemory, or the error that prevented opening the memory.
        """
        while (served := self.use_if_open(name, asking=asking)) is None:
            self._open_place(name)
        return served

    def use_if_open(self, name: str, *, asking: bool = True) -> ServedMemory | None:
        """Return what ``use`` does, but None if that would try to open the memory."""
        with self._states:
            place = self._places.get(name)
            if place is None:
                raise errors.UnknownMemory(name)
            if place.refusal is not None:
                if place.retry_path() is not None:
                    return None
                raise place.refusal.with_traceback(None)
            served = place.served
            if served is not None:
                served.users += 1
                if asking:
                    served.asked = time.monotonic()
            return served

    def release(self, served: ServedMemory) -> None:
        """End a use of a memory."""
        with self._states:
            served.users -= 1

    def each_open(self) -> Iterator[ServedMemory]:
        """Yield each memory that is open, which stays open until the next is asked for."""
        for name in self.names():
            with suppress(errors.MemoryRefusal):  # refused, or dropped meanwhile
                served = self.use_if_open(name, asking=False)
                if served is not None:
                    try:
                        yield served
                    finally:
                        self.release(served)

    def close_idle(self) -> None:
        """Close the memories that nobody uses and that have been idle for their time.

        Ends of operations that found no room on the disk are written, if there is any by now.
        Others that were not asked since the last call give back what they cache of their files,
        once until they are asked again.
        """
        now = time.monotonic()
        by_use = self._by_use()
        self.catalog.reserve.renew()
        if self.catalog.reserve.is_there:  # or they might find no room to be opened again
            for name, served in by_use[: max(0, len(by_use) - self.kept_open)]:
                if now - served.asked >= served.idle_seconds:
                    self._close(name, served)
        freed = list[bool]()
        for served in self.each_open():
            self._wrote_ends(served.memory)
            freed.append(self._free_caches(served))
        self._swept = now
        if any(freed):
            release_free_pages()

    def _free_caches(self, served: ServedMemory) -> bool:
        """Have an idle memory give back its caches, and return True, unless it did so before."""
        asked, name = served.asked, served.memory.identity.name
        if asked == served.freed or asked >= self._swept or self._works_on(name):
            return False
        with suppress(errors.MemoryRefusal):  # dropped meanwhile, or at the limit of open files
            served.memory.unlearning.drop_caches()
        served.freed = asked
        return True

    def note(self, memory: index.Memory) -> None:
        """Record the end of a memory's audit log in the catalog, so that older files are refused.

        If the record cannot be written, the former record stays, and is still true.
        """
        try:
            self.catalog.note(memory)
        except (errors.CorruptStore, errors.FileUnavailable) as problem:
            log.error("not noted", memory=memory.identity.name, reason=errors.in_full(problem))

    def find_duplicates(self, memory: index.Memory, ids: Sequence[str]) -> Duplicates:
        """Find the memories that hold the content of these entries, and those that cannot be read.

        Copies of ``memory`` are also found by the ids alone. Raises CorruptStore, FileUnavailable
        if the entries themselves cannot be read, and TooManyFiles.
        """
        sought, own = memory.unlearning.sought(ids), memory.identity.name
        found = Duplicates([], [])
        with self._editing:  # a memory that is listed already serves by then
            names = self.names()
        for name in names if sought.ids else ():
            try:
                if name == own:
                    held = memory.unlearning.holds(sought, without=sought.ids)
                else:
                    held = self._holds(name, sought)
                if held:
                    found.also_in.append(name)
            except errors.TooManyFiles:
                raise
            except errors.MemoryRefusal as refusal:
                if name in self._places:  # or it was dropped meanwhile
                    log.warning("memory not asked", memory=name, reason=errors.in_full(refusal))
                    found.not_asked.append(name)
        return found

    def drop_caches(self) -> None:
        """Drop what all memories cache of deleted entries, in SQLite's connections too.

        What was told of closed ones goes, too: it may have texts of entries that are erased.
        """
        with self._states:
            for place in self._places.values():
                place.told = None
                if place.served is not None:
                    place.served.told = (None, None)
        for served in self.each_open():
            with suppress(errors.MemoryRefusal):  # dropped meanwhile, or at the limit of open files
                served.memory.unlearning.drop_caches()

    def catalog_files(self) -> Sequence[int]:
        """Return open descriptors of the catalog's files, first cleared of deleted data.

        The catalog closes them. While another program reads the catalog's write-ahead log, the log
        is not cleared. Raises FileUnavailable.
        """
        self.catalog.files.truncate_log()
        self.catalog.reserve.renew()
        return self.catalog.files.descriptors()

    def create(
        self,
        name: str,
        *,
        embedder: str | None,
        dimension: int | None,
        store_images: bool,
        request: index.Request,
    ) -> None:
        """Create a memory for images of an ``embedder``, or for vectors of a ``dimension``.

        Raises MemoryExists, RequestReused, FileUnavailable, and the errors of ``Embedders.get``.
        """
        spec = self.embedders.get(embedder).spec if embedder is not None else None
        with self._editing:
            memory = self._freeing_files(
                partial(
                    self.catalog.create,
                    name,
                    dimension=spec.dimension if spec else dimension or 0,
                    embedder=spec.to_json() if spec else None,
                    store_images=store_images,
                    request=request,
                )
            )
            if memory is not None:
                self._serve(name, memory)
                log.info("memory created", memory=name)

    def drop(self, name: str, *, request: index.Request) -> None:
        """Delete a memory with all it holds, damaged or not.

        Raises UnknownMemory, RequestReused, FileUnavailable.
        """
        while True:
            place = self._places.get(name)
            with place.moving if place else nullcontext(), self._editing:
                if self._places.get(name) is place:  # or it was dropped, and perhaps made anew
                    return self._drop(name, place, request)

    def _drop(self, name: str, place: Place | None, request: index.Request) -> None:
        if self.catalog.recall(request) is not None:
            return
        self.catalog.drop(name, request=request)
        with self._states:
            self._places.pop(name, None)
            self._changed(name, False)
        log.info("memory dropped", memory=name)
        if place is not None and place.served is not None:
            place.served.memory.close(keep=False)
        self._clear()

    def backup(self, name: str, *, check: Callable[[], None], request: index.Request) -> BinaryIO:
        """Write a memory's current content to a file without a name, and return the open file.

        The caller closes it. ``check`` is called often, and may raise. Raises UnknownMemory,
        CorruptStore, BadAuditLog, FileUnavailable.
        """
        self._make_room()
        with self.using(name) as served:
            return self.catalog.backup(
                served.memory, settings=self.fitted, check=check, request=request
            )

    def arrival(self, name: str, request_id: str) -> index.IncomingBackup:
        """Return an empty incoming backup for a new memory, to be written and restored.

        Raises MemoryExists if the name is taken, unless the request was answered before, and
        FileUnavailable.
        """
        self.check_free(name, request_id)
        return self.catalog.arrival()

    def restore(
        self,
        name: str,
        arrival: index.IncomingBackup,
        *,
        check: Callable[[], None],
        request: index.Request,
    ) -> int:
        """Make a memory from a received backup; return the count of entries left out.

        Entries that were unlearned since the backup are left out. ``check`` is called often, and
        may raise. Raises BadBackup, NewerStore, MemoryExists, RequestReused, FileUnavailable.
        """
        return self._adopt(self.catalog.rebuilt, arrival, name, check, request)

    def copy(
        self, name: str, new_name: str, *, check: Callable[[], None], request: index.Request
    ) -> None:
        """Copy a memory, as it is now, to a new memory.

        Raises UnknownMemory, MemoryExists, RequestReused, FileUnavailable.
        """
        if self.catalog.recall(request) is None:
            self.check_free(new_name, request.id)
            with self.using(name) as served:
                self._adopt(self.catalog.copied, served.memory, new_name, check, request)

    def reembed(
        self,
        memory: index.Memory,
        change: index.Reembedded,
        former_name: str,
        finish: Callable[[index.Transaction], None],
        *,
        operation: str,
        hold: Callable[[], bool] | None,
        check: Callable[[], None],
    ) -> index.Memory | None:
        """Replace a memory by a copy with new vectors; return it, or None if that has to wait.

        In the same step ``former_name`` becomes a copy of what it was. ``finish`` may add to the
        new memory. If ``hold`` is given, writes are refused from the beginning, and it is called
        then: if it returns False, nothing is replaced. Else nothing is if anything is written
        meanwhile, or another operation runs than that named ``operation``. ``check`` is called
        often, and may raise. Raises MemoryExists, CorruptStore, BadAuditLog, FileUnavailable.
        """
        name = memory.identity.name
        place, waits = self._places.get(name, Place()), hold is not None
        with ExitStack() as held:

            def begin_holding() -> Callable[[], None]:
                held.enter_context(place.moving)
                return held.enter_context(memory.holding_writes(refuse=waits))

            if hold is not None:
                close = begin_holding()
                if not hold():
                    return None
            before = memory.version
            if {each.name for each in memory.operations.unfinished()} != {operation}:
                return None
            self._make_room()
            try:
                making = self.catalog.reembedded(memory, change, finish, check=check, held=waits)
                path = held.enter_context(making)
            except index.MissingVectors:
                return None
            copying = self.catalog.copied(
                memory, former_name, settings=self.fitted, check=check, held=waits
            )
            former = held.enter_context(copying)
            self._make_room()  # copying takes long
            put = held.enter_context(self.catalog.replacing(memory, path, former))
            if not waits:
                close = begin_holding()
            still_runs = memory.operations.get(operation).state == "running"
            if memory.version != before or not still_runs:
                return None
            with self._editing:
                try:
                    new = put()
                except index.Outdated:  # an entry was unlearned in a copy of the memory
                    return None
                try:
                    close()
                except errors.MemoryRefusal as refusal:
                    log.error("memory not closed", memory=name, reason=errors.in_full(refusal))
                finally:
                    self._serve(name, new, place)
                    with self._states:
                        self._places[former_name] = Place()
                        self._changed(former_name, True)
                self._clear()
            log.info("memory re-embedded", memory=name, former=former_name)
            return new

    def close(self) -> None:
        """Close every memory and unlock the folder, even if one of these steps raises."""
        self.checks.close()
        self._closed = True
        for place in [*self._places.values()]:
            with place.moving:  # it is not being opened, and will not be
                pass
        with self._editing, ExitStack() as closing:
            closing.callback(self.embedders.close)
            closing.callback(self.catalog.close)
            for place in self._places.values():
                if place.served is not None:
                    closing.callback(place.served.memory.close)
            for place in self._places.values():
                if place.served is not None and place.refusal is None:
                    closing.callback(self.note, place.served.memory)
                    closing.callback(self._wrote_ends, place.served.memory)

    def _adopt(
        self,
        rebuild: Callable[..., AbstractContextManager[index.Rebuilt]],
        source: index.IncomingBackup | index.Memory,
        name: str,
        check: Callable[[], None],
        request: index.Request,
    ) -> int:
        """Rebuild ``source`` as a new memory and serve it; return the count of entries left out.

        Unlearned entries are left out. ``check`` is called often, and may raise.
        """
        while True:
            answered: int | None = self.catalog.recall(request)
            if answered is not None:
                return answered
            self._make_room()
            rebuilt = rebuild(source, name, settings=self.fitted, check=check, request=request)
            with rebuilt as made, self._editing:
                try:
                    read_spec(made.identity.embedder, made.path)
                    memory = self.catalog.adopt(made, made.left_out, request)
                except errors.CorruptStore as damage:
                    if damage.path == self.catalog.files.path:
                        raise
                    raise errors.BadBackup(damage.problem) from damage
                except index.Outdated:
                    continue
                if memory is not None:
                    self._serve(made.name, memory)
                    log.info("memory created", memory=made.name, left_out=made.left_out)
                    return made.left_out

    def _clear(self) -> None:
        """Remove the files of memories that are gone; those that cannot be are removed later."""
        try:
            self.catalog.clear()
        except errors.FileRefusal as problem:
            log.error("file not removed", reason=errors.in_full(problem))

    def check_free(self, name: str, request_id: str) -> None:
        """Raise MemoryExists if a name is taken, unless the request was answered before.

        First waits for a memory that is being made, perhaps by the same request.
        """
        with self._editing:
            self.catalog.check_free(name, request_id)

    def _check(self, name: str, on_progress: Progress) -> index.Checked:
        self._check_not_refused(name)
        with self.visiting(name) as served:
            return served.memory.check(on_progress)

    def _check_not_refused(self, name: str) -> None:
        """Raise the error that a memory is refused with, if it is, and do not try to open it."""
        with self._states:
            place = self._places.get(name)
            if place is not None and place.refusal is not None:
                raise place.refusal.with_traceback(None)  # or it would grow with every call

    def _holds(self, name: str, sought: Sought) -> bool:
        """Return True if a memory holds an entry of ``sought``, or its content, be it open or not.

        Raises UnknownMemory, or the error that prevents reading the memory.
        """
        self._check_not_refused(name)
        place = self._places.get(name, Place())
        with place.moving:
            if place.served is None and place.refusal is None and name in self._places:
                held = self.catalog.holds(name, sought)
                if held is not None:
                    return held
        with self.visiting(name) as served:
            memory = served.memory
            with memory.reporting_damage(), index.damage_of(memory.path):
                return memory.unlearning.holds(sought)

    def _open_place(self, name: str) -> None:
        """Open a memory that is closed, or may be tried again; refuse it if this fails."""
        place = self._places.get(name)
        if place is None:  # dropped meanwhile
            return
        refusal = place.refusal
        if not place.moving.acquire(blocking=refusal is None):
            raise (refusal or errors.MemoryClosed(name)).with_traceback(None)
        try:
            if self._closed:
                raise errors.MemoryClosed(name)
            if self._places.get(name) is not place or place.served is not None:
                return
            if place.refusal is not None and place.retry_path() is None:
                return
            path = place.retry_path()
            if path is None or index.probe_folder(path.parent) is None:
                self._open_or_note(name, place)
        finally:
            place.tried = time.monotonic()
            place.moving.release()

    def _open_or_note(self, name: str, place: Place) -> None:
        """Open a memory and serve it, or store the error that all later callers get.

        Raises TooManyFiles, which says nothing of the memory.
        """
        began = time.perf_counter()
        try:
            memory = self._freeing_files(partial(self.catalog.open, name))
            seconds = time.perf_counter() - began
            log.info("memory opened", memory=name, entries=memory.count, seconds=round(seconds, 2))
            self._serve(name, memory, place, seconds)
        except errors.TooManyFiles:
            raise
        except errors.MemoryRefusal as refusal:
            with self._states:
                place.refusal, place.told = refusal, None
                self._changed(name, False)
            log.error("memory not opened", memory=name, reason=errors.in_full(refusal))
            return
        if memory.operations.has_unfinished:
            self._unfinished(name)

    def _make_room(self) -> None:
        """Close idle memories until there are files to open. Raises TooManyFiles."""
        self._freeing_files(partial(index.check_files_left, self.catalog.files.path))

    def _freeing_files(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns; where too many files are open, close idle memories first."""
        while True:
            try:
                return act()
            except errors.TooManyFiles:
                if not any(self._close(*each) for each in self._by_use()):
                    raise

    def _by_use(self) -> list[tuple[str, ServedMemory]]:
        """Return the memories that serve, the one asked last at the end."""
        with self._states:
            serving = [
                (name, place.served)
                for name, place in self._places.items()
                if place.served is not None and place.refusal is None
            ]
            return sorted(serving, key=lambda each: each[1].asked)

    def _close(self, name: str, served: ServedMemory) -> bool:
        """Close a memory, and return True, unless it is used or works."""
        place = self._places.get(name)
        if place is None or not place.moving.acquire(blocking=False):
            return False
        try:
            if not self._wrote_ends(served.memory) or served.memory.operations.has_put_off:
                return False
            with self._states:
                if self._closed or place.served is not served or place.refusal is not None:
                    return False
                if served.users or self._works_on(name):
                    return False
                place.served = None
                state, told = served.told
                place.told = told if state == served.state else None
            self.note(served.memory)
            try:
                served.memory.close()
            except errors.MemoryRefusal as refusal:
                log.error("memory not closed", memory=name, reason=errors.in_full(refusal))
            log.info("memory closed", memory=name)
            return True
        finally:
            place.moving.release()

    def _wrote_ends(self, memory: index.Memory) -> bool:
        """Write the ends of operations that only RAM has; return False if they cannot be."""
        try:
            memory.operations.write_ends()
        except errors.MemoryRefusal as refusal:
            name, problem = memory.identity.name, errors.in_full(refusal)
            log.error("ends of operations not written", memory=name, reason=problem)
            return False
        return True

    def _refuse(self, memory: index.Memory, damage: errors.MemoryRefusal) -> None:
        """Answer calls for an open memory with the error ``damage``, until the server restarts.

        Damage of another file, such as the catalog's, is not the memory's.
        """
        name = memory.identity.name
        if isinstance(damage, errors.CorruptStore) and damage.path != memory.path:
            return
        with self._states:
            place = self._places.get(name)
            if place is None or place.refusal is not None:
                return
            if place.served is None or place.served.memory is not memory:
                return
            place.refusal = damage
            self._changed(name, False)
        log.error("memory damaged", memory=name, reason=errors.in_full(damage))

    def _serve(
        self, name: str, memory: index.Memory, place: Place | None = None, seconds: float = 0.0
    ) -> None:
        """Serve an open memory, in a ``place`` of its own if it is new; it took ``seconds``."""
        try:
            spec = read_spec(memory.identity.embedder, memory.path)
        except errors.CorruptStore:
            memory.close()
            raise
        memory.watch(partial(self._refuse, memory))
        place = place or Place()
        served = ServedMemory(memory, spec, self.embedders, place.rejections)
        served.idle_seconds = max(IDLE_SECONDS, OPENINGS_OF_IDLENESS * seconds)
        served.asked = time.monotonic()
        with self._states:
            told = self._places.get(name) is place and place.refusal is None
            place.served, place.refusal, place.told = served, None, None
            self._places[name] = place
            if not told:
                self._changed(name, True)
