"""Entries in no group, which a command that groups entries by a metadata key tells of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from visual_memory.terminal.output import plural


def remark(count: int, key: str, memory: str) -> Iterator[str]:
    """Yield what ``count`` voting entries without ``key`` mean, and what lists them; nothing for 0.

    They are those of ``memory``, a name.
    """
    if count:
        name = re.sub(r'(["\\*])', r"\\\1", key)
        lacking = shlex.quote(f'NOT metadata."{name}":* AND NOT pruned_by:*')
        yield (
            f"Each voting entry without {key} in its metadata is a group of its own, so those that "
            f"belong together are asked of each other: {plural(count, 'entry')}."
        )
        yield f"visual-memory entries {memory} --filter {lacking}   lists them."
