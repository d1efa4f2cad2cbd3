"""A durable memory of labelled vectors, and the votes of those nearest to a query."""

from visual_memory_index.assessment import (
    Conflict,
    LabelAccuracy,
    LeaveOneOut,
    Suspect,
    conflicts,
    confusion,
    label_accuracies,
    predictions,
    suspects,
    thin_labels,
)
from visual_memory_index.catalog import Catalog
from visual_memory_index.confidence import calibration_error
from visual_memory_index.conformal import (
    SCORES,
    calibration_scores,
    draw_for,
    prediction_set,
    q_hat,
)
from visual_memory_index.counting import Counts
from visual_memory_index.distances import bad_rows, exact_distances, unit_rows
from visual_memory_index.entry import Entry, Parts
from visual_memory_index.errors import (
    BadAuditLog,
    BadCoverage,
    BadFilter,
    BadNode,
    BadParameter,
    CorruptStore,
    Cycle,
    DiskFull,
    EmptyMemory,
    EntriesExist,
    FolderInUse,
    MemoryClosed,
    MemoryExists,
    MemoryRefusal,
    NewerStore,
    NotUndoable,
    OneLabel,
    OperationEnded,
    RequestReused,
    TooFewItems,
    TwoParents,
    UnknownEntries,
    UnknownMemory,
    UnknownOperation,
    WrongDimension,
    WrongOffset,
)
from visual_memory_index.explanation import Flip, smallest_flip
from visual_memory_index.filter import Filter, parse
from visual_memory_index.memory import Memory, MemoryInfo
from visual_memory_index.neighbors import Neighbors, Query
from visual_memory_index.open_set import kth, threshold
from visual_memory_index.operation import CUT_SHORT, Operation
from visual_memory_index.pruning import (
    class_difficulties,
    portion,
    prototype_difficulties,
    prune_by_difficulty,
    prune_misleading,
    prune_random,
    prune_worthless,
)
from visual_memory_index.ram import RamCopy
from visual_memory_index.recalibration import Recalibration, fit
from visual_memory_index.recalibration import check as check_calibratable
from visual_memory_index.request import WHOLE, Request, StoredBatch
from visual_memory_index.reranking import Ranking, decide_reranked
from visual_memory_index.store import Page
from visual_memory_index.taxonomy import Node, Taxonomy, at_depth, deepest, grow
from visual_memory_index.valuation import Valuation
from visual_memory_index.vectors import tune
from visual_memory_index.voting import VOTINGS, Decision, Voting, decide, winners

__all__ = [
    "CUT_SHORT",
    "SCORES",
    "VOTINGS",
    "WHOLE",
    "BadAuditLog",
    "BadCoverage",
    "BadFilter",
    "BadNode",
    "BadParameter",
    "Catalog",
    "Conflict",
    "CorruptStore",
    "Counts",
    "Cycle",
    "Decision",
    "DiskFull",
    "EmptyMemory",
    "EntriesExist",
    "Entry",
    "Filter",
    "Flip",
    "FolderInUse",
    "LabelAccuracy",
    "LeaveOneOut",
    "Memory",
    "MemoryClosed",
    "MemoryExists",
    "MemoryInfo",
    "MemoryRefusal",
    "Neighbors",
    "NewerStore",
    "Node",
    "NotUndoable",
    "OneLabel",
    "Operation",
    "OperationEnded",
    "Page",
    "Parts",
    "Query",
    "RamCopy",
    "Ranking",
    "Recalibration",
    "Request",
    "RequestReused",
    "StoredBatch",
    "Suspect",
    "Taxonomy",
    "TooFewItems",
    "TwoParents",
    "UnknownEntries",
    "UnknownMemory",
    "UnknownOperation",
    "Valuation",
    "Voting",
    "WrongDimension",
    "WrongOffset",
    "at_depth",
    "bad_rows",
    "calibration_error",
    "calibration_scores",
    "check_calibratable",
    "class_difficulties",
    "conflicts",
    "confusion",
    "decide",
    "decide_reranked",
    "deepest",
    "draw_for",
    "exact_distances",
    "fit",
    "grow",
    "kth",
    "label_accuracies",
    "parse",
    "portion",
    "prediction_set",
    "predictions",
    "prototype_difficulties",
    "prune_by_difficulty",
    "prune_misleading",
    "prune_random",
    "prune_worthless",
    "q_hat",
    "smallest_flip",
    "suspects",
    "thin_labels",
    "threshold",
    "tune",
    "unit_rows",
    "winners",
]
