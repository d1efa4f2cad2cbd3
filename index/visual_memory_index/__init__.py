"""A durable memory of labelled vectors, and the votes of those nearest to a query."""

from visual_memory_index.catalog import Catalog
from visual_memory_index.distances import bad_rows, unit_rows
from visual_memory_index.entry import Entry
from visual_memory_index.errors import (
    BadFilter,
    CorruptStore,
    DiskFull,
    EmptyMemory,
    EntriesExist,
    FolderInUse,
    MemoryClosed,
    MemoryExists,
    MemoryRefusal,
    NewerStore,
    RequestReused,
    UnknownEntries,
    UnknownMemory,
    WrongDimension,
    WrongOffset,
)
from visual_memory_index.filter import Filter, parse
from visual_memory_index.memory import Memory, MemoryInfo
from visual_memory_index.neighbors import Neighbors, Query
from visual_memory_index.request import WHOLE, Request, StoredBatch
from visual_memory_index.vectors import tune
from visual_memory_index.voting import VOTINGS, Decision, Voting, decide

__all__ = [
    "VOTINGS",
    "WHOLE",
    "BadFilter",
    "Catalog",
    "CorruptStore",
    "Decision",
    "DiskFull",
    "EmptyMemory",
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
    "Query",
    "Request",
    "RequestReused",
    "StoredBatch",
    "UnknownEntries",
    "UnknownMemory",
    "Voting",
    "WrongDimension",
    "WrongOffset",
    "bad_rows",
    "decide",
    "parse",
    "tune",
    "unit_rows",
]
