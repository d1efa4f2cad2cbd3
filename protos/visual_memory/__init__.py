"""The client of visual memory: images are classified by remembering others."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from visual_memory.client import Client, Memory, connect
from visual_memory.errors import (
    AlreadyExists,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from visual_memory.types import (
    Assessment,
    Calibration,
    CalibrationState,
    Conflict,
    Decision,
    EmbedderSpec,
    Entry,
    Explanation,
    InsertResult,
    LabelAssessment,
    MemoryInfo,
    Neighbor,
    Neighbors,
    Node,
    Operation,
    PruneResult,
    PurgeResult,
    RelabelResult,
    ServerInfo,
    Suspect,
    Taxonomy,
)

if TYPE_CHECKING:
    from visual_memory import aio

    __version__: str

__all__ = [
    "AlreadyExists",
    "Assessment",
    "Calibration",
    "CalibrationState",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Decision",
    "EmbedderSpec",
    "Entry",
    "Error",
    "Explanation",
    "FailedPrecondition",
    "InsertResult",
    "InvalidArgument",
    "LabelAssessment",
    "Memory",
    "MemoryInfo",
    "Neighbor",
    "Neighbors",
    "Node",
    "NotFound",
    "Operation",
    "PermissionDenied",
    "PruneResult",
    "PurgeResult",
    "RelabelResult",
    "ResourceExhausted",
    "ServerInfo",
    "Suspect",
    "Taxonomy",
    "Unauthenticated",
    "Unavailable",
    "__version__",
    "aio",
    "connect",
]


if not TYPE_CHECKING:  # so that a wrong name is still an error to type checkers

    def __getattr__(name: str) -> object:
        """What few need is loaded when it is asked for."""
        if name == "aio":
            return import_module("visual_memory.aio")
        if name == "__version__":
            return import_module("importlib.metadata").version("visual-memory")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
