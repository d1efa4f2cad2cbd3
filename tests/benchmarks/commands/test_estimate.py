from __future__ import annotations

import pytest

from visual_memory_benchmarks.commands.estimate import interval


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, "–"),
        ({"value": None, "low": None, "high": None}, "–"),
        ({"value": 0.5, "low": None, "high": None}, "0.5000"),
        ({"value": 0.5, "low": 0.25, "high": 1.0}, "0.5000 [0.2500, 1.0000]"),
    ],
)
def test_an_interval_stands_behind_its_value(
    estimate: dict[str, float | None] | None, text: str
) -> None:
    assert interval(estimate) == text
