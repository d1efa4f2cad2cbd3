"""Entries in no group, and labels that were not asked, where a command asks the entries."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from visual_memory.terminal.output import is_shown
from visual_memory.types import Calibration, TuneResult
from visual_memory_service.console.arguments import in_filter


def remarks(found: TuneResult | Calibration, key: str, memory: str) -> Iterator[str]:
    """Yield what it means that voting entries of ``memory`` lack ``key``, and what lists them.

    Then say how many labels were asked, if not all. An empty ``key`` makes no groups.
    """
    if found.ungrouped_count:
        yield (
            f"Voting entries without {key} in their metadata: {found.ungrouped_count:,}. Each is a "
            "group of its own, so any that belong together may be asked of each other."
        )
        if all(map(is_shown, key)):
            lacking = shlex.quote(f"NOT metadata.{in_filter(key)}:* AND NOT pruned_by:*")
            yield f"visual-memory entries {memory} --filter {lacking}   lists them."
    if found.asked_label_count < found.label_count:
        reasons = ["has one entry"]
        if key:
            reasons += [f"has entries of one {key} alone", "has all in one of up to five folds"]
        if isinstance(found, TuneResult):
            reasons.append("was not drawn")
        yield (
            f"{found.asked_label_count:,} of {found.label_count:,} labels were asked: each other "
            f"label {', '.join(reasons[:-1])}, or {reasons[-1]}."
        )
