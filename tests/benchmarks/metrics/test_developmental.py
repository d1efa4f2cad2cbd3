from __future__ import annotations

from visual_memory_benchmarks.metrics.developmental import LEVELS, SHAPE_BIAS


def test_children_prefer_shape_as_adults_do_and_networks_do_not() -> None:
    bias = {name: row.pooled or 0 for name, row in SHAPE_BIAS.items()}

    assert round(bias["4_6"], 5) == 0.87553
    assert round(bias["adults"], 5) == 0.96721
    networks = [value for name, value in bias.items() if name.startswith("model")]
    assert max(networks) < min(value for name, value in bias.items() if "model" not in name)


def test_every_group_is_there_for_both_distortions() -> None:
    assert {group for _, group in LEVELS} == set(SHAPE_BIAS)
    assert {kind: len(row) for (kind, _), row in LEVELS.items()} == {"eidolon": 4, "noise": 4}
