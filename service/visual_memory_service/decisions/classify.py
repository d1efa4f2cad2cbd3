"""The read path: images become vectors, vectors find neighbours, neighbours vote."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Decision, Filter, Memory, Neighbors, Query, Rule
from visual_memory_index.errors import EmptyMemory
from visual_memory_index.memory.search import ridges_of_all
from visual_memory_service.decisions.annotate import DecisionOptions
from visual_memory_service.decisions.domain import centred
from visual_memory_service.errors import AnswerTooLarge, BadField
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.runtime.timeline import part


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Queries, encoded images or unit vectors float32 (n, d), and the entries to search.

    If ``counts_k`` is set, the vote of an entry counts less the more other entries it misleads
    among their ``counts_k`` nearest. With a ``rule`` the neighbours come with all that it needs,
    with ``means`` they come with the comparison with all class means.
    ``neighbors_max`` limits the sum of neighbours of all queries, unless there is only one query.
    With a ``domain_mean`` (d,) queries are centred by it.
    """

    queries: Sequence[bytes] | NDArray[np.float32]
    rule: Rule
    filter: Filter | None
    exclude_ids: Sequence[str]
    counts_k: int | None = None
    means: bool = False
    domain_mean: NDArray[np.float32] | None = None
    neighbors_max: int = sys.maxsize

    def check_answer(self, each: int, what: str) -> None:
        """Raise AnswerTooLarge if ``each`` items a query are too many; ``what`` names the items."""
        queries = len(self.queries)
        if queries > 1 and queries * each > self.neighbors_max:
            raise AnswerTooLarge(queries, each, what, self.neighbors_max)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """A question with the annotations and re-ranker of its decisions.

    If ``reranker`` is empty, the memory's re-ranker is used. The answer lists the first ``shown``
    neighbours of a decision, or all if None.
    """

    question: Question
    options: DecisionOptions | None
    reranker: str
    rerank_seconds: float
    shown: int | None

    async def check(self, served: ServedMemory, *, reranked: bool) -> None:
        """Raise BadField if ``reranked`` decisions are to get annotations that need a calibration.

        Raises AnswerTooLarge if label sets or a head are wanted and the memory has too many labels.
        """
        coverage = None if self.options is None else self.options.coverage
        if self.question.rule.has_head or coverage is not None:
            labels = await in_thread(served.memory.label_counts)
            self.question.check_answer(len(labels), "labels")
        if reranked and self.options and (self.options.calibrated or coverage is not None):
            raise BadField(
                "reranker",
                "gives other votes than those that were calibrated; with none nobody is asked",
            )


async def classify(
    question: Question, served: ServedMemory
) -> tuple[list[Decision], Neighbors, NDArray[np.float32]]:
    """Decide every query, in the order of the queries, by the vote of its nearest entries.

    Also returns the neighbours that voted, and the queries' vectors (n, d). Raises as ``search``,
    and RidgeTooSmall.
    """
    neighbors, vectors = await search(question, served)
    rule = question.rule
    if rule.has_head:
        async with served.fitting:
            neighbors = await in_thread(neighbors.scored)
    elif len(neighbors.ids) == 1:
        with part("vote"):
            return rule.decide(neighbors), neighbors, vectors
    with part("vote"):
        return await in_thread(rule.decide, neighbors), neighbors, vectors


def check_voting(memory: Memory) -> None:
    """Raise EmptyMemory if no entry of a memory votes."""
    if memory.count:
        return
    name = memory.identity.name
    if memory.info().pruned_count:
        raise EmptyMemory(f'All entries of "{name}" are pruned; undo a prune or insert others.')
    raise EmptyMemory(f'The memory "{name}" is empty; insert entries before asking it.')


async def search(question: Question, served: ServedMemory) -> tuple[Neighbors, NDArray[np.float32]]:
    """Return the nearest entries of each query, in query order, and the queries' vectors (n, d).

    All are of one state of the memory. Raises EmptyMemory, WrongDimension, AnswerTooLarge,
    HeadTooLarge, and BadField for a query that is its ``domain_mean`` itself.
    """
    question.check_answer(min(question.rule.k, served.memory.count), "neighbours")
    check_voting(served.memory)
    vectors = await to_vectors(question.queries, served)
    if question.domain_mean is not None:
        field = "vectors" if isinstance(question.queries, np.ndarray) else "images"
        vectors = centred(vectors, question.domain_mean, field)
    rule, searches = question.rule, served.searches
    if question.counts_k is not None:
        searches = served.soft_searches
    elif rule.has_head or question.means:
        searches = served.head_searches
    query = Query(
        vectors,
        rule.k,
        question.filter,
        question.exclude_ids,
        question.counts_k,
        sizes=rule.balance > 0.0,
        head=rule.has_head,
        ridge=rule.fitted_ridge,
        means=question.means,
    )
    for ridge in ridges_of_all([query]):  # or other searches would wait for it
        await in_thread(served.memory.statistics.prepare, ridge)
    neighbors = await searches.nearest(query)
    if not neighbors.ids.shape[1]:
        limits = "filter and exclude_ids admit" if question.exclude_ids else "filter admits"
        raise EmptyMemory(f"No entry is left to ask: the {limits} none of this memory.")
    return neighbors, vectors


async def to_vectors(
    queries: Sequence[bytes] | NDArray[np.float32], served: ServedMemory
) -> NDArray[np.float32]:
    """Return queries as unit vectors float32 (n, d), embedding images.

    Raises WrongDimension, NoEmbedder, UndecodableImage.
    """
    vectors = queries if isinstance(queries, np.ndarray) else await embed(queries, served)
    served.memory.check_dimension(vectors)
    return vectors


async def embed(images: Sequence[bytes], served: ServedMemory) -> NDArray[np.float32]:
    """Embed images as unit vectors float32 (n, d). Raises NoEmbedder, UndecodableImage."""
    return await in_thread(served.embed, images)
