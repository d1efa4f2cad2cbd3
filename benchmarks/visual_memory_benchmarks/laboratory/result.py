"""The result of an experiment, with all that is needed to reproduce it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from visual_memory_benchmarks.metrics.bootstrap import Estimate

Row: TypeAlias = Mapping[str, Any]
Tables: TypeAlias = Mapping[str, Sequence[Row]]
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one run of an experiment.

    ``papers`` are the numbers of its seed papers, ``data`` the hash of each set of pictures,
    ``embedders`` their specs, the one that most memories use first. ``states`` gives the digest of
    every memory used. Values of ``tables`` with an interval are an ``Estimate``;
    ``intervals`` says over what they were drawn again, and ``comparison`` what the values may
    stand beside.
    """

    experiment: str
    title: str
    papers: tuple[int, ...]
    parameters: Mapping[str, Any]
    data: Mapping[str, str]
    embedders: Sequence[Mapping[str, Any]]
    states: Mapping[str, str]
    tables: Tables
    intervals: str
    comparison: str

    def to_json(self) -> Json:
        """Return JSON, the same for equal memories, queries and parameters."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: Any) -> Any:
    """Convert to JSON types: dicts, lists, and an estimate with its interval."""
    match value:
        case Estimate():
            return value.to_json()
        case Mapping():
            return {key: plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
