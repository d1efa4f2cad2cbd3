"""How a study of edits is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from visual_memory_benchmarks.edits.edit import KINDS, NOTHING, REMOVAL, Edit, Kind
from visual_memory_benchmarks.edits.records import States


@dataclass(frozen=True, slots=True)
class Protocol:
    """The first of ``ks`` is the study; the others check how much it depends on k.

    No p-value is below 2 / (1 + resamples), and there are some 150 of them to adjust for.
    """

    seeds: int = 10
    ks: tuple[int, ...] = (10, 50)
    resamples: int = 20_000
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    @property
    def edits(self) -> list[Edit]:
        """Without controls."""
        return [Edit(name, dose) for name, kind in self.kinds.items() for dose in kind.doses]

    @property
    def first(self) -> list[Edit]:
        """Every edit and control that is known before any is made."""
        return [NOTHING, *self.edits, *self._added]

    @property
    def dose_max(self) -> int:
        """How many pictures of one category are ever added."""
        return max((int(edit.dose) for edit in self._added), default=0)

    @property
    def _added(self) -> list[Edit]:
        """Controls of additions."""
        kinds = [kind for kind in self.kinds.values() if kind.control != REMOVAL]
        return sorted({kind.control_of(dose, 0) for kind in kinds for dose in kind.doses})

    def control(self, edit: Edit, seed: int, states: States) -> Edit:
        """Of an edit that was made."""
        return self.kinds[edit.kind].control_of(edit.dose, states[seed, edit].size)

    def all(self, seed: int, states: States) -> list[Edit]:
        """The first, and the random removals that are of the size of an edit."""
        found = {self.control(edit, seed, states) for edit in self.edits}
        return [*self.first, *sorted(found - set(self.first))]
