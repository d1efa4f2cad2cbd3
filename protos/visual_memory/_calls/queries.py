"""Calls of Classify, Search and Embed, split into as many messages as needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from visual_memory._messages.answers import to_decision, to_neighbors, to_vectors
from visual_memory._messages.call import Call
from visual_memory._messages.contents import (
    PART_ITEMS,
    Contents,
    Pictures,
    Rows,
    contents,
    parts,
    room,
)
from visual_memory._messages.fields import checked, message, to_duration
from visual_memory._messages.images import Images
from visual_memory._messages.pace import Pace
from visual_memory.types import Decision, DefaultRule, Limits, MemoryInfo, Neighbors, ServerInfo
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")
K = 50  # that the server takes if it is not given
PART_NEIGHBORS = 1 << 18  # of one answer, so that it comes well within the timeout
RERANK_SECONDS = 10.0  # for each query
RERANKED_ITEMS = 8  # a re-ranker may need seconds for each


@dataclass(frozen=True, slots=True)
class Queries(Generic[T]):
    """The images or vectors to send to ``method``, and the fields that every message repeats.

    ``read`` converts the answer to one message into a list of results. ``items`` is the most images
    or vectors of one message.
    """

    method: str
    header: pb.ClassifyRequest | pb.SearchRequest | pb.EmbedRequest
    contents: Contents
    read: Callable[[Any], list[T]]
    items: int = PART_ITEMS

    @property
    def is_one_vector(self) -> bool:
        """True if there is one call, and no file to be read for it."""
        return isinstance(self.contents, Rows) and len(self.contents) == 1

    def depends_on_memory(self, server: ServerInfo) -> bool:
        """Return True if ``sized_for`` is to be called, as message sizes depend on the memory."""
        return self._may_be_reranked(server) or self._may_answer_too_much(server.limits)

    def sized_for(self, memory: MemoryInfo, server: ServerInfo) -> Queries[T]:
        """Return a copy with fewer items a message, if the memory's re-ranker or size needs that.

        The number of neighbours in an answer, or of labels where all have to be scored, stays
        within the server's limit, even if the memory doubles.
        """
        queries = self
        if memory.reranker and self._may_be_reranked(server):
            queries = replace(self, items=RERANKED_ITEMS)
        if isinstance(self.header, pb.EmbedRequest) or not server.limits.neighbors:
            return queries
        each = min(self._k, 2 * memory.count)
        if self._scores_all_labels(memory.default_rule):
            each = max(each, 2 * len(memory.labels))
        most = part_neighbors(server.limits) // max(1, each)
        return replace(queries, items=min(queries.items, max(1, most)))

    def _may_be_reranked(self, server: ServerInfo) -> bool:
        return (
            bool(server.rerankers)
            and isinstance(self.header, pb.ClassifyRequest)
            and not self.header.reranker
            and isinstance(self.contents, Pictures)
            and len(self.contents) > RERANKED_ITEMS
        )

    def _may_answer_too_much(self, limits: Limits) -> bool:
        if isinstance(self.header, pb.EmbedRequest) or not limits.neighbors:
            return False
        queries = min(self.items, limits.items, len(self.contents))
        return queries > 1 and (
            queries * self._k > part_neighbors(limits) or self._scores_all_labels(None)
        )

    @property
    def _k(self) -> int:
        assert not isinstance(self.header, pb.EmbedRequest)
        return self.header.k if self.header.HasField("k") else K

    def _scores_all_labels(self, default: DefaultRule | None) -> bool:
        header = self.header
        if not isinstance(header, pb.ClassifyRequest):
            return False
        head = header.head or (default.rule.head if default else "none")
        return header.HasField("coverage") or head != "none"

    def calls(self, limits: Limits, pace: Pace) -> Iterator[Call[list[T]]]:
        """Yield calls of one message each, in order, built on demand.

        A message has at most ``pace.items`` items. Raises InvalidArgument for an item that
        ``limits`` exclude.
        """
        self.contents.check(limits)
        most, at_most = room(limits, self.header), min(self.items, limits.items)
        for part in parts(self.contents, most=most, items=lambda: min(pace.items, at_most)):
            request = deepcopy(self.header)
            self.contents.write(part, request)
            yield Call(self.method, request, self._timed(len(part), pace), part.start)

    def _timed(self, count: int, pace: Pace) -> Callable[[Any], list[T]]:
        """Return a reader of the answer to ``count`` items, which tells ``pace`` its time."""
        began = time.monotonic()

        def read(answer: Any) -> list[T]:
            pace.note(count, time.monotonic() - began)
            return self.read(answer)

        return read


def part_neighbors(limits: Limits) -> int:
    """Return the most neighbours to have in one answer: the server's limit, at most 2^18."""
    return min(limits.neighbors, PART_NEIGHBORS)


def classify(
    memory: str,
    *,
    images: Images | None,
    vectors: ArrayLike | None,
    rerank_seconds: float = RERANK_SECONDS,
    **options: Any,
) -> Queries[Decision]:
    header = message(
        pb.ClassifyRequest,
        memory=memory,
        rerank_timeout=to_duration(rerank_seconds, "rerank_seconds"),
        **checked(options),
    )
    return Queries(
        "Classify",
        header,
        contents(images, vectors, "vectors[{}]"),
        lambda answer: [
            to_decision(decision, answer.calibration_stale) for decision in answer.decisions
        ],
        PART_ITEMS if header.reranker in ("", "none") else RERANKED_ITEMS,
    )


def search(
    memory: str, *, images: Images | None, vectors: ArrayLike | None, **options: Any
) -> Queries[Neighbors]:
    header = message(pb.SearchRequest, memory=memory, **checked(options))
    return Queries(
        "Search",
        header,
        contents(images, vectors, "vectors[{}]"),
        lambda answer: [to_neighbors(result.neighbors) for result in answer.results],
    )


def embed(memory: str, images: Images) -> Queries[NDArray[np.float32]]:
    """Return the queries that embed images; each answer is a list of one float32 array (n, d).

    Raises InvalidArgument for anything that is not an image.
    """
    header = message(pb.EmbedRequest, memory=memory)
    return Queries("Embed", header, Pictures(images), lambda answer: [to_vectors(answer.vectors)])
