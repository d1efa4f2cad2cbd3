"""A durable memory of labelled vectors, and the votes of the vectors nearest to a query."""

from visual_memory_index.catalog.catalog import Catalog
from visual_memory_index.catalog.folder import (
    API_KEYS,
    NEEDS_KEYS,
    FolderLock,
    check_folder,
    was_used,
)
from visual_memory_index.catalog.listing import NAME
from visual_memory_index.catalog.rebuilt import Outdated, Rebuilt
from visual_memory_index.curation.explanation import smallest_flip
from visual_memory_index.curation.misleading_counts import Counts
from visual_memory_index.curation.valuation import Valuation
from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.erasure.search import Findings, search_files, unexplained
from visual_memory_index.files.damage import damage_of
from visual_memory_index.files.disk import (
    FILES_LEFT,
    check_files_left,
    make_folder,
    probe_folder,
    read_small,
    write_private,
)
from visual_memory_index.memory.check import Checked
from visual_memory_index.memory.default_rules import SETTING as DEFAULT_RULES
from visual_memory_index.memory.memory import Memory, MemoryInfo
from visual_memory_index.memory.reembed import MissingVectors, NewVectors
from visual_memory_index.memory.unlearn import UNLEARNED_MAX, Facts
from visual_memory_index.ram.ram_copy import RamCopy, sizes_of
from visual_memory_index.records.entry import Entry, Parts
from visual_memory_index.records.filter import Filter, parse
from visual_memory_index.records.neighbors import Neighbors, Query
from visual_memory_index.records.operation import CUT_SHORT, REEMBED, RESUMED, UNLEARN, Operation
from visual_memory_index.records.request import WHOLE, WITHOUT_ID, Request, StoredBatch
from visual_memory_index.rows.distances import bad_rows, exact_distances, unit_rows
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.threads import lower_thread_priority, running_threads
from visual_memory_index.scan.vectors import IndexFactory
from visual_memory_index.sqlite.backup import IncomingBackup
from visual_memory_index.store.store import AuditPage, Page, Reembedded, Transaction
from visual_memory_index.votes.confidence import (
    Recalibration,
    calibration_error,
    check_calibratable,
    fit,
)
from visual_memory_index.votes.coverage import threshold
from visual_memory_index.votes.rule import HEADS, NUMBERS, Rule
from visual_memory_index.votes.taxonomy import Node, Taxonomy, at_depth, deepest, grow
from visual_memory_index.votes.voting import (
    VOTINGS,
    Decision,
    Ranking,
    Voting,
    decide,
    decide_reranked,
)

__all__ = [
    "API_KEYS",
    "CUT_SHORT",
    "DEFAULT_RULES",
    "FILES_LEFT",
    "HEADS",
    "NAME",
    "NEEDS_KEYS",
    "NUMBERS",
    "REEMBED",
    "RESUMED",
    "UNLEARN",
    "UNLEARNED_MAX",
    "VOTINGS",
    "WHOLE",
    "WITHOUT_ID",
    "AuditPage",
    "Catalog",
    "Checked",
    "Counts",
    "Decision",
    "Entry",
    "Facts",
    "Filter",
    "Findings",
    "FolderLock",
    "IncomingBackup",
    "IndexFactory",
    "Memory",
    "MemoryInfo",
    "MissingVectors",
    "Neighbors",
    "NewVectors",
    "Node",
    "Operation",
    "Outdated",
    "Page",
    "Parts",
    "Query",
    "RamCopy",
    "Ranking",
    "Rebuilt",
    "Recalibration",
    "Reembedded",
    "Request",
    "ResiduePatterns",
    "Rule",
    "ScannedIndexes",
    "StoredBatch",
    "Taxonomy",
    "Transaction",
    "Valuation",
    "Voting",
    "at_depth",
    "bad_rows",
    "calibration_error",
    "check_calibratable",
    "check_files_left",
    "check_folder",
    "damage_of",
    "decide",
    "decide_reranked",
    "deepest",
    "exact_distances",
    "fit",
    "grow",
    "lower_thread_priority",
    "make_folder",
    "parse",
    "probe_folder",
    "read_small",
    "running_threads",
    "search_files",
    "sizes_of",
    "smallest_flip",
    "threshold",
    "unexplained",
    "unit_rows",
    "was_used",
    "write_private",
]
