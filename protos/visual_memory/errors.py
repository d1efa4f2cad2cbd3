"""What a call can raise: one class for each status, and how an error of gRPC becomes one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "errors resolving",
)
HANDSHAKE = re.compile(r"ssl|tls|handshake|certificate", re.IGNORECASE)
ITEM = re.compile(r"\b(entries|images|vectors)\[(\d+)\]")
# gRPC sends a refusal as metadata, of which receivers take 8 KiB: its sentence once, three bytes
# for each that is no ASCII, and once more beside field and wish, four bytes for three.
SENTENCE_BYTES_MAX, FIELD_BYTES_MAX = 1024, 256
LEFT_OUT = " … "


def cut(text: str, most: int = SENTENCE_BYTES_MAX) -> str:
    """A text of at most ``most`` bytes of UTF-8.

    What is too long loses its middle: a sentence begins with what is wrong, and ends with the way
    out.
    """
    data = text.encode(errors="surrogatepass")
    if len(data) <= most:
        return text
    half = (most - len(LEFT_OUT.encode())) // 2
    return LEFT_OUT.join(part.decode(errors="ignore") for part in (data[:half], data[-half:]))


class Error(Exception):
    """A call that did not succeed; ``str`` of it is a sentence to act on, of at most 1,024 bytes.

    ``reason`` is the server's name for what happened, or empty; ``field_violations`` are pairs of
    the field at fault, such as ``entries[3].vector``, and what is wrong with it. ``request_id`` is
    that of the write, which may be repeated with it; ``stored`` counts the leading entries that an
    interrupted import has stored. ``message`` is the sentence without ``advice``, which is for who
    calls from Python.
    """

    status: ClassVar[grpc.StatusCode | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        field_violations: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.message, self.advice = cut(message), ""
        super().__init__(self.message)
        self.code = code or self.status
        self.reason = reason
        self.field_violations = [
            (cut(field, FIELD_BYTES_MAX), cut(text)) for field, text in field_violations
        ]
        self.request_id: str | None = None
        self.stored: int | None = None

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()

    def shift(self, start: int) -> None:
        """Count items from the beginning of the call, where ``start`` went in earlier messages."""

        def shifted(text: str) -> str:
            return ITEM.sub(lambda found: f"{found[1]}[{int(found[2]) + start}]", text)

        self.message = shifted(self.message)
        self.field_violations = [(shifted(f), shifted(text)) for f, text in self.field_violations]


class InvalidArgument(Error):
    """Something that was given cannot be used."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class InvalidCertificate(InvalidArgument):
    """A certificate that is damaged or forged, or not by the key or of the memory asked for."""


class NotFound(Error):
    """A memory, an entry or an embedder that is not there."""

    status = grpc.StatusCode.NOT_FOUND


class AlreadyExists(Error):
    """A memory or an entry that is there already."""

    status = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(Error):
    """The memory or the server is not in a state for this, such as an empty memory."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(Error):
    """No room on the disk, a quota is used up, or the server is too busy."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unauthenticated(Error):
    """No key, or one that is not known."""

    status = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(Error):
    """A key that may not do this."""

    status = grpc.StatusCode.PERMISSION_DENIED


class Unavailable(Error):
    """No server answers, or it is stopping."""

    status = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(Error):
    """No answer within the timeout; whether a write was done is not known."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


CLASSES: dict[grpc.StatusCode | None, type[Error]] = {
    kind.status: kind for kind in Error.__subclasses__()
}


def refuse(path: str, wish: str, *, separator: str = " ") -> NoReturn:
    """Raise what the server would say of a field that cannot be used."""
    sentence = f"{path}{separator}{wish}."
    raise InvalidArgument(sentence, reason="BAD_FIELD", field_violations=[(path, wish)])


def refuse_closed() -> NoReturn:
    """Raise what a call of a client comes to that was closed before it, or meanwhile."""
    closed = FailedPrecondition("The client is closed; connect again.", reason="CLIENT_CLOSED")
    raise closed from None


def never_connected(error: grpc.RpcError) -> bool:
    """Whether no connection came about, so that nobody can have read the request."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and any(
        sign in (error.details() or "") for sign in NEVER_CONNECTED
    )


def too_large(error: grpc.RpcError) -> bool:
    """Whether gRPC itself refused a message by its size, which no retry changes."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (
        error.details() or ""
    )


def from_rpc(error: grpc.RpcError, target: str) -> Error:
    """The error of ours for one of gRPC, with the details that the server sent."""
    code, message = error.code(), error.details() or ""
    if never_connected(error):
        return Unavailable(unanswered(target, message))
    if too_large(error):
        sentence = f"This is more than one message may hold ({message}); give less in one call."
        return InvalidArgument(sentence, reason="TOO_LARGE")
    reason, violations = details(error)
    return CLASSES.get(code, Error)(
        message or f"The call failed with {code.name}.",
        code=code,
        reason=reason,
        field_violations=violations,
    )


def unanswered(target: str, why: str) -> str:
    """A sentence on a connection that could not be made."""
    if HANDSHAKE.search(why):
        return f"No secure connection to {target}; check root_certificates and the name ({why})."
    return (
        f"No server answers at {target}; start one with: "
        f"visual-memory serve --data DIR --listen {target}"
    )


def details(error: grpc.RpcError) -> tuple[str, list[tuple[str, str]]]:
    """ErrorInfo's reason and BadRequest's violations, as far as there are any."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # is both on the client's side
    except (DecodeError, ValueError):  # details of somebody between us and the server
        return "", []
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    return info.reason, [(each.field, each.description) for each in bad.field_violations]
