"""Queries of a domain of their own, such as drawings, centred by its mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory_service.errors import BadField

LENGTH_MIN = 1e-4  # of a query less the mean; a shorter one consists of rounding errors


def centred(
    vectors: NDArray[np.float32], mean: NDArray[np.float32], field: str
) -> NDArray[np.float32]:
    """Return unit ``vectors`` (n, d) less the ``mean`` (d,) of their domain, as unit vectors.

    This takes away what the pictures of a domain have in common, and leaves what tells them apart
    (Sun et al., 2016, Return of frustratingly easy domain adaptation, of which it is the part
    without covariances). Raises BadField for an item of ``field`` that is the mean itself.
    """
    moved = vectors.astype(np.float64) - mean
    same = np.flatnonzero(np.square(moved).sum(axis=1) < LENGTH_MIN**2)
    if same.size:
        raise BadField(
            f"{field}[{same[0]}]", "is the domain_mean itself; give the mean of several pictures"
        )
    return index.unit_rows(moved.astype(np.float32))
