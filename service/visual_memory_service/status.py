"""Table from refusals to gRPC statuses with details: the one place that knows both."""

from __future__ import annotations

import errno
import math
from pathlib import Path

from google.protobuf.message import EncodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

import visual_memory_embedders as embedders
import visual_memory_index as index
from visual_memory.errors import FIELD_BYTES_MAX, cut
from visual_memory_service import errors

DOMAIN = "visual-memory"
OK, CANCELLED, UNAVAILABLE = StatusCode.OK, StatusCode.CANCELLED, StatusCode.UNAVAILABLE
TOO_MANY = (errno.EMFILE, errno.ENFILE)
REFUSALS = (
    index.errors.MemoryRefusal,
    embedders.errors.EmbeddingRefusal,
    errors.RequestRefusal,
    errors.RerankingRefusal,
)
CODES: dict[type[Exception], StatusCode] = {
    embedders.errors.GpuFailed: StatusCode.FAILED_PRECONDITION,
    embedders.errors.MissingExtra: StatusCode.FAILED_PRECONDITION,
    embedders.errors.MissingWeights: StatusCode.FAILED_PRECONDITION,
    embedders.errors.NoGpu: StatusCode.FAILED_PRECONDITION,
    embedders.errors.UndecodableImage: StatusCode.INVALID_ARGUMENT,
    embedders.errors.UnknownEmbedder: StatusCode.NOT_FOUND,
    embedders.errors.UnsupportedNetwork: StatusCode.FAILED_PRECONDITION,
    embedders.errors.WrongEmbedder: StatusCode.FAILED_PRECONDITION,
    embedders.errors.WrongWeights: StatusCode.FAILED_PRECONDITION,
    errors.AnswerTooLarge: StatusCode.INVALID_ARGUMENT,
    errors.BadChatAnswer: StatusCode.INTERNAL,
    errors.BadField: StatusCode.INVALID_ARGUMENT,
    errors.ChatUnavailable: StatusCode.UNAVAILABLE,
    errors.ClientSilent: StatusCode.UNAVAILABLE,
    errors.ConnectionEnding: StatusCode.UNAVAILABLE,
    errors.ConnectionsRenewed: StatusCode.UNAVAILABLE,
    errors.CountsChanged: StatusCode.ABORTED,
    errors.EmbedderNotAllowed: StatusCode.INVALID_ARGUMENT,
    errors.BeingReembedded: StatusCode.FAILED_PRECONDITION,
    errors.ErasureWaits: StatusCode.FAILED_PRECONDITION,
    errors.ExpiredKey: StatusCode.UNAUTHENTICATED,
    errors.ImagesNotStored: StatusCode.FAILED_PRECONDITION,
    errors.ForeignSite: StatusCode.PERMISSION_DENIED,
    errors.KeysUnreadable: StatusCode.UNAVAILABLE,
    errors.LimitReached: StatusCode.RESOURCE_EXHAUSTED,
    errors.NoCertificate: StatusCode.FAILED_PRECONDITION,
    errors.NoEmbedder: StatusCode.FAILED_PRECONDITION,
    errors.NoKey: StatusCode.UNAUTHENTICATED,
    errors.NotCalibrated: StatusCode.FAILED_PRECONDITION,
    errors.NotCancellable: StatusCode.FAILED_PRECONDITION,
    errors.NotDone: StatusCode.ABORTED,
    errors.OtherMemories: StatusCode.PERMISSION_DENIED,
    errors.OtherVersion: StatusCode.NOT_FOUND,
    errors.OutOfMemory: StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.RevokedKey: StatusCode.UNAUTHENTICATED,
    errors.ServerStopping: StatusCode.UNAVAILABLE,
    errors.ServiceFailed: StatusCode.INTERNAL,
    errors.TooLarge: StatusCode.INVALID_ARGUMENT,
    errors.TooManyOperations: StatusCode.RESOURCE_EXHAUSTED,
    errors.UnknownPath: StatusCode.NOT_FOUND,
    errors.UnknownReranker: StatusCode.NOT_FOUND,
    errors.WrongKey: StatusCode.UNAUTHENTICATED,
    errors.WrongScope: StatusCode.PERMISSION_DENIED,
    errors.WrongVerb: StatusCode.UNIMPLEMENTED,
    index.errors.BadAuditLog: StatusCode.DATA_LOSS,
    index.errors.BadBackup: StatusCode.INVALID_ARGUMENT,
    index.errors.BadFilter: StatusCode.INVALID_ARGUMENT,
    index.errors.BadNode: StatusCode.INVALID_ARGUMENT,
    index.errors.BadParameter: StatusCode.INVALID_ARGUMENT,
    index.errors.CorruptCopy: StatusCode.DATA_LOSS,
    index.errors.CorruptStore: StatusCode.DATA_LOSS,
    index.errors.Cycle: StatusCode.INVALID_ARGUMENT,
    index.errors.DeletedSince: StatusCode.NOT_FOUND,
    index.errors.DeviceFailed: StatusCode.FAILED_PRECONDITION,
    index.errors.DiskFull: StatusCode.RESOURCE_EXHAUSTED,
    index.errors.EmptyMemory: StatusCode.FAILED_PRECONDITION,
    index.errors.NoPictures: StatusCode.FAILED_PRECONDITION,
    index.errors.EntriesExist: StatusCode.ALREADY_EXISTS,
    index.errors.FileHeld: StatusCode.UNAVAILABLE,
    index.errors.ForeignFolder: StatusCode.FAILED_PRECONDITION,
    index.errors.FolderInUse: StatusCode.FAILED_PRECONDITION,
    index.errors.OthersFolder: StatusCode.FAILED_PRECONDITION,
    index.errors.LostCatalog: StatusCode.FAILED_PRECONDITION,
    index.errors.LostSecret: StatusCode.FAILED_PRECONDITION,
    index.errors.MemoryClosed: StatusCode.UNAVAILABLE,
    index.errors.MemoryExists: StatusCode.ALREADY_EXISTS,
    index.errors.NewerStore: StatusCode.FAILED_PRECONDITION,
    index.errors.NotUndoable: StatusCode.FAILED_PRECONDITION,
    index.errors.NotVoting: StatusCode.NOT_FOUND,
    index.errors.OlderCatalog: StatusCode.FAILED_PRECONDITION,
    index.errors.OlderMemory: StatusCode.DATA_LOSS,
    index.errors.OneLabel: StatusCode.FAILED_PRECONDITION,
    index.errors.HeadTooLarge: StatusCode.FAILED_PRECONDITION,
    index.errors.RidgeTooSmall: StatusCode.INVALID_ARGUMENT,
    index.errors.OperationEnded: StatusCode.FAILED_PRECONDITION,
    index.errors.OtherMemory: StatusCode.FAILED_PRECONDITION,
    index.errors.ReadFailed: StatusCode.FAILED_PRECONDITION,
    index.errors.RequestErased: StatusCode.FAILED_PRECONDITION,
    index.errors.RequestReused: StatusCode.INVALID_ARGUMENT,
    index.errors.TooDeep: StatusCode.INVALID_ARGUMENT,
    index.errors.TooLittleRam: StatusCode.RESOURCE_EXHAUSTED,
    index.errors.TooFewItems: StatusCode.FAILED_PRECONDITION,
    index.errors.TooManyFiles: StatusCode.RESOURCE_EXHAUSTED,
    index.errors.TooManyIds: StatusCode.INVALID_ARGUMENT,
    index.errors.TwoParents: StatusCode.INVALID_ARGUMENT,
    index.errors.UnfitDevice: StatusCode.FAILED_PRECONDITION,
    index.errors.UnknownEntries: StatusCode.NOT_FOUND,
    index.errors.UnknownMemory: StatusCode.NOT_FOUND,
    index.errors.UnknownOperation: StatusCode.NOT_FOUND,
    index.errors.UnlistedFile: StatusCode.FAILED_PRECONDITION,
    index.errors.WriteFailed: StatusCode.FAILED_PRECONDITION,
    index.errors.WrongDimension: StatusCode.INVALID_ARGUMENT,
    index.errors.WrongOffset: StatusCode.INVALID_ARGUMENT,
}
HTTP = {  # of each code, as google.rpc.Code says; of a verb that a path does not take, its own
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 405,
    StatusCode.UNAVAILABLE: 503,
}
HTTP_STATUSES = {code.value[0]: status for code, status in HTTP.items()}
FIELDS: dict[type[Exception], str] = {  # the field that all refusals of a class are about
    errors.AnswerTooLarge: "k",
    errors.EmbedderNotAllowed: "embedder",
    errors.UnknownReranker: "reranker",
    index.errors.BadFilter: "filter",
    index.errors.RequestReused: "request_id",
    index.errors.TooManyIds: "ids",
    index.errors.WrongOffset: "offset",
}


def answer(refusal: Exception) -> status_pb2.Status:
    """Convert a refusal to google.rpc.Status with ErrorInfo, and BadRequest or RetryInfo."""
    name = type(refusal).__name__
    reason = "".join(f"_{letter}" if letter.isupper() else letter for letter in name)
    code: int = CODES[type(refusal)].value[0]
    status = status_pb2.Status(code=code, message=cut(str(refusal)))
    for detail in (
        error_details_pb2.ErrorInfo(reason=reason.strip("_").upper(), domain=DOMAIN),
        violation(refusal),
        retry(refusal),
    ):
        if detail is not None:
            status.details.add().Pack(detail)
    return status


def retry(refusal: Exception) -> error_details_pb2.RetryInfo | None:
    """Return when the call may be tried again, None if nobody knows."""
    if not isinstance(refusal, errors.LimitReached):
        return None
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(math.ceil(1000 * refusal.seconds))
    return info


def code_name(error: BaseException | None, *, late: bool) -> str:
    """Return the name of the code that a call ends with, which was ``late`` for its deadline."""
    if error is None:
        return StatusCode.OK.name
    if not isinstance(error, Exception):
        return (StatusCode.DEADLINE_EXCEEDED if late else StatusCode.CANCELLED).name
    return CODES[type(error if isinstance(error, REFUSALS) else foreseen(error))].name


def http_status(code: int) -> int:
    """Return the status of HTTP for the number of a code."""
    return HTTP_STATUSES.get(code, 500)


def code_number(name: str) -> int:
    """Return the number of the code of this name."""
    number: int = StatusCode[name].value[0]
    return number


def foreseen(error: Exception) -> Exception:
    """Return the refusal to answer with for an exception that is no refusal, such as MemoryError.

    Any other than lack of RAM, of threads or of file descriptors gives ServiceFailed.
    """
    if isinstance(error, MemoryError | EncodeError):  # our messages fail only for lack of memory
        return errors.OutOfMemory()
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return errors.OutOfMemory()
    if isinstance(error, RuntimeError) and str(error) in errors.NO_THREAD:
        return errors.OutOfMemory("no memory for a thread, or too low a limit of processes")
    if isinstance(error, OSError) and error.errno in TOO_MANY:
        return index.errors.TooManyFiles(
            Path(str(error.filename or "A file")), str(error.strerror).lower()
        )
    return errors.ServiceFailed()


def violation(refusal: Exception) -> error_details_pb2.BadRequest | None:
    """Return the field of the request that a refusal is about, or None."""
    field, description = FIELDS.get(type(refusal), ""), str(refusal)
    match refusal:
        case errors.BadField(path=field, wish=description):
            pass
        case index.errors.BadParameter(name=field, wish=description):
            pass
        case index.errors.WrongDimension(field=field):
            pass
        case index.errors.BadBackup(problem=description):
            field = "data"
        case embedders.errors.UndecodableImage(position=position):
            field = f"images[{position}]"
    if not field:
        return None
    named = error_details_pb2.BadRequest()
    named.field_violations.add(field=cut(field, FIELD_BYTES_MAX), description=cut(description))
    return named
