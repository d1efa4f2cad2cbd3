"""Scopes of keys: which calls of the service a key permits, and the memories that they name.

``CALLS`` is the one table that the server checks, the documents show, and the tests go through;
``INFERENCE`` is that of the Open Inference Protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from visual_memory.v1 import service_pb2 as pb

READ: Final = "read"
WRITE: Final = "write"
ERASE: Final = "erase"
ADMIN: Final = "admin"
SCOPES = (READ, WRITE, ERASE, ADMIN)
PERMITS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        READ: frozenset({READ}),
        WRITE: frozenset({READ, WRITE}),
        ERASE: frozenset({ERASE}),
        ADMIN: frozenset(SCOPES),
    }
)
SERVICE = pb.DESCRIPTOR.services_by_name["VisualMemory"]


class Call(NamedTuple):
    """A call that one of the ``scopes`` permits.

    ``memories`` are the fields of its first message that name a memory, or an operation by the name
    of its memory, a slash and an id.
    """

    scopes: frozenset[str]
    memories: tuple[str, ...] = ("memory",)


def by(*scopes: str, memories: tuple[str, ...] = ("memory",)) -> Call:
    """Return a call that each of these scopes permits."""
    return Call(frozenset(scopes), memories)


CALLS: Mapping[str, Call] = MappingProxyType(
    {
        "GetServerInfo": by(*SCOPES, memories=()),
        "ListMemories": by(READ, memories=()),  # those that the key is for
        "GetMemory": by(READ, ERASE, memories=("name",)),
        "CreateMemory": by(ADMIN, memories=("name",)),
        "DeleteMemory": by(ADMIN, memories=("name",)),
        "InsertEntries": by(WRITE),
        "ImportEntries": by(WRITE, memories=("start.memory",)),
        "GetEntry": by(READ),
        "ListEntries": by(READ),
        "UpdateEntry": by(WRITE),
        "DeleteEntries": by(WRITE),
        "PurgeEntries": by(WRITE),
        "Classify": by(READ),
        "Search": by(READ),
        "Embed": by(READ),
        "ExplainDecision": by(READ),
        "GetMisleadingCounts": by(READ),
        "ValueEntries": by(READ),
        "AssessMemory": by(READ),
        "JudgeLabels": by(READ),
        "PruneEntries": by(WRITE),
        "RelabelEntries": by(WRITE),
        "Undo": by(WRITE),
        "TuneMemory": by(ADMIN),
        "CalibrateMemory": by(ADMIN),
        "GetTaxonomy": by(READ),
        "SetTaxonomy": by(ADMIN),
        "SetReranker": by(ADMIN),
        "UnlearnEntries": by(ERASE),
        "GetCertificate": by(ERASE, memories=("operation",)),
        "ListAuditEvents": by(READ, ERASE),
        "CheckMemory": by(ADMIN),
        "BackupMemory": by(ADMIN),
        "RestoreMemory": by(ADMIN, memories=("name",)),
        "CopyMemory": by(ADMIN, memories=("memory", "new_name")),
        "ReembedMemory": by(ADMIN, memories=("memory", "former_name")),
        "GetOperation": by(READ, ERASE, memories=("name",)),
        "ListOperations": by(READ, ERASE),
        "CancelOperation": by(READ, ERASE, memories=("name",)),  # others' only by WRITE
        "WaitOperation": by(READ, ERASE, memories=("name",)),
    }
)
INFERENCE: Mapping[str, Call] = MappingProxyType(  # of the Open Inference Protocol
    {
        "ServerLive": by(*SCOPES, memories=()),
        "ServerReady": by(*SCOPES, memories=()),
        "ServerMetadata": by(*SCOPES, memories=()),
        "ModelReady": by(READ, memories=("name",)),
        "ModelMetadata": by(READ, memories=("name",)),
        "ModelInfer": by(READ, memories=("model_name",)),
    }
)
if unlike := CALLS.keys() ^ {each.name for each in SERVICE.methods}:
    raise ValueError(f"in the table of scopes or in service.proto alone: {sorted(unlike)}")
