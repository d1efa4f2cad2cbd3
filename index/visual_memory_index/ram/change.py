"""The change that a write makes to the copy of a memory in RAM."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.records.entry import Keys, VotingEntries


def no_keys() -> Keys:
    """Return the keys of no entry."""
    return np.empty(0, np.int64)


def no_labels() -> NDArray[np.object_]:
    """Return the labels of no entry."""
    return np.empty(0, object)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """All changes that one write makes to the entries, and the new ``revision`` and ``digest``.

    A copy to which every change is applied by ascending revision equals the memory. A field names
    entries by their keys, each once. Either entries ``removed`` are removed, and some ``added`` in
    their place, or those ``relabelled`` get ``labels``, or ``pruned`` entries lose their votes.
    """

    removed: Keys = field(default_factory=no_keys)
    added: VotingEntries | None = None
    relabelled: Keys = field(default_factory=no_keys)
    labels: NDArray[np.object_] = field(default_factory=no_labels)
    pruned: Keys = field(default_factory=no_keys)
    revision: int = 0
    digest: str = ""

    @property
    def is_empty(self) -> bool:
        """True if no entry changes."""
        added = 0 if self.added is None else len(self.added.keys)
        return not (added or len(self.removed) or len(self.relabelled) or len(self.pruned))
