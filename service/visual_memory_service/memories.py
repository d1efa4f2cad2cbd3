"""The open memories by name, each with its searches and its embedder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

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
    Catalog,
    CorruptStore,
    Memory,
    MemoryRefusal,
    Request,
    UnknownMemory,
    UnknownOperation,
    tune,
)
from visual_memory_service.config import Settings
from visual_memory_service.errors import EmbedderNotAllowed, NoEmbedder
from visual_memory_service.searches import Searches

log = structlog.get_logger()


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

    def to_send(self, images: Sequence[bytes]) -> list[bytes]:
        """The images, the large ones scaled down, as they go to a re-ranker.

        Raises UndecodableImage.
        """
        return smaller(images, workers=self._workers, limits=self._limits)

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
        settings.data.mkdir(parents=True, exist_ok=True)
        self._catalog = Catalog(settings.data)
        for name in self._catalog.names():
            self._open_or_note(name)

    def names(self) -> list[str]:
        """All memories, also the damaged, sorted."""
        return sorted([*self._open, *self._damaged])

    def get(self, name: str) -> OpenMemory:
        """Raises UnknownMemory, or what kept the memory from being opened."""
        if name in self._damaged:
            raise self._damaged[name].with_traceback(None)  # or it would grow with every call
        try:
            return self._open[name]
        except KeyError:
            raise UnknownMemory(name) from None

    def of_operation(self, name: str) -> Memory:
        """The memory that an operation worked on. Raises UnknownOperation."""
        try:
            return self.get(name.rpartition("/")[0]).memory
        except UnknownMemory:
            raise UnknownOperation(name) from None

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

        Raises MemoryExists, RequestReused, DiskFull and what building the embedder refuses.
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
        return self._catalog.was_dropped(request)

    def drop(self, name: str, *, request: Request | None) -> None:
        """Forget a memory with all it holds, damaged or not. Raises UnknownMemory."""
        with self._editing:
            if self._catalog.was_dropped(request):
                return
            if name not in self._damaged:
                self.get(name).memory.close()
            try:
                self._catalog.drop(name, request=request)
            except MemoryRefusal:  # a full disk: it is closed, but not gone
                self._open_or_note(name)
                raise
            self._open.pop(name, None)
            self._damaged.pop(name, None)
            self._changed(name, False)
            log.info("memory dropped", memory=name)

    def close(self) -> None:
        """Close every memory and let go of the folder."""
        with self._editing:
            for served in self._open.values():
                served.memory.close()
            self._catalog.close()
        self.embedders.close()

    def _open_or_note(self, name: str) -> None:
        """Open a memory, or keep what it is refused with as the answer to all that ask for it."""
        try:
            self._serve(name, self._catalog.open(name))
        except MemoryRefusal as refusal:
            self._open.pop(name, None)
            self._damaged[name] = refusal
            self._changed(name, False)
            log.error("memory not opened", memory=name, reason=str(refusal))

    def _serve(self, name: str, memory: Memory) -> None:
        try:
            spec = read_spec(memory)
        except CorruptStore:
            memory.close()
            raise
        self._open[name] = OpenMemory(
            memory, Searches(memory), Searches(memory), spec, self.embedders
        )
        self._changed(name, True)


def read_spec(memory: Memory) -> EmbedderSpec | None:
    """The embedder that a memory was made with, or None. Raises CorruptStore."""
    text = memory.identity.embedder
    if text is None:
        return None
    try:
        return EmbedderSpec.from_json(text)
    except (ValueError, KeyError) as problem:
        raise CorruptStore(str(memory.path), str(problem)) from None
