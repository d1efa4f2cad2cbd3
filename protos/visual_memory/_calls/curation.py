"""Calls about curation: misleading counts, prune, relabel, undo, values, assess."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import TypedDict

from numpy.typing import ArrayLike

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import given, to_operation
from visual_memory._messages.call import Call
from visual_memory._messages.contents import write_labelled
from visual_memory._messages.fields import check_labels, message, or_new_id, strings, to_seed, whole
from visual_memory._messages.images import Images
from visual_memory.errors import refuse
from visual_memory.protocol.oneofs import choices
from visual_memory.types import Assessment, Limits, Operation, PruneResult, RelabelResult
from visual_memory.v1 import service_pb2 as pb

TAKEN: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "hard": ("k", "threshold", "minus_correct"),
        "prototype": ("fraction", "clusters", "keep", "balance", "seed"),
        "value": ("fraction", "value_k"),
        "random": ("fraction", "seed"),
        "ids": ("ids",),
    }
)

CountsPage = tuple[Operation | None, dict[str, int], str]


def misleading_counts(memory: str, k: int, page_token: str) -> Call[CountsPage]:
    """Get an operation to wait for, or a page of counts. Raises InvalidArgument."""

    def read(answer: pb.GetMisleadingCountsResponse) -> CountsPage:
        finding = given(answer, "operation", to_operation)
        return finding, {count.id: count.v for count in answer.counts}, answer.next_page_token

    request = message(
        pb.GetMisleadingCountsRequest,
        memory=memory,
        k=whole(k, "k", least=1),
        page_token=page_token,
    )
    return Call("GetMisleadingCounts", request, read)


class PruneHow(TypedDict, total=False):
    """The method of a prune with its parameters, and whether to apply it.

    ``method="hard"`` (``k``, ``threshold``, ``minus_correct``) prunes entries that mislead often,
    ``"prototype"``, ``"value"`` and ``"random"`` a ``fraction``, ``"ids"`` the given ``ids``.
    """

    method: str
    k: int
    threshold: int
    minus_correct: bool
    fraction: float | None
    seed: int
    clusters: int
    keep: str
    balance: float
    value_k: int
    ids: Iterable[str] | None
    apply: bool
    request_id: str | None


def prune(
    memory: str,
    method: str = "hard",
    *,
    k: int = 100,
    threshold: int = 128,
    minus_correct: bool = False,
    fraction: float | None = None,
    seed: int = 0,
    clusters: int = 0,
    keep: str = "hard",
    balance: float = 0.5,
    value_k: int = 5,
    ids: Iterable[str] | None = None,
    apply: bool = False,
    request_id: str | None = None,
) -> Pending[PruneResult]:
    """Raises InvalidArgument, also for parameters of another method."""
    given = {
        "k": k,
        "threshold": threshold,
        "minus_correct": minus_correct,
        "fraction": fraction,
        "seed": seed,
        "clusters": clusters,
        "keep": keep,
        "balance": balance,
        "value_k": value_k,
        "ids": ids,
    }
    check_taken(method, given)
    request = message(
        pb.PruneEntriesRequest, memory=memory, apply=apply, request_id=or_new_id(request_id)
    )
    match method:
        case "hard":
            hard = message(
                pb.HardPrune,
                k=whole(k, "k", least=1),
                threshold=whole(threshold, "threshold", least=1),
                minus_correct=minus_correct,
            )
            request.hard.CopyFrom(hard)
        case "random":
            request.random.fraction = share(fraction)
            request.random.seed = to_seed(seed)
        case "prototype":
            prototype = message(
                pb.PrototypePrune,
                fraction=share(fraction),
                clusters=whole(clusters, "clusters", least=0),
                keep=keep,
                balance=balance,
                seed=to_seed(seed),
            )
            request.prototype.CopyFrom(prototype)
        case "value":
            request.value.fraction = share(fraction)
            request.value.k = whole(value_k, "value_k", least=1)
        case "ids":
            if ids is None:
                refuse("ids", "must be given with the method ids")
            request.ids.ids.extend(strings(ids, "ids"))
    return Pending(Call("PruneEntries", request, to_operation), PruneResult)


def check_taken(method: str, given: Mapping[str, object]) -> None:
    """Raise InvalidArgument for an unknown method, or parameters of another one."""
    if not isinstance(method, str) or method not in TAKEN:
        names = choices(pb.PruneEntriesRequest, "method")
        refuse("method", f"must be {names}, but is {method!r:.80}")
    known = inspect.signature(prune).parameters
    for name, value in given.items():
        default = known[name].default
        left = value is default or (type(value) is type(default) and value == default)
        if name not in TAKEN[method] and not left:
            refuse(name, f"must be left out with the method {method}")


def share(fraction: float | None) -> float:
    """Check a fraction in (0, 1). Raises InvalidArgument."""
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        refuse("fraction", f"must be between 0 and 1, both excluded, but is {fraction!r:.80}")
    return fraction


def relabel(
    memory: str, labels: Mapping[str, str], apply: bool, request_id: str | None
) -> Pending[RelabelResult]:
    check_labels(labels, "labels")
    request = message(
        pb.RelabelEntriesRequest,
        memory=memory,
        labels=labels,
        apply=apply,
        request_id=or_new_id(request_id) if apply else "",
    )
    return Pending(Call("RelabelEntries", request, to_operation), RelabelResult)


def undo(memory: str, operation: str, request_id: str | None) -> Call[int]:
    request = message(
        pb.UndoRequest, memory=memory, operation=operation, request_id=or_new_id(request_id)
    )
    return Call("Undo", request, lambda answer: int(answer.restored_count))


def value_entries(
    memory: str,
    limits: Limits,
    *,
    k: int,
    images: Images | None,
    vectors: ArrayLike | None,
    labels: Iterable[str] | None,
) -> pb.ValueEntriesRequest:
    request = message(pb.ValueEntriesRequest, memory=memory, k=whole(k, "k", least=1))
    write_labelled(request, limits, images, vectors, labels)
    return request


def assess(
    memory: str, *, k: int, voting: str, thin: int, request_id: str | None
) -> Pending[Assessment]:
    request = message(
        pb.AssessMemoryRequest,
        memory=memory,
        k=whole(k, "k", least=1),
        voting=voting,
        thin=whole(thin, "thin", least=1),
        request_id=or_new_id(request_id),
    )
    return Pending(Call("AssessMemory", request, to_operation), Assessment)
