"""Decisions, calibrations, explanations and taxonomies, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import visual_memory_index as index
from visual_memory.v1 import decision_pb2, entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.curation.tuning import MEASURES
from visual_memory_index.errors import WrongDimension
from visual_memory_index.votes import conformal
from visual_memory_service.config import Settings
from visual_memory_service.convert import requests
from visual_memory_service.decisions.annotate import AnnotatedDecision, DecisionOptions
from visual_memory_service.decisions.classify import Classification, Question
from visual_memory_service.decisions.explain import ExplainQuestion, Explanation, WhatIf
from visual_memory_service.decisions.reranking import Reranking
from visual_memory_service.errors import BadField

RULES_KEPT = 64
RELIABILITY_K = 10
COVERED = ("coverage_by", "conformal", "allow_empty")
RERANK_SECONDS = 10.0
SEARCH_SECONDS = 5.0
MEAN_LENGTH_MAX = 1.00001  # of a mean of unit vectors in float32
DEFAULT = index.Rule()
PARAMETERS = frozenset(asdict(DEFAULT))

Deciding: TypeAlias = (
    pb.ClassifyRequest
    | pb.ExplainDecisionRequest
    | pb.AssessMemoryRequest
    | pb.JudgeLabelsRequest
    | pb.CalibrateMemoryRequest
)
Queries = Sequence[bytes] | NDArray[np.float32]


def to_classification(
    request: pb.ClassifyRequest, default: index.Rule, dimension: int, settings: Settings
) -> Classification:
    """Read a Classify request to a memory of this ``dimension``.

    All neighbours are shown by default. Raises BadField, BadFilter, and WrongDimension for a
    ``domain_mean``.
    """
    shown, seconds = None, RERANK_SECONDS
    if request.HasField("neighbors"):
        shown = requests.to_number(request.neighbors, "neighbors", 0)
    if request.HasField("rerank_timeout"):
        seconds = requests.to_seconds(request.rerank_timeout, "rerank_timeout")
    rule = to_rule(request, default)
    all_vote = not request.filter.strip() and not request.exclude_ids
    options = to_decision_options(request, rule, all_vote=all_vote)
    return Classification(
        shown=shown,
        options=options,
        rerank_seconds=seconds,
        question=to_question(
            request,
            rule,
            settings,
            counts_k=to_reliability_k(request),
            means=options is not None and options.need_calibration,
            domain_mean=to_domain_mean(request, dimension),
        ),
        reranker=request.reranker,
    )


def to_searched(request: pb.SearchRequest, settings: Settings) -> Question:
    """Read a Search request. Raises BadField, BadFilter."""
    k = requests.to_number(request.k, "k", 1) if request.HasField("k") else DEFAULT.k
    return to_question(request, replace(DEFAULT, k=k), settings)


def to_question(
    request: pb.ClassifyRequest | pb.SearchRequest,
    rule: index.Rule,
    settings: Settings,
    **more: Any,
) -> Question:
    """Read queries with filter and excluded ids, ``more`` of a question beside them.

    Raises BadField, BadFilter.
    """
    return Question(
        queries=requests.to_content(request, settings),
        rule=rule,
        filter=index.parse(request.filter),
        exclude_ids=request.exclude_ids,
        neighbors_max=settings.neighbors_max,
        **more,
    )


def to_reliability_k(request: pb.ClassifyRequest) -> int | None:
    """Read K of reliability weights; None if misleading entries vote fully. Raises BadField."""
    if request.reliability not in ("", "none", "soft"):
        raise BadField("reliability", f"must be none or soft, but is {request.reliability[:80]!r}")
    k = request.reliability_k if request.HasField("reliability_k") else RELIABILITY_K
    requests.to_counts_k(k, "reliability_k")
    if request.reliability == "soft":
        return k
    if request.HasField("reliability_k"):
        raise BadField("reliability_k", "counts with reliability soft alone")
    return None


def to_rule(request: Deciding, default: index.Rule) -> index.Rule:
    """Read a decision rule, with the parameters of ``default`` that are not set. Raises BadField.

    Parameters that do not count with its voting and its head are as in ``Rule()``.
    """
    fields = ((field.name, value) for field, value in request.ListFields())
    return rule_of(default, tuple(each for each in fields if each[0] in PARAMETERS))


@lru_cache(RULES_KEPT)  # most callers ask by one rule again and again
def rule_of(default: index.Rule, parameters: tuple[tuple[str, Any], ...]) -> index.Rule:
    """Return the rule with these ``parameters``, and the others of ``default``. Raises BadField."""
    given = dict(parameters)
    if "k" in given:
        requests.to_number(given["k"], "k", 1)
    for name, names in (("voting", tuple(index.VOTINGS)), ("head", index.HEADS)):
        if given.get(name, names[0]) not in names:
            raise BadField(name, f"must be one of {', '.join(names)}, but is {given[name][:80]!r}")
    rule = replace(default, **given)
    for name, number in index.NUMBERS.items():
        if name not in given:
            continue
        if not number.least <= given[name] <= number.most:
            limits = f"from {number.least:g} to {number.most:g}"
            raise BadField(name, f"must be {limits}, but is {given[name]}")
        if not rule.counts(name):
            needed, is_set = " or ".join(number.values), getattr(rule, number.of)
            by_default = "" if number.of in given else ", which is the default of this memory"
            raise BadField(
                name, f"counts with {number.of} {needed} alone, not with {is_set}{by_default}"
            )
    return rule.counted()


def to_domain_mean(request: pb.ClassifyRequest, dimension: int) -> NDArray[np.float32] | None:
    """Read the mean of unit vectors (d,) by which queries are centred, if any.

    Raises BadField, and WrongDimension if d is not ``dimension``.
    """
    if not request.domain_mean:
        return None
    if len(request.domain_mean) != dimension:
        raise WrongDimension(len(request.domain_mean), dimension, "domain_mean")
    mean = np.array(request.domain_mean, dtype=np.float32)
    length = float(np.linalg.norm(mean.astype(np.float64)))
    if not 0.0 < length <= MEAN_LENGTH_MAX:
        raise BadField(
            "domain_mean",
            "must be the mean of unit vectors, so longer than 0 and at most 1 long, but is "
            f"{length:g} long",
        )
    return mean


def to_decision_options(
    request: pb.ClassifyRequest, rule: index.Rule, *, all_vote: bool
) -> DecisionOptions | None:
    """Read which annotations are wanted: calibrated confidence, label set or taxonomy node.

    Returns None if no annotation is wanted. Raises BadField.
    """
    coverage = request.coverage if request.HasField("coverage") else None
    least = request.min_confidence if request.HasField("min_confidence") else None
    level = request.level if request.HasField("level") else None
    for name in COVERED:
        if coverage is None and getattr(request, name):
            raise BadField(name, "counts with a coverage alone")
    if not request.calibrated and (coverage, least, level) == (None, None, None):
        return None
    if request.reliability == "soft" and (request.calibrated or coverage is not None):
        raise BadField("reliability", "soft gives other votes than those that were calibrated")
    if request.domain_mean and (request.calibrated or coverage is not None):
        raise BadField("domain_mean", "moves queries away from those that were calibrated")
    if coverage is not None:
        requests.to_fraction(coverage, "coverage")
    if request.conformal not in ("", *conformal.SCORES):
        raise BadField(
            "conformal",
            f"must be one of {', '.join(conformal.SCORES)}, but is {request.conformal[:80]!r}",
        )
    if request.coverage_by not in ("", *conformal.LIMITS):
        raise BadField(
            "coverage_by",
            f"must be one of {', '.join(conformal.LIMITS)}, but is {request.coverage_by[:80]!r}",
        )
    if least is not None and not 0 < least <= 1:
        raise BadField("min_confidence", f"must be above 0 and at most 1, but is {least}")
    if level is not None:
        requests.to_number(level, "level", 0)
    if level is not None and least is not None:
        raise BadField("level", "and min_confidence exclude each other")
    return DecisionOptions(
        rule=rule,
        all_vote=all_vote,
        calibrated=request.calibrated,
        coverage=coverage,
        coverage_by=request.coverage_by or "all",
        conformal=request.conformal or "lac",
        allow_empty=request.allow_empty,
        min_confidence=least,
        level=level,
    )


def from_classified(
    annotated: Sequence[AnnotatedDecision],
    stale: bool,
    rerankings: Sequence[Reranking],
    shown: int | None,
) -> pb.ClassifyResponse:
    """Build the answer of decisions with their first ``shown`` neighbours, or all if None.

    ``stale`` is True if the calibration is outdated; ``rerankings`` has one for each decision, or
    is empty if no re-ranker was called.
    """
    response = pb.ClassifyResponse(calibration_stale=stale)
    response.decisions.extend(
        from_annotated(each, rerankings[at] if rerankings else None, shown)
        for at, each in enumerate(annotated)
    )
    return response


def from_annotated(
    annotated: AnnotatedDecision, reranking: Reranking | None, shown: int | None
) -> decision_pb2.Decision:
    """Build the message of one decision with its annotations."""
    labels, node = annotated.label_set, annotated.node
    return from_decision(
        annotated.decision,
        shown,
        rejected=annotated.rejected,
        calibrated_confidence=annotated.calibrated_confidence,
        label_set=None if labels is None else decision_pb2.LabelSet(labels=labels),
        node=None if node is None else decision_pb2.Node(**asdict(node)),
        reranking=None if reranking is None else decision_pb2.Reranking(**asdict(reranking)),
    )


def from_decision(
    decision: index.Decision, shown: int | None, **annotations: Any
) -> decision_pb2.Decision:
    """Convert a decision, annotated, to a message with ``shown`` neighbours, or all if None."""
    message = decision_pb2.Decision(
        label=decision.label, confidence=decision.confidence, **annotations
    )
    add_score = message.scores.add  # half the time of a list of messages
    for label, score in told_scores(decision):
        add_score(label=label, score=score)
    add_neighbor = message.neighbors.add
    columns = decision.ids, decision.labels, decision.distances, decision.weights
    shown_columns = (column[:shown].tolist() for column in columns)
    for id, label, distance, weight in zip(*shown_columns, strict=True):
        add_neighbor(id=id, label=label, distance=distance, weight=weight)
    return message


def told_scores(decision: index.Decision) -> Iterable[tuple[str, float]]:
    """Return the scores of the k best labels, and of those with votes; a head scores all labels."""
    k, scores = len(decision.ids), decision.scores.items()
    if len(scores) <= k:
        return scores
    voted = set(decision.labels)
    ranked = enumerate(scores)
    return (each for place, each in ranked if place < k or each[0] in voted)


def from_neighbors(neighbors: index.Neighbors) -> pb.SearchResponse:
    """Build the message of the neighbours of each query."""
    response = pb.SearchResponse()
    columns = neighbors.ids, neighbors.labels, neighbors.distances
    for row in zip(*(column.tolist() for column in columns), strict=True):
        add = response.results.add().neighbors.add
        for id, label, distance in zip(*row, strict=True):
            add(id=id, label=label, distance=distance)
    return response


def from_vectors(vectors: NDArray[np.float32]) -> pb.EmbedResponse:
    """Convert vectors (n, d) to a message of packed float32 rows."""
    data = vectors.astype("<f4").tobytes()
    return pb.EmbedResponse(vectors=entry_pb2.Vectors(rows=len(vectors), data=data))


def to_labelled(
    request: pb.ValueEntriesRequest | pb.CalibrateMemoryRequest, settings: Settings
) -> tuple[Queries | None, list[str]]:
    """Read queries and their labels; return (None, []) if there are none. Raises BadField."""
    if request.WhichOneof("queries") is None:
        if request.labels:
            raise BadField("labels", "belong to queries, of which there are none")
        return None, []
    queries = requests.to_content(request, settings)
    if len(queries) != len(request.labels):
        raise BadField(
            "labels",
            f"must be as many as the queries, but are {len(request.labels)} for {len(queries)}",
        )
    return queries, requests.to_texts(request.labels, "labels")


def to_explain_question(
    request: pb.ExplainDecisionRequest, default: index.Rule, dimension: int, settings: Settings
) -> ExplainQuestion:
    """Read a request to explain one decision of a memory of this ``dimension``. Raises BadField."""
    rule = to_rule(request, default)
    requests.to_counts_k(rule.k, "k")
    query = requests.to_content(request, settings)
    if len(query) != 1:
        raise BadField(
            request.WhichOneof("queries") or "images", f"must hold one query, but hold {len(query)}"
        )
    seconds = SEARCH_SECONDS
    if request.HasField("search_time"):
        seconds = requests.to_seconds(request.search_time, "search_time")
    return ExplainQuestion(
        query=query,
        rule=rule,
        exclude_ids=request.exclude_ids,
        what_if=to_what_if(request, dimension, settings),
        seconds=seconds,
        with_thumbnails=request.include_thumbnails,
    )


def to_what_if(request: pb.ExplainDecisionRequest, dimension: int, settings: Settings) -> WhatIf:
    """Read the hypothetical changes of an explanation. Raises BadField."""
    added = np.empty((0, dimension), dtype=np.float32)
    if request.HasField("add_vectors"):
        added = requests.to_vectors(request.add_vectors, "add_vectors", settings)
    if len(added) != len(request.add_labels):
        raise BadField(
            "add_labels",
            f"must be as many as the rows, but are {len(request.add_labels)} for {len(added)}",
        )
    labels = requests.to_texts(request.add_labels, "add_labels")
    requests.check_labels(request.relabel, "relabel")
    return WhatIf(list(request.remove_ids), dict(request.relabel), added, labels)


def from_explanation(explanation: Explanation) -> pb.ExplainDecisionResponse:
    """Build the answer: the decision before and after the changes, and what would change it.

    That is the smallest flip, the smallest set of entries whose removal changes the label, and the
    removal of each neighbour.
    """
    after, flip = explanation.after, explanation.minimal_flip
    return pb.ExplainDecisionResponse(
        before=from_decision(explanation.before, None),
        after=None if after is None else from_decision(after, None),
        minimal_flip=None if flip is None else pb.Flip(**asdict(flip)),
        removals=[pb.Removal(**asdict(each)) for each in explanation.removals],
        thumbnails=explanation.thumbnails,
    )


def to_measure(request: pb.TuneMemoryRequest) -> str:
    """Read the measure that chooses among rules, macro_accuracy by default. Raises BadField."""
    measure = request.measure or next(iter(MEASURES))
    if measure not in MEASURES:
        named = ", ".join(MEASURES)
        raise BadField("measure", f"must be one of {named}, but is {measure[:80]!r}")
    return measure


def to_group_key(request: pb.TuneMemoryRequest | pb.CalibrateMemoryRequest) -> str:
    """Read the metadata key that groups entries, empty for none. Raises BadField."""
    return requests.to_text(request.group_by, "group_by") if request.group_by else ""


def to_calibrating(
    request: pb.CalibrateMemoryRequest, default: index.Rule, principal: str
) -> tuple[index.Rule, index.Request]:
    """Read the rule and the request_id. Raises BadField."""
    rule = to_rule(request, default)
    requests.to_counts_k(rule.k, "k")
    return rule, requests.to_request(request, principal)


def from_taxonomy(taxonomy: index.Taxonomy, labels: Sequence[str]) -> pb.Taxonomy:
    """Build a message of a taxonomy, labels that no edge names, and leaves that are no labels."""
    return pb.Taxonomy(
        edges=[pb.Edge(child=child, parent=parent) for child, parent in taxonomy.edges()],
        orphans=taxonomy.orphans(labels),
        unused=taxonomy.unused(labels),
    )
