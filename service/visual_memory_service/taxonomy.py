"""The tree over a memory's labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from visual_memory_index import Request, Taxonomy, grow
from visual_memory_service.memories import OpenMemory

SETTING = "taxonomy"


def taxonomy_of(memory: OpenMemory) -> Taxonomy:
    """The memory's taxonomy, without edges where none was set; read once while it is the same."""
    text = memory.memory.setting(SETTING) or "[]"
    if memory.read.get(SETTING, ("", None))[0] is not text:
        memory.read[SETTING] = (text, grow(json.loads(text)))
    found: Taxonomy = memory.read[SETTING][1]
    return found


def set_taxonomy(
    edges: Sequence[tuple[str, str]], memory: OpenMemory, *, request: Request | None
) -> Taxonomy:
    """Set all edges, child and parent.

    Raises BadNode, TwoParents, Cycle, RequestReused, DiskFull.
    """
    taxonomy = grow(edges)
    memory.memory.keep_setting(SETTING, json.dumps(taxonomy.edges()), request=request)
    return taxonomy_of(memory)
