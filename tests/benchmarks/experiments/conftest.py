"""Experiments on made pictures, asked of a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import pytest
from tests.benchmarks.experiments.made import Cellular, conflicts, drawings, photographs
from tests.conftest import Server

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS, Result
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet

KNOWN = ("bear", "bird", "boat", "car")
NEW = ("crab", "lotus", "ewer")
Run: TypeAlias = "Callable[..., Result]"


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[visual_memory.Client]:
    with visual_memory.connect(server.address) as client:
        yield client


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


@pytest.fixture
def run(client: visual_memory.Client, sets: Mapping[str, StimulusSet]) -> Run:
    """Run an experiment of this name on the made pictures."""

    def run(name: str, **parameters: Any) -> Result:
        others = [Cellular(f"cells {at}", 1 + at) for at in range(1, 3)]
        embedders = [Cellular(), *(others if EXPERIMENTS[name].others else [])]
        return EXPERIMENTS[name].run(client, sets, embedders, **parameters)

    return run
