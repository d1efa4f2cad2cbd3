"""Decisions whose neighbours a re-ranker looks at again, and says who counts how much."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

import grpc
import numpy as np
import structlog

from visual_memory.protocol.address import MESSAGE_BYTES, reaching
from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_embedders import BadImage
from visual_memory_index import Decision, Neighbors, Ranking, Request, Voting, decide_reranked
from visual_memory_service.config import Settings
from visual_memory_service.convert import reranking as convert
from visual_memory_service.decisions.classify import Classified, Question
from visual_memory_service.decisions.reranking import Candidate, Reranking
from visual_memory_service.errors import BadField, BadRanking, ImagesNotStored, UnknownReranker
from visual_memory_service.runtime.memories import OpenMemory

SETTING = "reranker"
NOBODY = "none"
K_MAX = 1000
PICTURES_BYTES_MAX = 32 << 20  # shown with one query; farther candidates go without
QUERIES_AT_ONCE = 4  # of one call that a re-ranker looks at
ASKED_AT_ONCE = 16  # queries of all calls that one re-ranker looks at
PICTURES_AT_ONCE = 8  # looked up for one query
CALL_SHARE = 0.9  # of a call's time; the rest is for its answer
log = structlog.get_logger()


class NotReranked(Exception):
    """A re-ranker was of no help; the message is a sentence that says why, ``reason`` a word."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reranked:
    """Decisions, and of each whether it is a re-ranker's."""

    decisions: list[Decision]
    rerankings: list[Reranking]


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """Pictures, and their neighbours (n, k) in a memory.

    Each has ``seconds`` from its turn on, and all are done ``until`` a time of ``time.monotonic``.
    """

    queries: Sequence[bytes]
    neighbors: Neighbors
    memory: OpenMemory
    seconds: float
    until: float


class Rerankers:
    """The re-rankers of a server's configuration, by name, each with a channel once it is asked.

    Each has few queries at once, which bounds RAM, and pictures are looked up in threads of their
    own, so that other calls do not wait for them.
    """

    def __init__(self, settings: Settings) -> None:
        self._addresses = settings.rerankers
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turns = {name: asyncio.Semaphore(ASKED_AT_ONCE) for name in self._addresses}
        self._workers = ThreadPoolExecutor(settings.threads, thread_name_prefix="look")

    @property
    def names(self) -> list[str]:
        """Sorted."""
        return sorted(self._addresses)

    def check(self, name: str) -> None:
        """Raises UnknownReranker."""
        if name not in self._addresses:
            raise UnknownReranker(name, self.names)

    async def rank(self, name: str, asking: Asking, at: int) -> Ranking:
        """What a re-ranker makes of a query and its candidates. Raises NotReranked."""
        try:
            self.check(name)
        except UnknownReranker as unknown:
            raise NotReranked(str(unknown), "UNKNOWN") from None
        try:
            async with asyncio.timeout(asking.until - time.monotonic()):
                await self._turns[name].acquire()
        except TimeoutError:
            raise not_asked(name) from None
        try:
            end = min(time.monotonic() + asking.seconds, asking.until)
            return await self._rank(name, asking, at, end)
        finally:
            self._turns[name].release()

    async def close(self) -> None:
        """Close the channels and stop the threads."""
        for channel in self._channels.values():
            await channel.close()
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)

    async def _rank(self, name: str, asking: Asking, at: int, end: float) -> Ranking:
        seconds = end - time.monotonic()
        if seconds <= 0:
            raise not_asked(name)
        try:
            async with asyncio.timeout(seconds):
                picture, candidates = await self._look_up(asking, at)
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
            self._channels[name] = grpc.aio.insecure_channel(address, reaching(address))
        stub = reranker_pb2_grpc.RerankerStub(self._channels[name])
        return cast("reranker_pb2_grpc.RerankerAsyncStub", stub)

    async def _look_up(self, asking: Asking, at: int) -> tuple[bytes, list[Candidate]]:
        """A query and its candidates, with pictures of a size to be sent, the nearest first."""
        look = partial(asyncio.get_running_loop().run_in_executor, self._workers)
        query = await look(asking.memory.embedders.to_send, asking.queries[at])
        ids: list[str] = asking.neighbors.ids[at].tolist()
        pictures, room = list[bytes](), PICTURES_BYTES_MAX
        while room >= 0 and len(pictures) < len(ids):
            nearest = ids[len(pictures) : len(pictures) + PICTURES_AT_ONCE]
            for picture in await asyncio.gather(
                *(look(picture_of, id, asking.memory) for id in nearest)
            ):
                room -= len(picture)
                pictures.append(picture if room >= 0 else b"")
        pictures += [b""] * (len(ids) - len(pictures))
        labels, distances = asking.neighbors.labels[at], asking.neighbors.distances[at].tolist()
        columns = zip(ids, labels, distances, pictures, strict=True)
        return query, [Candidate(*column) for column in columns]


def picture_of(id: str, memory: OpenMemory) -> bytes:
    """The picture of an entry, of a size to be sent; empty where there is none that can be used.

    One that was stored may be beyond limits that were lowered since.
    """
    try:
        return memory.embedders.to_send(memory.memory.images([id]).get(id, b""))
    except BadImage:
        return b""


def not_asked(name: str) -> NotReranked:
    """Why nobody looked."""
    return NotReranked(f'There was no time left to ask the re-ranker "{name}".', "NOT_ASKED")


def problem_of(name: str, error: grpc.aio.AioRpcError, seconds: float) -> str:
    """Why a call to a re-ranker failed, as a sentence."""
    code = error.code().name
    if code == "DEADLINE_EXCEEDED":
        return f'The re-ranker "{name}" did not answer in time ({seconds:.2g} s).'
    return f'The re-ranker "{name}" failed with {code}: {error.details()}'


def reranker_of(memory: OpenMemory) -> str:
    """The re-ranker of a memory, empty where it has none."""
    return memory.memory.setting(SETTING) or ""


def set_reranker(
    reranker: str, memory: OpenMemory, rerankers: Rerankers, *, request: Request | None
) -> None:
    """Name the re-ranker of a memory; empty for none.

    Raises UnknownReranker, ImagesNotStored, RequestReused, NotWritten.
    """
    if reranker:
        rerankers.check(reranker)
        check_images(memory)
    memory.memory.keep_setting(SETTING, reranker, call="SetReranker", request=request)


def check_images(memory: OpenMemory) -> None:
    """Raises ImagesNotStored."""
    if not memory.memory.identity.store_images:
        raise ImagesNotStored(memory.memory.identity.name)


def whom_to_ask(
    wished: str, question: Question, memory: OpenMemory, rerankers: Rerankers
) -> str | None:
    """The re-ranker of the call, else that of the memory, None for nobody.

    Raises UnknownReranker, ImagesNotStored and BadField where the call's own cannot be asked.
    """
    if not wished:
        return reranker_of(memory) or None
    if wished == NOBODY:
        return None
    rerankers.check(wished)
    check_images(memory)
    if isinstance(question.queries, np.ndarray):
        raise BadField("reranker", "looks at pictures, but the queries are vectors")
    if question.k > K_MAX:
        raise BadField("k", f"must be at most {K_MAX} with a re-ranker, but is {question.k}")
    return wished


def end_of(seconds: float | None) -> float:
    """Until when a call with so many seconds left may re-rank, None for no end of it.

    By ``time.monotonic``.
    """
    return math.inf if seconds is None else time.monotonic() + CALL_SHARE * seconds


async def rerank(
    classified: Classified,
    question: Question,
    voting: Voting,
    memory: OpenMemory,
    rerankers: Rerankers,
    *,
    reranker: str,
    seconds: float,
    until: float,
) -> Reranked:
    """Decide anew where the re-ranker helps, within ``seconds`` for each query and ``until`` then.

    Raises what looking pictures up refuses.
    """
    decisions, neighbors = classified.decisions, classified.neighbors
    if isinstance(question.queries, np.ndarray):
        unseen = "A query that is a vector has no picture to look at."
        return Reranked(decisions, [Reranking(reranker, False, unseen)] * len(decisions))
    if question.k > K_MAX:
        many = f"A re-ranker looks at {K_MAX} neighbours at most, but k is {question.k}."
        return Reranked(decisions, [Reranking(reranker, False, many)] * len(decisions))
    asking = Asking(question.queries, neighbors, memory, seconds, until)
    turns = asyncio.Semaphore(QUERIES_AT_ONCE)
    problems = Counter[str]()

    async def decide(at: int) -> tuple[Decision, Reranking]:
        async with turns:
            try:
                ranking = await rerankers.rank(reranker, asking, at)
            except NotReranked as problem:
                problems[problem.reason] += 1
                return decisions[at], Reranking(reranker, False, str(problem))
        return decide_reranked(neighbors, at, voting, ranking), Reranking(reranker, True)

    try:
        async with asyncio.TaskGroup() as group:  # which leaves nothing running
            tasks = [group.create_task(decide(at)) for at in range(len(decisions))]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    if problems:
        name = memory.memory.identity.name
        log.warning("not re-ranked", memory=name, reranker=reranker, queries=dict(problems))
    pairs = [task.result() for task in tasks]
    return Reranked([decision for decision, _ in pairs], [reranking for _, reranking in pairs])
