"""The types of results: records, with arrays where numbers are computed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from visual_memory import _html

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Float32Array: TypeAlias = NDArray[np.float32]
    Float64Array: TypeAlias = NDArray[np.float64]
else:  # for what resolves annotations; NumPy is loaded with the first array
    Float32Array = Float64Array = Any

SHOWN_MAX = 3


@dataclass(frozen=True, slots=True)
class Neighbor:
    """An entry near a query: its distance in [0, 2] and the weight of its vote (0 in a search)."""

    id: str
    label: str
    distance: float
    weight: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neighbors(Sequence[Neighbor]):
    """The nearest entries of one query by ascending distance, equal distances by id.

    A re-ranker of a decision may order them otherwise. A sequence of ``Neighbor`` and, for
    computing, four columns of the same length; distances and weights are float64 arrays that cannot
    be written to.
    """

    ids: list[str]
    labels: list[str]
    distances: Float64Array
    weights: Float64Array

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
        import numpy as np

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

    def _repr_html_(self) -> str:
        return neighbor_table(self, "nearest entries")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the taxonomy, a label or above one: depth (0 for a root), share of the votes."""

    name: str
    depth: int
    share: float


@dataclass(frozen=True, slots=True)
class Reranking:
    """The re-ranker of a decision; if not ``applied``, ``problem`` says why it had no effect."""

    reranker: str
    applied: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The label of a query, its share of all votes by weight, and the score of every label.

    ``scores`` are the weights of each label's votes, winner first: for shares divide by their sum.
    With a head they are shares already, of labels with votes and of the k best; of a sum below 1
    the rest belongs to labels that are left out. ``confidence`` is the winner's share. If
    requested, ``calibrated_confidence`` is how often such decisions are right, ``rejected`` is True
    for a query unlike all entries, ``label_set`` holds the right label at the requested coverage,
    and ``node`` is the taxonomy node on which the votes agree, None if on none.
    ``calibration_stale`` says that entries were changed since the calibration. ``reranking`` is
    None without a re-ranker.
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

    def _repr_html_(self) -> str:
        return neighbor_table(self.neighbors, in_words(self))


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry.

    ``content_sha256`` is the hash of the image or vector as it was sent, or the hash of the picture
    that was given with the vector. ``pruned_by`` names the operation that took away the vote, or is
    empty. ``vector`` is the stored float32 unit vector, ``image`` the picture as it was sent and
    ``thumbnail`` a small JPEG, each if requested and stored; comparisons ignore them.
    """

    id: str
    label: str
    metadata: dict[str, str]
    create_time: datetime
    content_sha256: str
    pruned_by: str = ""
    vector: Float32Array | None = field(default=None, repr=False, compare=False)
    image: bytes | None = field(default=None, repr=False, compare=False)
    thumbnail: bytes | None = field(default=None, repr=False, compare=False)

    def _repr_html_(self) -> str:
        rows: list[tuple[str, _html.Cell]] = [
            ("id", self.id),
            ("label", self.label),
            *sorted(self.metadata.items()),
            ("created", f"{self.create_time:%Y-%m-%d %H:%M} UTC"),
            ("pruned by", self.pruned_by or None),
            ("", self.thumbnail or self.image),
        ]
        return _html.table(("", ""), [row for row in rows if row[1] is not None])


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Entries by id, and the token of the page after them, empty after the last."""

    entries: list[Entry]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """The embedder of a memory, with all that determines a vector of an image.

    ``preprocessing`` is JSON with sorted keys. ``bit_equal`` is True if vectors have the same bits
    at every batch size and number of threads.
    """

    name: str
    weights_sha256: str
    dimension: int
    preprocessing: str
    bit_equal: bool


@dataclass(frozen=True, slots=True)
class DriftState:
    """Rejections of the last ``count`` calibrated queries, 20 at most, and how many are expected.

    ``p_value`` is the probability that chance alone rejects as many or more of queries that are
    like those of the calibration. If it is 0.002 or less the memory is ``drifting``: what is asked,
    or the entries, may have changed.
    """

    count: int
    rejected: int
    expected: float
    p_value: float
    drifting: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of decisions, with the parameters of ``classify``; None makes no difference with it.

    ``memory.classify(images=images, **dataclasses.asdict(rule))`` decides by it.
    """

    k: int
    voting: str
    temperature: float | None
    balance: float
    head: str
    ridge: float | None
    head_temperature: float | None
    blend: float | None


@dataclass(frozen=True, slots=True)
class CalibrationState:
    """The rule a memory is calibrated for; ``stale`` if its entries changed since."""

    rule: Rule
    create_time: datetime
    stale: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration by ``count`` queries, or by the entries: each was asked of others.

    It is for decisions by ``rule``. ``error_before`` is the expected calibration error (15 bins) of
    their confidences, ``error_after`` that of calibrated confidences, of each half of the queries,
    or of their groups, as fitted to the other. Queries that lie farther from the memory than
    ``rejection_distance`` are rejected: the mean of the distances to the nearest entry and to the
    nearest mean of a label's vectors. ``ungrouped_count`` voting entries lacked the key
    ``group_by``, each of them a group of its own; it is None if none was given. The queries are of
    ``asked_label_count`` labels, also such as no voting entry has, the voting entries of
    ``label_count``.
    """

    rule: Rule
    count: int
    ungrouped_count: int | None
    label_count: int
    asked_label_count: int
    error_before: float
    error_after: float
    rejection_distance: float
    operation: str


@dataclass(frozen=True, slots=True)
class DefaultRule:
    """The rule of a memory, of which calls take what they do not set; ``changes`` are since."""

    rule: Rule
    create_time: datetime
    changes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its standard error."""

    mean: float
    error: float


@dataclass(frozen=True, slots=True)
class MeasuredRule:
    """A rule, and how it decided about entries that it did not know.

    ``behind`` is the lead of the best rule by the measure that chose. Log loss is that of the right
    label's share in all scores, of which 1 % is spread over the labels that have entries in other
    folds.
    """

    rule: Rule
    accuracy: Estimate
    macro_accuracy: Estimate
    log_loss: Estimate
    behind: Estimate


@dataclass(frozen=True, slots=True)
class TuneResult:
    """The ``rules`` as measured with ``count`` entries, the preferred first, and the chosen one.

    It is the first that is behind the best by no more than one standard error of the difference,
    and if ``applied`` the memory's default rule. The entries are of ``group_count`` groups, as many
    as entries where each is on its own, and of ``asked_label_count`` of the ``label_count`` labels
    of voting entries. Of all voting entries ``ungrouped_count`` lacked the key ``group_by``, each
    of them a group of its own; it is None if none was given.
    """

    measure: str
    count: int
    label_count: int
    asked_label_count: int
    group_count: int
    ungrouped_count: int | None
    rules: list[MeasuredRule]
    chosen: MeasuredRule
    applied: bool
    operation: str


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """A tree over the labels: the parent of every node that has one.

    ``orphans`` are labels in no edge, ``unused`` are leaves that are no label.
    """

    parents: dict[str, str]
    orphans: list[str]
    unused: list[str]


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """The state of a memory; ``embedder`` is None for a memory of vectors.

    ``count`` and ``labels`` (label to count) are of all entries, ``pruned_count`` and
    ``pruned_labels`` of those that do not vote. ``store_images`` is True if pictures are stored;
    ``reranker`` is the default re-ranker, ``default_rule`` the rule that ``tune`` has set. Equal
    digests (hex) mean equal entries; ``uid`` differs from that of other memories that had its name.
    ``drift`` is None without a ``calibration``. ``originals`` says where vectors are kept, "ram" or
    "disk"; an older server does not say it. ``damage`` says why a damaged memory cannot be
    used; its other fields are then empty.
    """

    name: str
    dimension: int
    embedder: EmbedderSpec | None
    create_time: datetime
    count: int
    labels: dict[str, int]
    disk_bytes: int
    calibration: CalibrationState | None = None
    default_rule: DefaultRule | None = None
    pruned_count: int = 0
    pruned_labels: dict[str, int] = field(default_factory=dict)
    store_images: bool = False
    reranker: str | None = None
    digest: str = ""
    uid: str = ""
    damage: str | None = None
    drift: DriftState | None = None
    originals: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one message: its bytes, its items, and the bytes and pixels of each image.

    ``neighbors`` is the limit of neighbours in one answer, 0 for none.
    """

    message_bytes: int
    image_bytes: int
    image_pixels: int
    items: int
    neighbors: int = 0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server's release, its limits, and its embedders and re-rankers.

    ``public_keys`` (hex) verify its certificates: the current key first, then former keys.
    ``erasure`` is what unlearning erases from, "files" or "files+memory". ``instructions`` are
    those of the processor that searches use, "avx512", "avx2" or "serial".
    """

    version: str
    limits: Limits
    embedders: list[str]
    rerankers: list[str] = field(default_factory=list)
    public_keys: list[str] = field(default_factory=list)
    erasure: str = ""
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class InsertResult:
    """The ids of the inserted entries, in order, and the id of the request.

    ``unlearned`` are those of the ids that this memory, or a copy of it, was asked to unlearn
    before, whether or not they were stored then.
    """

    ids: list[str]
    request_id: str
    unlearned: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """The number of entries deleted, or to be deleted, with up to 100 of their ids.

    ``applied`` is True if they were deleted.
    """

    count: int
    sample_ids: list[str]
    applied: bool


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One write to a memory: its principal, call, time and number of entries, but no ids.

    ``number`` counts from 0. ``digest`` is that of the memory afterwards, ``previous`` the hash of
    the event before, empty for the first; ``text`` is the text that is hashed.
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
    """The head of an audit log: the number of events, and hashes in hex.

    ``root`` is the Merkle tree hash over all events (RFC 6962), ``last`` the hash of the last
    event, and ``digest`` that of the memory.
    """

    size: int
    root: str
    last: str
    digest: str


@dataclass(frozen=True, slots=True)
class ReembedResult:
    """The new ``embedder`` of ``count`` entries, and the name of the copy with former vectors."""

    embedder: str
    count: int
    former_name: str
    operation: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The numbers of entries and audit events that a check found intact, and the digest (hex)."""

    entry_count: int
    event_count: int
    digest: str
    operation: str


@dataclass(frozen=True, slots=True)
class UnlearnResult:
    """The number of entries erased, or to be erased, and of the ids that were not stored.

    ``unknown_ids`` are the first 100 of the latter. ``also_in`` names memories that still hold the
    same content, as copies or otherwise, and the memory itself if another of its entries does.
    ``not_asked`` names memories that may hold the content but could not be searched, such as
    damaged ones. ``backups`` are the times of backups of the memory, which may hold the content.
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
    """The memory restored from a backup; ``left_out`` counts the entries unlearned since."""

    info: MemoryInfo
    left_out: int


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The entries pruned, or to be pruned: ids in byte order, and counts by label.

    The accuracies are leave-one-out, over all entries that voted before: with all of them as
    neighbours, and without the pruned ones. ``operation`` is the name that ``undo`` takes.
    """

    ids: list[str]
    labels: dict[str, int]
    accuracy_before: float
    accuracy_after: float
    applied: bool
    operation: str


@dataclass(frozen=True, slots=True)
class RelabelResult:
    """The ids of the entries that got, or would get, another label than they had.

    ``operation`` is the name that ``undo`` takes, empty if no label was set.
    """

    ids: list[str]
    applied: bool
    operation: str


@dataclass(frozen=True, slots=True)
class LabelAssessment:
    """Leave-one-out accuracy of one label; ``called`` counts its entries by predicted label.

    ``thin`` is True for a label with too few entries to judge.
    """

    label: str
    count: int
    accuracy: float
    called: dict[str, int]
    thin: bool


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entry whose label is likely wrong, with the ``proposed`` label.

    ``score`` is the share of the proposed label in the probabilities of both, from 0 to 1.
    """

    id: str
    label: str
    proposed: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class LabelJudgement:
    """The others' judgement on an entry's label; ``proposed`` is the likeliest other label.

    ``score`` is the share of the proposed label in the probabilities of both, from 0 to 1, and
    ``suspect`` is True for an entry that ``assess`` names among its suspects.
    """

    id: str
    label: str
    proposed: str
    score: float
    suspect: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two nearly identical entries with different labels."""

    ids: tuple[str, str]
    labels: tuple[str, str]
    distance: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """The leave-one-out assessment of the voting entries.

    ``accuracy`` is the share of entries whose label the others predict, ``macro_accuracy`` the mean
    of the labels' accuracies, ``calibration_error`` the expected calibration error (15 bins) of the
    confidences. ``suspects`` are ordered by descending
    score, ``conflicts`` by ascending distance.
    """

    count: int
    accuracy: float
    macro_accuracy: float
    calibration_error: float
    labels: list[LabelAssessment]
    suspects: list[Suspect]
    conflicts: list[Conflict]
    operation: str

    def _repr_html_(self) -> str:
        caption = f"{self.count:,} entries, accuracy {self.accuracy:.1%}; labels to look at"
        rows = [(each.id, each.label, each.proposed, each.score) for each in self.suspects]
        return _html.table(("entry", "label", "proposed", "score"), rows, caption)


@dataclass(frozen=True, slots=True)
class Removal:
    """The label of a decision without one entry, and the confidence of that label.

    It need not be the label with the entry. Without the only entry it is empty, the confidence 0.
    """

    id: str
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a decision: as it is, and after hypothetical changes.

    ``after`` is None without changes. ``minimal_flip`` are the ids whose removal flips the label to
    ``flipped_label``; both are None if no removal does, as all entries have it, or if none was
    found. ``proven_minimal`` is False if none was found, or smaller sets may flip it, too.
    ``removals`` say what the removal of each neighbour alone does, nearest first; with a head, of
    each of the 100 nearest. ``thumbnails`` are small JPEGs of the neighbours and of the flip, by
    id, if requested and stored.
    """

    before: Decision
    after: Decision | None
    minimal_flip: list[str] | None
    flipped_label: str | None
    proven_minimal: bool
    removals: list[Removal]
    thumbnails: dict[str, bytes] = field(default_factory=dict, repr=False)

    def _repr_html_(self) -> str:
        caption = in_words(self.before)
        if self.minimal_flip is not None:
            caption += f"; {self.flipped_label} without {', '.join(self.minimal_flip)}"
        return neighbor_table(self.before.neighbors, caption, self.thumbnails)

    @property
    def supporting(self) -> list[Neighbor]:
        """Return the neighbours that voted for the label, nearest first."""
        return [each for each in self.before.neighbors if each.label == self.before.label]

    @property
    def opposing(self) -> list[Neighbor]:
        """Return the neighbours that voted for another label, nearest first."""
        return [each for each in self.before.neighbors if each.label != self.before.label]


Result: TypeAlias = (
    PruneResult
    | RelabelResult
    | Assessment
    | Calibration
    | TuneResult
    | UnlearnResult
    | CheckResult
    | ReembedResult
)


@dataclass(frozen=True, slots=True)
class Operation:
    """Work that takes long or can be undone; ``state`` is running, done, failed or cancelled.

    ``done`` of ``total`` steps are done; ``problem`` says why the work failed, or cannot go on now.
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


def in_words(decision: Decision) -> str:
    """Return the label of a decision with its share of the votes, and all else that it says."""
    said = [f"{decision.label}: {decision.confidence:.1%} of the votes"]
    if decision.calibrated_confidence is not None:
        said.append(f"right in {decision.calibrated_confidence:.1%} of such decisions")
    if decision.rejected:
        said.append("unlike all entries")
    if decision.label_set is not None:
        said.append(f"one of {', '.join(decision.label_set) or 'none'}")
    if decision.node is not None:
        said.append(f"{decision.node.name} in the taxonomy")
    return "; ".join(said)


def neighbor_table(
    neighbors: Neighbors, caption: str, thumbnails: Mapping[str, bytes] | None = None
) -> str:
    """Return neighbours as HTML, with those of the ``thumbnails``, by id, that are given."""
    headers = ["entry", "label", "distance"]
    rows: list[list[_html.Cell]] = [[each.id, each.label, each.distance] for each in neighbors]
    if neighbors.weights.any():
        headers.append("weight")
        for row, weight in zip(rows, neighbors.weights.tolist(), strict=True):
            row.append(weight)
    if thumbnails:
        headers.append("")
        for row, id in zip(rows, neighbors.ids, strict=True):
            row.append(thumbnails.get(id))
    return _html.table(headers, rows, caption)
