"""A durable memory of labelled vectors, and the votes of those nearest to a query."""

from visual_memory_index import prune_methods
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
from visual_memory_index.backup import Arrival, sealed
from visual_memory_index.catalog import Catalog, FolderLock, Outdated, Rebuilt
from visual_memory_index.check import Checked
from visual_memory_index.confidence import calibration_error
from visual_memory_index.conformal import (
    SCORES,
    calibration_scores,
    draw_for,
    prediction_set,
    q_hat,
)
from visual_memory_index.counting import Counts
from visual_memory_index.damage import damage_of
from visual_memory_index.distances import bad_rows, exact_distances, unit_rows
from visual_memory_index.entry import Entry, Parts
from visual_memory_index.erasure import (
    UNLEARNED_MAX,
    Facts,
    Findings,
    search_files,
    unexplained,
)
from visual_memory_index.errors import (
    BadAuditLog,
    BadBackup,
    BadCoverage,
    BadFilter,
    BadNode,
    BadParameter,
    CorruptCopy,
    CorruptStore,
    Cycle,
    DiskFull,
    EmptyMemory,
    EntriesExist,
    FolderInUse,
    LostSecret,
    MemoryClosed,
    MemoryExists,
    MemoryRefusal,
    NewerStore,
    NotUndoable,
    NotVoting,
    OneLabel,
    OperationEnded,
    RequestErased,
    RequestReused,
    TooFewItems,
    TooManyIds,
    TwoParents,
    UnknownEntries,
    UnknownMemory,
    UnknownOperation,
    WrongDimension,
    WrongOffset,
)
from visual_memory_index.explanation import Flip, smallest_flip
from visual_memory_index.faiss_scan import be_patient, clear_scratch, tune
from visual_memory_index.files import write_private
from visual_memory_index.filter import Filter, parse
from visual_memory_index.memory import Memory, MemoryInfo
from visual_memory_index.neighbors import Neighbors, Query
from visual_memory_index.open_set import threshold
from visual_memory_index.operation import CUT_SHORT, UNLEARN, Operation
from visual_memory_index.ram import RamCopy
from visual_memory_index.recalibration import Recalibration, fit
from visual_memory_index.recalibration import check as check_calibratable
from visual_memory_index.request import WHOLE, Request, StoredBatch
from visual_memory_index.reranking import Ranking, decide_reranked
from visual_memory_index.store import AuditPage, Page
from visual_memory_index.taxonomy import Node, Taxonomy, at_depth, deepest, grow
from visual_memory_index.traces import Traces
from visual_memory_index.valuation import Valuation
from visual_memory_index.voting import VOTINGS, Decision, Voting, decide, winners

__all__ = [
    "CUT_SHORT",
    "SCORES",
    "UNLEARN",
    "UNLEARNED_MAX",
    "VOTINGS",
    "WHOLE",
    "Arrival",
    "AuditPage",
    "BadAuditLog",
    "BadBackup",
    "BadCoverage",
    "BadFilter",
    "BadNode",
    "BadParameter",
    "Catalog",
    "Checked",
    "Conflict",
    "CorruptCopy",
    "CorruptStore",
    "Counts",
    "Cycle",
    "Decision",
    "DiskFull",
    "EmptyMemory",
    "EntriesExist",
    "Entry",
    "Facts",
    "Filter",
    "Findings",
    "Flip",
    "FolderInUse",
    "FolderLock",
    "LabelAccuracy",
    "LeaveOneOut",
    "LostSecret",
    "Memory",
    "MemoryClosed",
    "MemoryExists",
    "MemoryInfo",
    "MemoryRefusal",
    "Neighbors",
    "NewerStore",
    "Node",
    "NotUndoable",
    "NotVoting",
    "OneLabel",
    "Operation",
    "OperationEnded",
    "Outdated",
    "Page",
    "Parts",
    "Query",
    "RamCopy",
    "Ranking",
    "Rebuilt",
    "Recalibration",
    "Request",
    "RequestErased",
    "RequestReused",
    "StoredBatch",
    "Suspect",
    "Taxonomy",
    "TooFewItems",
    "TooManyIds",
    "Traces",
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
    "be_patient",
    "calibration_error",
    "calibration_scores",
    "check_calibratable",
    "clear_scratch",
    "conflicts",
    "confusion",
    "damage_of",
    "decide",
    "decide_reranked",
    "deepest",
    "draw_for",
    "exact_distances",
    "fit",
    "grow",
    "label_accuracies",
    "parse",
    "prediction_set",
    "predictions",
    "prune_methods",
    "q_hat",
    "sealed",
    "search_files",
    "smallest_flip",
    "suspects",
    "thin_labels",
    "threshold",
    "tune",
    "unexplained",
    "unit_rows",
    "winners",
    "write_private",
]
