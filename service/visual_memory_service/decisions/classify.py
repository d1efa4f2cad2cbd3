"""The read path: images become vectors, vectors find neighbours, neighbours vote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import (
    Decision,
    EmptyMemory,
    Filter,
    Neighbors,
    Query,
    Voting,
    decide,
)
from visual_memory_service.errors import AnswerTooLarge
from visual_memory_service.runtime.memories import OpenMemory
from visual_memory_service.runtime.threads import in_thread


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Images still encoded, or unit vectors float32 (n, d), and who may answer.

    Several have at most ``neighbors_max`` neighbours together. With ``counts_k`` each vote is
    softened by how often the entry misleads its nearest.
    """

    queries: Sequence[bytes] | NDArray[np.float32]
    k: int
    filter: Filter | None
    exclude_ids: Sequence[str]
    counts_k: int | None = None
    neighbors_max: int = sys.maxsize

    def check_answer(self, each: int, what: str) -> None:
        """Raises AnswerTooLarge where all queries together have too many of what each has."""
        queries = len(self.queries)
        if queries > 1 and queries * each > self.neighbors_max:
            raise AnswerTooLarge(queries, each, what, self.neighbors_max)


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """Decisions by the vote of the nearest entries, with these and the queries' vectors (n, d)."""

    decisions: list[Decision]
    neighbors: Neighbors
    vectors: NDArray[np.float32]


async def classify(question: Question, voting: Voting, memory: OpenMemory) -> Classified:
    """Decide every query by the vote of its nearest entries, in order."""
    neighbors, vectors = await search(question, memory)
    if len(neighbors.ids) == 1:
        return Classified(decide(neighbors, voting), neighbors, vectors)
    decisions = await in_thread(decide, neighbors, voting)
    return Classified(decisions, neighbors, vectors)


async def search(question: Question, memory: OpenMemory) -> tuple[Neighbors, NDArray[np.float32]]:
    """The nearest entries of every query, in order, and the vectors (n, d) of the queries.

    Raises EmptyMemory, WrongDimension, AnswerTooLarge.
    """
    question.check_answer(min(question.k, memory.memory.count), "neighbours")
    if not memory.memory.count:
        name = memory.memory.identity.name
        if memory.memory.info().pruned_count:
            raise EmptyMemory(f'All entries of "{name}" are pruned; undo a prune or insert others.')
        raise EmptyMemory(f'The memory "{name}" is empty; insert entries before asking it.')
    vectors = await to_vectors(question.queries, memory)
    searches = memory.searches if question.counts_k is None else memory.soft_searches
    neighbors = await searches.nearest(
        Query(vectors, question.k, question.filter, question.exclude_ids, question.counts_k)
    )
    if not neighbors.ids.shape[1]:
        raise EmptyMemory(
            "No entry is left to ask: the filter and exclude_ids admit none of this memory."
        )
    return neighbors, vectors


async def to_vectors(
    queries: Sequence[bytes] | NDArray[np.float32], memory: OpenMemory
) -> NDArray[np.float32]:
    """Unit vectors float32 (n, d) of queries. Raises WrongDimension and what embedding refuses."""
    vectors = queries if isinstance(queries, np.ndarray) else await embed(queries, memory)
    memory.memory.check_dimension(vectors)
    return vectors


async def embed(images: Sequence[bytes], memory: OpenMemory) -> NDArray[np.float32]:
    """Unit vectors float32 (n, d) of encoded images. Raises NoEmbedder, UndecodableImage."""
    embedder = await in_thread(memory.embedder)
    return await in_thread(embedder.embed, images)
