"""Products of matrices by NumPy's BLAS, of which its buffers keep parts: the widest is noted.

All vectors are multiplied here, so that an erasure knows how much of the buffers it has to
overwrite.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
_lock = threading.Lock()
_widest = 0


def multiply(left: Floats, right: Floats, out: Floats | None = None) -> Any:
    """Return ``left @ right``, in ``out`` if it is given."""
    width = left.shape[-1]
    note(width)
    product = np.matmul(left, right, out=out)
    note(width)  # again: the note was perhaps taken meanwhile
    return product


def note(width: int) -> None:
    """Note that rows of ``width`` numbers are multiplied, or still in the buffers."""
    global _widest
    with _lock:
        _widest = max(_widest, width)


def take_note() -> int:
    """Return the most numbers of a row multiplied since the last call, or 0."""
    global _widest
    with _lock:
        width, _widest = _widest, 0
    return width
