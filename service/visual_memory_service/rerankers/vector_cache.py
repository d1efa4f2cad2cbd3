"""Cache of vectors of pictures, so that they need not be embedded again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class VectorCache:
    """Vectors by key, in RAM alone; beyond ``bytes_max`` the least recently used are dropped.

    The vector of a deleted entry stays until it is dropped or the process ends; with ``bytes_max``
    0 nothing is kept. Keys and bookkeeping take some 300 bytes each beside that.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Vector]:
        """Return the cached vectors of ``keys``."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
        return found

    def put(self, vectors: Mapping[bytes, Vector]) -> None:
        """Store copies of vectors by key, for a row would keep its whole batch."""
        with self._lock:
            for key, vector in vectors.items():
                if key not in self._vectors:
                    self._bytes += vector.nbytes
                self._vectors[key] = vector.copy()
                self._vectors.move_to_end(key)
            while self._bytes > self._bytes_max:
                _, oldest = self._vectors.popitem(last=False)
                self._bytes -= oldest.nbytes
