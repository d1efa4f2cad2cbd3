"""Embedders of a server, by name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase

import structlog

from visual_memory_embedders import BUILT_IN, Embedder, ImageLimits, build
from visual_memory_embedders.images.thumbnails import smaller, thumbnails
from visual_memory_index import running_threads
from visual_memory_service.config import Settings
from visual_memory_service.errors import EmbedderNotAllowed

log = structlog.get_logger()


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

    def get_if_built(self, name: str) -> Embedder | None:
        """Return an embedder that is built, without waiting for another that is being built."""
        return self._built.get(name)

    def drop_values(self) -> None:
        """Drop the embedders that keep values of pictures; each is built anew at its next use."""
        with self._building:
            kept = {name: each for name, each in self._built.items() if not each.keeps_values}
            self._built = kept

    def thumbnails(self, images: Sequence[bytes]) -> list[bytes]:
        """Return a small JPEG of each image. Raises UndecodableImage."""
        return thumbnails(images, workers=self._workers, limits=self._limits)

    def to_send(self, image: bytes) -> bytes:
        """Scale an image down to be sent to a re-ranker. Raises BadImage."""
        return smaller(image, limits=self._limits)

    def close(self) -> None:
        """Stop the threads."""
        self._workers.shutdown()
