"""Entries in no group, which a command that groups entries by a metadata key tells of."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from visual_memory_service.console.arguments import in_filter


def remark(count: int | None, key: str, memory: str) -> Iterator[str]:
    """Yield what it means that ``count`` voting entries lack ``key``, and what lists them.

    They are those of ``memory``, a name. Nothing is yielded without any.
    """
    if not count:
        return
    yield (
        f"Voting entries without {key} in their metadata: {count:,}. Each is a group of its own, "
        "so any that belong together may be asked of each other."
    )
    if key.isprintable():
        lacking = shlex.quote(f"NOT metadata.{in_filter(key)}:* AND NOT pruned_by:*")
        yield f"visual-memory entries {memory} --filter {lacking}   lists them."
