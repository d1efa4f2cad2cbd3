"""Small memories with the neighbours of their entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import VOTINGS, unit_rows
from visual_memory_index.curation.assessment import LeaveOneOut
from visual_memory_index.rows.distances import exact_distances


def objects(values: Sequence[str]) -> NDArray[np.object_]:
    return np.array(values, object)


def leave_one_out(
    vectors: NDArray[np.float32], labels: Sequence[str], k: int, voting: str = "rank"
) -> LeaveOneOut:
    table = np.array([exact_distances(vector, vectors) for vector in vectors])
    np.fill_diagonal(table, np.inf)
    neighbors = np.argsort(table, axis=1, kind="stable")[:, :k]
    distances = np.take_along_axis(table, neighbors, axis=1)
    ids = objects([f"{row:03}" for row in range(len(labels))])
    return LeaveOneOut(ids, objects(labels), neighbors, distances, VOTINGS[voting](distances))


def crowds(sizes: Sequence[int], spread: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    """Return unit rows around axes; ``sizes`` are the numbers of rows around each."""
    centers = np.repeat(np.eye(len(sizes), 16), sizes, axis=0)
    noise = np.random.default_rng(seed).standard_normal(centers.shape)
    return unit_rows((centers + spread * noise).astype(np.float32))


@st.composite
def memories(draw: st.DrawFn) -> LeaveOneOut:
    """Draw neighbour lists with weights and distances that are sums of few powers of two."""
    m = draw(st.integers(2, 12))
    k = draw(st.integers(1, min(5, m - 1)))
    near = [
        draw(st.permutations([other for other in range(m) if other != row]))[:k] for row in range(m)
    ]
    labels = draw(st.lists(st.sampled_from(["ant", "bee", "cow"]), min_size=m, max_size=m))
    steps = st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=k, max_size=k)
    distances = np.sort([draw(steps) for _ in range(m)], axis=1)
    ids = draw(st.permutations([f"{row:02}" for row in range(m)]))
    weights = np.array([draw(st.permutations([1.0, 0.5, 0.25, 1.0, 0.5]))[:k] for _ in range(m)])
    return LeaveOneOut(objects(ids), objects(labels), np.array(near), distances, weights)
