"""What calls answer with: records for reading, arrays for computing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Neighbor:
    """An entry near a query: its distance in [0, 2], and the weight of its vote (0 in a search)."""

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
class Node:
    """A label, or what is above it in the taxonomy: how far below its root, its share of votes."""

    name: str
    depth: int
    share: float


@dataclass(frozen=True, slots=True)
class Reranking:
    """Whether a re-ranker was heard; if not, ``problem`` says why, and votes are as without it."""

    reranker: str
    applied: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a query is: the winner, its share of all weights, every label's score, winner first.

    Where that was asked for: ``calibrated_confidence`` says how often such decisions are right,
    ``rejected`` that the query is unlike anything remembered, ``label_set`` holds the right label
    at the coverage asked for, and ``node`` is where in the taxonomy the votes agree.
    ``calibration_stale`` says that entries were changed since the calibration that was used.
    ``reranking`` says whether a re-ranker decided who counts how much; None where none was asked.
    """

    label: str
    confidence: float
    scores: dict[str, float]
    neighbors: Neighbors
    calibrated_confidence: float | None = None
    rejected: bool = False
    label_set: list[str] | None = None
    node: Node | None = None
    calibration_stale: bool = False
    reranking: Reranking | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered exemplar.

    ``content_sha256`` is the hash of the image, or of the row, as it was sent; of an entry that was
    inserted as a vector with the hash of its picture, that. ``pruned_by`` names
    the operation that took its vote, and is empty where it votes. ``vector`` is the stored float32
    unit vector, ``image`` the picture as it was sent and ``thumbnail`` a small JPEG of it, each
    where it was asked for and is kept; they do not count in comparisons.
    """

    id: str
    label: str
    metadata: dict[str, str]
    create_time: datetime
    content_sha256: str
    pruned_by: str = ""
    vector: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    image: bytes | None = field(default=None, repr=False, compare=False)
    thumbnail: bytes | None = field(default=None, repr=False, compare=False)


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
class CalibrationState:
    """For which votes a memory is calibrated, and whether its entries were changed since."""

    k: int
    voting: str
    create_time: datetime
    stale: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a memory was calibrated to by ``count`` queries, or by its entries asking the others.

    The errors are how far shares of the vote are from shares of right decisions, and how far what
    was fitted to one half of the queries is from those of the other. Queries whose nearest entry is
    farther than ``rejection_distance`` are rejected.
    """

    k: int
    voting: str
    count: int
    error_before: float
    error_after: float
    rejection_distance: float
    operation: str


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The parent of every node that has one.

    ``orphans`` are labels that no edge names, ``unused`` are leaves that are no label.
    """

    parents: dict[str, str]
    orphans: list[str]
    unused: list[str]


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """A memory as it stands; ``embedder`` is None where it takes vectors only.

    ``count`` and ``labels`` are of all that is stored, ``pruned_count`` and ``pruned_labels`` of
    what of it does not vote. ``store_images`` says whether pictures are kept, ``reranker`` who
    orders the neighbours where a call says nothing. Equal ``digest`` (hex) mean equal entries;
    ``uid`` tells the memory from others that had its name. ``damage`` says why nothing can be asked
    of a damaged one, of which no more is known than its name.
    """

    name: str
    dimension: int
    embedder: EmbedderSpec | None
    create_time: datetime
    count: int
    labels: dict[str, int]
    disk_bytes: int
    calibration: CalibrationState | None = None
    pruned_count: int = 0
    pruned_labels: dict[str, int] = field(default_factory=dict)
    store_images: bool = False
    reranker: str | None = None
    digest: str = ""
    uid: str = ""
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may hold: its bytes, its items, and the size of each image.

    ``neighbors`` is how many all its queries together may be answered with, 0 any number.
    """

    message_bytes: int
    image_bytes: int
    image_pixels: int
    items: int
    neighbors: int = 0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server's release, its limits, what embedders it builds and what re-rankers it asks.

    ``public_keys`` (hex) check its certificates: the one that signs now, then the former ones.
    """

    version: str
    limits: Limits
    embedders: list[str]
    rerankers: list[str] = field(default_factory=list)
    public_keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class InsertResult:
    """The ids of what was inserted, in order, and the id of the request that did it.

    Those ``unlearned`` the memory was asked to unlearn before, stored then or not.
    """

    ids: list[str]
    request_id: str
    unlearned: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """How many entries were forgotten, or would be, with up to 100 of their ids."""

    count: int
    sample_ids: list[str]
    applied: bool


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One write to a memory: by which principal and call, when, of how many entries.

    ``number`` counts from 0. ``digest`` is that of the memory afterwards, ``previous`` the hash of
    the event before, empty in the first; ``text`` is what is hashed. It names no entry.
    """

    number: int
    time: datetime
    principal: str
    call: str
    count: int
    digest: str = field(repr=False)
    previous: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where an audit log stands: how many events, and hashes in hex.

    ``root`` is that of the tree over all events (RFC 6962), ``last`` that of the last event, and
    ``digest`` that of the memory.
    """

    size: int
    root: str
    last: str
    digest: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was compared and found to fit: entries, events of the audit log, and the digest."""

    entry_count: int
    event_count: int
    digest: str
    operation: str


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """What was erased, or would be: how many entries, and which ids (some) were not stored.

    The memories ``also_in`` hold the same, where it stays: in a copy, or by content; the memory
    itself is among them where another entry has the same content. Those ``not_asked``, such as
    damaged ones, may hold it. ``backups`` are the times of backups of it, which may hold it.
    """

    count: int
    unknown_count: int
    unknown_ids: list[str]
    applied: bool
    operation: str
    also_in: list[str] = field(default_factory=list)
    backups: list[datetime] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The memory that came of a backup, and how many entries of that were unlearned since.

    Those were ``left_out``.
    """

    info: MemoryInfo
    left_out: int


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The entries that lost their vote, or would: ids in byte order, and how many of each label.

    The accuracies are the share of all voting entries that the others decide rightly, before the
    prune and with the ids taken out of the others. ``operation`` names what ``undo`` takes back.
    """

    ids: list[str]
    labels: dict[str, int]
    accuracy_before: float
    accuracy_after: float
    applied: bool
    operation: str


@dataclass(frozen=True, slots=True)
class RelabelResult:
    """The entries that got another label, or would; ``operation`` is empty where nothing did."""

    ids: list[str]
    applied: bool
    operation: str


@dataclass(frozen=True, slots=True)
class LabelAssessment:
    """One label: its entries, the share that the others call so too, and what they call them.

    ``thin`` says that there are too few of it to trust.
    """

    label: str
    count: int
    accuracy: float
    called: dict[str, int]
    thin: bool


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entry whose label is likely wrong, and the one ``proposed`` for it; score in (0, 1]."""

    id: str
    label: str
    proposed: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two entries that are all but the same and have different labels."""

    ids: tuple[str, str]
    labels: tuple[str, str]
    distance: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the voting entries say of each other, each leaving itself out.

    ``accuracy`` is the share whose label the others give it too. The most suspicious of
    ``suspects`` and the nearest of ``conflicts`` come first; ``operation`` is what found them.
    """

    count: int
    accuracy: float
    calibration_error: float
    labels: list[LabelAssessment]
    suspects: list[Suspect]
    conflicts: list[Conflict]
    operation: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a query got its label: the decision as it is, and as it would be.

    ``after`` is None where no change was asked about. ``minimal_flip`` is None where nothing flips
    the label, because all entries have it; ``proven_minimal`` is False where time was up before
    it was proven that no smaller set does. ``thumbnails`` are small JPEGs of the neighbours and of
    the flip, by id, where they were asked for and are kept.
    """

    before: Decision
    after: Decision | None
    minimal_flip: list[str] | None
    flipped_label: str | None
    proven_minimal: bool
    thumbnails: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def supporting(self) -> list[Neighbor]:
        """The neighbours that voted for the label, nearest first."""
        return [each for each in self.before.neighbors if each.label == self.before.label]

    @property
    def opposing(self) -> list[Neighbor]:
        """The neighbours that voted for another label, nearest first."""
        return [each for each in self.before.neighbors if each.label != self.before.label]


Result: TypeAlias = (
    "PruneResult | RelabelResult | Assessment | Calibration | UnlearnResult | CheckResult"
)


@dataclass(frozen=True, slots=True)
class Operation:
    """Work that takes long or can be undone; ``state`` is running, done, failed or cancelled.

    ``done`` counts what of ``total`` is done; ``problem`` says why it failed.
    """

    name: str
    memory: str
    kind: str
    state: str
    done: int
    total: int
    problem: str
    create_time: datetime | None
    end_time: datetime | None
    undo_time: datetime | None
    result: Result | None = None
