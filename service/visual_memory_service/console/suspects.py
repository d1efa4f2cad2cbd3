"""A sentence on an assessment that suspects no entry."""

from __future__ import annotations

from collections.abc import Sequence

from visual_memory.terminal.refused import listed
from visual_memory.types import LabelAssessment


def no_suspects(labels: Sequence[LabelAssessment]) -> str:
    """Say that no entry is suspect, and of which labels none was judged."""
    thin = sorted(each.label for each in labels if each.thin)
    if len(thin) == len(labels):
        return "No entry was judged: every label has fewer entries than --thin, by default 5."
    unjudged = f" Not judged, as they have too few entries: {listed(thin)}." if thin else ""
    return f"No entry looks mislabelled.{unjudged}"
