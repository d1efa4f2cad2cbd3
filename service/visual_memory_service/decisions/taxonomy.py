"""The tree over a memory's labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from visual_memory_index import Request, Taxonomy, grow
from visual_memory_service.runtime.memories import OpenMemory

SETTING = "taxonomy"


def taxonomy_of(memory: OpenMemory) -> Taxonomy:
    """The memory's taxonomy, without edges where none was set."""
    found = memory.setting(SETTING, lambda text: grow(json.loads(text)))
    return grow(()) if found is None else found


def set_taxonomy(
    edges: Sequence[tuple[str, str]], memory: OpenMemory, *, request: Request | None
) -> Taxonomy:
    """Set all edges, child and parent; a repeated request is answered as before.

    Raises BadNode, TwoParents, Cycle, RequestReused, NotWritten.
    """
    taxonomy = grow(edges)
    text = json.dumps(taxonomy.edges())
    memory.memory.keep_setting(SETTING, text, call="SetTaxonomy", request=request)
    return taxonomy
