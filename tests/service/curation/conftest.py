"""A crowd of entries, one in ten of them with a wrong label."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import RemoteMemory

from visual_memory import Client, Memory

CENTRES = np.random.default_rng(0).normal(size=(4, 16))
LABELS = np.random.default_rng(1).integers(0, 4, 200)
ROWS = CENTRES[LABELS] + 0.8 * np.random.default_rng(2).normal(size=(200, 16))
IDS = [f"{number:04}" for number in range(200)]
WRONG = IDS[:200:10]  # these say "0", whatever they are
NAMES = ["0" if id in WRONG else str(label) for id, label in zip(IDS, LABELS, strict=True)]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """200 entries of four labels, one in ten of them wrong."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS, labels=NAMES, ids=IDS)
    return crowd
