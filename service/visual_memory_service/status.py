"""Table from refusals to gRPC statuses with details: the one place that knows both."""

from __future__ import annotations

import errno

from google.protobuf import any_pb2
from google.protobuf.message import EncodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from visual_memory.errors import FIELD_BYTES_MAX, cut
from visual_memory_embedders.errors import (
    EmbeddingRefusal,
    MissingExtra,
    MissingWeights,
    UndecodableImage,
    UnknownEmbedder,
    UnsupportedNetwork,
    WrongEmbedder,
    WrongWeights,
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
    DeletedSince,
    DiskFull,
    EmptyMemory,
    EntriesExist,
    FileHeld,
    FolderInUse,
    LostCatalog,
    LostSecret,
    MemoryClosed,
    MemoryExists,
    MemoryRefusal,
    NewerStore,
    NotUndoable,
    NotVoting,
    OlderCatalog,
    OlderMemory,
    OneLabel,
    OperationEnded,
    OtherMemory,
    RequestErased,
    RequestReused,
    TooFewItems,
    TooManyFiles,
    TooManyIds,
    TwoParents,
    UnknownEntries,
    UnknownMemory,
    UnknownOperation,
    UnlistedFile,
    WriteFailed,
    WrongDimension,
    WrongOffset,
)
from visual_memory_service.errors import (
    AnswerTooLarge,
    BadChatAnswer,
    BadField,
    ChatUnavailable,
    ClientSilent,
    ConnectionEnding,
    ConnectionsRenewed,
    EmbedderNotAllowed,
    ImagesNotStored,
    NoCertificate,
    NoEmbedder,
    NotCalibrated,
    NotCancellable,
    NotDone,
    OutOfMemory,
    Overloaded,
    RequestRefusal,
    RerankingRefusal,
    ServerStopping,
    ServiceFailed,
    TooLarge,
    UnknownReranker,
)

DOMAIN = "visual-memory"
TOO_MANY = (errno.EMFILE, errno.ENFILE)
REFUSALS = (MemoryRefusal, EmbeddingRefusal, RequestRefusal, RerankingRefusal)
CODES: dict[type[Exception], StatusCode] = {
    AnswerTooLarge: StatusCode.INVALID_ARGUMENT,
    BadAuditLog: StatusCode.DATA_LOSS,
    BadBackup: StatusCode.INVALID_ARGUMENT,
    BadChatAnswer: StatusCode.INTERNAL,
    BadField: StatusCode.INVALID_ARGUMENT,
    BadFilter: StatusCode.INVALID_ARGUMENT,
    BadCoverage: StatusCode.INVALID_ARGUMENT,
    BadNode: StatusCode.INVALID_ARGUMENT,
    BadParameter: StatusCode.INVALID_ARGUMENT,
    ChatUnavailable: StatusCode.UNAVAILABLE,
    ClientSilent: StatusCode.UNAVAILABLE,
    ConnectionsRenewed: StatusCode.UNAVAILABLE,
    ConnectionEnding: StatusCode.UNAVAILABLE,
    CorruptCopy: StatusCode.DATA_LOSS,
    CorruptStore: StatusCode.DATA_LOSS,
    Cycle: StatusCode.INVALID_ARGUMENT,
    DeletedSince: StatusCode.NOT_FOUND,
    DiskFull: StatusCode.RESOURCE_EXHAUSTED,
    EmbedderNotAllowed: StatusCode.INVALID_ARGUMENT,
    EmptyMemory: StatusCode.FAILED_PRECONDITION,
    EntriesExist: StatusCode.ALREADY_EXISTS,
    FileHeld: StatusCode.UNAVAILABLE,
    FolderInUse: StatusCode.FAILED_PRECONDITION,
    LostCatalog: StatusCode.FAILED_PRECONDITION,
    LostSecret: StatusCode.FAILED_PRECONDITION,
    MemoryClosed: StatusCode.UNAVAILABLE,
    MemoryExists: StatusCode.ALREADY_EXISTS,
    MissingExtra: StatusCode.FAILED_PRECONDITION,
    MissingWeights: StatusCode.FAILED_PRECONDITION,
    NewerStore: StatusCode.FAILED_PRECONDITION,
    ImagesNotStored: StatusCode.FAILED_PRECONDITION,
    NoCertificate: StatusCode.FAILED_PRECONDITION,
    NoEmbedder: StatusCode.FAILED_PRECONDITION,
    NotCalibrated: StatusCode.FAILED_PRECONDITION,
    NotDone: StatusCode.ABORTED,
    NotUndoable: StatusCode.FAILED_PRECONDITION,
    NotVoting: StatusCode.NOT_FOUND,
    OlderCatalog: StatusCode.FAILED_PRECONDITION,
    OlderMemory: StatusCode.DATA_LOSS,
    OneLabel: StatusCode.FAILED_PRECONDITION,
    OperationEnded: StatusCode.FAILED_PRECONDITION,
    OtherMemory: StatusCode.FAILED_PRECONDITION,
    RequestErased: StatusCode.FAILED_PRECONDITION,
    RequestReused: StatusCode.INVALID_ARGUMENT,
    ServerStopping: StatusCode.UNAVAILABLE,
    ServiceFailed: StatusCode.INTERNAL,
    TooFewItems: StatusCode.FAILED_PRECONDITION,
    TooManyFiles: StatusCode.RESOURCE_EXHAUSTED,
    TooManyIds: StatusCode.INVALID_ARGUMENT,
    TooLarge: StatusCode.INVALID_ARGUMENT,
    OutOfMemory: StatusCode.RESOURCE_EXHAUSTED,
    Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    NotCancellable: StatusCode.FAILED_PRECONDITION,
    TwoParents: StatusCode.INVALID_ARGUMENT,
    UndecodableImage: StatusCode.INVALID_ARGUMENT,
    UnknownEmbedder: StatusCode.NOT_FOUND,
    UnknownEntries: StatusCode.NOT_FOUND,
    UnknownMemory: StatusCode.NOT_FOUND,
    UnknownOperation: StatusCode.NOT_FOUND,
    UnknownReranker: StatusCode.NOT_FOUND,
    UnsupportedNetwork: StatusCode.FAILED_PRECONDITION,
    UnlistedFile: StatusCode.FAILED_PRECONDITION,
    WrongDimension: StatusCode.INVALID_ARGUMENT,
    WrongEmbedder: StatusCode.FAILED_PRECONDITION,
    WrongOffset: StatusCode.INVALID_ARGUMENT,
    WriteFailed: StatusCode.FAILED_PRECONDITION,
    WrongWeights: StatusCode.FAILED_PRECONDITION,
}


def answer(refusal: Exception) -> status_pb2.Status:
    """Write a refusal as google.rpc.Status with ErrorInfo and, for a bad field, BadRequest."""
    name = type(refusal).__name__
    reason = "".join(f"_{letter}" if letter.isupper() else letter for letter in name)
    details: list[any_pb2.Any] = []
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason.strip("_").upper(), domain=DOMAIN),
        violation(refusal),
    ):
        if detail is not None:
            packed = any_pb2.Any()
            packed.Pack(detail)
            details.append(packed)
    code: int = CODES[type(refusal)].value[0]
    return status_pb2.Status(code=code, message=cut(str(refusal)), details=details)


def foreseen(error: Exception) -> Exception:
    """Return the refusal that answers an error which is none of ours."""
    if isinstance(error, MemoryError | EncodeError):  # messages of ours lack nothing else
        return OutOfMemory()
    if isinstance(error, OSError) and error.errno in TOO_MANY:
        return TooManyFiles(str(error.filename or "A file"), str(error.strerror).lower())
    return ServiceFailed()


def violation(refusal: Exception) -> error_details_pb2.BadRequest:
    """Return the field of the request that a refusal is about, or None."""
    match refusal:
        case AnswerTooLarge():
            field, description = "k", str(refusal)
        case BadField(path=path, wish=wish):
            field, description = path, wish
        case BadBackup(problem=problem):
            field, description = "data", problem
        case BadFilter():
            field, description = "filter", str(refusal)
        case UndecodableImage(position=position):
            field, description = f"images[{position}]", str(refusal)
        case WrongDimension():
            field, description = "vectors", str(refusal)
        case BadParameter(name=name, wish=wish):
            field, description = name, wish
        case WrongOffset():
            field, description = "offset", str(refusal)
        case TooManyIds():
            field, description = "ids", str(refusal)
        case RequestReused():
            field, description = "request_id", str(refusal)
        case EmbedderNotAllowed():
            field, description = "embedder", str(refusal)
        case UnknownReranker():
            field, description = "reranker", str(refusal)
        case _:
            return None
    FieldViolation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            FieldViolation(field=cut(field, FIELD_BYTES_MAX), description=cut(description))
        ]
    )
