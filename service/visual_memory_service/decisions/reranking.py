"""Re-ranking: candidates for a re-ranker, and the order it puts them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from visual_memory_index import Ranking


@dataclass(frozen=True, slots=True)
class Candidate:
    """A neighbour at a ``distance`` of 0 to 2; ``picture`` is encoded, or empty if missing."""

    id: str
    label: str
    distance: float
    picture: bytes


@dataclass(frozen=True, slots=True)
class Reranking:
    """The outcome of re-ranking a decision; ``problem`` says why it was not ``applied``."""

    reranker: str
    applied: bool
    problem: str = ""


class Reranker(Protocol):
    """Protocol of a re-ranker: it compares pictures more closely than the embedder does."""

    def rerank(
        self, picture: bytes, candidates: Sequence[Candidate], *, deadline: float
    ) -> Ranking:
        """Order or weigh the candidates by their likeness to ``picture``, before ``deadline``.

        Candidates come nearest first and at least one has a picture; ``deadline`` is a time of
        ``time.monotonic``. Raises BadField for a picture that cannot be decoded,
        and RerankingRefusal if there is no ranking in time.
        """
        ...


def trade_places(candidates: Sequence[Candidate], order: Sequence[int]) -> list[str]:
    """Return all candidates' ids; candidates at the positions in ``order`` get that order.

    Candidates not in ``order`` were not judged and keep their places.
    """
    places = dict(zip(sorted(order), order, strict=True))
    return [candidates[places.get(at, at)].id for at in range(len(candidates))]
