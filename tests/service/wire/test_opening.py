"""Calls that wait for a memory to be opened take one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from visual_memory_index import WITHOUT_ID
from visual_memory_service.config import Settings
from visual_memory_service.runtime import memories as runtime
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.wire.calls import at_end
from visual_memory_service.wire.servicer import Servicer

CALLS = 50


@pytest.fixture
def memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memories]:
    """The memory ``a``, which is closed."""
    monkeypatch.setattr(runtime, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(runtime, "OPENINGS_OF_IDLENESS", 0.0)
    with closing(Memories(Settings(tmp_path), kept_open=0)) as memories:
        memories.create("a", embedder=None, dimension=4, store_images=False, request=WITHOUT_ID)
        memories.close_idle()
        yield memories


def test_many_calls_of_a_closed_memory_wait_for_one_thread(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    using = threading.Semaphore(1)
    use = memories.use

    def slow(name: str) -> ServedMemory:
        assert using.acquire(blocking=False)
        try:
            time.sleep(0.1)
            return use(name)
        finally:
            using.release()

    monkeypatch.setattr(memories, "use", slow)
    others: dict[str, Any] = {each.name: None for each in fields(Servicer)}
    servicer = Servicer(**{**others, "memories": memories})

    async def call() -> ServedMemory:
        at_end.set(ending)
        return await servicer._served("a")

    async def ask() -> list[ServedMemory]:
        return await asyncio.gather(*(call() for _ in range(CALLS)))

    with ExitStack() as ending:
        served = asyncio.run(ask())
        assert len({*map(id, served)}) == 1
        assert served[0].users == CALLS
