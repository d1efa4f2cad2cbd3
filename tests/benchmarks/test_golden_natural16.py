"""The whole of natural16 and cue_conflict through the service and the machinery of runs.

Figures: ../shared/spec/default_embedder.md. At k = 10 three conflicts have labels with equal votes;
there they go to the first in the alphabet, in the service to the one that reached the score first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.benchmarks.conftest import remember

import visual_memory
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS
from visual_memory_benchmarks.runs.run import VECTORS, Settings, run
from visual_memory_benchmarks.stimuli.embeddings import (
    MemoryEmbeddings,
    VectorFile,
    content_key,
)

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[visual_memory.Client]:
    with visual_memory.connect(server.address, timeout=600) as client:
        yield client


@pytest.fixture(scope="module")
def natural16(client: visual_memory.Client, shared: Path) -> visual_memory.Memory:
    return remember(client, shared / "data" / "natural16")


@pytest.fixture(scope="module")
def stored(natural16: visual_memory.Memory) -> Mapping[str, NDArray[np.float32]]:
    entries = natural16.entries(include_vectors=True)
    return {each.id: np.asarray(each.vector, np.float32) for each in entries}


def test_the_references_are_met(
    natural16: visual_memory.Memory, stored: Mapping[str, NDArray[np.float32]], shared: Path
) -> None:
    with np.load(shared / "data" / "reference_embeddings_lite0.npz") as reference:
        expected = dict(zip(reference["files"].tolist(), reference["embeddings"], strict=True))

    assert len(stored) == natural16.info().count == 828
    for file, vector in expected.items():
        assert np.abs(stored[file] - vector).max() < 1e-3


def test_the_measured_figures_come_out(
    client: visual_memory.Client,
    natural16: visual_memory.Memory,
    stored: Mapping[str, NDArray[np.float32]],
    shared: Path,
    tmp_path: Path,
) -> None:
    folder = shared / "data" / "natural16"
    VectorFile(tmp_path / VECTORS, MemoryEmbeddings(natural16).spec).append(
        {content_key(folder / file): vector for file, vector in stored.items()}
    )
    found = {}
    for k in (1, 10, 50):
        for name in ("natural", "cue-conflict"):
            files = run(
                client,
                natural16.name,
                BENCHMARKS[name],
                data=shared / "data",
                out=tmp_path,
                settings=Settings(k=k),
            )
            found[name, k] = json.loads(files.results.read_bytes())

    accuracies = [round(found["natural", k]["accuracy"]["value"], 4) for k in (1, 10, 50)]
    means = [round(found["natural", k]["mean_over_categories"]["value"], 4) for k in (1, 10, 50)]
    biases = [found["cue-conflict", k]["shape_bias"] for k in (1, 10, 50)]
    assert accuracies == [0.9300, 0.9396, 0.9324]
    assert means == [0.9254, 0.9333, 0.9259]
    assert [(each["shape"], each["texture"]) for each in biases] == [
        (149, 544),
        (158, 574),
        (164, 593),
    ]
    assert [each["bias"]["value"] for each in biases] == pytest.approx(
        [0.2150, 0.2153, 0.2166], abs=0.0006
    )
