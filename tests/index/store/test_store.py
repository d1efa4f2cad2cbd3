"""An identity is made once."""

from __future__ import annotations

from visual_memory_index.store.store import new_identity


def test_a_new_identity_is_made_now() -> None:
    first, second = new_identity("x", 3, None), new_identity("x", 3, None)

    assert 1_700_000_000_000_000 < first.created_at <= second.created_at
