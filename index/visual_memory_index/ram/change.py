"""What a committed write changes in RAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.ram.ram_copy import RamCopy


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """Entries with ``vectors`` float32 (b, d) that vote now.

    They come in the place of those ``replaced``, perhaps themselves, pruned.
    """

    keys: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[str]
    vectors: NDArray[np.float32]
    replaced: Sequence[str] = ()

    def apply(self, ram: RamCopy) -> None:
        ram.add(self.keys, self.ids, self.labels, self.vectors, replaced=self.replaced)


@dataclass(frozen=True, slots=True)
class Removed:
    """Entries that are forgotten."""

    ids: Sequence[str]

    def apply(self, ram: RamCopy) -> None:
        ram.remove(self.ids)


@dataclass(frozen=True, slots=True)
class Relabelled:
    """Entries with other labels."""

    labels: Mapping[str, str]

    def apply(self, ram: RamCopy) -> None:
        for id, label in self.labels.items():
            ram.relabel(id, label)


@dataclass(frozen=True, slots=True)
class Pruned:
    """Entries that do not vote any more."""

    ids: Sequence[str]

    def apply(self, ram: RamCopy) -> None:
        ram.prune(self.ids)


Change: TypeAlias = Added | Removed | Relabelled | Pruned
