"""One open memory, with its searches and its embedder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_embedders import Embedder, EmbedderSpec
from visual_memory_embedders.errors import WrongEmbedder
from visual_memory_index import errors
from visual_memory_service.errors import NoEmbedder
from visual_memory_service.runtime.embedders import Embedders
from visual_memory_service.runtime.measures import EMBED_SECONDS, PICTURES
from visual_memory_service.runtime.rejections import Rejections
from visual_memory_service.runtime.searches import Searches
from visual_memory_service.runtime.threads import OrderedWork
from visual_memory_service.runtime.timeline import part, part_adder

DECODED_TOLD = 32  # pictures of a call whose decoding is a part of its timeline
FITTED_AT_ONCE = 2  # heads of one memory, each of which may take seconds

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class ServedMemory:
    """An open memory with its searches and embedder; ``spec`` is None if it takes vectors only.

    ``users`` of it keep it open; it was ``asked`` last at that time by ``time.monotonic``, and may
    be closed ``idle_seconds`` later. It has given back its caches if it was ``freed`` for the time
    at which it was asked last. ``told`` is a state, and what was told of the memory in it.

    Searches with reliability weights are batched apart, in ``soft_searches``, since after edits
    they first update misleading counts, and those with heads in ``head_searches``, since they wait
    for the end of a large removal. ``read`` maps names of settings to (text, parsed value).
    ``rejections`` are of the last calibrated queries. Few calls at a time use heads, in
    ``fitting``: the others wait where they end at once if their clients have gone. ``imports`` has
    the request_id of each import under way, and its work.
    """

    memory: index.Memory
    spec: EmbedderSpec | None
    embedders: Embedders
    rejections: Rejections = field(default_factory=Rejections)
    idle_seconds: float = math.inf
    users: int = 0
    asked: float = 0.0
    freed: float = math.nan
    told: tuple[object, Any] = (None, None)
    searches: Searches = field(init=False)
    soft_searches: Searches = field(init=False)
    head_searches: Searches = field(init=False)
    read: dict[str, tuple[str, Any]] = field(default_factory=dict)
    fitting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(FITTED_AT_ONCE))
    imports: set[tuple[str, OrderedWork]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.searches = Searches(self.memory)
        self.soft_searches, self.head_searches = Searches(self.memory), Searches(self.memory)

    @property
    def state(self) -> object:
        """What changes with the memory, and whenever it is asked."""
        return self.memory.version, self.asked

    def embedder(self) -> Embedder:
        """Return the embedder that the memory was made with. Raises NoEmbedder, WrongEmbedder."""
        spec = self._spec()
        embedder = self.embedders.get(spec.name, bit_equal=spec.bit_equal)
        if embedder.spec != spec:
            raise WrongEmbedder(spec, embedder.spec)
        return embedder

    def embed(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """Embed images as unit vectors float32 (n, d).

        Raises NoEmbedder, WrongEmbedder, UndecodableImage.
        """
        embedder = self.embedder()
        with part("embed"), EMBED_SECONDS.timed():
            vectors = embedder.embed(images, part_adder("decode", DECODED_TOLD))
        PICTURES.add(len(images))
        return vectors

    def _spec(self) -> EmbedderSpec:
        if self.spec is None:
            raise NoEmbedder(self.memory.identity.name)
        return self.spec

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


def read_spec(text: str | None, path: Path) -> EmbedderSpec | None:
    """Parse the stored embedder spec of the memory at ``path``. Raises CorruptStore."""
    if text is None:
        return None
    try:
        return EmbedderSpec.from_json(text)
    except ValueError:
        raise errors.CorruptStore(path, "what it has is not an embedder's spec") from None
