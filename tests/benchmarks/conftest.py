"""A small memory of real photographs, and pictures to classify."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.benchmarks.experiments.made import KNOWN, NEW, conflicts, drawings, photographs

import visual_memory
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet
from visual_memory_benchmarks.trials.datasets import CATEGORIES

if TYPE_CHECKING:
    from tests.conftest import Server

SETS = {"natural16": 2, "cue_conflict": 3, "caltech20": 1}


@dataclass(frozen=True, slots=True)
class Small:
    """A memory of the pictures in ``data / "natural16"``, with their paths as ids."""

    client: visual_memory.Client
    memory: visual_memory.Memory
    data: Path


def remember(client: visual_memory.Client, folder: Path) -> visual_memory.Memory:
    """Create a memory of the pictures in a folder with a subfolder for each class."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    memory = client.create_memory(f"m{uuid.uuid4().hex[:8]}")
    memory.insert(
        images=[folder / file for file in files],
        labels=[file.partition("/")[0] for file in files],
        ids=files,
    )
    return memory


@pytest.fixture(scope="session")
def pictures(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy a few pictures of each category of some datasets, without manifests."""
    folder = tmp_path_factory.mktemp("sets")
    for name, count in SETS.items():
        source = shared / "data" / name
        for category in sorted(path.name for path in source.iterdir() if path.is_dir()):
            for path in sorted((source / category).iterdir())[:count]:
                target = folder / name / category / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    assert {path.name for path in (folder / "natural16").iterdir()} == set(CATEGORIES)
    return folder


@pytest.fixture
def client(server: Server) -> Iterator[visual_memory.Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture(scope="session")
def original(server: Server, pictures: Path) -> str:
    """The name of a memory of the pictures, which tests copy."""
    with visual_memory.connect(server.address) as client:
        return remember(client, pictures / "natural16").name


@pytest.fixture
def small(client: visual_memory.Client, original: str, pictures: Path, tmp_path: Path) -> Small:
    """Copy the memory and the data, for a test to edit."""
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    return Small(client, client.copy(original, f"m{uuid.uuid4().hex[:8]}"), data)


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, StimulusSet]:
    folder = tmp_path_factory.mktemp("pictures")
    return {
        "natural16": photographs(folder, "natural16", KNOWN, 12),
        "caltech20": photographs(folder, "caltech20", NEW, 9),
        "cue_conflict": conflicts(folder, KNOWN),
        "edges": drawings(folder, "edges", KNOWN),
        "filled_silhouettes": drawings(folder, "filled_silhouettes", KNOWN),
    }
