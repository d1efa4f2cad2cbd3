"""Products of matrices by NumPy's BLAS, of which its buffers keep parts: it is noted if any ran.

All vectors are multiplied here, so that an erasure knows whether it has to overwrite the buffers.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
_multiplied = threading.Event()


def multiply(left: Floats, right: Floats, out: Floats | None = None) -> Any:
    """Return ``left @ right``, in ``out`` if it is given."""
    _multiplied.set()
    product = np.matmul(left, right, out=out)
    _multiplied.set()  # again: a note was perhaps taken meanwhile
    return product


def was_multiplied() -> bool:
    """Return True if anything was multiplied since the last call, or is being multiplied."""
    before = _multiplied.is_set()
    _multiplied.clear()
    return before
