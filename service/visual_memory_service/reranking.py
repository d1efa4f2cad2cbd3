"""Decisions whose neighbours a re-ranker looks at again, and says who counts how much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from visual_memory.v1 import reranker_pb2_grpc
from visual_memory_index import Decision, Neighbors, Ranking, Request, Voting, decide_reranked
from visual_memory_service.classify import Classified, Question
from visual_memory_service.convert import reranking as convert
from visual_memory_service.errors import BadField, ImagesNotStored, UnknownReranker
from visual_memory_service.memories import OpenMemory
from visual_memory_service.rerankers.candidate import Candidate
from visual_memory_service.rerankers.errors import BadRanking

SETTING = "reranker"
NOBODY = "none"
AT_ONCE = 4  # queries of one call that a re-ranker looks at
CALL_SHARE = 0.9  # of a call's time; the rest is for its answer
OPTIONS = [("grpc.max_send_message_length", -1)]


class NotReranked(Exception):
    """A re-ranker was of no help; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Reranking:
    """Whether a re-ranker was heard; if not, ``problem`` says why."""

    reranker: str
    applied: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reranked:
    """Decisions, and of each whether it is a re-ranker's."""

    decisions: list[Decision]
    rerankings: list[Reranking]


class Rerankers:
    """The re-rankers of a server's configuration, by name, each with a channel once it is asked."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._channels: dict[str, grpc.aio.Channel] = {}

    @property
    def names(self) -> list[str]:
        """Sorted."""
        return sorted(self._addresses)

    def check(self, name: str) -> None:
        """Raises UnknownReranker."""
        if name not in self._addresses:
            raise UnknownReranker(name, self.names)

    async def rank(
        self, name: str, picture: bytes, candidates: Sequence[Candidate], seconds: float
    ) -> Ranking:
        """What a re-ranker makes of a query and its candidates. Raises NotReranked."""
        if name not in self._addresses:
            raise NotReranked(str(UnknownReranker(name, self.names)))
        if name not in self._channels:
            self._channels[name] = grpc.aio.insecure_channel(self._addresses[name], OPTIONS)
        stub = reranker_pb2_grpc.RerankerStub(self._channels[name])
        request = await asyncio.to_thread(convert.from_candidates, picture, candidates)
        try:
            response = await stub.Rerank(request, timeout=max(0.0, seconds))
            return await asyncio.to_thread(convert.to_ranking, response, candidates)
        except BadRanking as bad:
            raise NotReranked(str(bad)) from None
        except grpc.aio.AioRpcError as error:
            raise NotReranked(problem_of(name, error, seconds)) from None

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()


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

    Raises UnknownReranker, ImagesNotStored, RequestReused, DiskFull.
    """
    if reranker:
        rerankers.check(reranker)
        check_images(memory)
    memory.memory.keep_setting(SETTING, reranker, request=request)


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
    return wished


async def rerank(
    classified: Classified,
    question: Question,
    voting: Voting,
    memory: OpenMemory,
    rerankers: Rerankers,
    *,
    reranker: str,
    seconds: float,
    call_seconds: float | None,
) -> Reranked:
    """Decide anew where the re-ranker helps, within ``seconds`` for each query.

    ``call_seconds`` is what is left of the call, None for no end.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    until = time.monotonic() + (CALL_SHARE * call_seconds if call_seconds else float("inf"))

    async def decide(at: int) -> tuple[Decision, Reranking]:
        async with gate:
            began = time.monotonic()
            end = min(began + seconds, until)
            try:
                picture, candidates = await asyncio.to_thread(
                    look_up, question, classified.neighbors, at, memory
                )
                left = end - time.monotonic()
                ranking = await rerankers.rank(reranker, picture, candidates, left)
            except NotReranked as problem:
                return classified.decisions[at], Reranking(reranker, False, str(problem))
        decided = decide_reranked(classified.neighbors, at, voting, ranking)
        return decided, Reranking(reranker, True)

    pairs = await asyncio.gather(*map(decide, range(len(classified.decisions))))
    return Reranked([decision for decision, _ in pairs], [reranking for _, reranking in pairs])


def look_up(
    question: Question, neighbors: Neighbors, at: int, memory: OpenMemory
) -> tuple[bytes, list[Candidate]]:
    """A query and its candidates, with pictures of a size to be sent. Raises NotReranked."""
    if isinstance(question.queries, np.ndarray):
        raise NotReranked("A query that is a vector has no picture to look at.")
    ids: list[str] = neighbors.ids[at].tolist()
    kept = memory.memory.images(ids)
    query, *pictures = memory.embedders.to_send([question.queries[at], *kept.values()])
    of = dict(zip(kept, pictures, strict=True))
    columns = zip(ids, neighbors.labels[at], neighbors.distances[at].tolist(), strict=True)
    return query, [
        Candidate(id, label, distance, of.get(id, b"")) for id, label, distance in columns
    ]
