"""The open memories by name, each with its searches and its embedder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import structlog

from visual_memory_embedders import (
    BUILT_IN,
    Embedder,
    EmbedderSpec,
    ImageLimits,
    WrongEmbedder,
    build,
    smaller,
    thumbnails,
)
from visual_memory_index import (
    Arrival,
    BadAuditLog,
    BadBackup,
    Catalog,
    Checked,
    CorruptCopy,
    CorruptStore,
    Memory,
    MemoryClosed,
    MemoryRefusal,
    NotWritten,
    Outdated,
    Rebuilt,
    Request,
    Traces,
    UnknownMemory,
    UnknownOperation,
    damage_of,
    in_full,
    tune,
)
from visual_memory_service.check import Checks
from visual_memory_service.config import Settings
from visual_memory_service.errors import EmbedderNotAllowed, NoEmbedder
from visual_memory_service.searches import Searches

log = structlog.get_logger()

T = TypeVar("T")


class Embedders:
    """Embedders by name, each built when it is first needed. They share one pool of threads."""

    def __init__(self, settings: Settings) -> None:
        self.allowed = (*BUILT_IN, *settings.allow_embedder)
        self._cache = settings.data / "cache"
        self._limits = ImageLimits(settings.image_bytes_max, settings.image_pixels_max)
        self._workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="embed")
        self._building = threading.Lock()
        self._built: dict[str, Embedder] = {}

    def get(self, name: str) -> Embedder:
        """Raises EmbedderNotAllowed and what building it refuses."""
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
        """A small JPEG of each image. Raises UndecodableImage."""
        return thumbnails(images, workers=self._workers, limits=self._limits)

    def to_send(self, image: bytes) -> bytes:
        """The image as it goes to a re-ranker, scaled down where it is large. Raises BadImage."""
        return smaller(image, limits=self._limits)

    def close(self) -> None:
        """Stop the threads."""
        self._workers.shutdown()


@dataclass(frozen=True, slots=True)
class OpenMemory:
    """A memory that is served; ``spec`` is None where it takes vectors only.

    Soft searches are batched apart, since after edits they have counts to mend first. ``read``
    holds settings of the memory with what they were read as.
    """

    memory: Memory
    searches: Searches
    soft_searches: Searches
    spec: EmbedderSpec | None
    embedders: Embedders
    read: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def embedder(self) -> Embedder:
        """The embedder it was made with. Raises NoEmbedder, WrongEmbedder."""
        if self.spec is None:
            raise NoEmbedder(self.memory.identity.name)
        embedder = self.embedders.get(self.spec.name)
        if embedder.spec != self.spec:
            raise WrongEmbedder(self.spec, embedder.spec)
        return embedder

    def setting(self, name: str, read: Callable[[str], T]) -> T | None:
        """A setting of the memory as ``read`` reads it, once for as long as it is the same."""
        text = self.memory.setting(name)
        if text is None:
            return None
        known, value = self.read.get(name, ("", None))
        if known is not text:
            with damage_of(self.memory.path):
                value = read(text)
            self.read[name] = (text, value)
            if self.memory.setting(name) is not text:  # it may have been erased
                self.read.pop(name, None)
        found: T = value
        return found


class Restored(NamedTuple):
    """A memory that came of a backup, and how many entries of that were unlearned since."""

    memory: OpenMemory
    left_out: int


class Memories:
    """Opens all memories at the start; one that is damaged is named and refused, others serve.

    ``changed`` is told the name of each memory that begins or ends to serve.
    """

    def __init__(self, settings: Settings, changed: Callable[[str, bool], None]) -> None:
        tune(settings.threads)
        self.embedders = Embedders(settings)
        self._changed = changed
        self._editing = threading.Lock()
        self._open: dict[str, OpenMemory] = {}
        self._damaged: dict[str, MemoryRefusal] = {}
        self.checks = Checks(lambda name, told: self.check(self.get(name).memory, told))
        self._catalog = Catalog(settings.data)
        for name in self._catalog.names():
            self._open_or_note(name)

    def names(self) -> list[str]:
        """All memories, also the damaged, sorted."""
        return sorted({*self._open, *self._damaged})

    def get(self, name: str) -> OpenMemory:
        """Raises UnknownMemory, or what kept the memory from being opened."""
        if refusal := self._damaged.get(name):
            raise refusal.with_traceback(None)  # or it would grow with every call
        try:
            return self._open[name]
        except KeyError:
            raise UnknownMemory(name) from None

    def waits_for_room(self, name: str) -> bool:
        """True if only the disk kept it from being opened."""
        return isinstance(self._damaged.get(name), NotWritten)

    def open_if_there_is_room(self, name: str) -> None:
        """Try once more what waits for room; may take as long as reading a file."""
        with self._editing:
            if self.waits_for_room(name):
                self._open_or_note(name)

    def of_operation(self, name: str) -> Memory:
        """The memory that an operation worked on. Raises UnknownOperation."""
        try:
            return self.get(name.rpartition("/")[0]).memory
        except UnknownMemory:
            raise UnknownOperation(name) from None

    def serving(self) -> list[str]:
        """The memories that serve, sorted."""
        return sorted(self._open.keys() - self._damaged.keys())

    def bury(self, memory: Memory, ids: Sequence[str], operation: str | None) -> None:
        """Note that what an operation is about to erase, or was deleted before, must not come back.

        Raises NotWritten.
        """
        self._catalog.bury(memory, ids, operation)

    def unlearned(self, memory: Memory, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that this memory or a copy of it was ever to unlearn."""
        return self._catalog.unlearned(memory, ids)

    def note(self, memory: Memory, *, erased: bool = False) -> None:
        """Have it known where a memory stands, so that no older file is taken for it.

        ``erased`` says that what was marked by ``bury`` is deleted. Where it cannot be
        written what was noted before stays, which is as true.
        """
        try:
            self._catalog.note(memory, erased=erased)
        except NotWritten as problem:
            log.error("not noted", memory=memory.identity.name, reason=in_full(problem))

    def holding(self, memory: Memory, ids: Sequence[str]) -> list[str]:
        """The memories that serve and hold what these entries of one hold, too, sorted.

        By content, or as a copy's by the same id; the memory itself, where another entry of it has
        the same content. Raises CorruptStore where it is damaged itself, NotWritten.
        """
        sought = memory.sought(ids)
        found = []
        for name in self.serving() if sought.ids else ():
            with suppress(UnknownMemory, MemoryClosed, CorruptStore):  # dropped, or found damaged
                other = self.get(name).memory
                if other.holds(sought, without=sought.ids if other is memory else ()):
                    found.append(name)
        return found

    def renew_connections(self) -> None:
        """Leave nothing in RAM of what was deleted from any memory, perhaps long ago."""
        for name in self.serving():
            with suppress(MemoryRefusal):  # dropped meanwhile, or at the limit of open files
                self.get(name).memory.renew_connections()

    def catalog_files(self) -> Sequence[int]:
        """The files of the list of memories, opened to be read, without what was dropped.

        Unless another program reads the log. Raises NotWritten.
        """
        self._catalog.cut_log()
        return self._catalog.descriptors()

    def catalog_pieces(self, traces: Traces) -> frozenset[bytes]:
        """The pieces of ``traces`` that the list of memories has in it, such as names."""
        return self._catalog.found_in(traces)

    def create(
        self,
        name: str,
        *,
        embedder: str | None,
        dimension: int | None,
        store_images: bool,
        request: Request | None,
    ) -> OpenMemory:
        """Make a memory, by embedder or by dimension.

        Raises MemoryExists, RequestReused, NotWritten and what building the embedder refuses.
        """
        spec = self.embedders.get(embedder).spec if embedder is not None else None
        with self._editing:
            memory = self._catalog.create(
                name,
                dimension=spec.dimension if spec else dimension or 0,
                embedder=spec.to_json() if spec else None,
                store_images=store_images,
                request=request,
            )
            if memory is not None:
                self._serve(name, memory)
                log.info("memory created", memory=name)
            elif name not in self._open:
                raise UnknownMemory(name)
        return self.get(name)

    def was_dropped(self, request: Request | None) -> bool:
        """Whether this request dropped its memory before. Raises RequestReused."""
        return self._catalog.recall(request) is not None

    def drop(self, name: str, *, request: Request | None) -> None:
        """Forget a memory with all it holds, damaged or not.

        Raises UnknownMemory, RequestReused, NotWritten.
        """
        with self._editing:
            if self._catalog.recall(request) is not None:
                return
            self._catalog.drop(name, request=request)
            served = self._open.pop(name, None)
            self._damaged.pop(name, None)
            self._changed(name, False)
            log.info("memory dropped", memory=name)
            if served is not None:
                served.memory.close(keep=False)
            try:
                self._catalog.clear()
            except NotWritten as full:  # it is gone; the file follows at the next chance
                log.error("file not removed", memory=name, reason=in_full(full))

    def backup(self, name: str, *, settings: Iterable[str], check: Callable[[], None]) -> BinaryIO:
        """See ``Catalog.backup``. Raises UnknownMemory."""
        return self._catalog.backup(self.get(name).memory, settings=settings, check=check)

    def arrival(self, name: str, request_id: str) -> Arrival:
        """Where the backup of a memory to be can come in. Raises MemoryExists, NotWritten."""
        self._catalog.check_free(name, request_id)
        return self._catalog.arrival()

    def restore(
        self,
        name: str,
        arrival: Arrival,
        *,
        settings: Iterable[str],
        check: Callable[[], None],
        request: Request | None,
    ) -> Restored:
        """Make a memory of a backup that has come in.

        Raises BadBackup, NewerStore, MemoryExists, RequestReused, NotWritten.
        """
        rebuilt = partial(self._catalog.rebuilt, arrival, name, settings=settings, check=check)
        left_out = self._adopt(rebuilt, request)
        return Restored(self.get(name), left_out)

    def copy(
        self,
        name: str,
        new_name: str,
        *,
        settings: Iterable[str],
        check: Callable[[], None],
        request: Request | None,
    ) -> OpenMemory:
        """Make a memory that holds what another does now.

        Raises UnknownMemory, MemoryExists, RequestReused, NotWritten.
        """
        if self._catalog.recall(request) is None:
            self._catalog.check_free(new_name, "")
            memory = self.get(name).memory
            copied = partial(self._catalog.copied, memory, new_name, settings=settings, check=check)
            self._adopt(copied, request)
        return self.get(new_name)

    def check(self, memory: Memory, told: Callable[[int, int], None]) -> Checked:
        """Look whether a memory is what was written to it; a damaged one is refused from then on.

        Raises CorruptStore, BadAuditLog, CorruptCopy, and what ``told`` raises.
        """
        try:
            return memory.check(told)
        except (BadAuditLog, CorruptCopy, CorruptStore) as damage:
            name = memory.identity.name
            with self._editing:
                served = self._open.get(name)
                if served is not None and served.memory is memory:
                    self._damaged[name] = damage
                    self._changed(name, False)
                    log.error("memory damaged", memory=name, reason=in_full(damage))
            raise

    def close(self) -> None:
        """Close every memory and let go of the folder."""
        self.checks.close()
        with self._editing:
            for name in self.serving():
                self.note(self._open[name].memory)
            for served in self._open.values():
                served.memory.close()
            self._catalog.close()
        self.embedders.close()

    def _adopt(
        self, rebuilt: Callable[[], AbstractContextManager[Rebuilt]], request: Request | None
    ) -> int:
        """Serve a memory whose file was made elsewhere; how many entries were left out."""
        while True:
            answered: int | None = self._catalog.recall(request)
            if answered is not None:
                return answered
            with rebuilt() as made, self._editing:
                try:
                    read_spec(made.identity.embedder, made.path)
                    memory = self._catalog.adopt(made, made.left_out, request)
                except CorruptStore as damage:
                    raise BadBackup(damage.problem) from damage
                except Outdated:
                    continue
                if memory is not None:
                    self._serve(made.name, memory)
                    log.info("memory created", memory=made.name, left_out=made.left_out)
                    return made.left_out

    def _open_or_note(self, name: str) -> None:
        """Open a memory, or keep what it is refused with as the answer to all that ask for it."""
        try:
            self._serve(name, self._catalog.open(name))
        except MemoryRefusal as refusal:
            self._open.pop(name, None)
            self._damaged[name] = refusal
            self._changed(name, False)
            log.error("memory not opened", memory=name, reason=in_full(refusal))

    def _serve(self, name: str, memory: Memory) -> None:
        try:
            spec = read_spec(memory.identity.embedder, memory.path)
        except CorruptStore:
            memory.close()
            raise
        self._open[name] = OpenMemory(
            memory, Searches(memory), Searches(memory), spec, self.embedders
        )
        self._damaged.pop(name, None)
        self._changed(name, True)


def read_spec(text: str | None, path: Path) -> EmbedderSpec | None:
    """The embedder of the memory at ``path``, as it is stored there. Raises CorruptStore."""
    if text is None:
        return None
    try:
        return EmbedderSpec.from_json(text)
    except ValueError:
        raise CorruptStore(str(path), "what it has is not an embedder's spec") from None
