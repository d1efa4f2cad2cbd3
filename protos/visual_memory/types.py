"""What calls answer with: records for reading, arrays for computing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import overload

import numpy as np
from numpy.typing import NDArray

SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Neighbor:
    """An entry near a query: distance 1 − cosine, and the weight of its vote (0 in a search)."""

    id: str
    label: str
    distance: float
    weight: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neighbors(Sequence[Neighbor]):
    """The nearest entries of one query by ascending distance, equal distances by id.

    A sequence of ``Neighbor`` and, for computing, four columns of the same length; distances and
    weights are float64 arrays that cannot be written to.
    """

    ids: list[str]
    labels: list[str]
    distances: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.distances.flags.writeable = False
        self.weights.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Neighbor: ...
    @overload
    def __getitem__(self, index: slice) -> Neighbors: ...
    def __getitem__(self, index: int | slice) -> Neighbor | Neighbors:
        ids, labels = self.ids[index], self.labels[index]
        distances, weights = self.distances[index], self.weights[index]
        if isinstance(index, slice):
            return Neighbors(list(ids), list(labels), distances, weights)
        return Neighbor(str(ids), str(labels), float(distances), float(weights))

    def __iter__(self) -> Iterator[Neighbor]:
        columns = (self.ids, self.labels, self.distances.tolist(), self.weights.tolist())
        return map(Neighbor, *columns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Neighbors):
            return NotImplemented
        return (
            self.ids == other.ids
            and self.labels == other.labels
            and np.array_equal(self.distances, other.distances)
            and np.array_equal(self.weights, other.weights)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        shown = [repr(neighbor) for neighbor in self[:SHOWN_MAX]]
        if len(self) > SHOWN_MAX:
            shown.append(f"… {len(self) - SHOWN_MAX} more")
        return f"Neighbors([{', '.join(shown)}])"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a query is: the winner, its share of all weights, every label's score, winner first."""

    label: str
    confidence: float
    scores: dict[str, float]
    neighbors: Neighbors


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered exemplar.

    ``content_sha256`` is the hash of the image, or of the row, as it was sent. ``vector`` is the
    stored float32 unit vector where it was asked for; it does not count in comparisons.
    """

    id: str
    label: str
    metadata: dict[str, str]
    create_time: datetime
    content_sha256: str
    vector: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Everything that decides a vector; ``preprocessing`` is JSON with sorted keys.

    ``bit_equal`` says that vectors have the same bits at every batch size and number of threads.
    """

    name: str
    weights_sha256: str
    dimension: int
    preprocessing: str
    bit_equal: bool


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """A memory as it stands; ``embedder`` is None where it takes vectors only."""

    name: str
    dimension: int
    embedder: EmbedderSpec | None
    create_time: datetime
    count: int
    labels: dict[str, int]
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may hold: its bytes, its items, and the size of each image."""

    message_bytes: int
    image_bytes: int
    image_pixels: int
    items: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server's release, its limits, and the embedders that it builds."""

    version: str
    limits: Limits
    embedders: list[str]


@dataclass(frozen=True, slots=True)
class InsertResult:
    """The ids of what was inserted, in order, and the id of the request that did it."""

    ids: list[str]
    request_id: str


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """How many entries were forgotten, or would be, with up to 100 of their ids."""

    count: int
    sample_ids: list[str]
    applied: bool
