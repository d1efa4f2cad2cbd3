"""The reliability of entries that mislead others."""

from __future__ import annotations

import numpy as np
import pytest

from visual_memory_index.votes.reliability import reliability


def test_reliability_jumps_down_after_0() -> None:
    weights = reliability(np.array([0, 1, 2, 3, 5, 10, 100]))

    expected = [1.0, 0.875, 0.58333, 0.4375, 0.29167, 0.159091, 0.0173267]
    assert weights == pytest.approx(expected, abs=5e-6)
