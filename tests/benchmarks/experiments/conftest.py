"""Experiments on generated pictures, run on a real server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.laboratory.result import Result
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet

Run: TypeAlias = "Callable[..., Result]"


@pytest.fixture
def run(client: visual_memory.Client, sets: Mapping[str, StimulusSet]) -> Run:
    """Return a function that runs an experiment on the generated pictures."""

    def run(name: str, **parameters: Any) -> Result:
        others = [Cellular(f"cells {at}", 1 + at) for at in range(1, 3)]
        embedders = [Cellular(), *(others if EXPERIMENTS[name].others else [])]
        return EXPERIMENTS[name].run(client, sets, embedders, **parameters)

    return run
