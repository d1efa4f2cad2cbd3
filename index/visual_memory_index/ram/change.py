"""The change that a write makes to the copy of a memory in RAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from visual_memory_index.records.entry import VotingEntries


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """All changes that one write makes to the entries, and the new ``revision`` and ``digest``.

    A copy to which every change is applied by ascending revision equals the memory. Either entries
    ``removed`` are removed, and may be added back as ``added``, or labels are set by id, or
    ``pruned`` entries lose their votes.
    """

    removed: Sequence[str] = ()
    added: VotingEntries | None = None
    relabelled: Mapping[str, str] = field(default_factory=dict)
    pruned: Sequence[str] = ()
    revision: int = 0
    digest: str = ""

    @property
    def is_empty(self) -> bool:
        """True if no entry changes."""
        added = self.added is not None and self.added.ids
        return not (added or self.removed or self.relabelled or self.pruned)
