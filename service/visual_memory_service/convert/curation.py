"""Prunes, relabels, misleading counts, values and assessments, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from visual_memory.protocol import choices
from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Counts, Request, Voting
from visual_memory_index.curation import prune_methods
from visual_memory_service.convert.decisions import K, to_voting
from visual_memory_service.convert.page_token import from_token, to_page_bounds
from visual_memory_service.convert.requests import check_labels, to_counts_k, to_request, to_text
from visual_memory_service.curation.prune import Prune
from visual_memory_service.curation.relabel import Relabel, RelabelResult
from visual_memory_service.curation.values import Valuing
from visual_memory_service.errors import BadField

VALUE_K = 5
COUNTS_K = 100
COUNTS_PAGE = 10_000
THRESHOLD = 128  # Geirhos et al., 2024, for 100 neighbours
BALANCE = 0.5  # Sorscher et al., 2022, for ImageNet
CLUSTERS_MAX = 10_000
THIN = 5
VALUES_AT_ONCE = 10_000


def to_counts_page(request: pb.GetMisleadingCountsRequest) -> tuple[int, str, int]:
    """Read K, the last id of the page before, and the page size. Raises BadField."""
    k = to_counts_k(request.k if request.HasField("k") else COUNTS_K, "k")
    return k, *to_page_bounds(request, COUNTS_PAGE, COUNTS_PAGE)


def to_prune(request: pb.PruneEntriesRequest) -> Prune:
    """Read a prune with its method. Raises BadField."""
    return Prune(to_method(request), request.apply, to_request(request, request.request_id))


def to_method(request: pb.PruneEntriesRequest) -> prune_methods.Method:
    """Read the method that chooses the entries to prune. Raises BadField."""
    match request.WhichOneof("method"):
        case "hard":
            hard = request.hard
            threshold = hard.threshold if hard.HasField("threshold") else THRESHOLD
            if threshold < 1:
                raise BadField("hard.threshold", f"must be at least 1, but is {threshold}")
            k = to_counts_k(hard.k if hard.HasField("k") else COUNTS_K, "hard.k")
            return prune_methods.Hard(k, threshold, hard.minus_correct)
        case "random":
            return prune_methods.Random(
                to_fraction(request.random.fraction, "random.fraction"),
                to_seed(request.random.seed, "random.seed"),
            )
        case "prototype":
            prototype = request.prototype
            if prototype.keep not in ("", "hard", "easy"):
                raise BadField(
                    "prototype.keep", f"must be hard or easy, not {prototype.keep!r:.80}"
                )
            if not 0 <= prototype.clusters <= CLUSTERS_MAX:
                raise BadField(
                    "prototype.clusters",
                    f"must be 0 to {CLUSTERS_MAX}, but is {prototype.clusters}",
                )
            balance = prototype.balance if prototype.HasField("balance") else BALANCE
            if not 0 <= balance <= 1:
                raise BadField("prototype.balance", f"must be 0 to 1, but is {balance}")
            return prune_methods.Prototype(
                to_fraction(prototype.fraction, "prototype.fraction"),
                prototype.clusters,
                prototype.keep or "hard",
                balance,
                to_seed(prototype.seed, "prototype.seed"),
            )
        case "value":
            value = request.value
            k = to_counts_k(value.k if value.HasField("k") else VALUE_K, "value.k")
            return prune_methods.Value(to_fraction(value.fraction, "value.fraction"), k)
        case "ids":
            if not request.ids.ids:
                raise BadField("ids.ids", "must not be empty")
            for number, id in enumerate(request.ids.ids):
                to_text(id, "ids.ids[{}]", number)
            return prune_methods.Ids(list(request.ids.ids))
        case _:
            raise BadField("method", f"must be given: {choices(pb.PruneEntriesRequest, 'method')}")


def to_seed(seed: int, path: str) -> int:
    """Check a seed, 0 or more. Raises BadField."""
    if seed < 0:
        raise BadField(path, f"must not be negative, but is {seed}")
    return seed


def to_fraction(fraction: float, path: str) -> float:
    """Check a fraction between 0 and 1, both excluded. Raises BadField."""
    if not 0 < fraction < 1:
        raise BadField(path, f"must be between 0 and 1, both excluded, but is {fraction}")
    return fraction


def to_relabel(request: pb.RelabelEntriesRequest) -> Relabel:
    """Read new labels by id. Raises BadField."""
    if not request.labels:
        raise BadField("labels", "must not be empty")
    check_labels(request.labels, "labels")
    return Relabel(dict(request.labels), request.apply, to_request(request, request.request_id))


def from_relabel_result(memory: str, result: RelabelResult) -> operation_pb2.Operation:
    """Write a dry run of a relabel as an operation that was never stored."""
    return operation_pb2.Operation(
        memory=memory,
        kind="dry-run",
        state=operation_pb2.Operation.DONE,
        relabel=operation_pb2.RelabelResult(**asdict(result)),
    )


def from_counts(
    counts: Counts, after: str, size: int, request: pb.GetMisleadingCountsRequest
) -> pb.GetMisleadingCountsResponse:
    """Write up to ``size`` counts of the ids after ``after``, by id."""
    order = counts.ids.argsort()
    first = int(np.searchsorted(counts.ids[order], after, side="right")) if after else 0
    page = order[first : first + size]
    columns = (counts.ids[page], counts.v[page].tolist(), counts.c[page].tolist())
    rows = [pb.MisleadingCount(id=id, v=v, c=c) for id, v, c in zip(*columns, strict=True)]
    last = rows[-1].id if first + size < len(order) else ""
    return pb.GetMisleadingCountsResponse(counts=rows, next_page_token=from_token(last, request))


def from_undone(ids: Sequence[str]) -> pb.UndoResponse:
    """Write the number of entries that have their vote or label back."""
    return pb.UndoResponse(restored_count=len(ids))


def to_value_k(request: pb.ValueEntriesRequest) -> int:
    """Read the number of neighbours whose labels are valued. Raises BadField."""
    return to_counts_k(request.k if request.HasField("k") else VALUE_K, "k")


def from_valuing(step: Valuing) -> Iterator[pb.ValueEntriesResponse]:
    """Write a step: its progress, then the values by id, if they are known, in pages."""
    name = step.operation
    yield pb.ValueEntriesResponse(operation=name, done_count=step.done, total_count=step.total)
    if (found := step.values) is None:
        return
    order = found.ids.argsort()
    for start in range(0, len(order), VALUES_AT_ONCE):
        part = order[start : start + VALUES_AT_ONCE]
        pairs = zip(found.ids[part], found.values[part].tolist(), strict=True)
        yield pb.ValueEntriesResponse(
            operation=name, values=[pb.EntryValue(id=id, value=value) for id, value in pairs]
        )


def to_assessing(request: pb.AssessMemoryRequest) -> tuple[int, Voting, int, Request]:
    """Read K, the voting, the least count of a label that is not thin, and the request.

    Raises BadField.
    """
    k = to_counts_k(request.k if request.HasField("k") else K, "k")
    thin = request.thin if request.HasField("thin") else THIN
    if thin < 1:
        raise BadField("thin", f"must be at least 1, but is {thin}")
    return k, to_voting(request), thin, to_request(request, request.request_id)
