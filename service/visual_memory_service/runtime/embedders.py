"""Embedders of a server, by name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fnmatch import fnmatchcase

import structlog

from visual_memory_embedders import BUILT_IN, Device, Embedder, ImageLimits, build
from visual_memory_embedders.images.thumbnails import smaller, thumbnails
from visual_memory_index import running_threads
from visual_memory_service.config import CPU, CUDA, Settings
from visual_memory_service.errors import EmbedderNotAllowed

log = structlog.get_logger()


class Embedders:
    """Embedders by name and device, each built at its first use. They share one pool of threads."""

    def __init__(self, settings: Settings) -> None:
        self.allowed = (*BUILT_IN, *settings.allow_embedder)
        self._cache = settings.data / "cache"
        self._limits = ImageLimits(settings.image_bytes_max, settings.image_pixels_max)
        self._workers = running_threads(settings.threads, "embed")
        self._building = threading.Lock()
        self._device: Device = CUDA if settings.device == CUDA else CPU
        self._built: dict[tuple[str, Device], Embedder] = {}

    def get(self, name: str, *, bit_equal: bool = False) -> Embedder:
        """Return an embedder, on the server's device, or on the processor if it is ``bit_equal``.

        Raises EmbedderNotAllowed, EmbeddingRefusal if building it fails.
        """
        device = self._device_of(bit_equal)
        if not any(fnmatchcase(name, pattern) for pattern in self.allowed):
            raise EmbedderNotAllowed(name, self.allowed)
        if (built := self._built.get((name, device))) is not None:
            return built
        with self._building:
            built = self._built.get((name, device))
            if built is None:
                built = build(
                    name,
                    cache=self._cache,
                    workers=self._workers,
                    limits=self._limits,
                    device=device,
                )
                self._built[name, device] = built
                log.info("embedder built", embedder=name, on_gpu=not built.spec.bit_equal)
            return built

    def _device_of(self, bit_equal: bool) -> Device:
        return CPU if bit_equal else self._device

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
