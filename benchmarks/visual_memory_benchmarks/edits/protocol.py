"""The protocol of a study of edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from visual_memory_benchmarks.edits.edit import KINDS, NOTHING, REMOVAL, Edit, Kind
from visual_memory_benchmarks.edits.records import States


@dataclass(frozen=True, slots=True)
class Protocol:
    """The parameters of a study of edits.

    Findings are stated for the first of ``ks``; the other k are for comparison. ``resamples`` must
    be large: no p-value is below 2 / (1 + resamples), and the adjustment multiplies the smallest
    of some 150 p-values by their number.
    """

    seeds: int = 10
    ks: tuple[int, ...] = (10, 50)
    resamples: int = 20_000
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    @property
    def edits(self) -> list[Edit]:
        """Return the edits to study, one per kind and dose, without controls."""
        return [Edit(name, dose) for name, kind in self.kinds.items() for dose in kind.doses]

    @property
    def first(self) -> list[Edit]:
        """Return the edits whose size is known beforehand, which are made before the others.

        These are NOTHING (no edit), ``edits``, and the controls that add as many random pictures as
        an edit adds. Controls that remove pictures follow, when the sizes of edits are measured.
        """
        return [NOTHING, *self.edits, *self._added]

    @property
    def dose_max(self) -> int:
        """Return the largest number of pictures that an edit adds to each category."""
        return max((int(edit.dose) for edit in self._added), default=0)

    @property
    def _added(self) -> list[Edit]:
        """Return the control edits of edits that add pictures; these controls add pictures, too."""
        kinds = [kind for kind in self.kinds.values() if kind.control != REMOVAL]
        return sorted({kind.control_of(dose, 0) for kind in kinds for dose in kind.doses})

    def control(self, edit: Edit, seed: int, states: States) -> Edit:
        """Return the control of an edit.

        A random removal is as large as the edit was, measured with ``seed`` in ``states``.
        """
        return self.kinds[edit.kind].control_of(edit.dose, states[seed, edit].size)

    def all(self, seed: int, states: States) -> list[Edit]:
        """Return ``first``, then the controls that remove as many random entries as an edit did."""
        found = {self.control(edit, seed, states) for edit in self.edits}
        return [*self.first, *sorted(found - set(self.first))]
