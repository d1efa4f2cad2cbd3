"""Embedding of many encoded images by one network: decoded in threads, one image in each."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visual_memory_embedders.errors import GpuFailed, UnsupportedNetwork, first_line
from visual_memory_embedders.images.images import ImageLimits, decode
from visual_memory_embedders.images.preprocess import preprocess
from visual_memory_embedders.images.workers import in_order
from visual_memory_embedders.spec import Decoded, EmbedderSpec, Preprocessing

ALMOST = 0.01  # of the largest number: half precision rounds
AT_ONCE = 32  # images that a GPU is given, not measured on one yet

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
    ``workers`` changes a bit of its vector. If it is given, so many are embedded ``at_once`` on a
    GPU, which one thread uses at a time.
    """

    spec: EmbedderSpec
    network: Network
    workers: Executor
    limits: ImageLimits
    keeps_values: bool
    at_once: int | None = None
    on_gpu: threading.Lock = field(default_factory=threading.Lock)

    def embed(self, images: Sequence[bytes], decoded: Decoded | None = None) -> NDArray[np.float32]:
        """Embed encoded images as float32 (n, d), in order; threads of ``workers`` may not call it.

        ``decoded`` is called once an image is decoded, in the thread that did it, with the
        ``time.monotonic`` at which that began. Raises UndecodableImage for the first image that
        does not decode, after all work has ended.
        """
        vectors = np.empty((len(images), self.spec.dimension), dtype=np.float32)
        if self.at_once is None:
            work = partial(self._vector, decoded=decoded)
            for position, vector in enumerate(in_order(self.workers, work, images)):
                vectors[position] = vector
            return vectors
        prepare = partial(self._prepared, decoded=decoded)
        start, prepared = 0, in_order(self.workers, prepare, images)
        with closing(prepared):
            while some := [*islice(prepared, self.at_once)]:
                end = start + len(some)
                vectors[start:end] = self._unit(start, self._on_gpu(np.stack(some)))
                start = end
        return vectors

    def _vector(self, position: int, data: bytes, decoded: Decoded | None) -> NDArray[np.float32]:
        made = self.network(self._prepared(position, data, decoded)[np.newaxis])
        vector: NDArray[np.float32] = self._unit(position, made)[0]
        return vector

    def _on_gpu(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network. Raises GpuFailed, UnsupportedNetwork if it makes fewer vectors."""
        try:
            with self.on_gpu:
                made = self.network(images)
        except Exception as problem:  # each library raises errors of its own
            raise GpuFailed(self.spec.name, first_line(problem)) from None
        if len(made) != len(images):
            raise UnsupportedNetwork(
                self.spec.name, f"it makes {len(made)} vectors of {len(images)} images"
            )
        return made

    def _prepared(
        self, _position: int, data: bytes, decoded: Decoded | None
    ) -> NDArray[np.float32]:
        began = time.monotonic()
        image = decode(data, limits=self.limits)
        if decoded is not None:
            decoded(began)
        return preprocess(image, self.spec.preprocessing)

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
    at_once = loaded.at_once
    try:
        made = loaded.network(black)
        if at_once not in (None, 1) and not takes_several(loaded.network, black):
            at_once = 1
    except Exception as problem:  # each library raises errors of its own
        raise UnsupportedNetwork(name, f"it does not run: {problem}") from None
    if not np.isfinite(made).all():
        raise UnsupportedNetwork(name, "of a black image it makes numbers that are not finite")
    match made.shape:
        case (1, d) | (1, d, 1, 1) if d > 0:
            spec = EmbedderSpec(
                name,
                loaded.weights_sha256,
                d,
                loaded.preprocessing,
                bit_equal=at_once is None,
            )
            return NetworkEmbedder(
                spec, loaded.network, workers, limits, loaded.keeps_values, at_once
            )
    wish = "its output must be (n, d) or (n, d, 1, 1)"
    raise UnsupportedNetwork(name, f"{wish}, and for one image it is {made.shape}")


def takes_several(network: Network, black: NDArray[np.float32]) -> bool:
    """Return True if a network makes of two images about what it makes of each alone."""
    white = np.ones_like(black)
    alone = np.concatenate([network(black), network(white)])
    try:
        together = network(np.concatenate([black, white]))
    except Exception:  # each library raises errors of its own
        return False
    close = ALMOST * np.abs(alone).max()
    return together.shape == alone.shape and bool(np.allclose(together, alone, rtol=0, atol=close))
