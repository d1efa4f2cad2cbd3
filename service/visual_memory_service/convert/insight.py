"""Values, explanations and assessments, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Request, Taxonomy, Voting
from visual_memory_service.config import Settings
from visual_memory_service.convert.answers import from_decisions
from visual_memory_service.convert.requests import (
    VALUE_K,
    VOTING,
    K,
    check_labels,
    to_content,
    to_counts_k,
    to_request,
    to_seconds,
    to_text,
    to_vectors,
    to_voting,
)
from visual_memory_service.curation.values import Values
from visual_memory_service.decisions.explain import Explanation, WhatIf
from visual_memory_service.errors import BadField

THIN = 5
SEARCH_SECONDS = 5.0
VALUES_AT_ONCE = 10_000

Queries = Sequence[bytes] | NDArray[np.float32]


def to_value_k(request: pb.ValueEntriesRequest) -> int:
    """The neighbours whose right labels count. Raises BadField."""
    return to_counts_k(request.k if request.HasField("k") else VALUE_K, "k")


def to_labelled(
    request: pb.ValueEntriesRequest | pb.CalibrateMemoryRequest, settings: Settings
) -> tuple[Queries | None, list[str]]:
    """The queries and the labels that they should get, or None for no queries. Raises BadField."""
    if request.WhichOneof("queries") is None:
        if request.labels:
            raise BadField("labels", "belong to queries, of which there are none")
        return None, []
    queries = to_content(request, settings)
    if len(queries) != len(request.labels):
        raise BadField(
            "labels",
            f"must be as many as the queries, but are {len(request.labels)} for {len(queries)}",
        )
    return queries, [to_text(label, "labels[{}]", at) for at, label in enumerate(request.labels)]


def from_values_progress(operation: str, done: int, total: int) -> pb.ValueEntriesResponse:
    """How far an operation is with the queries."""
    return pb.ValueEntriesResponse(operation=operation, done_count=done, total_count=total)


def from_values(operation: str, found: Values) -> Iterator[pb.ValueEntriesResponse]:
    """The values by id, some thousands at a time."""
    order = found.ids.argsort()
    for start in range(0, len(order), VALUES_AT_ONCE):
        part = order[start : start + VALUES_AT_ONCE]
        pairs = zip(found.ids[part], found.values[part].tolist(), strict=True)
        yield pb.ValueEntriesResponse(
            operation=operation,
            values=[pb.EntryValue(id=id, value=value) for id, value in pairs],
        )


def to_explaining(
    request: pb.ExplainDecisionRequest, settings: Settings
) -> tuple[Queries, int, Voting, float]:
    """The query, K, the voting, and how many seconds to look for a flip. Raises BadField."""
    k = to_counts_k(request.k if request.HasField("k") else K, "k")
    query = to_content(request, settings)
    if len(query) != 1:
        raise BadField(
            request.WhichOneof("queries") or "images", f"must hold one query, but hold {len(query)}"
        )
    seconds = SEARCH_SECONDS
    if request.HasField("search_time"):
        seconds = to_seconds(request.search_time, "search_time")
    return query, k, to_voting(request), seconds


def to_what_if(request: pb.ExplainDecisionRequest, dimension: int, settings: Settings) -> WhatIf:
    """Raises BadField."""
    added = np.empty((0, dimension), dtype=np.float32)
    if request.HasField("add_vectors"):
        added = to_vectors(request.add_vectors, "add_vectors", settings)
    if len(added) != len(request.add_labels):
        raise BadField(
            "add_labels",
            f"must be as many as the rows, but are {len(request.add_labels)} for {len(added)}",
        )
    for at, label in enumerate(request.add_labels):
        to_text(label, "add_labels[{}]", at)
    check_labels(request.relabel, "relabel")
    return WhatIf(list(request.remove_ids), dict(request.relabel), added, list(request.add_labels))


def from_explanation(explanation: Explanation) -> pb.ExplainDecisionResponse:
    """A decision as it is, as it would be, and what would flip it."""
    shown = [explanation.before, *([explanation.after] if explanation.after else [])]
    decisions = from_decisions(shown, None).decisions
    response = pb.ExplainDecisionResponse(before=decisions[0], thumbnails=explanation.thumbnails)
    if explanation.after is not None:
        response.after.CopyFrom(decisions[1])
    if (flip := explanation.minimal_flip) is not None:
        response.minimal_flip.CopyFrom(
            pb.Flip(ids=flip.ids, label=flip.label, proven_minimal=flip.proven_minimal)
        )
    return response


def to_assessing(request: pb.AssessMemoryRequest) -> tuple[int, Voting, int, Request | None]:
    """K, voting, from how many entries on a label is not thin, the request. Raises BadField."""
    k = to_counts_k(request.k if request.HasField("k") else K, "k")
    thin = request.thin if request.HasField("thin") else THIN
    if thin < 1:
        raise BadField("thin", f"must be at least 1, but is {thin}")
    return k, to_voting(request), thin, to_request(request, request.request_id)


def to_calibrating(request: pb.CalibrateMemoryRequest) -> tuple[int, str, Request | None]:
    """K, the name of the voting, the request. Raises BadField."""
    k = to_counts_k(request.k if request.HasField("k") else K, "k")
    to_voting(request)
    return k, request.voting or VOTING, to_request(request, request.request_id)


def from_taxonomy(taxonomy: Taxonomy, labels: Sequence[str]) -> pb.Taxonomy:
    """A taxonomy beside the ``labels`` of its memory."""
    return pb.Taxonomy(
        edges=[pb.Edge(child=child, parent=parent) for child, parent in taxonomy.edges()],
        orphans=taxonomy.orphans(labels),
        unused=taxonomy.unused(labels),
    )
