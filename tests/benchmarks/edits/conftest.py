"""Fixtures of the study of edits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Server

import visual_memory
from visual_memory_benchmarks.edits.material import FOLDERS, NATURAL, Material, pictures
from visual_memory_benchmarks.stimuli import stimuli


@pytest.fixture(scope="session")
def real(shared: Path) -> Material:
    """Return the private datasets, without vectors."""
    loaded = {
        name: stimuli.load(name, shared / "data" / folder) for name, folder in FOLDERS.items()
    }
    sets = {
        name: pictures(each, np.zeros((len(each.stimuli), 1), np.float32))
        for name, each in loaded.items()
    }
    return Material(sets, {"low-pass": sets[NATURAL]}, {}, {})


@pytest.fixture
def client(server: Server) -> Iterator[visual_memory.Client]:
    with visual_memory.connect(server.address) as client:
        yield client
