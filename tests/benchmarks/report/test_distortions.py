"""Intervals of published shares, of which only counts are known."""

from __future__ import annotations

import pytest

from visual_memory_benchmarks.report.sections.distortions import wilson


def test_the_interval_of_a_share_stays_within_0_and_1() -> None:
    found = wilson(1.0, 80)

    assert found["high"] == pytest.approx(1)
    assert found["low"] == pytest.approx(0.9542, abs=1e-4)


def test_an_even_share_has_an_even_interval() -> None:
    assert wilson(0.5, 100) == pytest.approx(
        {"value": 0.5, "low": 0.4038, "high": 0.5962}, abs=1e-4
    )
