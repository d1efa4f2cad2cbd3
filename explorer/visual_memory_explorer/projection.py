"""Projection: a process of its own that puts vectors on a plane, neighbours beside neighbours.

It reads rows of DIMENSION float32 numbers from its input and writes a pair of float32 numbers for
each row, from 0 to 1; its errors go to standard error. It begins with principal component analysis,
then UMAP (McInnes et al., "UMAP: Uniform Manifold Approximation and Projection", 2018).
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 50
NEIGHBORS = 15
SEED = 0  # the same vectors give the same map


def main(dimension: int) -> None:
    """Read vectors, and write where they lie."""
    rows = np.frombuffer(sys.stdin.buffer.read(), "<f4").reshape(-1, dimension)
    sys.stdout.buffer.write(to_square(to_plane(components(rows))).astype("<f4").tobytes())


def components(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the first principal components of ``rows`` (float32 [N, D]), at most 50."""
    if rows.shape[1] <= COMPONENTS:
        return rows
    mean = rows.mean(axis=0)
    covariance = rows.T @ rows / np.float32(len(rows)) - np.outer(mean, mean)
    _, axes = np.linalg.eigh(covariance)
    found: NDArray[np.float32] = (rows - mean) @ axes[:, -COMPONENTS:]
    return found


def to_plane(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a place on a plane for each row, float32 [N, 2]."""
    if len(rows) <= NEIGHBORS:  # too few for neighbours of neighbours
        centred = rows - rows.mean(axis=0)
        _, _, axes = np.linalg.svd(np.pad(centred, ((0, 2), (0, 2))), full_matrices=False)
        flat: NDArray[np.float32] = np.pad(centred, ((0, 0), (0, 2))) @ axes[:2].T
        return flat
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a spectral start that is replaced by a random one
        from umap import UMAP  # here: it compiles its loops for seconds

        model = UMAP(n_neighbors=NEIGHBORS, random_state=SEED, n_jobs=1)
        return np.asarray(model.fit_transform(rows), np.float32)


def to_square(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move and scale places so that all lie between 0 and 1, both axes by the same factor."""
    low, high = places.min(axis=0), places.max(axis=0)
    side = max(float((high - low).max()), 1e-9)
    centred: NDArray[np.float32] = (places - (low + high) / 2) / np.float32(side)
    return centred + np.float32(0.5)


if __name__ == "__main__":
    main(int(sys.argv[1]))
