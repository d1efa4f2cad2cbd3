from __future__ import annotations

import pytest

from visual_memory_benchmarks.distortions.registry import DISTORTIONS
from visual_memory_benchmarks.errors import UnknownBenchmark
from visual_memory_benchmarks.runs.benchmarks import BENCHMARKS, choose
from visual_memory_benchmarks.trials.datasets import DATASETS


def test_every_set_and_every_distortion_is_a_benchmark() -> None:
    assert set(DATASETS) < set(BENCHMARKS)
    assert {f"distortion:{name}" for name in DISTORTIONS} < set(BENCHMARKS)
    assert all(each.name == name and each.summary for name, each in BENCHMARKS.items())


def test_patterns_choose_each_benchmark_once() -> None:
    chosen = [each.name for each in choose(["edge", "imagenet-*", "e*", "distortion:eidolonI"])]

    assert chosen[0] == "edge"
    assert len(chosen) == len(set(chosen))
    assert {"imagenet-a", "eidolonIII", "distortion:eidolonI"} < set(chosen)
    with pytest.raises(UnknownBenchmark, match=r"called none; visual-memory-bench list"):
        choose(["edge", "none"])
