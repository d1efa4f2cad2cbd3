"""Votes reduced by misleading counts, which are computed when first needed."""

from __future__ import annotations

import pytest
from tests.service.curation.conftest import ROWS

from visual_memory import Memory


def test_soft_votes_of_entries_that_never_mislead_count_fully(crowd: Memory) -> None:
    counts = crowd.misleading_counts(10)
    (decision,) = crowd.classify(vectors=ROWS[:1], k=20, reliability="soft")
    (plain,) = crowd.classify(vectors=ROWS[:1], k=20)

    for soft, full in zip(decision.neighbors, plain.neighbors, strict=True):
        v = counts[soft.id]
        assert soft.weight == pytest.approx(full.weight * (1.75 / (1 + v) if v else 1), abs=1e-12)
