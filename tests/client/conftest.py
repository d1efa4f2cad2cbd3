"""A small real gRPC server for tests of the client, with faults on demand."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeAlias, cast

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

import visual_memory
from visual_memory import aio
from visual_memory.v1 import decision_pb2, entry_pb2, memory_pb2, operation_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

Connect: TypeAlias = Callable[..., visual_memory.Client]


class Service(service_pb2_grpc.VisualMemoryServicer):
    """One memory of vectors with two dimensions; an image of n bytes is the vector (n, 1)."""

    def __init__(self) -> None:
        self.limits = pb.Limits(
            message_bytes=1 << 20, image_bytes=1 << 19, image_pixels=10_000, items=1000
        )
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.metadata: dict[str, str] = {}
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.cuts: list[int] = []  # after how many batches each import stream breaks
        self.cut_code = grpc.StatusCode.UNAVAILABLE
        self.lost_acknowledgements = 0
        self.tells_that_it_works = True
        self.refusal: status_pb2.Status | None = None
        self.seconds = 0.0
        self.entries: dict[str, entry_pb2.Entry] = {}
        self.imports: dict[str, list[pb.ImportEntriesResponse]] = defaultdict(list)
        self.page = 2
        self.counts: list[pb.GetMisleadingCountsResponse | status_pb2.Status] = []
        self.reranker = ""
        self.most_at_once = self._at_once = 0
        self._counting, self._storing = threading.Lock(), threading.Lock()

    def intercept(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        self.requests[method].append(request)
        pairs = cast("list[tuple[str, str]]", list(context.invocation_metadata()))
        self.metadata = dict(pairs)
        if self.faults[method]:
            context.abort(self.faults[method].pop(0), "not now")
        if self.refusal is not None and method != "GetServerInfo":
            refuse(context, self.refusal)

    def GetServerInfo(self, request: Any, context: Any) -> pb.GetServerInfoResponse:
        self.intercept("GetServerInfo", request, context)
        return pb.GetServerInfoResponse(
            version="1.2.3",
            limits=self.limits,
            embedders=["fake"],
            rerankers=[self.reranker] if self.reranker else [],
        )

    def CreateMemory(self, request: Any, context: Any) -> memory_pb2.Memory:
        self.intercept("CreateMemory", request, context)
        return memory_pb2.Memory(name=request.name)

    def GetMemory(self, request: Any, context: Any) -> memory_pb2.Memory:
        self.intercept("GetMemory", request, context)
        time.sleep(self.seconds)
        memory = memory_pb2.Memory(
            name=request.name, dimension=2, count=len(self.entries), reranker=self.reranker
        )
        memory.create_time.FromMicroseconds(1_500_000)
        memory.embedder.name = "fake"
        memory.labels.add(label="cat", count=len(self.entries))
        return memory

    def ListMemories(self, request: Any, context: Any) -> pb.ListMemoriesResponse:
        self.intercept("ListMemories", request, context)
        after = request.page_token or "first"
        following = {"first": "second", "second": "third", "third": ""}[after]
        return pb.ListMemoriesResponse(
            memories=[memory_pb2.Memory(name=after)], next_page_token=following
        )

    def DeleteMemory(self, request: Any, context: Any) -> pb.DeleteMemoryResponse:
        self.intercept("DeleteMemory", request, context)
        return pb.DeleteMemoryResponse()

    def InsertEntries(self, request: Any, context: Any) -> pb.InsertEntriesResponse:
        self.intercept("InsertEntries", request, context)
        return pb.InsertEntriesResponse(ids=self.store(request.batch))

    def ImportEntries(self, requests: Any, context: Any) -> Iterator[pb.ImportEntriesResponse]:
        start = next(requests).start
        self.intercept("ImportEntries", start, context)
        stored = self.imports[start.request_id]
        yield from stored
        yield pb.ImportEntriesResponse(offset=sum(len(batch.ids) for batch in stored))
        left = self.cuts.pop(0) if self.cuts else -1
        for request in requests:
            if left == 0:
                context.abort(self.cut_code, "the stream is cut")
            self.intercept("batch", request, context)
            yield from self.work(start.alive_every.ToTimedelta().total_seconds())
            answer = self.acknowledge(request.batch, stored)
            if answer is None:
                refuse(context, reused(start.request_id))
            left -= 1
            if self.lost_acknowledgements:
                self.lost_acknowledgements -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the acknowledgement is lost")
            yield answer

    def work(self, every: float) -> Iterator[pb.ImportEntriesResponse]:
        """Take ``seconds`` for an answer, and report every ``every`` seconds that work goes on."""
        until = time.monotonic() + self.seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, every))
            if self.tells_that_it_works:
                yield pb.ImportEntriesResponse(working=True)

    def ValueEntries(self, request: Any, context: Any) -> Iterator[pb.ValueEntriesResponse]:
        self.intercept("ValueEntries", request, context)
        yield pb.ValueEntriesResponse(operation="pets/1", total_count=1)
        time.sleep(self.seconds)

    def JudgeLabels(self, request: Any, context: Any) -> Iterator[pb.JudgeLabelsResponse]:
        self.intercept("JudgeLabels", request, context)
        yield pb.JudgeLabelsResponse(operation="pets/1", total_count=1)
        time.sleep(self.seconds)

    def GetMisleadingCounts(self, request: Any, context: Any) -> pb.GetMisleadingCountsResponse:
        self.intercept("GetMisleadingCounts", request, context)
        answer = self.counts.pop(0)
        if isinstance(answer, status_pb2.Status):
            refuse(context, answer)
        return answer

    def WaitOperation(self, request: Any, context: Any) -> operation_pb2.Operation:
        self.intercept("WaitOperation", request, context)
        return operation_pb2.Operation(name=request.name, state=operation_pb2.Operation.DONE)

    def GetEntry(self, request: Any, context: Any) -> entry_pb2.Entry:
        self.intercept("GetEntry", request, context)
        return self.shown(self.entries[request.id], request.include_vector)

    def ListEntries(self, request: Any, context: Any) -> pb.ListEntriesResponse:
        self.intercept("ListEntries", request, context)
        ids = sorted(id for id in self.entries if id > request.page_token)
        return pb.ListEntriesResponse(
            entries=[
                self.shown(self.entries[id], request.include_vectors) for id in ids[: self.page]
            ],
            next_page_token=ids[self.page - 1] if len(ids) > self.page else "",
        )

    def UpdateEntry(self, request: Any, context: Any) -> entry_pb2.Entry:
        self.intercept("UpdateEntry", request, context)
        entry = self.entries[request.entry.id]
        if "label" in request.update_mask.paths:
            entry.label = request.entry.label
        return self.shown(entry, False)

    def DeleteEntries(self, request: Any, context: Any) -> pb.DeleteEntriesResponse:
        self.intercept("DeleteEntries", request, context)
        return pb.DeleteEntriesResponse(deleted_count=len(request.ids))

    def PurgeEntries(self, request: Any, context: Any) -> pb.PurgeEntriesResponse:
        self.intercept("PurgeEntries", request, context)
        return pb.PurgeEntriesResponse(purge_count=1, sample_ids=["a"], applied=request.apply)

    def Classify(self, request: Any, context: Any) -> pb.ClassifyResponse:
        with self._counting:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.intercept("Classify", request, context)
        time.sleep(self.seconds)
        decisions = [
            decision_pb2.Decision(
                label=near[0].label,
                confidence=1.0,
                scores=[decision_pb2.LabelScore(label=near[0].label, score=1.0)],
                neighbors=near,
            )
            for near in map(self.nearest, vectors(request), [request.k or 50] * 100_000)
        ]
        with self._counting:
            self._at_once -= 1
        return pb.ClassifyResponse(decisions=decisions)

    def Search(self, request: Any, context: Any) -> pb.SearchResponse:
        self.intercept("Search", request, context)
        near = [self.nearest(vector, request.k) for vector in vectors(request)]
        return pb.SearchResponse(results=[decision_pb2.Neighbors(neighbors=each) for each in near])

    def Embed(self, request: Any, context: Any) -> pb.EmbedResponse:
        self.intercept("Embed", request, context)
        rows = vectors(request)
        return pb.EmbedResponse(
            vectors=entry_pb2.Vectors(rows=len(rows), data=rows.astype("<f4").tobytes())
        )

    def acknowledge(
        self, batch: pb.ImportBatch, stored: list[pb.ImportEntriesResponse]
    ) -> pb.ImportEntriesResponse | None:
        """Store a batch and return its acknowledgement, None if another batch is stored there."""
        with self._storing:
            for known in stored:
                if known.offset == batch.offset:
                    return known if known == acknowledgement(batch, list(known.ids)) else None
            assert batch.offset == sum(len(known.ids) for known in stored)
            stored.append(acknowledgement(batch, self.store(batch.batch)))
            return stored[-1]

    def store(self, batch: pb.EntryBatch) -> list[str]:
        ids = []
        for entry, vector in zip(batch.entries, vectors(batch), strict=True):
            stored = entry_pb2.Entry()
            stored.CopyFrom(entry)
            stored.id = entry.id or f"made-{len(self.entries):06}"
            stored.vector = vector.astype("<f4").tobytes()
            self.entries[stored.id] = stored
            ids.append(stored.id)
        return ids

    def nearest(self, query: Any, k: int) -> list[decision_pb2.Neighbor]:
        near = [
            (1.0 - float(np.frombuffer(entry.vector, "<f4") @ query), entry.id, entry.label)
            for entry in self.entries.values()
        ]
        return [
            decision_pb2.Neighbor(id=id, label=label, distance=distance, weight=1.0)
            for distance, id, label in sorted(near)[:k]
        ]

    def shown(self, entry: entry_pb2.Entry, with_vector: bool) -> entry_pb2.Entry:
        shown = entry_pb2.Entry()
        shown.CopyFrom(entry)
        shown.content_sha256 = b"\xab\xcd"
        if not with_vector:
            shown.vector = b""
        return shown


def vectors(message: Any) -> Any:
    """Return the vectors or images of a message as unit rows (n, 2)."""
    if message.images.data:
        rows = np.array([(len(image), 1.0) for image in message.images.data])
    else:
        rows = np.frombuffer(message.vectors.data, "<f4").reshape(message.vectors.rows, -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def acknowledgement(batch: pb.ImportBatch, ids: list[str]) -> pb.ImportEntriesResponse:
    """Return the acknowledgement of a batch as docs/api/insert.md defines it."""
    bare = pb.ImportBatch()
    bare.CopyFrom(batch)
    bare.batch.ClearField("images")
    bare.batch.ClearField("vectors")
    content = list(batch.batch.images.data)
    if rows := batch.batch.vectors.rows:
        packed = np.frombuffer(batch.batch.vectors.data, np.uint8).reshape(rows, -1)
        content = [row.tobytes() for row in packed]
    hashes = b"".join(hashlib.sha256(item).digest() for item in content)
    whole = b"ImportBatch" + bare.SerializeToString(deterministic=True) + hashes
    return pb.ImportEntriesResponse(
        offset=batch.offset, ids=ids, fingerprint=hashlib.sha256(whole).digest()
    )


def reused(request_id: str) -> status_pb2.Status:
    """Return the refusal of a request_id that was used for other content."""
    return to_status(
        f'The request_id "{request_id}" was used before with other content.',
        error_details_pb2.ErrorInfo(reason="REQUEST_REUSED"),
    )


def to_status(message: str, *details: Message) -> status_pb2.Status:
    """Return the status INVALID_ARGUMENT as the server sends it."""
    status = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def refuse(context: grpc.ServicerContext, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))


@pytest.fixture
def service() -> Service:
    """The service behind ``target``, to be inspected and given faults."""
    return Service()  # type: ignore[abstract]  # it knows what its tests ask


@pytest.fixture
def target(service: Service) -> Iterator[str]:
    """The address at which ``service`` is served."""
    options = [("grpc.max_receive_message_length", 8 << 20), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    service_pb2_grpc.add_VisualMemoryServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address at which no server answers, reserved during the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


class Awaited:
    """The asyncio client behind the methods of the blocking one, so that one test tests both."""

    def __init__(self, wrapped: Any, runner: asyncio.Runner) -> None:
        self._wrapped, self._runner = wrapped, runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._wrapped, name)
        return self._call(attribute) if callable(attribute) else attribute

    def _call(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def collected(items: Any) -> list[Any]:
            return [item async for item in items]

        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            if inspect.isasyncgen(result):
                result = collected(result)
            if inspect.iscoroutine(result):
                result = self._runner.run(result)
            return Awaited(result, self._runner) if isinstance(result, aio.Memory) else result

        return call


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """``visual_memory.connect``, then that of asyncio, as ``Awaited``; clients are closed."""
    with asyncio.Runner() as runner:
        opened: list[Any] = []

        def connect(target: str, **options: Any) -> visual_memory.Client:
            if request.param == "blocking":
                opened.append(visual_memory.connect(target, **options))
            else:

                async def connected() -> Any:
                    return aio.connect(target, **options)

                opened.append(Awaited(runner.run(connected()), runner))
            return cast(visual_memory.Client, opened[-1])

        yield connect
        for client in opened:
            client.close()


@pytest.fixture
def client(connect: Connect, target: str) -> visual_memory.Client:
    return connect(target)


@pytest.fixture
def pets(client: visual_memory.Client) -> visual_memory.Memory:
    """The memory of ``service``."""
    return client.memory("pets")


@pytest.fixture
def bad_field() -> status_pb2.Status:
    """A refusal as the server sends it, for item 1 of a message."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="images[1]", description="is damaged")
    reason = error_details_pb2.ErrorInfo(reason="UNDECODABLE_IMAGE")
    return to_status("images[1] is damaged.", reason, bad)
