"""Table from refusals to gRPC statuses with details: the one place that knows both."""

from __future__ import annotations

import errno

from google.protobuf import any_pb2
from google.protobuf.message import EncodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

import visual_memory_embedders as embedders
import visual_memory_index as index
from visual_memory.errors import FIELD_BYTES_MAX, cut
from visual_memory_service import errors

DOMAIN = "visual-memory"
TOO_MANY = (errno.EMFILE, errno.ENFILE)
REFUSALS = (
    index.MemoryRefusal,
    embedders.EmbeddingRefusal,
    errors.RequestRefusal,
    errors.RerankingRefusal,
)
CODES: dict[type[Exception], StatusCode] = {
    embedders.MissingExtra: StatusCode.FAILED_PRECONDITION,
    embedders.MissingWeights: StatusCode.FAILED_PRECONDITION,
    embedders.UndecodableImage: StatusCode.INVALID_ARGUMENT,
    embedders.UnknownEmbedder: StatusCode.NOT_FOUND,
    embedders.UnsupportedNetwork: StatusCode.FAILED_PRECONDITION,
    embedders.WrongEmbedder: StatusCode.FAILED_PRECONDITION,
    embedders.WrongWeights: StatusCode.FAILED_PRECONDITION,
    errors.AnswerTooLarge: StatusCode.INVALID_ARGUMENT,
    errors.BadChatAnswer: StatusCode.INTERNAL,
    errors.BadField: StatusCode.INVALID_ARGUMENT,
    errors.ChatUnavailable: StatusCode.UNAVAILABLE,
    errors.ClientSilent: StatusCode.UNAVAILABLE,
    errors.ConnectionEnding: StatusCode.UNAVAILABLE,
    errors.ConnectionsRenewed: StatusCode.UNAVAILABLE,
    errors.EmbedderNotAllowed: StatusCode.INVALID_ARGUMENT,
    errors.ImagesNotStored: StatusCode.FAILED_PRECONDITION,
    errors.NoCertificate: StatusCode.FAILED_PRECONDITION,
    errors.NoEmbedder: StatusCode.FAILED_PRECONDITION,
    errors.NotCalibrated: StatusCode.FAILED_PRECONDITION,
    errors.NotCancellable: StatusCode.FAILED_PRECONDITION,
    errors.NotDone: StatusCode.ABORTED,
    errors.OutOfMemory: StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.ServerStopping: StatusCode.UNAVAILABLE,
    errors.ServiceFailed: StatusCode.INTERNAL,
    errors.TooLarge: StatusCode.INVALID_ARGUMENT,
    errors.UnknownReranker: StatusCode.NOT_FOUND,
    index.BadAuditLog: StatusCode.DATA_LOSS,
    index.BadBackup: StatusCode.INVALID_ARGUMENT,
    index.BadCoverage: StatusCode.INVALID_ARGUMENT,
    index.BadFilter: StatusCode.INVALID_ARGUMENT,
    index.BadNode: StatusCode.INVALID_ARGUMENT,
    index.BadParameter: StatusCode.INVALID_ARGUMENT,
    index.CorruptCopy: StatusCode.DATA_LOSS,
    index.CorruptStore: StatusCode.DATA_LOSS,
    index.Cycle: StatusCode.INVALID_ARGUMENT,
    index.DeletedSince: StatusCode.NOT_FOUND,
    index.DiskFull: StatusCode.RESOURCE_EXHAUSTED,
    index.EmptyMemory: StatusCode.FAILED_PRECONDITION,
    index.EntriesExist: StatusCode.ALREADY_EXISTS,
    index.FileHeld: StatusCode.UNAVAILABLE,
    index.FolderInUse: StatusCode.FAILED_PRECONDITION,
    index.LostCatalog: StatusCode.FAILED_PRECONDITION,
    index.LostSecret: StatusCode.FAILED_PRECONDITION,
    index.MemoryClosed: StatusCode.UNAVAILABLE,
    index.MemoryExists: StatusCode.ALREADY_EXISTS,
    index.NewerStore: StatusCode.FAILED_PRECONDITION,
    index.NotUndoable: StatusCode.FAILED_PRECONDITION,
    index.NotVoting: StatusCode.NOT_FOUND,
    index.OlderCatalog: StatusCode.FAILED_PRECONDITION,
    index.OlderMemory: StatusCode.DATA_LOSS,
    index.OneLabel: StatusCode.FAILED_PRECONDITION,
    index.OperationEnded: StatusCode.FAILED_PRECONDITION,
    index.OtherMemory: StatusCode.FAILED_PRECONDITION,
    index.RequestErased: StatusCode.FAILED_PRECONDITION,
    index.RequestReused: StatusCode.INVALID_ARGUMENT,
    index.TooFewItems: StatusCode.FAILED_PRECONDITION,
    index.TooManyFiles: StatusCode.RESOURCE_EXHAUSTED,
    index.TooManyIds: StatusCode.INVALID_ARGUMENT,
    index.TwoParents: StatusCode.INVALID_ARGUMENT,
    index.UnknownEntries: StatusCode.NOT_FOUND,
    index.UnknownMemory: StatusCode.NOT_FOUND,
    index.UnknownOperation: StatusCode.NOT_FOUND,
    index.UnlistedFile: StatusCode.FAILED_PRECONDITION,
    index.WriteFailed: StatusCode.FAILED_PRECONDITION,
    index.WrongDimension: StatusCode.INVALID_ARGUMENT,
    index.WrongOffset: StatusCode.INVALID_ARGUMENT,
}
FIELDS: dict[type[Exception], str] = {  # that a refusal as a whole is about
    errors.AnswerTooLarge: "k",
    errors.EmbedderNotAllowed: "embedder",
    errors.UnknownReranker: "reranker",
    index.BadFilter: "filter",
    index.RequestReused: "request_id",
    index.TooManyIds: "ids",
    index.WrongDimension: "vectors",
    index.WrongOffset: "offset",
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
        return errors.OutOfMemory()
    if isinstance(error, OSError) and error.errno in TOO_MANY:
        return index.TooManyFiles(str(error.filename or "A file"), str(error.strerror).lower())
    return errors.ServiceFailed()


def violation(refusal: Exception) -> error_details_pb2.BadRequest:
    """Return the field of the request that a refusal is about, or None."""
    field, description = FIELDS.get(type(refusal), ""), str(refusal)
    match refusal:
        case errors.BadField(path=field, wish=description):
            pass
        case index.BadParameter(name=field, wish=description):
            pass
        case index.BadBackup(problem=description):
            field = "data"
        case embedders.UndecodableImage(position=position):
            field = f"images[{position}]"
    if not field:
        return None
    FieldViolation = error_details_pb2.BadRequest.FieldViolation
    return error_details_pb2.BadRequest(
        field_violations=[
            FieldViolation(field=cut(field, FIELD_BYTES_MAX), description=cut(description))
        ]
    )
