"""The protocol of a study of edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from visual_memory_benchmarks.edits.edit import KINDS, NOTHING, REMOVAL, Edit, Kind
from visual_memory_benchmarks.edits.records import States


@dataclass(frozen=True, slots=True)
class Protocol:
    """The parameters of a study; the first of ``ks`` is tested, the others show the influence of k.

    No p-value is below 2 / (1 + resamples), and there are some 150 of them to adjust for.
    """

    seeds: int = 10
    ks: tuple[int, ...] = (10, 50)
    resamples: int = 20_000
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    @property
    def edits(self) -> list[Edit]:
        """Return the edits, without controls."""
        return [Edit(name, dose) for name, kind in self.kinds.items() for dose in kind.doses]

    @property
    def first(self) -> list[Edit]:
        """Return the edits and controls that are known beforehand."""
        return [NOTHING, *self.edits, *self._added]

    @property
    def dose_max(self) -> int:
        """Return the largest number of pictures of one category that are added."""
        return max((int(edit.dose) for edit in self._added), default=0)

    @property
    def _added(self) -> list[Edit]:
        """Return the controls of additions."""
        kinds = [kind for kind in self.kinds.values() if kind.control != REMOVAL]
        return sorted({kind.control_of(dose, 0) for kind in kinds for dose in kind.doses})

    def control(self, edit: Edit, seed: int, states: States) -> Edit:
        """Return the control of an edit that was made."""
        return self.kinds[edit.kind].control_of(edit.dose, states[seed, edit].size)

    def all(self, seed: int, states: States) -> list[Edit]:
        """Return the first ones, and the random removals of the size of an edit."""
        found = {self.control(edit, seed, states) for edit in self.edits}
        return [*self.first, *sorted(found - set(self.first))]
