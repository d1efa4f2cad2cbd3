"""Unit vectors as an index keeps them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.blocks import Blocks


def in_rows(vectors: NDArray[np.float32], block_rows: int | None = None) -> Blocks:
    """Return rows in blocks that hold ``vectors`` (m, d)."""
    rows = Blocks(vectors.shape[1], block_rows)
    rows.append(vectors)
    return rows
