"""A committed change of a memory's entries, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Added(NamedTuple):
    """New voting entries, with ``vectors`` float32 (b, d)."""

    keys: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[str]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """All that one write does to the entries; ``revision`` and ``digest`` are those afterwards.

    A copy that applies every change by ascending revision holds what the memory holds: entries
    ``removed`` go first, perhaps to come back as ``added`` ones, then labels are set by id, and
    ``pruned`` entries lose their votes.
    """

    removed: Sequence[str] = ()
    added: Added | None = None
    relabelled: Mapping[str, str] = field(default_factory=dict)
    pruned: Sequence[str] = ()
    revision: int = 0
    digest: str = ""
