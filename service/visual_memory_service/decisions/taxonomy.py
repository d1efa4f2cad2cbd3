"""Taxonomy: the tree over a memory's labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from visual_memory_index import Memory, Request, Taxonomy, grow
from visual_memory_service.runtime.served_memory import ServedMemory

SETTING = "taxonomy"


def taxonomy_of(served: ServedMemory) -> Taxonomy:
    """Return the stored taxonomy of a memory; it has no edges if none was set."""
    found = served.setting(SETTING, lambda text: grow(json.loads(text)))
    return grow(()) if found is None else found


def set_taxonomy(edges: Sequence[tuple[str, str]], memory: Memory, *, request: Request) -> Taxonomy:
    """Replace the taxonomy by ``edges`` (child, parent); a repeated request changes nothing.

    Raises BadNode, TwoParents, Cycle, TooDeep, RequestReused, FileUnavailable.
    """
    taxonomy = grow(edges)
    taxonomy.check_depths()
    text = json.dumps(taxonomy.edges())
    memory.keep_setting(SETTING, text, call="SetTaxonomy", request=request)
    return taxonomy
