"""One short method for each call: it reads, does, writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

from google.protobuf.message import Message

from visual_memory.v1 import entry_pb2, memory_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import MemoryInfo, MemoryRefusal
from visual_memory_service import convert, forget, remember
from visual_memory_service.classify import classify, embed, search
from visual_memory_service.config import Settings
from visual_memory_service.memories import Memories

SMALL_BYTES = 65_536  # such a message is read in less time than a thread needs to take over
ENTRY_BYTES = 20_000  # what an entry can bring beside its vector: id, label, metadata

P = ParamSpec("P")
T = TypeVar("T")


async def read(message: Message, reading: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Convert a small message here, a large one in a thread: the event loop never computes."""
    if message.ByteSize() <= SMALL_BYTES:
        return reading(*args, **kwargs)
    return await asyncio.to_thread(reading, *args, **kwargs)


async def each_done(under_way: AsyncIterator[asyncio.Future[T]]) -> AsyncIterator[T]:
    """What each comes to, in order; the next is begun while one is waited for."""
    following = asyncio.ensure_future(anext(under_way, None))
    try:
        while (result := await following) is not None:
            following = asyncio.ensure_future(anext(under_way, None))
            yield await result
    finally:
        if not following.cancel() and not following.exception() and (last := following.result()):
            last.cancel()


class Servicer(service_pb2_grpc.VisualMemoryServicer):
    """The calls of ``service.proto`` over the open memories."""

    def __init__(self, memories: Memories, settings: Settings) -> None:
        self._memories = memories
        self._settings = settings

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Any
    ) -> pb.GetServerInfoResponse:
        allowed = self._memories.embedders.allowed
        return convert.from_settings(version("visual-memory"), self._settings, allowed)

    async def CreateMemory(
        self, request: pb.CreateMemoryRequest, context: Any
    ) -> memory_pb2.Memory:
        embedder, dimension = convert.to_creation(request)
        created = await asyncio.to_thread(
            self._memories.create,
            convert.to_name(request.name, "name"),
            embedder=embedder,
            dimension=dimension,
            request=convert.to_request(request, request.request_id),
        )
        return convert.from_info(await asyncio.to_thread(created.memory.info))

    async def GetMemory(self, request: pb.GetMemoryRequest, context: Any) -> memory_pb2.Memory:
        memory = self._memories.get(request.name).memory
        return convert.from_info(await asyncio.to_thread(memory.info))

    async def ListMemories(
        self, request: pb.ListMemoriesRequest, context: Any
    ) -> pb.ListMemoriesResponse:
        after, size = convert.to_memories_page(request)
        return await asyncio.to_thread(self._page_of_memories, after, size)

    async def DeleteMemory(
        self, request: pb.DeleteMemoryRequest, context: Any
    ) -> pb.DeleteMemoryResponse:
        again = convert.to_request(request, request.request_id)
        await asyncio.to_thread(self._memories.drop, request.name, request=again)
        return pb.DeleteMemoryResponse()

    async def InsertEntries(
        self, request: pb.InsertEntriesRequest, context: Any
    ) -> pb.InsertEntriesResponse:
        memory = self._memories.get(request.memory)
        batch = await read(request, convert.to_insertion, request, self._settings)
        return convert.from_ids(await asyncio.to_thread(remember.insert, batch, memory))

    async def ImportEntries(
        self, requests: AsyncIterator[pb.ImportEntriesRequest], context: Any
    ) -> AsyncIterator[pb.ImportEntriesResponse]:
        first = await anext(aiter(requests), pb.ImportEntriesRequest())
        start = convert.to_import_start(first)
        memory = self._memories.get(start.memory)
        stored = await asyncio.to_thread(memory.memory.stored_batches, start.request_id)
        for known in stored:
            yield convert.from_stored(known)
        yield convert.from_import_offset(sum(len(known.ids) for known in stored))

        def store(request: pb.ImportEntriesRequest) -> pb.ImportEntriesResponse:
            batch = convert.to_import_batch(request, start, self._settings)
            return convert.from_stored(remember.import_batch(batch, memory))

        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "import")  # it goes from batch to batch by itself
        try:
            answers = (loop.run_in_executor(thread, store, request) async for request in requests)
            async for answer in each_done(answers):
                yield answer
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    async def GetEntry(self, request: pb.GetEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = self._memories.get(request.memory).memory
        entry = await asyncio.to_thread(
            memory.entry, request.id, with_vector=request.include_vector
        )
        return convert.from_entry(entry)

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Any
    ) -> pb.ListEntriesResponse:
        memory = self._memories.get(request.memory).memory
        filter, after, size, with_vectors = convert.to_page(request)
        entry_bytes = ENTRY_BYTES + 4 * memory.identity.dimension * with_vectors
        limit = min(size, max(1, self._settings.message_bytes_max // entry_bytes))
        entries = await asyncio.to_thread(
            memory.entries, filter=filter, after=after, limit=limit + 1, with_vectors=with_vectors
        )
        last = entries[limit - 1].id if len(entries) > limit else ""
        return await asyncio.to_thread(convert.from_entries, entries[:limit], last, request.filter)

    async def UpdateEntry(self, request: pb.UpdateEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = self._memories.get(request.memory)
        change = convert.to_change(request)
        return convert.from_entry(await asyncio.to_thread(remember.update, change, memory))

    async def DeleteEntries(
        self, request: pb.DeleteEntriesRequest, context: Any
    ) -> pb.DeleteEntriesResponse:
        memory = self._memories.get(request.memory)
        deletion = await read(request, convert.to_deletion, request)
        return convert.from_deleted(await asyncio.to_thread(forget.delete, deletion, memory))

    async def PurgeEntries(
        self, request: pb.PurgeEntriesRequest, context: Any
    ) -> pb.PurgeEntriesResponse:
        memory = self._memories.get(request.memory)
        purge = convert.to_purge(request)
        return convert.from_purged(
            await asyncio.to_thread(forget.purge, purge, memory), purge.apply
        )

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:
        memory = self._memories.get(request.memory)
        voting, shown = convert.to_voting(request), convert.to_shown(request)
        question = await read(request, convert.to_question, request, self._settings)
        decisions = await classify(question, voting, memory)
        return await read(request, convert.from_decisions, decisions, shown)

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        memory = self._memories.get(request.memory)
        question = await read(request, convert.to_question, request, self._settings)
        return await read(request, convert.from_neighbors, await search(question, memory))

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        memory = self._memories.get(request.memory)
        images = convert.to_images(request.images, self._settings)
        return convert.from_vectors(await embed(images, memory))

    def _page_of_memories(self, after: str, size: int) -> pb.ListMemoriesResponse:
        names = [name for name in self._memories.names() if name > after]
        infos: list[MemoryInfo] = []
        for name in names[:size]:
            try:
                infos.append(self._memories.get(name).memory.info())
            except MemoryRefusal:  # damaged ones are named in the log and by GetMemory
                continue
        last = names[size - 1] if len(names) > size else ""
        return convert.from_memories(infos, last)
