"""The default rules of a memory: the one in force, and those before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from visual_memory_index.votes.rule import Rule

SETTING = "default_rules"


@dataclass(frozen=True, slots=True)
class DefaultRule:
    """A rule, of which calls take the parameters that they do not set.

    It was set at ``created_at``, in microseconds since 1970, at this ``revision`` of the entries,
    by the operation whose name ends in ``operation``.
    """

    rule: Rule
    operation: str
    revision: int
    created_at: int


def to_json(rules: Sequence[DefaultRule]) -> str:
    """Return the ``rules``, the one in force first, as JSON."""
    return json.dumps([asdict(each) for each in rules])


def from_json(text: str | None) -> list[DefaultRule]:
    """Parse the rules of ``to_json``; no text has none."""
    return [DefaultRule(rule=Rule(**each.pop("rule")), **each) for each in json.loads(text or "[]")]
