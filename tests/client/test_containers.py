"""A memory as a container of its entries."""

from __future__ import annotations

import asyncio

from tests.conftest import Server

import visual_memory
import visual_memory.aio
from visual_memory.options import DecisionOptions


def test_a_memory_has_a_length_entries_and_ids(server: Server) -> None:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("held", dimension=2)
        assert len(memory) == 0
        memory.insert(vectors=[[1, 0], [0, 1]], labels=["a", "b"], ids=["x", "y"])

        assert len(memory) == 2
        assert "x" in memory
        assert "z" not in memory
        assert [entry.id for entry in memory] == ["x", "y"]
        how = DecisionOptions(k=1, voting="plurality", exclude_ids=["x"])
        assert memory.classify(vectors=[[1, 0]], **how)[0].label == "b"
        client.delete_memory("held")


def test_entries_are_iterated_over_in_asyncio(server: Server) -> None:
    async def ids() -> list[str]:
        async with visual_memory.aio.connect(server.address) as client:
            memory = await client.create_memory("held", dimension=2)
            await memory.insert(vectors=[[1, 0]], labels=["a"], ids=["x"])
            found = [entry.id async for entry in memory]
            await client.delete_memory("held")
            return found

    assert asyncio.run(ids()) == ["x"]
