"""The errors of calls: one class for each status, made from errors of gRPC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, NoReturn, TypedDict

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

NOT_RESOLVED = ("DNS resolution failed", "errors resolving")
NEVER_CONNECTED = ("failed to connect to all addresses", *NOT_RESOLVED)
# What gRPC says of an address that something answers at.
NO_GRPC = re.compile(r"parsing HTTP/2|http1\.x server|missing selected ALPN")
HANGS_UP = re.compile(r"Socket closed|reset by peer")
OTHER_NAME = "Hostname Verification Check failed"  # of a certificate
NO_TLS, NO_CREDENTIALS = "WRONG_VERSION_NUMBER", "Failed to create security handshaker"
NOT_TRUSTED = re.compile(r"self signed certificate|unable to get (local )?issuer certificate")
NOT_VALID = re.compile(r"certificate (has expired|is not yet valid)")
HANDSHAKE = re.compile(r"ssl|tls|handshake|certificate|verification", re.IGNORECASE)
TRIED = re.compile(r"last error: \w+: (\S+): ")  # the address that a name led to
ITEM = re.compile(r"(entries|images|vectors)\[(\d+)\]")  # a field's path begins with it
# gRPC sends a status as metadata, which receivers limit to 8 KiB: its message once, with three
# bytes for each byte that is not ASCII, and once more with the details, in base64.
SENTENCE_BYTES_MAX, FIELD_BYTES_MAX = 1024, 256
LEFT_OUT = " … "


def cut(text: str, most: int = SENTENCE_BYTES_MAX) -> str:
    """Shorten a text to at most ``most`` bytes of UTF-8.

    The middle is left out: a message begins with the problem and ends with the remedy.
    """
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    half = (most - len(LEFT_OUT.encode())) // 2
    return LEFT_OUT.join(part.decode(errors="ignore") for part in (data[:half], data[-half:]))


class Error(Exception):
    """A failed call; ``str`` gives ``message``, of at most 1,024 bytes, and ``advice`` for Python.

    ``reason`` is the server's name for the error, or empty; ``field_violations`` are pairs of the
    field at fault, such as ``entries[3].vector``, and what is wrong with it. ``retry_seconds`` is
    the time after which the server would take the call, None if it did not say. ``request_id`` is
    that of the write, which may be repeated with it; ``stored`` counts the leading entries of an
    interrupted import that the server confirmed, ``unlearned`` lists the ids of these that were
    unlearned before.
    """

    status: ClassVar[grpc.StatusCode | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        field_violations: Sequence[tuple[str, str]] = (),
        retry_seconds: float | None = None,
    ) -> None:
        self.message, self.advice = cut(message), ""
        super().__init__(self.message)
        self.code = code or self.status
        self.reason, self.retry_seconds = reason, retry_seconds
        self.field_violations = [
            (cut(field, FIELD_BYTES_MAX), cut(text)) for field, text in field_violations
        ]
        self.request_id: str | None = None
        self.stored: int | None = None
        self.unlearned: list[str] = []

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".rstrip()

    def shift(self, start: int) -> None:
        """Add ``start``, the items in earlier messages, to the number of the item at fault.

        Sentences are changed only where they begin with a field: they may quote ids and paths.
        """

        def shifted(text: str) -> str:
            found = ITEM.match(text)
            return f"{found[1]}[{int(found[2]) + start}]{text[found.end() :]}" if found else text

        if any(ITEM.match(field) for field, _ in self.field_violations):
            self.message = shifted(self.message)
        self.field_violations = [(shifted(f), shifted(text)) for f, text in self.field_violations]


class InvalidArgument(Error):
    """An argument cannot be used."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class InvalidCertificate(InvalidArgument):
    """A certificate is damaged or forged, or of another key or memory than the caller requires."""


class NotFound(Error):
    """A memory, an entry or an embedder does not exist."""

    status = grpc.StatusCode.NOT_FOUND


class AlreadyExists(Error):
    """A memory or an entry exists already."""

    status = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(Error):
    """The memory or the server is in a state that rules the call out, such as an empty memory."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(Error):
    """The disk is full, a quota used up, or the server too busy."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unauthenticated(Error):
    """The API key is missing or unknown."""

    status = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(Error):
    """The API key does not allow the call."""

    status = grpc.StatusCode.PERMISSION_DENIED


class Unavailable(Error):
    """No server answers, or it is stopping."""

    status = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(Error):
    """No answer came within the timeout; a write may or may not have been done."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


CLASSES: dict[grpc.StatusCode | None, type[Error]] = {
    kind.status: kind for kind in Error.__subclasses__()
}


def refuse(path: str, wish: str, *, separator: str = " ") -> NoReturn:
    """Raise InvalidArgument for the field ``path``; ``wish`` says what it must be.

    The message is path, ``separator``, ``wish`` and a full stop.
    """
    sentence = f"{path}{separator}{wish}."
    raise InvalidArgument(sentence, reason="BAD_FIELD", field_violations=[(path, wish)])


def refuse_closed() -> NoReturn:
    """Raise FailedPrecondition for a call on a closed client."""
    closed = FailedPrecondition("The client is closed; connect again.", reason="CLIENT_CLOSED")
    raise closed from None


def never_connected(error: grpc.RpcError) -> bool:
    """Return True if there was no connection, so that no server read the request."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and any(
        sign in (error.details() or "") for sign in NEVER_CONNECTED
    )


def too_large(error: grpc.RpcError) -> bool:
    """Return True if gRPC refused a message by its size, which no retry changes."""
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (
        error.details() or ""
    )


def from_rpc(error: grpc.RpcError, target: str) -> Error:
    """Convert an error of gRPC to an Error of its status, with the details that the server sent.

    ``target`` is the server's address, which some messages name.
    """
    code, message = error.code(), error.details() or ""
    if never_connected(error):
        return Unavailable(no_connection(message, target))
    if too_large(error):
        sentence = f"This is more than one message may hold ({message}); give less in one call."
        return InvalidArgument(sentence, reason="TOO_LARGE")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        message = (
            f"{target} does not know this call: another service has this address, or an older "
            f"release of Visual Memory ({message})."
        )
    return CLASSES.get(code, Error)(
        message or f"The call failed with {code.name}.", code=code, **details(error)
    )


def no_connection(said: str, target: str) -> str:
    """Return a sentence on a connection that was not made, of which gRPC has ``said`` why."""
    if any(sign in said for sign in NOT_RESOLVED):
        return f"The host of {target} is not found; check its name."
    if NO_GRPC.search(said):
        return (
            f"{target} answers, but does not speak gRPC: it is another service, or the port of "
            "--http-listen or --metrics-listen; call that of --listen."
        )
    if HANGS_UP.search(said):
        return (
            f"{target} answers, but not as Visual Memory does: another service has this "
            "address, or it wants TLS, or a certificate of its callers."
        )
    if OTHER_NAME in said:
        return (
            f"{target} has a certificate, but not for this name; call it by a name that is in "
            "the certificate."
        )
    if NO_TLS in said:
        return (
            f"No secure connection to {target}: it answers without TLS. Call the port of --listen "
            "if this is another; else leave out tls, root_certificates and client_certificate, and "
            "their flags and variables."
        )
    if NO_CREDENTIALS in said:
        return (
            f"No secure connection to {target}: root_certificates, client_certificate and "
            "client_key must be files in PEM, the key without a password and of the certificate."
        )
    if NOT_TRUSTED.search(said):
        return (
            f"No secure connection to {target}: its certificate is of no CA that is trusted; "
            "name the CA's file with root_certificates (--root-certificates), or the certificate "
            "itself where it has no other CA."
        )
    if NOT_VALID.search(said):
        return (
            f"No secure connection to {target}: its certificate has ended, or has not begun, by "
            "the clock of this machine; whoever runs the server has to renew it."
        )
    if HANDSHAKE.search(said):
        return f"No secure connection to {target}; check root_certificates and the name ({said})."
    return (
        f"No server answers at {target}; start one with: "
        f"visual-memory serve --data DIR --listen {target}"
    )


def most_telling(tried: dict[str, grpc.RpcError], error: grpc.RpcError) -> grpc.RpcError:
    """Return the error of an address that something answers at, if there is one.

    A name may lead to several addresses, of which gRPC tells the one tried last. ``tried`` has the
    last error of each before; ``error``, that no connection was made, is added.
    """
    found = TRIED.search(error.details() or "")
    tried[found[1] if found else ""] = error
    for each in (error, *tried.values()):
        if any(sign.search(each.details() or "") for sign in (NO_GRPC, HANGS_UP, HANDSHAKE)):
            return each
    return error


class Details(TypedDict, total=False):
    """The details of an error that the server sent, as ``Error`` has them."""

    reason: str
    field_violations: Sequence[tuple[str, str]]
    retry_seconds: float | None


def details(error: grpc.RpcError) -> Details:
    """Return the details of ErrorInfo, BadRequest and RetryInfo; nothing if there are none."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # is both on the client's side
    except (DecodeError, ValueError):  # details of a proxy
        return {}
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    again = error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(again)
    said = again.HasField("retry_delay")
    return {
        "reason": info.reason,
        "field_violations": [(each.field, each.description) for each in bad.field_violations],
        "retry_seconds": again.retry_delay.ToNanoseconds() / 1e9 if said else None,
    }
