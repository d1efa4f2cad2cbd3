"""Servicer: one short method for each call, which reads, does and writes."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from google.protobuf.message import Message

import visual_memory
import visual_memory_index as index
from visual_memory.scopes import WRITE
from visual_memory.v1 import entry_pb2, memory_pb2, operation_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.curation.judgement import LabelJudgement
from visual_memory_index.errors import UnknownMemory, UnknownOperation
from visual_memory_service.access.callers import caller, principal
from visual_memory_service.access.limits import NEIGHBORS
from visual_memory_service.config import Settings
from visual_memory_service.convert import answers, curation, decisions, operations, requests
from visual_memory_service.convert.page_token import to_page_bounds
from visual_memory_service.curation.assess import assess, judge_labels
from visual_memory_service.curation.finding import find
from visual_memory_service.curation.misleading_counts import await_counts, find_counts
from visual_memory_service.curation.prune import RelabelResult, prune, relabel
from visual_memory_service.curation.values import Values, value
from visual_memory_service.decisions.annotate import annotate
from visual_memory_service.decisions.calibration import calibrate_memory, check_calibration
from visual_memory_service.decisions.classify import Question, classify, embed, search, to_vectors
from visual_memory_service.decisions.explain import explain
from visual_memory_service.decisions.taxonomy import set_taxonomy, taxonomy_of
from visual_memory_service.decisions.tune import check_tuning, default_rule, tune_memory
from visual_memory_service.erasure.unlearn import UnlearningWork, certificate_of
from visual_memory_service.errors import ConnectionEnding, WrongScope
from visual_memory_service.runtime.backups import Backups
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import DELETED, Job, Operations, Work, unless_repeated
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.runtime.threads import in_stoppable_thread, in_thread
from visual_memory_service.wire import rerank
from visual_memory_service.wire.calls import at_end
from visual_memory_service.wire.describe import describe, list_memories
from visual_memory_service.wire.imports import ImportStream
from visual_memory_service.writes.insert import insert
from visual_memory_service.writes.reembed import Reembedding

LISTED_AT_ONCE = 4  # pages of entries, which keep Python busy
EXPLAINED_AT_ONCE = 4  # decisions, for each of which all entries are ranked
JOBLESS_SECONDS = 0.1  # between looks at an operation that no job works on
SMALL_BYTES = 65_536  # such a message is read in less time than a thread needs to take over

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Servicer(service_pb2_grpc.VisualMemoryServicer):
    """The gRPC methods of ``service.proto``, for all open memories."""

    memories: Memories
    rerankers: rerank.Rerankers
    operations: Operations
    unlearning: UnlearningWork
    reembedding: Reembedding
    backups: Backups
    settings: Settings
    connections_closing: asyncio.Event

    def __post_init__(self) -> None:
        self._opening = WeakValueDictionary[str, asyncio.Lock]()  # while some wait
        self._listing = asyncio.Semaphore(LISTED_AT_ONCE)
        self._explaining = asyncio.Semaphore(EXPLAINED_AT_ONCE)

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Any
    ) -> pb.GetServerInfoResponse:
        return pb.GetServerInfoResponse(
            version=visual_memory.__version__,
            limits=answers.from_settings(self.settings),
            embedders=self.memories.embedders.allowed,
            rerankers=self.rerankers.names,
            public_keys=self.unlearning.keys.public,
            erasure=self.unlearning.erasure,
            instructions=self.memories.indexes.instructions,
        )

    async def CreateMemory(
        self, request: pb.CreateMemoryRequest, context: Any
    ) -> memory_pb2.Memory:
        embedder, dimension = requests.to_creation(request)
        name = requests.to_name(request.name, "name")
        await in_thread(
            self.memories.create,
            name,
            embedder=embedder,
            dimension=dimension,
            store_images=request.store_images,
            request=requests.to_request(request, principal()),
        )
        return await self._described(name)

    async def GetMemory(self, request: pb.GetMemoryRequest, context: Any) -> memory_pb2.Memory:
        return await self._described(request.name)

    async def ListMemories(
        self, request: pb.ListMemoriesRequest, context: Any
    ) -> pb.ListMemoriesResponse:
        bytes_max = self.settings.message_bytes_max
        is_for = caller.get().key.is_for
        return await in_thread(list_memories, request, self.memories, is_for, bytes_max)

    async def DeleteMemory(
        self, request: pb.DeleteMemoryRequest, context: Any
    ) -> pb.DeleteMemoryResponse:
        await in_thread(self._drop, request.name, requests.to_request(request, principal()))
        return pb.DeleteMemoryResponse()

    async def InsertEntries(
        self, request: pb.InsertEntriesRequest, context: Any
    ) -> pb.InsertEntriesResponse:
        served = await self._served(request.memory)
        batch = await self._read(
            request, requests.to_insertion, request, self.settings, principal()
        )
        ids, unlearned = await in_thread(insert, batch, served, self.memories)
        return pb.InsertEntriesResponse(ids=ids, unlearned_ids=unlearned)

    async def ImportEntries(
        self, messages: AsyncIterator[pb.ImportEntriesRequest], context: Any
    ) -> AsyncIterator[pb.ImportEntriesResponse]:
        start = requests.to_import_start(await anext(aiter(messages), pb.ImportEntriesRequest()))
        served = await self._served(start.memory)
        every = requests.to_alive_seconds(start)
        stream = ImportStream(start, principal(), every, served, self.memories, self.settings)
        async with aclosing(stream.stored()) as known:
            async for answer in known:
                yield answer
        async with aclosing(stream.store(messages)) as stored:
            async for answer in stored:
                yield answer

    async def GetEntry(self, request: pb.GetEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = await self._memory(request.memory)
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
        memory = await self._memory(request.memory)
        filter, after, limit, parts = requests.to_page(request, memory)
        bytes_max = self.settings.message_bytes_max
        listed = partial(memory.entries, filter=filter, after=after, limit=limit, parts=parts)
        async with self._listing:
            page = await in_thread(listed, bytes_max=bytes_max)
            return await in_thread(answers.from_entries, page, request, memory)

    async def UpdateEntry(self, request: pb.UpdateEntryRequest, context: Any) -> entry_pb2.Entry:
        memory = await self._memory(request.memory)
        id, label, metadata = requests.to_change(request)
        again = requests.to_request(request, principal())
        update = partial(memory.update, id, label=label, metadata=metadata, request=again)
        return answers.from_entry(await in_thread(update))

    async def DeleteEntries(
        self, request: pb.DeleteEntriesRequest, context: Any
    ) -> pb.DeleteEntriesResponse:
        memory = await self._memory(request.memory)
        ids = await self._read(request, requests.to_ids, request.ids)
        again = await self._read(request, requests.to_request, request, principal())
        delete = partial(memory.delete, allow_missing=request.allow_missing, request=again)
        return pb.DeleteEntriesResponse(deleted_count=len(await in_thread(delete, ids)))

    async def PurgeEntries(
        self, request: pb.PurgeEntriesRequest, context: Any
    ) -> pb.PurgeEntriesResponse:
        memory = await self._memory(request.memory)
        filter, again = requests.to_purge(request), requests.to_request(request, principal())
        purge = partial(memory.purge, request=again) if request.apply else memory.would_purge
        return answers.from_purged(await in_thread(purge, filter), request.apply)

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:
        answered, _ = await self.classified(request, context)
        return answered

    async def classified(
        self, request: pb.ClassifyRequest, context: Any
    ) -> tuple[pb.ClassifyResponse, str]:
        """Answer Classify; also return the digest of the entries that the answer is from."""
        until = rerank.rerank_deadline(context.time_remaining())
        served = await self._served(request.memory)
        default, dimension = default_rule(served), served.memory.identity.dimension
        asked = await self._read(
            request, decisions.to_classification, request, default, dimension, self.settings
        )
        self._use_neighbors(asked.question, served)
        reranker = rerank.choose_reranker(asked, served.memory, self.rerankers)
        await asked.check(served, reranked=bool(reranker))
        if asked.question.counts_k is not None:
            await await_counts(asked.question.counts_k, served.memory, self.operations)
        first, neighbors, vectors = await classify(asked.question, served)
        decided, rerankings = await rerank.rerank(
            first, neighbors, asked, served, self.rerankers, reranker=reranker, until=until
        )
        annotated, stale = await annotate(decided, neighbors, vectors, asked.options, served)
        write = partial(decisions.from_classified, annotated, stale, rerankings, asked.shown)
        return await self._read(request, write), neighbors.shown.digest

    async def Search(self, request: pb.SearchRequest, context: Any) -> pb.SearchResponse:
        served = await self._served(request.memory)
        question = await self._read(request, decisions.to_searched, request, self.settings)
        self._use_neighbors(question, served)
        neighbors, _ = await search(question, served)
        return await self._read(request, decisions.from_neighbors, neighbors)

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        served = await self._served(request.memory)
        images = requests.to_images(request.images, self.settings)
        return decisions.from_vectors(await embed(images, served))

    async def GetMisleadingCounts(
        self, request: pb.GetMisleadingCountsRequest, context: Any
    ) -> pb.GetMisleadingCountsResponse:
        memory = await self._memory(request.memory)
        asked = curation.to_counts_page(request, memory)
        counts = await in_thread(memory.held_counts, asked.k, asked.revision)
        if counts is None:
            finding = await in_thread(find_counts, asked.k, memory, self.operations)
            if finding is not None:
                return pb.GetMisleadingCountsResponse(operation=await self._with_result(finding))
            counts = await in_thread(memory.misleading_counts, asked.k)
        answer = await in_thread(curation.from_counts, counts, asked, request, memory)
        if answer.next_page_token:
            await in_thread(memory.hold_counts, asked.k, counts)
        return answer

    async def PruneEntries(
        self, request: pb.PruneEntriesRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        method = await self._read(request, curation.to_method, request)
        again = await self._read(request, requests.to_request, request, principal())
        start = partial(prune, method, memory, self.operations)
        return await self._with_result(await in_thread(start, apply=request.apply, request=again))

    async def RelabelEntries(
        self, request: pb.RelabelEntriesRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        labels = await self._read(request, curation.to_relabel, request)
        again = await self._read(request, requests.to_request, request, principal())
        done = await in_thread(relabel, labels, memory, apply=request.apply, request=again)
        if isinstance(done, RelabelResult):
            result = operation_pb2.RelabelResult(ids=done.ids, applied=done.applied)
            return operations.from_dry_run(request.memory, "dry-run", relabel=result)
        return await self._with_result(done)

    async def Undo(self, request: pb.UndoRequest, context: Any) -> pb.UndoResponse:
        memory = await self._memory(request.memory)
        again = requests.to_request(request, principal())
        restored = await in_thread(memory.operations.undo, request.operation, request=again)
        return pb.UndoResponse(restored_count=len(restored))

    async def ValueEntries(
        self, request: pb.ValueEntriesRequest, context: Any
    ) -> AsyncIterator[pb.ValueEntriesResponse]:
        served = await self._served(request.memory)
        k = requests.to_counts_k(request.k if request.HasField("k") else curation.VALUE_K, "k")
        queries, labels = await self._read(request, decisions.to_labelled, request, self.settings)
        vectors = None if queries is None else await to_vectors(queries, served)
        memory = served.memory

        def work(job: Job) -> Values:
            return value(k, vectors, labels, memory.snapshot(), job)

        async with aclosing(find("values", work, memory, self.operations, principal())) as steps:
            async for step in steps:
                for response in await in_thread(list, curation.from_valuing(step)):
                    yield response

    async def ExplainDecision(
        self, request: pb.ExplainDecisionRequest, context: Any
    ) -> pb.ExplainDecisionResponse:
        served = await self._served(request.memory)
        memory = served.memory
        dimension = memory.identity.dimension
        default = default_rule(served)
        question = decisions.to_explain_question(request, default, dimension, self.settings)
        memory.check_dimension(question.what_if.add_vectors)
        query = await to_vectors(question.query, served)
        over = threading.Event()
        async with self._explaining:
            found = await in_stoppable_thread(over, explain, question, query, memory, over)
        return decisions.from_explanation(found)

    async def AssessMemory(
        self, request: pb.AssessMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        served = await self._served(request.memory)
        memory = served.memory
        rule, thin = curation.to_assessing(request, default_rule(served))

        def work(job: Job) -> str:
            return json.dumps(asdict(assess(memory.snapshot(), rule, thin, job)))

        return await self._start(memory, "assess", work, requests.to_request(request, principal()))

    async def JudgeLabels(
        self, request: pb.JudgeLabelsRequest, context: Any
    ) -> AsyncIterator[pb.JudgeLabelsResponse]:
        served = await self._served(request.memory)
        memory = served.memory
        rule, thin = curation.to_assessing(request, default_rule(served))

        def work(job: Job) -> list[LabelJudgement]:
            return judge_labels(memory.snapshot(), rule, thin, job)

        async with aclosing(find("judge", work, memory, self.operations, principal())) as steps:
            async for step in steps:
                for response in await in_thread(list, curation.from_judging(step)):
                    yield response

    async def TuneMemory(
        self, request: pb.TuneMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        measure, key = decisions.to_measure(request), decisions.to_group_key(request)
        again = requests.to_request(request, principal())
        await in_thread(unless_repeated, partial(check_tuning, key, memory), again, memory)
        work = partial(tune_memory, measure=measure, group_by=key, apply=request.apply)
        return await self._start(memory, "tune" if request.apply else "tune-dry-run", work, again)

    async def CalibrateMemory(
        self, request: pb.CalibrateMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        served = await self._served(request.memory)
        memory = served.memory
        rule, again = decisions.to_calibrating(request, default_rule(served), principal())
        key = decisions.to_group_key(request)
        queries, labels = await self._read(request, decisions.to_labelled, request, self.settings)
        count = None if queries is None else len(queries)
        check = partial(check_calibration, count, labels, key, memory)
        await in_thread(unless_repeated, check, again, memory)
        vectors = None if queries is None else await to_vectors(queries, served)
        work = partial(calibrate_memory, rule=rule, queries=vectors, labels=labels, group_by=key)
        return await self._start(memory, "calibrate", work, again)

    async def GetTaxonomy(self, request: pb.GetTaxonomyRequest, context: Any) -> pb.Taxonomy:
        served = await self._served(request.memory)
        counts = await in_thread(served.memory.label_counts)
        return decisions.from_taxonomy(taxonomy_of(served), list(counts))

    async def SetTaxonomy(self, request: pb.SetTaxonomyRequest, context: Any) -> pb.Taxonomy:
        memory = await self._memory(request.memory)
        edges = [(edge.child, edge.parent) for edge in request.edges]
        again = requests.to_request(request, principal())
        grown = await in_thread(set_taxonomy, edges, memory, request=again)
        return decisions.from_taxonomy(grown, list(await in_thread(memory.label_counts)))

    async def SetReranker(self, request: pb.SetRerankerRequest, context: Any) -> memory_pb2.Memory:
        served = await self._served(request.memory)
        again = requests.to_request(request, principal())
        setting = partial(rerank.set_reranker, request.reranker, served.memory, self.rerankers)
        await in_thread(setting, request=again)
        return await in_thread(describe, served)

    async def UnlearnEntries(
        self, messages: AsyncIterator[pb.UnlearnEntriesRequest], context: Any
    ) -> operation_pb2.Operation:
        request = await requests.joined(aiter(messages))
        ids, again = await self._read(request, requests.to_unlearning, request, principal())
        served = await self._served(request.memory)
        if not request.apply:
            result = await in_thread(self.unlearning.would_unlearn, ids, served)
            counted = operations.from_unlearning(asdict(result))
            return for_caller(
                operations.from_dry_run(request.memory, index.UNLEARN, unlearn=counted)
            )
        begin = partial(self.unlearning.begin, allow_missing=request.allow_missing, request=again)
        return await self._with_result(await in_thread(begin, ids, served))

    async def GetCertificate(
        self, request: pb.GetCertificateRequest, context: Any
    ) -> pb.Certificate:
        memory = await self._memory_of(request.operation)
        return pb.Certificate(json=await in_thread(certificate_of, memory, request.operation))

    async def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: Any
    ) -> pb.ListAuditEventsResponse:
        memory = await self._memory(request.memory)
        first, size = requests.to_audit_page(request, memory)
        page = await in_thread(memory.audit_events, first, limit=size)
        return await in_thread(answers.from_audit_page, page, first + size, request, memory)

    async def CheckMemory(
        self, request: pb.CheckMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)

        def work(job: Job) -> str:
            return json.dumps(asdict(memory.check(job.report_progress)))

        again = requests.to_request(request, principal())
        return await self._start(memory, "check", work, again)

    async def BackupMemory(
        self, request: pb.BackupMemoryRequest, context: Any
    ) -> AsyncIterator[pb.BackupMemoryResponse]:
        made = self.backups.backup(request.memory, index.Request(principal=principal()))
        async with aclosing(made) as pieces:
            async for piece, size in pieces:
                yield pb.BackupMemoryResponse(data=piece, total_bytes=size)

    async def RestoreMemory(
        self, messages: AsyncIterator[pb.RestoreMemoryRequest], context: Any
    ) -> pb.RestoreMemoryResponse:
        first = await anext(aiter(messages), pb.RestoreMemoryRequest())
        name = requests.to_name(first.name, "name")
        pieces = requests.to_pieces(first, messages)
        async with self.backups.received(name, first.request_id, pieces) as (arrival, sha256):
            again = requests.to_restoring(first, sha256, principal())
            left_out = await self.backups.restore(arrival, name, again)
        found = await self._described(name)
        return pb.RestoreMemoryResponse(memory=found, left_out_count=left_out)

    async def CopyMemory(self, request: pb.CopyMemoryRequest, context: Any) -> memory_pb2.Memory:
        new_name = requests.to_name(request.new_name, "new_name")
        again = requests.to_request(request, principal())
        await self.backups.copy(request.memory, new_name, again)
        return await self._described(new_name)

    async def ReembedMemory(
        self, request: pb.ReembedMemoryRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory(request.memory)
        former, again = (
            requests.to_name(request.former_name, "former_name"),
            requests.to_request(request, principal()),
        )
        embedder = requests.to_text(request.embedder, "embedder")
        begin = partial(self.reembedding.begin, memory, embedder, former, again)
        return await self._with_result(await in_thread(begin))

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        return await self._with_result(await self._operation(request.name))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Any
    ) -> pb.ListOperationsResponse:
        memory = await self._memory(request.memory)
        before, size = to_page_bounds(request, memory)
        listed = await self.operations.page(memory, before, size + 1)
        last = listed[size - 1].name if len(listed) > size else ""
        shown = [self._from_operation(each, with_result=False) for each in listed[:size]]
        return operations.from_operations(shown, last, request, memory)

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        memory = await self._memory_of(request.name)
        begun = await in_thread(memory.operations.get, request.name)
        key = caller.get().key
        if begun.principal != key.name and not key.permits(WRITE):
            raise WrongScope(key.name, key.scopes, "CancelOperation of another caller's", [WRITE])
        asked = await in_thread(self.operations.cancel, memory, request.name)
        return await self._with_result(asked)

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        with suppress(TimeoutError):
            async with asyncio.timeout(operations.to_timeout(request)):
                await self._until_ended(request.name)
        return await self._with_result(await self._operation(request.name))

    async def _read(
        self, message: Message, reading: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of ``reading`` with its arguments, which convert ``message``.

        It runs in a thread if that may take long, so that no other call waits: the message is
        large, or loops have to be compiled.
        """
        if message.ByteSize() <= SMALL_BYTES and self.memories.indexes.prepared.done():
            return reading(*args, **kwargs)
        return await in_thread(reading, *args, **kwargs)

    def _use_neighbors(self, question: Question, served: ServedMemory) -> None:
        """Have the caller's limits count the neighbours of a question."""
        each = min(question.rule.k, served.memory.count)
        caller.get().account.use_without_debt(NEIGHBORS, each * len(question.queries))

    async def _served(self, name: str) -> ServedMemory:
        """Return a memory by name, which stays open until the end of the call.

        Raises UnknownMemory, or the error that prevents opening it.
        """
        ending = at_end.get()

        def use(to_use: Callable[[str], ServedMemory | None]) -> ServedMemory | None:
            if (served := to_use(name)) is not None:
                ending.callback(self.memories.release, served)
            return served

        if (served := use(self.memories.use_if_open)) is not None:
            return served
        async with self._opening.setdefault(name, asyncio.Lock()):  # others need no thread to wait
            served = use(self.memories.use_if_open) or await in_thread(use, self.memories.use)
        assert served is not None
        return served

    async def _described(self, name: str) -> memory_pb2.Memory:
        """Describe a memory as it is now; raises as ``_served``."""
        return await in_thread(describe, await self._served(name))

    async def digest(self, memory: str) -> str:
        """Return the digest of a memory as it is now; raises as ``_served``."""
        return await in_thread((await self._memory(memory)).digest)

    async def _memory(self, name: str) -> index.Memory:
        """Return the ``index.Memory`` of this name; raises as ``_served``."""
        return (await self._served(name)).memory

    async def _memory_of(self, operation: str) -> index.Memory:
        """Find the memory of an operation. Raises UnknownOperation, and as ``_served``."""
        try:
            return await self._memory(operation.rpartition("/")[0])
        except UnknownMemory:
            raise UnknownOperation(operation) from None

    async def _operation(self, name: str) -> index.Operation:
        """Return an operation as it is now; raises as ``_memory_of``."""
        return await self.operations.read(await self._memory_of(name), name)

    async def _start(
        self, memory: index.Memory, kind: str, work: Work, request: index.Request
    ) -> operation_pb2.Operation:
        start = self.operations.start
        return await self._with_result(await in_thread(start, memory, kind, work, request=request))

    async def _until_ended(self, name: str) -> None:
        """Wait until an operation has ended, also while no job works on it.

        Raises ConnectionEnding if the connection closes meanwhile, and as ``_memory_of``.
        """
        closing: asyncio.Future[Any] = asyncio.create_task(self.connections_closing.wait())
        memory = await self._memory_of(name)
        try:
            while True:
                job = self.operations.job(name)
                if (await self.operations.read(memory, name)).state != "running":
                    return
                if closing.done():
                    raise ConnectionEnding
                waited = [closing, asyncio.wrap_future(job.ended)] if job else [closing]
                pause = None if job else JOBLESS_SECONDS
                await asyncio.wait(waited, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()

    def _drop(self, name: str, again: index.Request) -> None:
        """Stop a memory's operations and delete the memory; if that fails, resume some of them.

        ``again`` is the request; if it was answered before, nothing is done.
        """
        if self.memories.catalog.recall(again) is not None:
            return
        try:
            self.operations.stop(name, reason=DELETED)
            self.memories.drop(name, request=again)
        except BaseException:
            self.unlearning.resume(name)
            self.reembedding.resume(name)
            raise

    async def _with_result(self, operation: index.Operation) -> operation_pb2.Operation:
        """Convert an operation, in a thread: to read a long result takes long."""
        return await in_thread(self._from_operation, operation, with_result=True)

    def _from_operation(
        self, operation: index.Operation, *, with_result: bool
    ) -> operation_pb2.Operation:
        progress = self.operations.progress(operation.name)
        problem = self.operations.problem(operation.name, caller.get().key.is_for)
        found = operations.from_operation(operation, progress, problem, with_result=with_result)
        return for_caller(found)


def for_caller(operation: operation_pb2.Operation) -> operation_pb2.Operation:
    """Leave out memories that the caller's key is not for, in the result of an unlearning."""
    key = caller.get().key
    if key.memories and operation.HasField("unlearn"):
        for names in (operation.unlearn.also_in, operation.unlearn.not_asked):
            names[:] = filter(key.is_for, names)
    return operation
