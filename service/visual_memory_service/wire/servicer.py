"""One short method for each call: it reads, does, writes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

from google.protobuf.message import Message

from visual_memory.v1 import entry_pb2, memory_pb2, operation_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import (
    Memory,
    MemoryClosed,
    MemoryRefusal,
    NotWritten,
    Operation,
    Request,
    StoredBatch,
    UnknownMemory,
    UnknownOperation,
)
from visual_memory_service.config import Settings
from visual_memory_service.convert import answers, audit, insight, requests
from visual_memory_service.convert import hygiene as convert
from visual_memory_service.convert import unlearning as convert_unlearning
from visual_memory_service.curation import prune as hygiene
from visual_memory_service.curation import values
from visual_memory_service.curation.assess import assess
from visual_memory_service.decisions import calibration
from visual_memory_service.decisions.calibration import calibrate, calibration_of
from visual_memory_service.decisions.classify import classify, embed, search, to_vectors
from visual_memory_service.decisions.explain import explain
from visual_memory_service.decisions.refine import refine
from visual_memory_service.decisions.reranking import Reranking
from visual_memory_service.decisions.taxonomy import set_taxonomy, taxonomy_of
from visual_memory_service.erasure.unlearn import UnlearningWork, certificate_of
from visual_memory_service.errors import ConnectionEnding
from visual_memory_service.runtime.backups import Copies
from visual_memory_service.runtime.memories import Memories, OpenMemory
from visual_memory_service.runtime.operations import Job, Operations, check_done
from visual_memory_service.runtime.threads import in_thread, stoppable
from visual_memory_service.wire.rerank import (
    Rerankers,
    end_of,
    rerank,
    reranker_of,
    set_reranker,
    whom_to_ask,
)
from visual_memory_service.writes import delete as forget
from visual_memory_service.writes import insert as remember

LISTED_AT_ONCE = 4  # pages of entries, which keep Python busy
EXPLAINED_AT_ONCE = 4  # decisions, for each of which all entries are ranked
SMALL_BYTES = 65_536  # such a message is read in less time than a thread needs to take over

P = ParamSpec("P")
T = TypeVar("T")


async def read(message: Message, reading: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Convert a small message here, a large one in a thread, so that no call waits for it."""
    if message.ByteSize() <= SMALL_BYTES:
        return reading(*args, **kwargs)
    return await in_thread(reading, *args, **kwargs)


async def each_done(
    under_way: AsyncIterator[asyncio.Future[T]], every: float | None
) -> AsyncIterator[T | None]:
    """What each comes to, in order; the next is begun while one is waited for.

    None comes ``every`` so many seconds in which one is waited for.
    """
    following = asyncio.ensure_future(anext(under_way, None))
    result: asyncio.Future[T] | None = None
    try:
        while (result := await following) is not None:
            following = asyncio.ensure_future(anext(under_way, None))
            while not (await asyncio.wait([result], timeout=every))[0]:
                yield None
            yield await result
    finally:
        if result is not None:
            result.cancel()
        if not following.cancel() and not following.exception() and (last := following.result()):
            last.cancel()


def about(memory: OpenMemory) -> memory_pb2.Memory:
    """A memory as it stands."""
    return answers.from_info(memory.memory.info(), calibration_of(memory), reranker_of(memory))


class Servicer(service_pb2_grpc.VisualMemoryServicer):
    """The calls of ``service.proto`` over the open memories."""

    def __init__(
        self,
        memories: Memories,
        rerankers: Rerankers,
        operations: Operations,
        unlearning: UnlearningWork,
        copies: Copies,
        settings: Settings,
        leaving: asyncio.Event,
    ) -> None:
        self._memories = memories
        self._unlearning = unlearning
        self._copies = copies
        self._leaving = leaving
        self._rerankers = rerankers
        self._operations = operations
        self._settings = settings
        self._listing = asyncio.Semaphore(LISTED_AT_ONCE)
        self._explaining = asyncio.Semaphore(EXPLAINED_AT_ONCE)

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Any
    ) -> pb.GetServerInfoResponse:
        allowed = self._memories.embedders.allowed
        return answers.from_settings(
            version("visual-memory"),
            self._settings,
            allowed,
            self._rerankers.names,
            self._unlearning.keys.public,
        )

    async def CreateMemory(
        self, request: pb.CreateMemoryRequest, context: Any
    ) -> memory_pb2.Memory:
        embedder, dimension = requests.to_creation(request)
        created = await in_thread(
            self._memories.create,
            requests.to_name(request.name, "name"),
            embedder=embedder,
            dimension=dimension,
            store_images=request.store_images,
            request=requests.to_request(request, request.request_id),
        )
        return await in_thread(about, created)

    async def GetMemory(self, request: pb.GetMemoryRequest, context: Any) -> memory_pb2.Memory:
        return await in_thread(about, await self._memory(request.name))

    async def ListMemories(
        self, request: pb.ListMemoriesRequest, context: Any
    ) -> pb.ListMemoriesResponse:
        return await in_thread(self._page_of_memories, request)

    async def DeleteMemory(
        self, request: pb.DeleteMemoryRequest, context: Any
    ) -> pb.DeleteMemoryResponse:
        again = requests.to_request(request, request.request_id)
        await in_thread(self._drop, request.name, again)
        return pb.DeleteMemoryResponse()

    def _drop(self, name: str, again: Request | None) -> None:
        """In one go, however the call ends: a memory that stays needs its erasures."""
        if self._memories.was_dropped(again):
            return
        self._operations.stop(name)
        try:
            self._memories.drop(name, request=again)
        except NotWritten:
            self._unlearning.go_on(name)
            raise

    async def InsertEntries(
        self, request: pb.InsertEntriesRequest, context: Any
    ) -> pb.InsertEntriesResponse:
        memory = await self._memory(request.memory)
        batch = await read(request, requests.to_insertion, request, self._settings)

        def store() -> pb.InsertEntriesResponse:
            unlearned = self._unlearned(batch, memory)
            return answers.from_ids(remember.insert(batch, memory), unlearned)

        return await in_thread(store)

    async def ImportEntries(
        self, messages: AsyncIterator[pb.ImportEntriesRequest], context: Any
    ) -> AsyncIterator[pb.ImportEntriesResponse]:
        first = await anext(aiter(messages), pb.ImportEntriesRequest())
        start = requests.to_import_start(first)
        every = requests.to_alive_seconds(start)
        memory = await self._memory(start.memory)

        def stored(batch: StoredBatch) -> pb.ImportEntriesResponse:
            return answers.from_stored(batch, self._memories.unlearned(memory.memory, batch.ids))

        known = await in_thread(memory.memory.stored_batches, start.request_id)
        for batch in known:
            yield await in_thread(stored, batch)
        yield answers.from_import_offset(sum(len(batch.ids) for batch in known))

        def store(request: pb.ImportEntriesRequest) -> pb.ImportEntriesResponse:
            batch = requests.to_import_batch(request, start, self._settings)
            unlearned = self._unlearned(batch, memory)
            return answers.from_stored(remember.import_batch(batch, memory), unlearned)

        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "import")  # it goes from batch to batch by itself
        try:
            done = (loop.run_in_executor(thread, store, message) async for message in messages)
            async for answer in each_done(done, every):
                yield answer or answers.from_working()
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
            await in_thread(thread.shutdown)

    async def GetEntry(self, request: pb.GetEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = (await self._memory(request.memory)).memory
        id = requests.to_text(request.id, "id")
        parts = requests.to_parts(
            vector=request.include_vector,
            image=request.include_image,
            thumbnail=request.include_thumbnail,
        )
        return answers.from_entry(await in_thread(memory.entry, id, parts))

    async def ListEntries(
        self, request: pb.ListEntriesRequest, context: Any
    ) -> pb.ListEntriesResponse:
        memory = (await self._memory(request.memory)).memory
        filter, after, limit, parts = requests.to_page(request)
        bytes_max = self._settings.message_bytes_max
        async with self._listing:
            page = await in_thread(
                memory.entries,
                filter=filter,
                after=after,
                limit=limit,
                bytes_max=bytes_max,
                parts=parts,
            )
            return await in_thread(answers.from_entries, page, request)

    async def UpdateEntry(self, request: pb.UpdateEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = await self._memory(request.memory)
        change = requests.to_change(request)
        return answers.from_entry(await in_thread(remember.update, change, memory))

    async def DeleteEntries(
        self, request: pb.DeleteEntriesRequest, context: Any
    ) -> pb.DeleteEntriesResponse:
        memory = await self._memory(request.memory)
        deletion = await read(request, requests.to_deletion, request)
        return answers.from_deleted(await in_thread(forget.delete, deletion, memory))

    async def PurgeEntries(
        self, request: pb.PurgeEntriesRequest, context: Any
    ) -> pb.PurgeEntriesResponse:
        memory = await self._memory(request.memory)
        purge = requests.to_purge(request)
        return answers.from_purged(await in_thread(forget.purge, purge, memory), purge.apply)

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:
        until = end_of(context.time_remaining())
        memory = await self._memory(request.memory)
        voting, shown = requests.to_voting(request), requests.to_shown(request)
        wishes = requests.to_wishes(request)
        seconds = requests.to_rerank_seconds(request)
        question = await read(request, requests.to_question, request, self._settings)
        reranker = whom_to_ask(request.reranker, question, memory, self._rerankers)
        if reranker and wishes:
            wishes.check_uncalibrated()
        if wishes and wishes.coverage is not None:
            labels = await in_thread(memory.memory.labels)
            question.check_answer(len(labels), "labels")
        if question.counts_k is not None:
            await hygiene.await_counts(question.counts_k, memory, self._operations)
        classified = await classify(question, voting, memory)
        decisions, rerankings = classified.decisions, list[Reranking]()
        if reranker:
            reranked = await rerank(
                classified,
                question,
                voting,
                memory,
                self._rerankers,
                reranker=reranker,
                seconds=seconds,
                until=until,
            )
            decisions, rerankings = reranked.decisions, reranked.rerankings
        if wishes is None:
            response = await read(request, answers.from_decisions, decisions, shown)
        else:
            refined = await in_thread(refine, decisions, classified.vectors, wishes, memory)
            response = await read(request, answers.from_refined, *refined, shown)
        answers.add_rerankings(response, rerankings)
        return response

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        memory = await self._memory(request.memory)
        question = await read(request, requests.to_question, request, self._settings)
        neighbors, _ = await search(question, memory)
        return await read(request, answers.from_neighbors, neighbors)

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        memory = await self._memory(request.memory)
        images = requests.to_images(request.images, self._settings)
        return answers.from_vectors(await embed(images, memory))

    async def GetMisleadingCounts(
        self, request: pb.GetMisleadingCountsRequest, context: Any
    ) -> pb.GetMisleadingCountsResponse:
        memory = await self._memory(request.memory)
        k, after, size = convert.to_counts_page(request)
        finding = await in_thread(hygiene.find_counts, k, memory, self._operations)
        if finding is not None:
            return pb.GetMisleadingCountsResponse(operation=self._from_operation(finding))
        counts = await in_thread(memory.memory.misleading_counts, k)
        return await in_thread(convert.from_counts, counts, after, size, request)

    async def PruneEntries(
        self, request: pb.PruneEntriesRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        prune = await read(request, convert.to_prune, request)
        started = await in_thread(hygiene.prune, prune, memory, self._operations)
        return self._from_operation(started)

    async def RelabelEntries(
        self, request: pb.RelabelEntriesRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        relabel = await read(request, convert.to_relabel, request)
        done = await in_thread(hygiene.relabel, relabel, memory)
        if isinstance(done, hygiene.RelabelResult):
            return convert.from_relabel_result(request.memory, done)
        return self._from_operation(done)

    async def Undo(self, request: pb.UndoRequest, context: Any) -> pb.UndoResponse:
        memory = (await self._memory(request.memory)).memory
        again = requests.to_request(request, request.request_id)
        ids = await in_thread(memory.undo, request.operation, request=again)
        return convert.from_undone(ids)

    async def ValueEntries(
        self, request: pb.ValueEntriesRequest, context: Any
    ) -> AsyncIterator[pb.ValueEntriesResponse]:
        memory = await self._memory(request.memory)
        k = insight.to_value_k(request)
        queries, labels = await read(request, insight.to_labelled, request, self._settings)
        vectors = None
        if queries is not None:
            vectors = await to_vectors(queries, memory)
        found: list[values.Values] = []

        def work(job: Job) -> None:
            snapshot = memory.memory.snapshot()
            if vectors is None:
                found.append(values.leave_one_out(snapshot, k, job))
            else:
                found.append(values.given(snapshot, k, vectors, labels, job))

        started = await in_thread(self._operations.start, memory.memory, "values", work)
        try:
            async for done, total in self._operations.progress(started.name):
                yield insight.from_values_progress(started.name, done, total)
        finally:
            self._operations.abandon(started.name)
        await in_thread(check_done, memory.memory, started.name)
        asked = len(found[0].ids) if vectors is None else len(vectors)
        yield insight.from_values_progress(started.name, asked, asked)
        for response in await in_thread(list, insight.from_values(started.name, found[0])):
            yield response

    async def ExplainDecision(
        self, request: pb.ExplainDecisionRequest, context: Any
    ) -> pb.ExplainDecisionResponse:
        memory = await self._memory(request.memory)
        query, k, voting, seconds = insight.to_explaining(request, self._settings)
        dimension = memory.memory.identity.dimension
        what_if = insight.to_what_if(request, dimension, self._settings)
        memory.memory.check_dimension(what_if.add_vectors)
        vectors, over = await to_vectors(query, memory), threading.Event()
        async with self._explaining:
            explanation = await stoppable(
                over,
                explain,
                vectors,
                k,
                voting,
                memory.memory,
                exclude_ids=request.exclude_ids,
                what_if=what_if,
                seconds=seconds,
                over=over,
                with_thumbnails=request.include_thumbnails,
            )
        return insight.from_explanation(explanation)

    async def AssessMemory(
        self, request: pb.AssessMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = (await self._memory(request.memory)).memory
        k, voting, thin, again = insight.to_assessing(request)

        def work(job: Job) -> str:
            return assess(memory.snapshot(), k, voting, thin, job).to_json()

        start = self._operations.start
        return self._from_operation(await in_thread(start, memory, "assess", work, request=again))

    async def CalibrateMemory(
        self, request: pb.CalibrateMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        k, voting, again = insight.to_calibrating(request)
        asked, labels = await read(request, insight.to_labelled, request, self._settings)
        queries = None if asked is None else await to_vectors(asked, memory)

        def work(job: Job) -> None:
            snapshot = memory.memory.snapshot()
            found = calibrate(snapshot, k, voting, job, queries=queries, labels=labels)
            result = json.dumps(asdict(found.result))
            settings = {calibration.SETTING: found.to_json()}
            memory.memory.end(
                job.name, "done", result=result, settings=settings, call="CalibrateMemory"
            )

        start = self._operations.start
        return self._from_operation(
            await in_thread(start, memory.memory, "calibrate", work, request=again)
        )

    async def GetTaxonomy(self, request: pb.GetTaxonomyRequest, context: Any) -> pb.Taxonomy:
        memory = await self._memory(request.memory)
        labels = await in_thread(memory.memory.labels)
        return insight.from_taxonomy(taxonomy_of(memory), labels)

    async def SetTaxonomy(self, request: pb.SetTaxonomyRequest, context: Any) -> pb.Taxonomy:
        memory = await self._memory(request.memory)
        edges = [(edge.child, edge.parent) for edge in request.edges]
        again = requests.to_request(request, request.request_id)
        grown = await in_thread(set_taxonomy, edges, memory, request=again)
        labels = await in_thread(memory.memory.labels)
        return insight.from_taxonomy(grown, labels)

    async def SetReranker(self, request: pb.SetRerankerRequest, context: Any) -> memory_pb2.Memory:
        memory = await self._memory(request.memory)
        again = requests.to_request(request, request.request_id)
        await in_thread(set_reranker, request.reranker, memory, self._rerankers, request=again)
        return await in_thread(about, memory)

    async def UnlearnEntries(
        self, messages: AsyncIterator[pb.UnlearnEntriesRequest], context: Any
    ) -> operation_pb2.Operation:
        request = await convert_unlearning.joined(aiter(messages))
        asked = await read(request, convert_unlearning.to_unlearning, request)
        memory = await self._memory(request.memory)
        if not asked.apply:
            result = await in_thread(self._unlearning.would_unlearn, asked, memory)
            return convert_unlearning.from_would_unlearn(request.memory, result)
        return self._from_operation(await in_thread(self._unlearning.begin, asked, memory))

    async def GetCertificate(
        self, request: pb.GetCertificateRequest, context: Any
    ) -> pb.Certificate:
        memory = await self._of_operation(request.operation)
        found = await in_thread(certificate_of, memory, request.operation)
        return pb.Certificate(json=found)

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: Any
    ) -> pb.ListAuditEventsResponse:
        memory = (await self._memory(request.memory)).memory
        first, size = audit.to_audit_page(request)
        page = await in_thread(memory.audit_events, first, limit=size)
        return await in_thread(audit.from_audit_page, page, first + size, request)

    async def CheckMemory(
        self, request: pb.CheckMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = (await self._memory(request.memory)).memory
        again = requests.to_request(request, request.request_id)

        def work(job: Job) -> str:
            return json.dumps(asdict(self._memories.check(memory, job.told)))

        start = self._operations.start
        return self._from_operation(await in_thread(start, memory, "check", work, request=again))

    async def BackupMemory(
        self, request: pb.BackupMemoryRequest, context: Any
    ) -> AsyncIterator[pb.BackupMemoryResponse]:
        async for piece in self._copies.backup(request.memory):
            yield answers.from_piece(piece)

    async def RestoreMemory(
        self, messages: AsyncIterator[pb.RestoreMemoryRequest], context: Any
    ) -> pb.RestoreMemoryResponse:
        first = await anext(aiter(messages), pb.RestoreMemoryRequest())
        name = requests.to_name(first.name, "name")
        pieces = requests.to_pieces(first, messages)
        async with self._copies.received(name, first.request_id, pieces) as arrival:
            again = requests.to_restoring(first, arrival.sha256)
            restored = await self._copies.restore(arrival, name, again)
        found = await in_thread(about, restored.memory)
        return answers.from_restored(found, restored.left_out)

    async def CopyMemory(self, request: pb.CopyMemoryRequest, context: Any) -> memory_pb2.Memory:
        new_name = requests.to_name(request.new_name, "new_name")
        again = requests.to_request(request, request.request_id)
        copied = await self._copies.copy(request.memory, new_name, again)
        return await in_thread(about, copied)

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._of_operation(request.name)
        return self._from_operation(await in_thread(memory.operation, request.name))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Any
    ) -> pb.ListOperationsResponse:
        memory = (await self._memory(request.memory)).memory
        before, size = convert.to_operations_page(request)
        operations = await in_thread(memory.operations, before=before, limit=size + 1)
        last = operations[size - 1].name if len(operations) > size else ""
        return convert.from_operations(operations[:size], last, request)

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._of_operation(request.name)
        asked = await in_thread(self._operations.cancel, memory, request.name)
        return self._from_operation(asked)

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._of_operation(request.name)
        seconds = convert.to_seconds(request)
        if job := self._operations.job(request.name):
            await self._until_ended(job, seconds)
            memory = await self._of_operation(request.name)  # unless it was found damaged
        return self._from_operation(await in_thread(memory.operation, request.name))

    async def _until_ended(self, job: Job, seconds: float | None) -> None:
        """Wait as long as that, or until the job has ended. Raises ConnectionEnding."""
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            waited: list[asyncio.Future[Any]] = [asyncio.wrap_future(job.ended), leaving]
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not job.ended.done():
                raise ConnectionEnding
        finally:
            leaving.cancel()

    async def _memory(self, name: str) -> OpenMemory:
        """Raises UnknownMemory, or what keeps the memory from being opened now."""
        if self._memories.may_be_opened(name):
            return await in_thread(self._memories.get_or_open, name)
        return self._memories.get(name)

    async def _of_operation(self, name: str) -> Memory:
        """The memory that an operation worked on. Raises UnknownOperation, and as ``_memory``."""
        try:
            return (await self._memory(name.rpartition("/")[0])).memory
        except UnknownMemory:
            raise UnknownOperation(name) from None

    def _unlearned(self, batch: remember.Batch, memory: OpenMemory) -> list[str]:
        """Those ids that were to be unlearned; asked first, or a stored batch could fail."""
        ids = [entry.id for entry in batch.entries if entry.id]
        return self._memories.unlearned(memory.memory, ids)

    def _from_operation(self, operation: Operation) -> operation_pb2.Operation:
        job = self._operations.job(operation.name)
        if job is None:
            return convert.from_operation(operation)
        return convert.from_operation(
            operation, done=job.done, total=job.total, problem=job.problem
        )

    def _page_of_memories(self, request: pb.ListMemoriesRequest) -> pb.ListMemoriesResponse:
        after, size = requests.to_memories_page(request)
        names = [name for name in self._memories.names() if name > after]
        found: list[memory_pb2.Memory] = []
        filled, last = 0, names[size - 1] if len(names) > size else ""
        for name in names[:size]:
            try:
                found.append(about(self._memories.get_or_open(name)))
            except (MemoryClosed, UnknownMemory):  # it was dropped meanwhile
                continue
            except MemoryRefusal as damage:
                found.append(answers.from_damaged(name, str(damage)))
            filled += found[-1].ByteSize()
            if filled >= self._settings.message_bytes_max:  # labels may be very many
                last = name if name != names[-1] else ""
                break
        return answers.from_memories(found, last, request)
