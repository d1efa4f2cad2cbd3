"""Judged neighbours exchange places; the rest keep theirs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visual_memory_service.decisions.reranking import Candidate, trade_places


@given(st.data(), st.integers(1, 12))
def test_only_the_judged_move_and_they_stand_in_their_order(data: st.DataObject, k: int) -> None:
    candidates = [Candidate(f"id{at}", "cat", 0.1 * at, b"") for at in range(k)]
    order = data.draw(st.lists(st.integers(0, k - 1), unique=True))

    ids = trade_places(candidates, order)

    assert sorted(ids) == sorted(candidate.id for candidate in candidates)
    assert [id for id in ids if int(id[2:]) in order] == [f"id{at}" for at in order]
    assert all(ids[at] == f"id{at}" for at in range(k) if at not in order)
