"""The client of visual memory, a service that classifies images by their nearest neighbours."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visual_memory import aio
    from visual_memory.client import Client, Memory, connect
    from visual_memory.errors import (
        AlreadyExists,
        DeadlineExceeded,
        Error,
        FailedPrecondition,
        InvalidArgument,
        InvalidCertificate,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
    )
    from visual_memory.proofs.certificate import Certificate, Verification, verify
    from visual_memory.types import (
        Assessment,
        AuditEvent,
        AuditHead,
        Calibration,
        CalibrationState,
        CheckResult,
        Conflict,
        Decision,
        DefaultRule,
        DriftState,
        EmbedderSpec,
        Entry,
        EntryPage,
        Estimate,
        Explanation,
        InsertResult,
        LabelAssessment,
        LabelJudgement,
        MeasuredRule,
        MemoryInfo,
        Neighbor,
        Neighbors,
        Node,
        Operation,
        PruneResult,
        PurgeResult,
        ReembedResult,
        RelabelResult,
        Removal,
        Reranking,
        RestoreResult,
        Rule,
        ServerInfo,
        Suspect,
        Taxonomy,
        TuneResult,
        UnlearnResult,
    )

    __version__: str

__all__ = [
    "AlreadyExists",
    "Assessment",
    "AuditEvent",
    "AuditHead",
    "Calibration",
    "CalibrationState",
    "Certificate",
    "CheckResult",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Decision",
    "DefaultRule",
    "DriftState",
    "EmbedderSpec",
    "Entry",
    "EntryPage",
    "Error",
    "Estimate",
    "Explanation",
    "FailedPrecondition",
    "InsertResult",
    "InvalidArgument",
    "InvalidCertificate",
    "LabelAssessment",
    "LabelJudgement",
    "MeasuredRule",
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
    "ReembedResult",
    "RelabelResult",
    "Removal",
    "Reranking",
    "ResourceExhausted",
    "RestoreResult",
    "Rule",
    "ServerInfo",
    "Suspect",
    "Taxonomy",
    "TuneResult",
    "Unauthenticated",
    "Unavailable",
    "UnlearnResult",
    "Verification",
    "__version__",
    "aio",
    "connect",
    "verify",
]


MODULES = {
    "proofs.certificate": "Certificate Verification verify",
    "client": "Client Memory connect",
    "errors": (
        "AlreadyExists DeadlineExceeded Error FailedPrecondition InvalidArgument "
        "InvalidCertificate NotFound PermissionDenied ResourceExhausted Unauthenticated "
        "Unavailable"
    ),
    "types": (
        "Assessment AuditEvent AuditHead Calibration CalibrationState CheckResult Conflict "
        "Decision DefaultRule DriftState EmbedderSpec Entry EntryPage Estimate Explanation "
        "InsertResult LabelAssessment LabelJudgement MeasuredRule MemoryInfo Neighbor Neighbors "
        "Node Operation PruneResult PurgeResult ReembedResult RelabelResult Removal Reranking "
        "RestoreResult Rule ServerInfo Suspect Taxonomy TuneResult UnlearnResult"
    ),
}
MODULES_PUBLIC = ("aio", "client", "errors", "types")
MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # so that a wrong name is still an error to type checkers

    def __getattr__(name: str) -> object:
        """Import public names on first use: commands need few of them."""
        if name == "__version__":
            version: str = import_module("importlib.metadata").version("visual-memory")
            globals()[name] = version  # for it is read from a file
            return version
        if name in MODULE_OF:
            return getattr(import_module(f"visual_memory.{MODULE_OF[name]}"), name)
        if name in MODULES_PUBLIC:
            return import_module(f"visual_memory.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
