"""Searches of one memory, batched: those that arrive together are done together."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from visual_memory_index import Memory, Neighbors, Query
from visual_memory_service.runtime.threads import until_done

VECTORS_AT_ONCE = 256  # more add no throughput and make other queries wait
PATIENCE_SECONDS = 0.05  # at most: by then a hundred callers were answered and have asked again


class Searches:
    """Batches one memory's searches: queries that arrive during a search are the next batch.

    Callers answered together often ask again together, and one scan for all costs half of two. So
    the next batch waits for as many new queries as were just answered, but no longer than their
    search took.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._waiting: dict[asyncio.Future[Neighbors], Query] = {}
        self._expected = 0
        self._gathered = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def nearest(self, query: Query) -> Neighbors:
        """Return the nearest entries of a query, as ``Memory.nearest`` does, batched with others.

        If cancelled, waits until a search that has begun has ended.
        """
        answer: asyncio.Future[Neighbors] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = query
        if len(self._waiting) >= self._expected:
            self._gathered.set()
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await until_done(answer, lambda: self._abandon(answer))

    def _abandon(self, answer: asyncio.Future[Neighbors]) -> None:
        """Drop a query nobody waits for, unless its search has begun."""
        if self._waiting.pop(answer, None) is not None:
            answer.cancel()

    async def _run(self) -> None:
        while batch := self._next_batch():
            began = time.perf_counter()
            await self._search(batch)
            await self._gather(len(batch) + len(self._waiting), time.perf_counter() - began)
        self._running = None

    async def _gather(self, expected: int, seconds: float) -> None:
        self._expected = expected
        self._gathered.clear()
        if len(self._waiting) < expected:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, PATIENCE_SECONDS)):
                    await self._gathered.wait()

    def _next_batch(self) -> list[tuple[Query, asyncio.Future[Neighbors]]]:
        batch: list[tuple[Query, asyncio.Future[Neighbors]]] = []
        vectors = 0
        for answer, query in self._waiting.items():
            vectors += len(query.vectors)
            if batch and vectors > VECTORS_AT_ONCE:
                break
            batch.append((query, answer))
        for _, answer in batch:
            del self._waiting[answer]
        return batch

    async def _search(self, batch: list[tuple[Query, asyncio.Future[Neighbors]]]) -> None:
        try:
            found = await asyncio.to_thread(self._memory.nearest, [query for query, _ in batch])
            for (_, answer), neighbors in zip(batch, found, strict=True):
                answer.set_result(neighbors)
        except Exception as error:  # each waiting call reports it
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        finally:
            for _, answer in batch:
                answer.cancel()
