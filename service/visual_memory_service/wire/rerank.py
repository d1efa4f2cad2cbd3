"""Re-ranking over gRPC: the servers that re-order or weigh the neighbours of a decision."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import grpc
import numpy as np
import structlog

from visual_memory.protocol import MESSAGE_BYTES, channel_options
from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_embedders import BadImage
from visual_memory_index import Decision, Memory, Neighbors, Ranking, Request, running_threads
from visual_memory_service.config import Settings
from visual_memory_service.convert import reranking as convert
from visual_memory_service.decisions.classify import Classification
from visual_memory_service.decisions.reranking import Candidate, Reranking
from visual_memory_service.errors import BadField, BadRanking, ImagesNotStored, UnknownReranker
from visual_memory_service.runtime.served_memory import ServedMemory

SETTING = "reranker"
NOBODY = "none"
K_MAX = 1000
PICTURES_BYTES_MAX = 32 << 20  # sent with one query; farther candidates come without pictures
QUERIES_AT_ONCE = 4  # of one call that a re-ranker looks at
ASKED_AT_ONCE = 16  # queries of all calls that one re-ranker looks at
PICTURES_AT_ONCE = 8  # looked up for one query
CALL_SHARE = 0.9  # of a call's time; the rest is for its answer
log = structlog.get_logger()


class NotReranked(Exception):
    """A query was not re-ranked; the message is a sentence that says why, ``reason`` a word."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class RerankBatch:
    """Encoded pictures of queries with their neighbours (n, k) in a memory.

    Re-ranking a query may take ``seconds`` from its turn on, and ends at the latest at ``until``, a
    time of ``time.monotonic``.
    """

    queries: Sequence[bytes]
    neighbors: Neighbors
    served: ServedMemory
    seconds: float
    until: float


class Rerankers:
    """The re-rankers of a server's configuration by name, each called over one channel.

    A re-ranker gets few queries at a time, which bounds RAM. Pictures are read in threads of their
    own, so that other calls do not wait for them.
    """

    def __init__(self, settings: Settings) -> None:
        self._addresses = settings.rerankers
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turns = {name: asyncio.Semaphore(ASKED_AT_ONCE) for name in self._addresses}
        self._workers = running_threads(settings.threads, "look")

    @property
    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._addresses)

    def check(self, name: str) -> None:
        """Raise UnknownReranker if the server knows no re-ranker of this name."""
        if name not in self._addresses:
            raise UnknownReranker(name, self.names)

    async def rank(self, name: str, batch: RerankBatch, at: int) -> Ranking:
        """Have a re-ranker rank the candidates of query ``at``. Raises NotReranked."""
        try:
            self.check(name)
        except UnknownReranker as unknown:
            raise NotReranked(str(unknown), "UNKNOWN") from None
        try:
            async with asyncio.timeout(batch.until - time.monotonic()):
                await self._turns[name].acquire()
        except TimeoutError:
            raise no_time_left(name) from None
        try:
            end = min(time.monotonic() + batch.seconds, batch.until)
            return await self._rank(name, batch, at, end)
        finally:
            self._turns[name].release()

    async def close(self) -> None:
        """Close the channels and stop the threads."""
        for channel in self._channels.values():
            await channel.close()
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)

    async def _rank(self, name: str, batch: RerankBatch, at: int, end: float) -> Ranking:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise no_time_left(name)
        try:
            async with asyncio.timeout(seconds):
                picture, candidates = await self._look_up(batch, at)
                request = await asyncio.to_thread(convert.from_candidates, picture, candidates)
        except TimeoutError:
            raise NotReranked(
                f'The pictures for the re-ranker "{name}" were not looked up in time '
                f"({seconds:.2g} s).",
                "LOOK_UP",
            ) from None
        left = max(0.0, end - time.monotonic())
        said = ((MESSAGE_BYTES, str(request.ByteSize())),)
        try:
            response = await self._stub(name).Rerank(request, timeout=left, metadata=said)
            return await asyncio.to_thread(convert.to_ranking, response, candidates)
        except BadRanking as bad:
            raise NotReranked(str(bad), "BAD_RANKING") from None
        except grpc.aio.AioRpcError as error:
            raise NotReranked(problem_of(name, error, left), error.code().name) from None

    def _stub(self, name: str) -> reranker_pb2_grpc.RerankerAsyncStub:
        if name not in self._channels:
            address = self._addresses[name]
            self._channels[name] = grpc.aio.insecure_channel(address, channel_options(address))
        stub = reranker_pb2_grpc.RerankerStub(self._channels[name])
        return cast("reranker_pb2_grpc.RerankerAsyncStub", stub)

    async def _look_up(self, batch: RerankBatch, at: int) -> tuple[bytes, list[Candidate]]:
        """Return the picture of query ``at`` and its candidates, nearest first, pictures scaled.

        Candidates have no picture once the pictures would exceed PICTURES_BYTES_MAX.
        """
        look = partial(asyncio.get_running_loop().run_in_executor, self._workers)
        query = await look(batch.served.embedders.to_send, batch.queries[at])
        ids: list[str] = batch.neighbors.ids[at].tolist()
        pictures, room = list[bytes](), PICTURES_BYTES_MAX
        while room >= 0 and len(pictures) < len(ids):
            nearest = ids[len(pictures) : len(pictures) + PICTURES_AT_ONCE]
            for picture in await asyncio.gather(
                *(look(picture_of, id, batch.served) for id in nearest)
            ):
                room -= len(picture)
                pictures.append(picture if room >= 0 else b"")
        pictures += [b""] * (len(ids) - len(pictures))
        labels, distances = batch.neighbors.labels[at], batch.neighbors.distances[at].tolist()
        columns = zip(ids, labels, distances, pictures, strict=True)
        return query, [Candidate(*column) for column in columns]


def picture_of(id: str, served: ServedMemory) -> bytes:
    """Return the picture of an entry, scaled to be sent; empty if it has none that can be decoded.

    A stored picture may exceed limits that were lowered since.
    """
    try:
        return served.embedders.to_send(served.memory.images([id]).get(id, b""))
    except BadImage:
        return b""


def no_time_left(name: str) -> NotReranked:
    return NotReranked(f'There was no time left to ask the re-ranker "{name}".', "NOT_ASKED")


def problem_of(name: str, error: grpc.aio.AioRpcError, seconds: float) -> str:
    """Return a sentence on why a call to the re-ranker ``name``, of ``seconds`` at most, failed."""
    code = error.code().name
    if code == "DEADLINE_EXCEEDED":
        return f'The re-ranker "{name}" did not answer in time ({seconds:.2g} s).'
    return f'The re-ranker "{name}" failed with {code}: {error.details()}'


def reranker_of(memory: Memory) -> str:
    """Return the name of a memory's re-ranker, empty if it has none."""
    return memory.setting(SETTING) or ""


def set_reranker(reranker: str, memory: Memory, rerankers: Rerankers, *, request: Request) -> None:
    """Set the re-ranker of a memory; empty for none.

    Raises UnknownReranker, ImagesNotStored, RequestReused, FileUnavailable.
    """
    if reranker:
        rerankers.check(reranker)
        check_images(memory)
    memory.keep_setting(SETTING, reranker, call="SetReranker", request=request)


def check_images(memory: Memory) -> None:
    """Raise ImagesNotStored if a memory keeps no pictures."""
    if not memory.identity.store_images:
        raise ImagesNotStored(memory.identity.name)


def choose_reranker(asked: Classification, memory: Memory, rerankers: Rerankers) -> str | None:
    """Return the re-ranker that the call names, else the memory's, or None if there is none.

    Raises UnknownReranker, ImagesNotStored or BadField if the call's re-ranker cannot be used.
    """
    wanted, question = asked.reranker, asked.question
    if not wanted:
        return reranker_of(memory) or None
    if wanted == NOBODY:
        return None
    rerankers.check(wanted)
    check_images(memory)
    if isinstance(question.queries, np.ndarray):
        raise BadField("reranker", "looks at pictures, but the queries are vectors")
    if question.rule.k > K_MAX:
        raise BadField("k", f"must be at most {K_MAX} with a re-ranker, but is {question.rule.k}")
    return wanted


def rerank_deadline(seconds: float | None) -> float:
    """Return the time of ``time.monotonic`` at which re-ranking in a call must end.

    ``seconds`` are left to the call, or None if it has no deadline.
    """
    return math.inf if seconds is None else time.monotonic() + CALL_SHARE * seconds


async def rerank(
    decisions: list[Decision],
    neighbors: Neighbors,
    asked: Classification,
    served: ServedMemory,
    rerankers: Rerankers,
    *,
    reranker: str | None,
    until: float,
) -> tuple[list[Decision], list[Reranking]]:
    """Return decisions by the re-ranker's order or weights, and a Reranking of each.

    A decision not re-ranked in time is unchanged, and its Reranking says why. Without a
    ``reranker`` all are unchanged, and there are no Rerankings. ``until`` is a time of
    ``time.monotonic``. Raises the errors that the memory raises when pictures are read.
    """
    question = asked.question
    if reranker is None:
        return decisions, []
    if isinstance(question.queries, np.ndarray):
        unseen = "A query that is a vector has no picture to look at."
        return decisions, [Reranking(reranker, False, unseen)] * len(decisions)
    if question.rule.k > K_MAX:
        many = f"A re-ranker looks at {K_MAX} neighbours at most, but k is {question.rule.k}."
        return decisions, [Reranking(reranker, False, many)] * len(decisions)
    batch = RerankBatch(question.queries, neighbors, served, asked.rerank_seconds, until)
    places = asyncio.Semaphore(QUERIES_AT_ONCE)
    problems = Counter[str]()

    async def decide(at: int) -> tuple[Decision, Reranking]:
        async with places:
            try:
                ranking = await rerankers.rank(reranker, batch, at)
            except NotReranked as problem:
                problems[problem.reason] += 1
                return decisions[at], Reranking(reranker, False, str(problem))
        return asked.question.rule.decide_reranked(neighbors, at, ranking), Reranking(
            reranker, True
        )

    try:
        async with asyncio.TaskGroup() as group:  # which leaves nothing running
            tasks = [group.create_task(decide(at)) for at in range(len(decisions))]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    if problems:
        name = served.memory.identity.name
        log.warning("not re-ranked", memory=name, reranker=reranker, queries=dict(problems))
    pairs = [task.result() for task in tasks]
    return [decision for decision, _ in pairs], [reranking for _, reranking in pairs]
