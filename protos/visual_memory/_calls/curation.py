"""Calls about curation: misleading counts, prune, relabel, undo, values, assess, judgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

from visual_memory._calls.operations import Pending
from visual_memory._messages.answers import given, to_judgements, to_operation
from visual_memory._messages.call import Call
from visual_memory._messages.contents import write_labelled
from visual_memory._messages.fields import (
    check_labels,
    checked,
    message,
    name_of,
    or_new_id,
    positive,
)
from visual_memory._messages.images import Images
from visual_memory.errors import refuse
from visual_memory.options import Keep, PruneMethod
from visual_memory.protocol import choices
from visual_memory.types import (
    Assessment,
    LabelJudgement,
    Operation,
    PruneResult,
    RelabelResult,
    ServerInfo,
)
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

TAKEN: Mapping[str, Mapping[str, Any]] = MappingProxyType(  # parameters with their defaults
    {
        "hard": {"k": 100, "threshold": 128, "minus_correct": False},
        "prototype": {"fraction": None, "clusters": 0, "keep": "easy", "balance": 0.5, "seed": 0},
        "value": {"fraction": None, "value_k": 5},
        "random": {"fraction": None, "seed": 0},
        "ids": {"ids": None},
    }
)
DEFAULTS = {name: value for taken in TAKEN.values() for name, value in taken.items()}

COUNTS_TRIES = 10  # of reading all pages before a write comes between two

CountsPage = tuple[Operation | None, dict[str, int], str]


def misleading_counts(memory: str, k: int, page_token: str) -> Call[CountsPage]:
    """Return a call that reads a page of the misleading counts of a memory's entries.

    A misleading count is how often an entry is among the ``k`` nearest of an entry with another
    label. The answer is (operation, count by id, next page's token). The operation is None, or
    computes the counts if that is not done yet: the page is then empty. Raises InvalidArgument for
    a ``k`` below 1.
    """

    def read(answer: pb.GetMisleadingCountsResponse) -> CountsPage:
        finding = given(answer, "operation", to_operation)
        return finding, {count.id: count.v for count in answer.counts}, answer.next_page_token

    request = message(
        pb.GetMisleadingCountsRequest, memory=memory, k=positive(k, "k"), page_token=page_token
    )
    return Call("GetMisleadingCounts", request, read)


class PruneHow(TypedDict, total=False):
    """The arguments of ``prune``: a method with its parameters, and whether to apply it.

    ``method="hard"`` prunes entries that are among the ``k`` nearest of at least ``threshold``
    entries with another label, less those with the same label if ``minus_correct``; ``"ids"``
    prunes ``ids``. The others prune a ``fraction``: ``"value"`` of the lowest KNN-Shapley values
    for ``value_k`` neighbours, ``"random"`` by ``seed``, and ``"prototype"`` all but the entries
    nearest to (``keep="easy"``) or farthest from (``"hard"``) a prototype. There are ``clusters``
    prototypes, or if 0 one for each label; at least the share ``balance`` of a label's proportional
    part is kept.
    """

    method: PruneMethod
    k: int
    threshold: int
    minus_correct: bool
    fraction: float | None
    seed: int
    clusters: int
    keep: Keep
    balance: float
    value_k: int
    ids: Iterable[str] | None
    apply: bool
    request_id: str | None


def prune(
    memory: str,
    *,
    method: str = "hard",
    apply: bool = False,
    request_id: str | None = None,
    **given: Any,
) -> Pending[PruneResult]:
    """Return a call that prunes by ``method``, with its parameters ``given`` as in PruneHow.

    Raises InvalidArgument for values that cannot be used and for parameters of another method.
    """
    if not isinstance(method, str) or method not in TAKEN:
        names = choices(pb.PruneEntriesRequest, "method")
        refuse("method", f"must be {names}, but is {method!r:.80}")
    for name, value in given.items():
        if name not in DEFAULTS:
            raise TypeError(f"prune() got an unexpected keyword argument {name!r}")
        default = DEFAULTS[name]
        left = value is default or (type(value) is type(default) and value == default)
        if name not in TAKEN[method] and not left:
            refuse(name, f"must be left out with the method {method}")
    if method == "ids" and given.get("ids") is None:
        refuse("ids", "must be given with the method ids")
    request = message(
        pb.PruneEntriesRequest, memory=memory, apply=apply, request_id=or_new_id(request_id)
    )
    taken = checked({name: given.get(name, default) for name, default in TAKEN[method].items()})
    how = getattr(request, method)
    how.SetInParent()
    fields = {name.removeprefix("value_"): value for name, value in taken.items()}
    how.MergeFrom(message(type(how), **fields))
    return Pending(Call("PruneEntries", request, to_operation), PruneResult)


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


def undo(memory: str, operation: str | Operation, request_id: str | None) -> Call[int]:
    request = message(
        pb.UndoRequest,
        memory=memory,
        operation=name_of(operation),
        request_id=or_new_id(request_id),
    )
    return Call("Undo", request, lambda answer: int(answer.restored_count))


def value_entries(
    memory: str,
    server: ServerInfo,
    *,
    k: int,
    images: Images | None,
    vectors: ArrayLike | None,
    labels: Iterable[str] | None,
) -> Call[list[tuple[str, float]]]:
    request = message(pb.ValueEntriesRequest, memory=memory, k=positive(k, "k"))
    write_labelled(request, server.limits, images, vectors, labels)
    return Call("ValueEntries", request, lambda answer: [(v.id, v.value) for v in answer.values])


def assess(memory: str, *, request_id: str | None, **options: Any) -> Pending[Assessment]:
    request = message(
        pb.AssessMemoryRequest,
        memory=memory,
        request_id=or_new_id(request_id),
        **checked(options),
    )
    return Pending(Call("AssessMemory", request, to_operation), Assessment)


def judge_labels(memory: str, **options: Any) -> Call[list[LabelJudgement]]:
    request = message(pb.JudgeLabelsRequest, memory=memory, **checked(options))
    return Call("JudgeLabels", request, to_judgements)
