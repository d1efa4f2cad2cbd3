"""The whole of natural16 and cue_conflict through the service and the machinery of runs.

Figures: ../shared/spec/default_embedder.md. At k = 10 three conflicts have labels with equal votes;
there they go to the first in the alphabet, in the service to the one that reached the score first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.benchmarks.conftest import remember

import visual_memory
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS
from visual_memory_benchmarks.runs.run import Settings, run

if TYPE_CHECKING:
    from tests.conftest import Server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[visual_memory.Client]:
    with visual_memory.connect(server.address, timeout=600) as client:
        yield client


@pytest.fixture(scope="module")
def natural16(client: visual_memory.Client, shared: Path) -> visual_memory.Memory:
    return remember(client, shared / "data" / "natural16")


def test_the_references_are_met(natural16: visual_memory.Memory, shared: Path) -> None:
    with np.load(shared / "data" / "reference_embeddings_lite0.npz") as reference:
        expected = dict(zip(reference["files"].tolist(), reference["embeddings"], strict=True))

    stored = {each.id: each.vector for each in natural16.entries(include_vectors=True)}

    assert len(stored) == natural16.info().count == 828
    for file, vector in expected.items():
        assert np.abs(stored[file] - vector).max() < 1e-3


def test_the_measured_figures_come_out(
    client: visual_memory.Client, natural16: visual_memory.Memory, shared: Path, tmp_path: Path
) -> None:
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
