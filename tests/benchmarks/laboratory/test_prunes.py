from __future__ import annotations

import uuid

import numpy as np
import pytest

import visual_memory
from visual_memory_benchmarks.laboratory.prunes import without, without_some


def test_votes_come_back_also_after_an_error(client: visual_memory.Client) -> None:
    memory = client.create_memory(f"m{uuid.uuid4().hex}", dimension=4)
    memory.insert(vectors=np.eye(4), labels=["cat"] * 4, ids=list("abcd"))
    digest = memory.info().digest

    def fail() -> None:
        with without(memory, method="ids", ids=["a"]) as pruned:
            assert pruned.ids == ["a"]
            assert memory.info().pruned_count == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert memory.info().digest == digest
    with without(memory, method="hard", threshold=99) as pruned:
        assert pruned.ids == []
    for count in (0, 3):
        with without_some(memory, list("abcd"), count, np.random.default_rng(0)):
            assert memory.info().pruned_count == count
    assert memory.info().digest == digest
    client.delete_memory(memory.name)
