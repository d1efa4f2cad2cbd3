"""Calls about decisions: explanation, tuning, calibration, taxonomy, re-ranker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from visual_memory._calls.operations import Pending
from visual_memory._messages import fields
from visual_memory._messages.answers import to_explanation, to_memory, to_operation, to_taxonomy
from visual_memory._messages.call import Call
from visual_memory._messages.contents import Rows, contents, write_labelled
from visual_memory._messages.images import Images
from visual_memory.errors import refuse
from visual_memory.types import (
    Calibration,
    Explanation,
    MemoryInfo,
    ServerInfo,
    Taxonomy,
    TuneResult,
)
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def explain(
    memory: str,
    server: ServerInfo,
    *,
    images: Images | None,
    vectors: ArrayLike | None,
    remove: Iterable[str],
    relabel: Mapping[str, str] | None,
    add_vectors: ArrayLike | None,
    add_labels: Iterable[str],
    search_seconds: float,
    **options: Any,
) -> Call[Explanation]:
    relabel = {} if relabel is None else relabel
    fields.check_labels(relabel, "relabel")
    request = fields.message(
        pb.ExplainDecisionRequest,
        memory=memory,
        remove_ids=fields.strings(remove, "remove"),
        relabel=relabel,
        add_labels=fields.strings(add_labels, "add_labels"),
        search_time=fields.to_duration(search_seconds, "search_seconds"),
        **fields.checked(options),
    )
    query = contents(images, vectors, "vectors[{}]")
    if len(query) != 1:
        refuse(query.name, f"must be one query, but are {len(query)}")
    query.check(server.limits)
    query.write(range(1), request)
    if add_vectors is not None:
        rows = Rows(add_vectors, "add_vectors[{}]", name="add_vectors")
        holder = pb.SearchRequest()
        rows.write(range(len(rows)), holder)
        request.add_vectors.CopyFrom(holder.vectors)
    return Call("ExplainDecision", request, to_explanation)


def calibrate(
    memory: str,
    server: ServerInfo,
    *,
    images: Images | None,
    vectors: ArrayLike | None,
    labels: Iterable[str] | None,
    request_id: str | None,
    **options: Any,
) -> Pending[Calibration]:
    request = fields.message(
        pb.CalibrateMemoryRequest,
        memory=memory,
        request_id=fields.or_new_id(request_id),
        **fields.checked(options),
    )
    write_labelled(request, server.limits, images, vectors, labels)
    return Pending(Call("CalibrateMemory", request, to_operation), Calibration)


def tune(
    memory: str, *, measure: str, group_by: str, apply: bool, request_id: str | None
) -> Pending[TuneResult]:
    request = fields.message(
        pb.TuneMemoryRequest,
        memory=memory,
        measure=measure,
        group_by=group_by,
        apply=apply,
        request_id=fields.or_new_id(request_id),
    )
    return Pending(Call("TuneMemory", request, to_operation), TuneResult)


def get_taxonomy(memory: str) -> Call[Taxonomy]:
    return Call("GetTaxonomy", fields.message(pb.GetTaxonomyRequest, memory=memory), to_taxonomy)


def set_reranker(memory: str, reranker: str | None, request_id: str | None) -> Call[MemoryInfo]:
    request = fields.message(
        pb.SetRerankerRequest,
        memory=memory,
        reranker="" if reranker is None else reranker,
        request_id=fields.or_new_id(request_id),
    )
    return Call("SetReranker", request, to_memory)


def set_taxonomy(memory: str, parents: Mapping[str, str], request_id: str | None) -> Call[Taxonomy]:
    fields.check_mapping(parents, "parents", "children to parents")
    request = fields.message(
        pb.SetTaxonomyRequest,
        memory=memory,
        edges=[
            fields.message(pb.Edge, child=child, parent=parent) for child, parent in parents.items()
        ],
        request_id=fields.or_new_id(request_id),
    )
    return Call("SetTaxonomy", request, to_taxonomy)
