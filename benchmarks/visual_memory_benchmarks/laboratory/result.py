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

    ``papers`` are the papers answered (numbers), ``data`` the hash of each set of pictures,
    ``embedders`` their specs, the default first. ``states`` gives the digest of every state of its
    memories. A value of ``tables`` with an interval is an ``Estimate``; ``intervals`` says what was
    resampled, and ``comparison`` what the values may be compared with.
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
    """Convert a value to JSON types; an estimate becomes an object with value, low and high."""
    match value:
        case Estimate():
            return value.to_json()
        case Mapping():
            return {key: plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
