"""Open memories by name, each with its searches and its embedder."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import structlog

import visual_memory_index as index
from visual_memory_embedders import BUILT_IN, Embedder, EmbedderSpec, ImageLimits, build
from visual_memory_embedders.errors import WrongEmbedder
from visual_memory_embedders.images.thumbnails import smaller, thumbnails
from visual_memory_index import errors, running_threads
from visual_memory_service.config import Settings
from visual_memory_service.errors import EmbedderNotAllowed, NoEmbedder
from visual_memory_service.runtime.check import Checks
from visual_memory_service.runtime.rejections import Rejections
from visual_memory_service.runtime.searches import Searches
from visual_memory_service.runtime.threads import OrderedWork

FITTED_AT_ONCE = 2  # heads of one memory, each of which may take seconds
TRY_AGAIN_SECONDS = 3.0  # between tries: opening reads the whole file
IMPORTS_AT_ONCE = 16  # others take turns with these
log = structlog.get_logger()

T = TypeVar("T")


class Embedders:
    """Embedders by name, each built at its first use. They share one pool of threads."""

    def __init__(self, settings: Settings) -> None:
        self.allowed = (*BUILT_IN, *settings.allow_embedder)
        self._cache = settings.data / "cache"
        self._limits = ImageLimits(settings.image_bytes_max, settings.image_pixels_max)
        self._workers = running_threads(settings.threads, "embed")
        self._building = threading.Lock()
        self._built: dict[str, Embedder] = {}

    def get(self, name: str) -> Embedder:
        """Return an embedder. Raises EmbedderNotAllowed, EmbeddingRefusal if building it fails."""
        if not any(fnmatchcase(name, pattern) for pattern in self.allowed):
            raise EmbedderNotAllowed(name, self.allowed)
        with self._building:
            if name not in self._built:
                self._built[name] = build(
                    name, cache=self._cache, workers=self._workers, limits=self._limits
                )
                log.info("embedder built", embedder=name)
            return self._built[name]

    def thumbnails(self, images: Sequence[bytes]) -> list[bytes]:
        """Return a small JPEG of each image. Raises UndecodableImage."""
        return thumbnails(images, workers=self._workers, limits=self._limits)

    def to_send(self, image: bytes) -> bytes:
        """Scale an image down to be sent to a re-ranker. Raises BadImage."""
        return smaller(image, limits=self._limits)

    def close(self) -> None:
        """Stop the threads."""
        self._workers.shutdown()


@dataclass(frozen=True, slots=True)
class ServedMemory:
    """An open memory with its searches and embedder; ``spec`` is None if it takes vectors only.

    Searches with reliability weights are batched apart, in ``soft_searches``, since after edits
    they first update misleading counts, and those with heads in ``head_searches``, since they wait
    for the end of a large removal. ``read`` maps names of settings to (text, parsed value).
    ``rejections`` are of the last calibrated queries. Few calls at a time use heads, in
    ``fitting``: the others wait where they end at once if their clients have gone. ``imports`` has
    the request_id of each import under way, and its work.
    """

    memory: index.Memory
    searches: Searches
    soft_searches: Searches
    head_searches: Searches
    spec: EmbedderSpec | None
    embedders: Embedders
    read: dict[str, tuple[str, Any]] = field(default_factory=dict)
    rejections: Rejections = field(default_factory=Rejections)
    fitting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FITTED_AT_ONCE))
    imports: set[tuple[str, OrderedWork]] = field(default_factory=set)

    def embedder(self) -> Embedder:
        """Return the embedder that the memory was made with. Raises NoEmbedder, WrongEmbedder."""
        if self.spec is None:
            raise NoEmbedder(self.memory.identity.name)
        embedder = self.embedders.get(self.spec.name)
        if embedder.spec != self.spec:
            raise WrongEmbedder(self.spec, embedder.spec)
        return embedder

    def setting(self, name: str, read: Callable[[str], T]) -> T | None:
        """Return a stored setting parsed by ``read``, or None if it is not set.

        The parsed value is cached until the setting changes. Raises CorruptStore if ``read`` fails.
        """
        text = self.memory.setting(name)
        if text is None:
            return None
        known, value = self.read.get(name, ("", None))
        if known is not text:
            with self.memory.reporting_damage(), index.damage_of(self.memory.path):
                value = read(text)
            self.read[name] = (text, value)
            if self.memory.setting(name) is not text:  # it may have been erased
                self.read.pop(name, None)
        found: T = value
        return found


@dataclass(eq=False, slots=True)
class RefusedMemory:
    """The error of a memory that does not serve, and the time of the last try to reopen it."""

    refusal: errors.MemoryRefusal
    tried: float = -math.inf
    opening: threading.Lock = field(default_factory=threading.Lock)

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
    """Opens all memories at the start; a damaged memory is refused with its error, others serve.

    ``changed`` is called with the name of each memory that begins or ceases to serve. The settings
    named in ``fitted`` depend on entries: a copy or restore that leaves out entries drops them.
    """

    def __init__(
        self,
        settings: Settings,
        changed: Callable[[str, bool], None],
        fitted: Sequence[str] = (),
        indexes: index.IndexFactory | None = None,
    ) -> None:
        self.fitted = fitted
        self.indexes = indexes or index.ScannedIndexes(settings.threads, settings.originals)
        self.embedders = Embedders(settings)
        self.importing = index.running_threads(IMPORTS_AT_ONCE, "import")
        self._changed = changed
        self._editing = threading.Lock()
        self._states = threading.Lock()  # guards _open and _refused; taken after other locks
        self._closed = False
        self._open: dict[str, ServedMemory] = {}
        self._refused: dict[str, RefusedMemory] = {}
        self.checks = Checks(lambda name, on_progress: self.get(name).memory.check(on_progress))
        self.catalog = index.Catalog(settings.data, self.indexes)
        with ExitStack() as undo:
            undo.callback(self.close)
            for name in self.catalog.names():
                self._open_or_note(name)
            undo.pop_all()

    def names(self) -> list[str]:
        """Return the names of all memories, damaged ones included, sorted."""
        return sorted({*self._open, *self._refused})

    def get(self, name: str) -> ServedMemory:
        """Return a memory. Raises UnknownMemory, or the error that prevented opening the memory."""
        if refused := self._refused.get(name):
            raise refused.refusal.with_traceback(None)  # or it would grow with every call
        try:
            return self._open[name]
        except KeyError:
            raise errors.UnknownMemory(name) from None

    def may_be_opened(self, name: str) -> bool:
        """Return True if ``get_or_open`` would try to open the memory."""
        refused = self._refused.get(name)
        return refused is not None and refused.retry_path() is not None

    def get_or_open(self, name: str) -> ServedMemory:
        """Return a memory, first retrying to open it if a disk error prevented that.

        A retry may take as long as reading a file. Retries are some seconds apart and need a
        writable folder; meanwhile other callers get the earlier error.
        """
        refused = self._refused.get(name)
        if refused is not None and refused.opening.acquire(blocking=False):
            try:
                self._try_again(name, refused)
            finally:
                refused.opening.release()
        return self.get(name)

    def _try_again(self, name: str, refused: RefusedMemory) -> None:
        path = refused.retry_path()
        if path is None or self._closed or self._refused.get(name) is not refused:
            return
        try:
            if index.probe_folder(path.parent) is None:
                self._open_or_note(name)
        finally:
            refused.tried = time.monotonic()

    def serving(self) -> list[str]:
        """Return the names of the memories that serve, sorted."""
        return sorted(self._open.keys() - self._refused.keys())

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
        if the entries themselves cannot be read.
        """
        sought, own = memory.unlearning.sought(ids), memory.identity.name
        found = Duplicates([], [])
        with self._editing:  # a memory that is listed already serves by then
            names = self.names()
        for name in names if sought.ids else ():
            try:
                asked = memory if name == own else self.get(name).memory
                with asked.reporting_damage(), index.damage_of(asked.path):
                    if asked.unlearning.holds(
                        sought, without=sought.ids if asked is memory else ()
                    ):
                        found.also_in.append(name)
            except errors.MemoryRefusal as refusal:
                if name in self.names():  # or it was dropped meanwhile
                    log.warning("memory not asked", memory=name, reason=errors.in_full(refusal))
                    found.not_asked.append(name)
        return found

    def drop_caches(self) -> None:
        """Drop what all memories cache of deleted entries, in SQLite's connections too."""
        for name in self.serving():
            with suppress(errors.MemoryRefusal):  # dropped meanwhile, or at the limit of open files
                self.get(name).memory.unlearning.drop_caches()

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
    ) -> ServedMemory:
        """Create a memory for images of an ``embedder``, or for vectors of a ``dimension``.

        Raises MemoryExists, RequestReused, FileUnavailable, and the errors of ``Embedders.get``.
        """
        spec = self.embedders.get(embedder).spec if embedder is not None else None
        with self._editing:
            memory = self.catalog.create(
                name,
                dimension=spec.dimension if spec else dimension or 0,
                embedder=spec.to_json() if spec else None,
                store_images=store_images,
                request=request,
            )
            if memory is not None:
                self._serve(name, memory)
                log.info("memory created", memory=name)
        return self.get_or_open(name)

    def drop(self, name: str, *, request: index.Request) -> None:
        """Delete a memory with all it holds, damaged or not.

        Raises UnknownMemory, RequestReused, FileUnavailable.
        """
        with self._not_opening(name), self._editing:
            if self.catalog.recall(request) is not None:
                return
            self.catalog.drop(name, request=request)
            with self._states:
                served = self._open.pop(name, None)
                self._refused.pop(name, None)
                self._changed(name, False)
            log.info("memory dropped", memory=name)
            if served is not None:
                served.memory.close(keep=False)
            try:
                self.catalog.clear()
            except errors.FileRefusal as problem:  # the memory is gone; its file is removed later
                log.error("file not removed", memory=name, reason=errors.in_full(problem))

    def backup(self, name: str, *, check: Callable[[], None], request: index.Request) -> BinaryIO:
        """Write a memory's current content to a file without a name, and return the open file.

        The caller closes it. ``check`` is called often, and may raise. Raises UnknownMemory,
        CorruptStore, BadAuditLog, FileUnavailable.
        """
        memory = self.get_or_open(name).memory
        return self.catalog.backup(memory, settings=self.fitted, check=check, request=request)

    def arrival(self, name: str, request_id: str) -> index.IncomingBackup:
        """Return an empty incoming backup for a new memory, to be written and restored.

        Raises MemoryExists if the name is taken, unless the request was answered before, and
        FileUnavailable.
        """
        self._check_free(name, request_id)
        return self.catalog.arrival()

    def restore(
        self,
        name: str,
        arrival: index.IncomingBackup,
        *,
        check: Callable[[], None],
        request: index.Request,
    ) -> tuple[ServedMemory, int]:
        """Make a memory from a received backup; also return the count of entries left out.

        Entries that were unlearned since the backup are left out. ``check`` is called often, and
        may raise. Raises BadBackup, NewerStore, MemoryExists, RequestReused, FileUnavailable.
        """
        left_out = self._adopt(self.catalog.rebuilt, arrival, name, check, request)
        return self.get_or_open(name), left_out

    def copy(
        self, name: str, new_name: str, *, check: Callable[[], None], request: index.Request
    ) -> ServedMemory:
        """Copy a memory, as it is now, to a new memory.

        Raises UnknownMemory, MemoryExists, RequestReused, FileUnavailable.
        """
        if self.catalog.recall(request) is None:
            self._check_free(new_name, request.id)
            memory = self.get_or_open(name).memory
            self._adopt(self.catalog.copied, memory, new_name, check, request)
        return self.get_or_open(new_name)

    def close(self) -> None:
        """Close every memory and unlock the folder, even if one of these steps raises."""
        self.checks.close()
        self._closed = True
        for name in [*self._refused]:
            with self._not_opening(name):
                pass
        with self._editing, ExitStack() as closing:
            closing.callback(self.embedders.close)
            closing.callback(self.catalog.close)
            for served in self._open.values():
                closing.callback(served.memory.close)
            for name in self.serving():
                closing.callback(self.note, self._open[name].memory)

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

    def _check_free(self, name: str, request_id: str) -> None:
        """Raise MemoryExists if a name is taken, unless the request was answered before.

        First waits for a memory that is being made, perhaps by the same request.
        """
        with self._editing:
            self.catalog.check_free(name, request_id)

    def _open_or_note(self, name: str) -> None:
        """Open a memory and serve it, or store the error that all later callers get."""
        began = time.perf_counter()
        try:
            memory = self.catalog.open(name)
            seconds = round(time.perf_counter() - began, 2)
            log.info("memory opened", memory=name, entries=memory.count, seconds=seconds)
            self._serve(name, memory)
        except errors.MemoryRefusal as refusal:
            with self._states:
                self._refused.setdefault(name, RefusedMemory(refusal)).refusal = refusal
                self._changed(name, False)
            log.error("memory not opened", memory=name, reason=errors.in_full(refusal))

    def _not_opening(self, name: str) -> AbstractContextManager[object]:
        """Return a context in which no thread tries to reopen a refused memory.

        For a memory that is not refused the context does nothing.
        """
        refused = self._refused.get(name)
        return refused.opening if refused is not None else nullcontext()

    def _refuse(self, memory: index.Memory, damage: errors.MemoryRefusal) -> None:
        """Answer calls for an open memory with the error ``damage``, until the server restarts.

        Damage of another file, such as the catalog's, is not the memory's.
        """
        name = memory.identity.name
        if isinstance(damage, errors.CorruptStore) and damage.path != memory.path:
            return
        with self._states:
            served = self._open.get(name)
            if served is None or served.memory is not memory or name in self._refused:
                return
            self._refused[name] = RefusedMemory(damage)
            self._changed(name, False)
        log.error("memory damaged", memory=name, reason=errors.in_full(damage))

    def _serve(self, name: str, memory: index.Memory) -> None:
        try:
            spec = read_spec(memory.identity.embedder, memory.path)
        except errors.CorruptStore:
            memory.close()
            raise
        memory.watch(partial(self._refuse, memory))
        with self._states:
            self._open[name] = ServedMemory(
                memory, Searches(memory), Searches(memory), Searches(memory), spec, self.embedders
            )
            self._refused.pop(name, None)
            self._changed(name, True)


def read_spec(text: str | None, path: Path) -> EmbedderSpec | None:
    """Parse the stored embedder spec of the memory at ``path``. Raises CorruptStore."""
    if text is None:
        return None
    try:
        return EmbedderSpec.from_json(text)
    except ValueError:
        raise errors.CorruptStore(path, "what it has is not an embedder's spec") from None
