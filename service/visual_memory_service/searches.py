"""Searches of one memory: those that arrive together are done together."""

from __future__ import annotations

import asyncio
from collections import deque

from visual_memory_index import Memory, Neighbors, Query

VECTORS_AT_ONCE = 256  # more bring no more throughput and make the others wait


class Searches:
    """Starts at once when idle; what arrives meanwhile is the next batch."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._waiting: deque[tuple[Query, asyncio.Future[Neighbors]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def nearest(self, query: Query) -> Neighbors:
        """Like ``Memory.nearest`` for one query."""
        answer: asyncio.Future[Neighbors] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, answer))
        self._start()
        return await answer

    def _start(self) -> None:
        if self._running is None and (batch := self._next_batch()):
            self._running = asyncio.create_task(self._run(batch))

    def _next_batch(self) -> list[tuple[Query, asyncio.Future[Neighbors]]]:
        batch: list[tuple[Query, asyncio.Future[Neighbors]]] = []
        vectors = 0
        while self._waiting:
            query, answer = self._waiting[0]
            if batch and vectors + len(query.vectors) > VECTORS_AT_ONCE:
                break
            self._waiting.popleft()
            if not answer.cancelled():
                batch.append((query, answer))
                vectors += len(query.vectors)
        return batch

    async def _run(self, batch: list[tuple[Query, asyncio.Future[Neighbors]]]) -> None:
        try:
            found = await asyncio.to_thread(self._memory.nearest, [query for query, _ in batch])
            for (_, answer), neighbors in zip(batch, found, strict=True):
                if not answer.cancelled():
                    answer.set_result(neighbors)
        except Exception as error:  # each waiting call answers it in its own name
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        finally:
            self._running = None
            self._start()
