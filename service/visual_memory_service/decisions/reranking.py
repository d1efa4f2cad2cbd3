"""What a re-ranker is given, and what it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from visual_memory_index import Ranking


@dataclass(frozen=True, slots=True)
class Candidate:
    """A neighbour of the query, its picture still encoded, or empty where there is none.

    ``distance`` is in [0, 2].
    """

    id: str
    label: str
    distance: float
    picture: bytes


@dataclass(frozen=True, slots=True)
class Reranking:
    """Whether a re-ranker was heard; if not, ``problem`` says why."""

    reranker: str
    applied: bool
    problem: str = ""


class Reranker(Protocol):
    """A better eye than the embedder's."""

    def rerank(
        self, picture: bytes, candidates: Sequence[Candidate], *, deadline: float
    ) -> Ranking:
        """What ``picture`` makes the candidates count, of no use after ``deadline``.

        Candidates come nearest first and at least one has a picture; ``deadline`` is a time of
        ``time.monotonic``. Raises BadField for a picture that cannot be decoded, RerankingRefusal.
        """
        ...


def trade_places(candidates: Sequence[Candidate], order: Sequence[int]) -> list[str]:
    """All ids, where those at the positions in ``order`` took each other's places, to stand in it.

    Whoever is not in ``order`` was not judged, and is neither moved forward nor back.
    """
    places = dict(zip(sorted(order), order, strict=True))
    return [candidates[places.get(at, at)].id for at in range(len(candidates))]
