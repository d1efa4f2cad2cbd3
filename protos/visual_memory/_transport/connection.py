"""The address of a server with the options of a connection to it, for both clients."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from visual_memory._messages.call import Call
from visual_memory._messages.fields import text_bytes
from visual_memory._transport.retry import RetryBudget
from visual_memory.errors import refuse
from visual_memory.files import others_can_read, read_file
from visual_memory.protocol import MESSAGE_BYTES, PORT_MAX, channel_options, is_address

Pem: TypeAlias = "bytes | str | os.PathLike[str]"
LOG = logging.getLogger("visual_memory")
OTHERS_CAN_READ = "Others can read %s, which is secret: chmod 600 %s"
CERTIFICATE = ("certificate", re.compile(rb"(?m)^-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----"))
KINDS = MappingProxyType(
    {
        "root_certificates": CERTIFICATE,
        "client_certificate": CERTIFICATE,
        "client_key": (
            "private key without a password",
            re.compile(rb"(?m)^-----BEGIN ((?!ENCRYPTED)[A-Z]+ )?PRIVATE KEY-----"),
        ),
    }
)
KEY = re.compile(r"[!-~]{0,4096}")  # with room beside it in the 8 KiB of metadata


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address, with the options, credentials, metadata and timeout of its calls."""

    target: str
    options: Sequence[tuple[str, int]]
    credentials: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str], ...] = field(repr=False)  # has the key
    timeout: float

    def channel(self, api: Any) -> Any:
        """Create a channel of module ``grpc`` or ``grpc.aio``, connected with the first call."""
        if self.credentials is None:
            return api.insecure_channel(self.target, options=self.options)
        return api.secure_channel(self.target, self.credentials, options=self.options)

    def call_metadata(self, sent: Message | Iterator[Message]) -> tuple[tuple[str, str], ...]:
        """Return the gRPC metadata of a call; with the size of ``sent`` if that is one message."""
        if not isinstance(sent, Message):
            return self.metadata
        return (*self.metadata, (MESSAGE_BYTES, str(sent.ByteSize())))

    def budget(self, call: Call[Any] | None = None) -> RetryBudget:
        """Create the retry budget of one message, whose errors name the request_id of ``call``."""
        if call is None:
            return RetryBudget(self.target, self.timeout)
        request_id: str = getattr(call.request, "request_id", "")
        return RetryBudget(self.target, self.timeout, request_id=request_id, start=call.start)


def endpoint(
    target: str,
    api_key: str | None,
    credentials: grpc.ChannelCredentials | None,
    timeout: float,
) -> Endpoint:
    """Make an Endpoint of the arguments of ``connect``. Raises InvalidArgument."""
    text_bytes(target, "target")
    if not is_address(target):
        refuse(
            "target",
            f"must be HOST:PORT, but is {target!r}; HOST is a name or an address, and PORT 1 to "
            f"{PORT_MAX}",
        )
    if api_key is not None:
        text_bytes(api_key, "api_key")
        if not KEY.fullmatch(api_key):
            refuse(
                "api_key",
                "must be what visual-memory keys create printed: up to 4,096 characters of ASCII, "
                "without spaces and line breaks around it",
            )
        if not api_key:
            refuse("api_key", "is empty; have a key made with visual-memory keys create")
        if os.path.isfile(api_key):
            refuse(
                "api_key",
                f"must be a key, but is the path of a file, {api_key!r:.80}: give the text in that "
                "file, or, to a command, the file with --api-key-file",
            )
    if not isinstance(timeout, Real) or not 0 < timeout < threading.TIMEOUT_MAX:
        refuse("timeout", f"must be positive seconds, but is {timeout!r}")
    return Endpoint(
        target=target,
        options=[*channel_options(target), ("grpc.max_receive_message_length", -1)],
        credentials=credentials,
        metadata=() if api_key is None else (("authorization", f"Bearer {api_key}"),),
        timeout=timeout,
    )


def secured(
    tls: bool, roots: Pem | None, *, certificate: Pem | None, private_key: Pem | None
) -> grpc.ChannelCredentials | None:
    """Make the credentials of a TLS connection of the arguments of ``connect``; None without TLS.

    Raises InvalidArgument if a file cannot be read, or a certificate lacks its key.
    """
    if (certificate is None) != (private_key is None):
        missing = "client_certificate" if certificate is None else "client_key"
        refuse(missing, "must be given, too: a certificate and its private key belong together")
    if not tls and roots is None and certificate is None:
        return None
    return grpc.ssl_channel_credentials(
        pem(roots, "root_certificates"),
        pem(private_key, "client_key"),
        pem(certificate, "client_certificate"),
    )


def pem(given: Pem | None, field: str) -> bytes | None:
    """Return PEM that was given as bytes or as the path of a file. Raises InvalidArgument."""
    if given is None:
        return None
    data = given if isinstance(given, bytes) else read_file(given, field)
    kind, begin = KINDS[field]
    if not begin.search(data):
        file = "" if isinstance(given, bytes) else f", in the file {os.fspath(given)}"
        refuse(field, f"holds no {kind} in PEM{file}")
    if field == "client_key" and isinstance(given, str | os.PathLike) and others_can_read(given):
        LOG.warning(OTHERS_CAN_READ, given, given)
    return data
