"""Decisions by a head, which wait for the end of a large removal, hold up no others meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from visual_memory_index import Entry, Memory, Rule, parse, unit_rows
from visual_memory_index.records.filter import Filter
from visual_memory_index.store.store import new_identity
from visual_memory_service.config import Settings
from visual_memory_service.decisions.annotate import DecisionOptions, annotate
from visual_memory_service.decisions.classify import Question, classify
from visual_memory_service.errors import NotCalibrated
from visual_memory_service.runtime.embedders import Embedders
from visual_memory_service.runtime.served_memory import ServedMemory

VECTORS = unit_rows(np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32))


@contextmanager
def opened(folder: Path) -> Iterator[ServedMemory]:
    with closing(Memory.create(folder / "m.sqlite", new_identity("m", 8, None))) as memory:
        memory.insert([Entry(f"{at}", "cat" if at % 2 else "dog") for at in range(60)], VECTORS)
        yield ServedMemory(memory, None, Embedders(Settings(folder)))


def test_calibrated_votes_take_their_turn_among_those_that_use_heads(tmp_path: Path) -> None:
    """Their distances to class means are of a head, too."""
    with opened(tmp_path) as served:

        async def decide() -> None:
            options = DecisionOptions(Rule(5), True, True, None, "all", "lac", False, None, None)
            question = Question(VECTORS[:1], Rule(5), None, [], means=True)
            decided, neighbors, vectors = await classify(question, served)
            async with served.fitting, served.fitting:
                waiting = asyncio.create_task(
                    annotate(decided, neighbors, vectors, options, served)
                )
                await asyncio.wait([waiting], timeout=0.1)
                assert not waiting.done()
            with pytest.raises(NotCalibrated):
                await waiting

        asyncio.run(decide())


@pytest.mark.parametrize("filter", [None, parse('label = "cat"')], ids=["all", "some"])
def test_votes_do_not_wait_for_heads(tmp_path: Path, filter: Filter | None) -> None:
    with opened(tmp_path) as served:
        memory = served.memory
        held, over = threading.Event(), threading.Event()

        def remove() -> None:
            with memory._engine.whole.writing():  # as while a large removal is applied
                held.set()
                over.wait()

        async def decide() -> None:
            by_head = Question(VECTORS[:1], Rule(5, head="means"), filter, [])
            by_votes = Question(VECTORS[:1], Rule(5), None, [])
            await classify(by_head, served)
            removing = threading.Thread(target=remove)
            removing.start()
            held.wait()
            waiting = asyncio.create_task(classify(by_head, served))
            await asyncio.wait([waiting], timeout=0.1)
            try:
                await asyncio.wait_for(classify(by_votes, served), 10)
                assert not waiting.done()
            finally:
                over.set()
                await waiting
                removing.join()

        asyncio.run(decide())
