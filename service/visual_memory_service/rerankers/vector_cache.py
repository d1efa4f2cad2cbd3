"""Vectors of pictures that were seen before, so that they need not be embedded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class VectorCache:
    """Vectors by key, in RAM alone; beyond ``bytes_max`` those go that were not asked for longest.

    What a deleted entry's picture left here stays until it is pushed out or the process ends; with
    ``bytes_max`` 0 nothing is kept at all. Keys and bookkeeping come on top, some 300 bytes each.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Vector]:
        """Those that are kept."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
        return found

    def put(self, vectors: Mapping[bytes, Vector]) -> None:
        """Keep copies, for a row would hold on to its whole batch."""
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    self._bytes += vector.nbytes
                self._vectors[key] = vector.copy()
                self._vectors.move_to_end(key)
            while self._bytes > self._bytes_max:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes
