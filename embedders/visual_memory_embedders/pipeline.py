"""Embedding of many encoded images by one network: decoded in threads, one image in each."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders.errors import UnsupportedNetwork
from visual_memory_embedders.images.images import ImageLimits, decode
from visual_memory_embedders.images.preprocess import preprocess
from visual_memory_embedders.images.workers import in_order
from visual_memory_embedders.spec import EmbedderSpec, Preprocessing

AT_ONCE = 32  # images that a GPU is given: it is no faster with more, and memory is scarce there

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Loaded(NamedTuple):
    """A network that a backend loaded, with the SHA-256 of its weights and its preprocessing.

    If it ``keeps_values``, parts of what it computed stay in RAM that it holds until it is dropped.
    A network on a GPU is faster with some images ``at_once``; bits then depend on those beside.
    """

    weights_sha256: str
    preprocessing: Preprocessing
    network: Network
    keeps_values: bool
    at_once: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkEmbedder:
    """The Embedder of every backend: ``network`` maps float32 (n, 3, height, width) to (n, d).

    Each image is embedded alone, by one thread, so that neither the batch size nor the number of
    ``workers`` changes a bit of its vector; or, if they are given, so many ``at_once``.
    """

    spec: EmbedderSpec
    network: Network
    workers: Executor
    limits: ImageLimits
    keeps_values: bool
    at_once: int | None = None

    def embed(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """Embed encoded images as float32 (n, d), in order; threads of ``workers`` may not call it.

        Raises UndecodableImage for the first image that does not decode, after all work has ended.
        """
        vectors = np.empty((len(images), self.spec.dimension), dtype=np.float32)
        if self.at_once is None:
            for position, vector in enumerate(in_order(self.workers, self._vector, images)):
                vectors[position] = vector
            return vectors
        start, prepared = 0, in_order(self.workers, self._prepared, images)
        with closing(prepared):
            while some := [*islice(prepared, self.at_once)]:
                end = start + len(some)
                vectors[start:end] = self._unit(start, self.network(np.stack(some)))
                start = end
        return vectors

    def _vector(self, position: int, data: bytes) -> NDArray[np.float32]:
        made = self.network(self._prepared(position, data)[np.newaxis])
        vector: NDArray[np.float32] = self._unit(position, made)[0]
        return vector

    def _prepared(self, _position: int, data: bytes) -> NDArray[np.float32]:
        return preprocess(decode(data, limits=self.limits), self.spec.preprocessing)

    def _unit(self, first: int, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale vectors of images, from the position ``first`` on, to unit length."""
        wide = vectors.reshape(len(vectors), self.spec.dimension).astype(np.float64)
        for position, vector in enumerate(wide, start=first):
            norm = np.linalg.norm(vector)  # in float64: float32 would overflow at 1e20
            if not np.isfinite(norm) or norm == 0:
                raise UnsupportedNetwork(
                    self.spec.name,
                    f"it gives image {position} of a message a vector without a direction",
                )
            vector /= norm
        unit: NDArray[np.float32] = wide.astype(np.float32)
        return unit


def embedder_of(
    name: str, loaded: Loaded, workers: Executor, limits: ImageLimits
) -> NetworkEmbedder:
    """Return the embedder of a network, see ``NetworkEmbedder``.

    Its dimension d is found by running the network once. Raises UnsupportedNetwork if the output is
    not (1, d[, 1, 1]).
    """
    black = np.zeros((1, 3, *loaded.preprocessing.crop), dtype=np.float32)
    try:
        shape: tuple[int, ...] = loaded.network(black).shape
    except Exception as problem:  # each library raises errors of its own
        raise UnsupportedNetwork(name, f"it does not run: {problem}") from None
    match shape:
        case (1, d) | (1, d, 1, 1) if d > 0:
            spec = EmbedderSpec(
                name,
                loaded.weights_sha256,
                d,
                loaded.preprocessing,
                bit_equal=loaded.at_once is None,
            )
            return NetworkEmbedder(
                spec, loaded.network, workers, limits, loaded.keeps_values, loaded.at_once
            )
    wish = "its output must be (n, d) or (n, d, 1, 1)"
    raise UnsupportedNetwork(name, f"{wish}, and for one image it is {shape}")
