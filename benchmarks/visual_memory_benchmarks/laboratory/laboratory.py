"""The workplace of an experiment: its datasets, and memories that are dropped in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visual_memory import Client, Memory, NotFound, PruneResult
from visual_memory_benchmarks.distortions.picture import Picture, framed
from visual_memory_benchmarks.laboratory.gallery import Gallery
from visual_memory_benchmarks.runs.cleanup import cleanup
from visual_memory_benchmarks.stimuli.embeddings import Picture as Embeddable
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet, decode


class Embedder(Protocol):
    """An embedder of pictures, as ``Embeddings`` is, or a fake in tests."""

    @property
    def spec(self) -> Mapping[str, Any]: ...
    def of(self, pictures: Sequence[Embeddable]) -> NDArray[np.float32]: ...


class Laboratory(ExitStack):
    """The datasets and embedders of an experiment, and its memories, deleted when the block ends.

    Names of memories begin with ``name``. A run that was killed, or whose server was unreachable,
    left its memories; those of these names are deleted, so no other run may use the name. The
    first of ``embedders`` is the default. ``states`` maps a description of each recorded state of
    a memory to its digest.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        sets: Mapping[str, StimulusSet],
        embedders: Sequence[Embedder],
    ) -> None:
        super().__init__()
        self.client, self.sets, self.embedders = client, sets, embedders
        self.states: dict[str, str] = {}
        self._name = name
        self._count = 0

    def gallery(self, name: str, embedder: int = 0) -> Gallery:
        """Return all pictures of a set, embedded by ``embedders[embedder]``."""
        stimuli = self.sets[name]
        paths = [stimuli.path(each) for each in stimuli.stimuli]
        return Gallery(
            np.array([f"{name}/{each.file}" for each in stimuli.stimuli]),
            np.array([each.category for each in stimuli.stimuli]),
            self.embedders[embedder].of(paths),
        )

    def pictures(self, name: str) -> list[Picture]:
        """Return each picture of a set as pixels, scaled and cropped to 224 × 224."""
        stimuli = self.sets[name]
        return [framed(decode(stimuli, each)) for each in stimuli.stimuli]

    def attribute(self, name: str, key: str) -> NDArray[np.str_]:
        """Return an attribute from the manifest of a set, for each of its pictures."""
        return np.array([each.attributes[key] for each in self.sets[name].stimuli])

    def memory(self, state: str, gallery: Gallery) -> Memory:
        """Create a memory that holds the gallery, and record its digest as that of ``state``."""
        name = f"{self._name}-{self._count}"
        self._count += 1
        with suppress(NotFound):
            self.client.delete_memory(name)
        self.enter_context(cleanup(partial(self.client.delete_memory, name)))
        memory = self.client.create_memory(name, dimension=gallery.vectors.shape[1])
        remember(memory, gallery)
        self.note(state, memory)
        return memory

    def note(self, state: str, memory: Memory) -> str:
        """Put a memory's current digest into ``states`` as that of ``state``, and return it."""
        digest = memory.info().digest
        self.states[state] = digest
        return digest


def remember(
    memory: Memory, gallery: Gallery, metadata: Sequence[Mapping[str, str]] | None = None
) -> None:
    """Insert the pictures of a gallery, with ``metadata`` for each; do nothing if it is empty."""
    if len(gallery):
        memory.insert(
            vectors=gallery.vectors,
            labels=gallery.labels.tolist(),
            ids=gallery.ids.tolist(),
            metadata=metadata,
        )


@contextmanager
def without(memory: Memory, **how: Any) -> Iterator[PruneResult]:
    """Prune a memory inside the block, then undo the prune; ``how`` as in ``Memory.prune``."""
    pruned = memory.prune(apply=True, **how)
    with cleanup(lambda: memory.undo(pruned.operation) if pruned.ids else None):
        yield pruned


@contextmanager
def without_some(
    memory: Memory, ids: Sequence[str], count: int, rng: np.random.Generator
) -> Iterator[None]:
    """Prune ``count`` of ``ids`` at random inside the block, as the control of another prune."""
    if not count:
        yield
        return
    chosen = rng.choice(np.asarray(ids), count, replace=False).tolist()
    with without(memory, method="ids", ids=chosen):
        yield
