"""Imports: a stream of batches, each stored and acknowledged while the next arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import StoredBatch
from visual_memory_service.config import Settings
from visual_memory_service.convert import answers, requests
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.runtime.threads import OrderedWork, in_order, in_thread
from visual_memory_service.writes.insert import insert

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ImportStream:
    """The import of entries in the stream that one ImportEntries call began with ``start``.

    The audit log names its ``principal``. If ``every`` is not None, the client gets a message after
    each ``every`` seconds in which the server works without an answer.
    """

    start: pb.ImportStart
    principal: str
    every: float | None
    served: ServedMemory
    memories: Memories
    settings: Settings

    async def stored(self) -> AsyncGenerator[pb.ImportEntriesResponse, None]:
        """Yield acknowledgements of the batches that earlier calls with this request_id stored.

        Batches that such a call is still storing are waited for, also if the call has ended since:
        the client may divide its entries otherwise now. The last message has the offset, in
        entries, at which the import goes on.
        """
        memory, catalog = self.served.memory, self.memories.catalog
        earlier = [
            work.start(lambda: None)
            for request_id, work in self.served.imports
            if request_id == self.start.request_id and work.under_way
        ]
        for done in earlier:
            async for _ in until(done, self.every):
                yield pb.ImportEntriesResponse(working=True)
        known = await in_thread(memory.stored_batches, self.start.request_id)
        for batch in known:
            unlearned = await in_thread(catalog.unlearned, memory, batch.ids)
            yield answers.from_stored(batch, unlearned)
        yield pb.ImportEntriesResponse(offset=sum(len(batch.ids) for batch in known))

    async def store(
        self, messages: AsyncIterator[pb.ImportEntriesRequest]
    ) -> AsyncGenerator[pb.ImportEntriesResponse, None]:
        """Store the batches of ``messages`` in order, in threads; acknowledge each batch."""
        async with self._listed() as work:
            started = (work.start(self._store, each) async for each in messages)
            results = results_in_order(started, self.every)
            async with aclosing(results):
                async for answer in results:
                    yield answer or pb.ImportEntriesResponse(working=True)

    @asynccontextmanager
    async def _listed(self) -> AsyncIterator[OrderedWork]:
        """Yield work for the threads of imports, in ``served.imports`` until it has ended."""
        imports = self.served.imports
        async with AsyncExitStack() as ended, in_order(self.memories.importing) as work:
            imports.add(listed := (self.start.request_id, work))
            ended.callback(imports.remove, listed)
            yield work

    def _store(self, message: pb.ImportEntriesRequest) -> pb.ImportEntriesResponse:
        batch = requests.to_import_batch(message, self.start, self.settings, self.principal)
        ids, unlearned = insert(batch, self.served, self.memories)
        stored = StoredBatch(batch.request.start, ids, batch.request.fingerprint)
        return answers.from_stored(stored, unlearned)


async def until(done: asyncio.Future[T], every: float | None) -> AsyncIterator[None]:
    """Wait for ``done``, and yield whenever ``every`` more seconds have passed; never if None."""
    while not (await asyncio.wait([done], timeout=every))[0]:
        yield


async def results_in_order(
    started: AsyncIterator[asyncio.Future[T]], every: float | None
) -> AsyncGenerator[T | None, None]:
    """Yield the results of ``started`` in order; the next is started while one is awaited.

    Yields None whenever ``every`` more seconds of waiting have passed; never if ``every`` is None.
    """
    following = asyncio.ensure_future(anext(started, None))
    result: asyncio.Future[T] | None = None
    try:
        while (result := await following) is not None:
            following = asyncio.ensure_future(anext(started, None))
            async for _ in until(result, every):
                yield None
            yield await result
    finally:
        if result is not None:
            result.cancel()
        if not following.cancel() and not following.exception() and (last := following.result()):
            last.cancel()
