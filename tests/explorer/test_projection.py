"""The process that puts vectors on a plane."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_explorer import projection

GROUPS, EACH, DIMENSION = 4, 30, 64


def project(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the process."""
    command = [sys.executable, "-m", projection.__name__, str(rows.shape[1])]
    done = subprocess.run(command, input=rows.tobytes(), stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, "<f4").reshape(len(rows), 2)


def test_groups_lie_apart_and_the_same_vectors_at_the_same_places() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(GROUPS), EACH)
    centres = rng.standard_normal((GROUPS, DIMENSION))
    rows = (centres[groups] + 0.2 * rng.standard_normal((len(groups), DIMENSION))).astype("<f4")

    places = project(rows)
    assert places.min() >= 0
    assert places.max() <= 1
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (groups[apart.argmin(axis=1)] == groups).all()
    assert (project(rows) == places).all()


@pytest.mark.parametrize("count", [1, 2, 15])
def test_few_vectors_have_places_too(count: int) -> None:
    rows = np.eye(count, 3, dtype=np.float32)
    places = project(rows)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert places.min() >= 0
    assert places.max() <= 1
