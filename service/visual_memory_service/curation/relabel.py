"""Relabelling: set the labels of given entries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from visual_memory_index import Memory, Operation, Request
from visual_memory_service.runtime.operations import repeated


@dataclass(frozen=True, slots=True)
class Relabel:
    """Labels by id to set, or without ``apply`` only to compare."""

    labels: Mapping[str, str]
    apply: bool
    request: Request


@dataclass(frozen=True, slots=True)
class RelabelResult:
    """Result of a relabel, as RelabelResult in operation.proto."""

    ids: list[str]
    applied: bool


def relabel(relabel: Relabel, memory: Memory) -> Operation | RelabelResult:
    """Set labels in one transaction, or without ``apply`` list the ids that would change.

    Raises UnknownEntries, RequestReused, NotWritten.
    """
    if (again := repeated(relabel.request, memory)) is not None:
        return again
    if not relabel.apply:
        return RelabelResult(sorted(memory.operations.would_relabel(relabel.labels)), applied=False)

    def result(changed: list[str]) -> str:
        return json.dumps(asdict(RelabelResult(changed, applied=True)))

    return memory.operations.relabel(relabel.labels, result=result, request=relabel.request)
