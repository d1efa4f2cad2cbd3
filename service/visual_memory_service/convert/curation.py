"""Prunes, relabels, misleading counts, values and assessments, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from visual_memory.protocol import choices
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Counts, Memory, Rule
from visual_memory_index.curation import prune_methods
from visual_memory_index.curation.judgement import LabelJudgement
from visual_memory_service.convert import requests
from visual_memory_service.convert.decisions import to_rule
from visual_memory_service.convert.page_token import from_token, to_page_bounds
from visual_memory_service.curation.finding import Finding
from visual_memory_service.curation.values import Values
from visual_memory_service.errors import BadField, CountsChanged

VALUE_K = 5
COUNTS_K = 100
THRESHOLD = 128  # Geirhos et al., 2024, for 100 neighbours
BALANCE = 0.5  # Sorscher et al., 2022, for ImageNet
CLUSTERS_MAX = 10_000
THIN = 5
VALUES_AT_ONCE = 10_000
JUDGEMENTS_AT_ONCE = 1_000  # each names two labels, and these again in its reason


class CountsPage(NamedTuple):
    """A page of up to ``size`` counts for K, after the id ``after``, empty on the first page.

    ``revision`` is that of the counts in the previous page, None on the first.
    """

    k: int
    revision: int | None
    after: str
    size: int


def to_counts_page(request: pb.GetMisleadingCountsRequest, memory: Memory) -> CountsPage:
    """Read which page of counts is requested. Raises BadField."""
    k = requests.to_counts_k(request.k if request.HasField("k") else COUNTS_K, "k")
    before, size = to_page_bounds(request, memory)
    revision, _, after = before.partition(" ")
    return CountsPage(k, requests.to_token_number(revision) if before else None, after, size)


def to_method(request: pb.PruneEntriesRequest) -> prune_methods.Method:
    """Read the method that chooses the entries to prune. Raises BadField."""
    match request.WhichOneof("method"):
        case "hard":
            hard = request.hard
            threshold = hard.threshold if hard.HasField("threshold") else THRESHOLD
            requests.to_number(threshold, "hard.threshold", 1)
            k = requests.to_counts_k(hard.k if hard.HasField("k") else COUNTS_K, "hard.k")
            return prune_methods.Hard(k, threshold, hard.minus_correct)
        case "random":
            return prune_methods.Random(
                requests.to_fraction(request.random.fraction, "random.fraction"),
                requests.to_number(request.random.seed, "random.seed", 0),
            )
        case "prototype":
            prototype = request.prototype
            if prototype.keep not in ("", "easy", "hard"):
                raise BadField(
                    "prototype.keep", f"must be easy or hard, not {prototype.keep!r:.80}"
                )
            clusters = requests.to_number(prototype.clusters, "prototype.clusters", 0, CLUSTERS_MAX)
            balance = prototype.balance if prototype.HasField("balance") else BALANCE
            requests.to_number(balance, "prototype.balance", 0, 1)
            return prune_methods.Prototype(
                requests.to_fraction(prototype.fraction, "prototype.fraction"),
                clusters,
                prototype.keep or "easy",
                balance,
                requests.to_number(prototype.seed, "prototype.seed", 0),
            )
        case "value":
            value = request.value
            k = requests.to_counts_k(value.k if value.HasField("k") else VALUE_K, "value.k")
            return prune_methods.Value(requests.to_fraction(value.fraction, "value.fraction"), k)
        case "ids":
            return prune_methods.Ids(requests.to_ids(request.ids.ids, "ids.ids"))
        case _:
            raise BadField("method", f"must be given: {choices(pb.PruneEntriesRequest, 'method')}")


def to_relabel(request: pb.RelabelEntriesRequest) -> dict[str, str]:
    """Read new labels by id. Raises BadField."""
    if not request.labels:
        raise BadField("labels", "must not be empty")
    requests.check_labels(request.labels, "labels")
    return dict(request.labels)


def from_counts(
    counts: Counts, asked: CountsPage, request: pb.GetMisleadingCountsRequest, memory: Memory
) -> pb.GetMisleadingCountsResponse:
    """Build the answer of a page of counts, by id.

    A count says how often an entry is among the nearest of entries with another label, and of
    entries with the same label. Raises CountsChanged if the previous page is of another revision.
    """
    _, revision, after, size = asked
    if revision not in (None, counts.revision):
        raise CountsChanged(memory.identity.name)
    order = counts.ids.argsort()
    first = int(np.searchsorted(counts.ids[order], after, side="right")) if after else 0
    page = order[first : first + size]
    columns = (counts.ids[page], counts.v[page].tolist(), counts.c[page].tolist())
    rows = [pb.MisleadingCount(id=id, v=v, c=c) for id, v, c in zip(*columns, strict=True)]
    last = f"{counts.revision} {rows[-1].id}" if first + size < len(order) else ""
    token = from_token(last, request, memory)
    return pb.GetMisleadingCountsResponse(counts=rows, next_page_token=token)


def from_valuing(step: Finding[Values]) -> Iterator[pb.ValueEntriesResponse]:
    """Yield the messages of a step: its progress or, at the end, the values by id in pages."""
    name = step.operation
    yield pb.ValueEntriesResponse(operation=name, done_count=step.done, total_count=step.total)
    if (found := step.found) is None:
        return
    order = found.ids.argsort()
    for start in range(0, len(order), VALUES_AT_ONCE):
        part = order[start : start + VALUES_AT_ONCE]
        pairs = zip(found.ids[part], found.values[part].tolist(), strict=True)
        yield pb.ValueEntriesResponse(
            operation=name, values=[pb.EntryValue(id=id, value=value) for id, value in pairs]
        )


def from_judging(step: Finding[list[LabelJudgement]]) -> Iterator[pb.JudgeLabelsResponse]:
    """Yield the messages of a step: its progress or, at the end, the judgements in pages."""
    name = step.operation
    yield pb.JudgeLabelsResponse(operation=name, done_count=step.done, total_count=step.total)
    found = step.found or []
    for start in range(0, len(found), JUDGEMENTS_AT_ONCE):
        part = found[start : start + JUDGEMENTS_AT_ONCE]
        judgements = [pb.LabelJudgement(**asdict(each)) for each in part]
        yield pb.JudgeLabelsResponse(operation=name, judgements=judgements)


def to_assessing(
    request: pb.AssessMemoryRequest | pb.JudgeLabelsRequest, default: Rule
) -> tuple[Rule, int]:
    """Read the rule, and the number of entries that a judged label needs. Raises BadField."""
    rule = to_rule(request, default)
    requests.to_counts_k(rule.k, "k")
    thin = request.thin if request.HasField("thin") else THIN
    return rule, requests.to_number(thin, "thin", 1)
