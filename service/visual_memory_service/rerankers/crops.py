"""Re-ranker that compares crops of the query with every candidate by a finer embedder."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_embedders import Embedder
from visual_memory_embedders.errors import UndecodableImage
from visual_memory_service.decisions.reranking import Candidate, trade_places
from visual_memory_service.errors import BadField
from visual_memory_service.rerankers.pictures import encoded, look

Vector = NDArray[np.float32]


class VectorCache:
    """Cache of vectors by key, in RAM alone; drops the least recently used beyond ``bytes_max``.

    The vector of a deleted entry stays until it is dropped or the process ends; with ``bytes_max``
    0 nothing is kept. Keys and bookkeeping take some 300 bytes more for each vector.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Vector]:
        """Return the cached vectors of ``keys``; keys that are not cached are absent."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
        return found

    def put(self, vectors: Mapping[bytes, Vector]) -> None:
        """Store copies of vectors by key; a row itself would keep its whole batch in RAM."""
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    self._bytes += vector.nbytes
                self._vectors[key] = vector.copy()
                self._vectors.move_to_end(key)
            while self._bytes > self._bytes_max:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes


@dataclass(frozen=True, slots=True)
class Crops:
    """Orders candidates by the similarity of their picture to the most similar view of the query.

    Views are the query's picture and crops of it. Candidates are not cropped, which took six times
    the work, and no weights are returned, which would overrule the voting: neither gained accuracy
    beyond chance. Candidates' vectors are cached, because candidates recur.
    """

    embedder: Embedder
    cache: VectorCache

    def rerank(
        self, picture: bytes, candidates: Sequence[Candidate], *, deadline: float
    ) -> list[str]:
        """Order the candidates by likeness; a candidate without a picture keeps its place.

        Ties keep their order. Takes less than a second for some 50 candidates, so ``deadline`` is
        ignored. Raises BadField, UnsupportedNetwork.
        """
        views = [picture, *(encoded(crop, "BMP") for crop in crops(look(picture, "picture")))]
        seen = [at for at, candidate in enumerate(candidates) if candidate.picture]
        if not seen:
            return [candidate.id for candidate in candidates]
        likeness = self.embedder.embed(views) @ self._vectors(candidates, seen).T
        best = dict(zip(seen, likeness.max(axis=0).tolist(), strict=True))
        return trade_places(candidates, sorted(seen, key=lambda at: -best[at]))

    def _vectors(self, candidates: Sequence[Candidate], seen: Sequence[int]) -> NDArray[np.float32]:
        """Return vectors of the candidates at ``seen``, float32 (len(seen), d). Raises BadField."""
        keys = {at: sha256(candidates[at].picture).digest() for at in seen}
        vectors = self.cache.get(keys.values())
        new: dict[bytes, int] = {}
        for at, key in keys.items():
            if key not in vectors:
                new.setdefault(key, at)
        try:
            embedded = self.embedder.embed([candidates[at].picture for at in new.values()])
        except UndecodableImage as bad:
            at = list(new.values())[bad.position]
            raise BadField(f"candidates[{at}].picture", bad.problem) from None
        found = dict(zip(new, embedded, strict=True))
        self.cache.put(found)
        vectors |= found
        return np.stack([vectors[keys[at]] for at in seen])


def crops(image: Image.Image) -> list[Image.Image]:
    """Crop the middle and the four corners, each three quarters of both sides."""
    width, height = (max(1, side * 3 // 4) for side in image.size)
    right, bottom = image.width - width, image.height - height
    places = [(right // 2, bottom // 2), (0, 0), (right, 0), (0, bottom), (right, bottom)]
    return [image.crop((x, y, x + width, y + height)) for x, y in places]
