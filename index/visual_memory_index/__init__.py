"""A durable memory of labelled vectors, and the votes of those nearest to a query."""

from visual_memory_index.catalog import Catalog
from visual_memory_index.counting import Counts
from visual_memory_index.distances import bad_rows, unit_rows
from visual_memory_index.entry import Entry
from visual_memory_index.errors import (
    BadCoverage,
    BadFilter,
    BadNode,
    BadParameter,
    CorruptStore,
    Cycle,
    DiskFull,
    EmptyMemory,
    EntriesChanged,
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
from visual_memory_index.filter import Filter, parse
from visual_memory_index.memory import Memory, MemoryInfo
from visual_memory_index.neighbors import Neighbors, Query
from visual_memory_index.operation import CUT_SHORT, Operation
from visual_memory_index.pruning import (
    class_difficulties,
    portion,
    prototype_difficulties,
    prune_by_difficulty,
    prune_misleading,
    prune_random,
)
from visual_memory_index.ram import RamCopy
from visual_memory_index.request import WHOLE, Request, StoredBatch
from visual_memory_index.vectors import tune
from visual_memory_index.voting import VOTINGS, Decision, Voting, decide, winners

__all__ = [
    "CUT_SHORT",
    "VOTINGS",
    "WHOLE",
    "BadCoverage",
    "BadFilter",
    "BadNode",
    "BadParameter",
    "Catalog",
    "CorruptStore",
    "Counts",
    "Cycle",
    "Decision",
    "DiskFull",
    "EmptyMemory",
    "EntriesChanged",
    "EntriesExist",
    "Entry",
    "Filter",
    "FolderInUse",
    "Memory",
    "MemoryClosed",
    "MemoryExists",
    "MemoryInfo",
    "MemoryRefusal",
    "Neighbors",
    "NewerStore",
    "NotUndoable",
    "OneLabel",
    "Operation",
    "OperationEnded",
    "Query",
    "RamCopy",
    "Request",
    "RequestReused",
    "StoredBatch",
    "TooFewItems",
    "TwoParents",
    "UnknownEntries",
    "UnknownMemory",
    "UnknownOperation",
    "Voting",
    "WrongDimension",
    "WrongOffset",
    "bad_rows",
    "class_difficulties",
    "decide",
    "parse",
    "portion",
    "prototype_difficulties",
    "prune_by_difficulty",
    "prune_misleading",
    "prune_random",
    "tune",
    "unit_rows",
    "winners",
]
