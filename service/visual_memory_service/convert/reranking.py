"""Re-ranking, both ways: candidates to a re-ranker, and its order or weights back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from visual_memory.v1 import reranker_pb2 as pb
from visual_memory_index import Ranking
from visual_memory_service.convert.requests import to_text
from visual_memory_service.decisions.reranking import Candidate
from visual_memory_service.errors import BadField, BadRanking

SERVICE = pb.DESCRIPTOR.services_by_name["Reranker"].full_name
SHOWN_MAX = 80


def to_rerank(request: pb.RerankRequest) -> tuple[bytes, list[Candidate]]:
    """Read a query's picture and its candidates, at least one with a picture. Raises BadField."""
    if not request.picture:
        raise BadField("picture", "must not be empty")
    candidates = [to_candidate(given, at) for at, given in enumerate(request.candidates)]
    if not any(candidate.picture for candidate in candidates):
        raise BadField("candidates", "must hold one with a picture, or there is nothing to judge")
    ids: set[str] = set()
    for at, candidate in enumerate(candidates):
        if candidate.id in ids:
            raise BadField(f"candidates[{at}].id", f"comes twice: {shown(candidate.id)}")
        ids.add(candidate.id)
    return request.picture, candidates


def to_candidate(candidate: pb.Candidate, at: int) -> Candidate:
    """Read the candidate at position ``at``. Raises BadField."""
    if not 0 <= candidate.distance <= 2:  # also refuses nan
        raise BadField(f"candidates[{at}].distance", f"must be 0 to 2, but is {candidate.distance}")
    return Candidate(
        id=to_text(candidate.id, "candidates[{}].id", at),
        label=to_text(candidate.label, "candidates[{}].label", at),
        distance=candidate.distance,
        picture=candidate.picture,
    )


def from_ranking(ranking: Ranking) -> pb.RerankResponse:
    """Build the message of a ranking: an order of ids, or weights by id."""
    if isinstance(ranking, Mapping):
        return pb.RerankResponse(weights=pb.CandidateWeights(weights=ranking))
    return pb.RerankResponse(order=pb.Order(ids=ranking))


def from_candidates(picture: bytes, candidates: Sequence[Candidate]) -> pb.RerankRequest:
    """Build the message of the query's picture and its candidates, nearest first."""
    request = pb.RerankRequest(picture=picture)
    for each in candidates:
        request.candidates.add(
            id=each.id, label=each.label, distance=each.distance, picture=each.picture
        )
    return request


def to_ranking(response: pb.RerankResponse, candidates: Sequence[Candidate]) -> Ranking:
    """Read an order of ``candidates``, or weights of finite sum above 0. Raises BadRanking."""
    ids = [candidate.id for candidate in candidates]
    match response.WhichOneof("answer"):
        case "order":
            order = list(response.order.ids)
            check_ids(order, ids)
            return order
        case "weights":
            weights = dict(response.weights.weights)
            check_ids(weights, ids)
            check_weights(weights)
            return {id: weights[id] for id in ids}
    raise BadRanking("The re-ranker answered with neither an order nor weights.")


def check_ids(named: Sequence[str] | Mapping[str, float], ids: Sequence[str]) -> None:
    """Raise BadRanking unless ``named`` has each of ``ids`` exactly once, and nothing else."""
    missing = dict.fromkeys(ids)
    for id in named:
        if id not in missing:
            twice = id in ids
            problem = "named an id twice" if twice else "answered with an id that it was not given"
            raise BadRanking(f"The re-ranker {problem}: {shown(id)}.")
        del missing[id]
    if missing:
        raise BadRanking(
            f"The re-ranker left out {len(missing)} of {len(ids)} candidates, the first of them "
            f"{shown(next(iter(missing)))}."
        )


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise BadRanking unless weights are finite, not negative, and of finite sum above 0."""
    for id, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise BadRanking(
                f"The re-ranker gave {shown(id)} the weight {weight}; weights must be finite and "
                "not negative."
            )
    if not 0 < sum(weights.values()) < math.inf:
        raise BadRanking("The re-ranker gave weights whose sum is not finite or not above 0.")


def shown(id: str) -> str:
    """Return the beginning of an id, quoted and escaped as JSON, for one line of a message."""
    return json.dumps(id[:SHOWN_MAX], ensure_ascii=not id.isprintable())
