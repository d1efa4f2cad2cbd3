"""Where a server is, so that both clients reach it in the same way."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import grpc
from google.protobuf.message import Message

from visual_memory._messages.call import Call
from visual_memory._messages.fields import text_bytes
from visual_memory._transport.retry import Patience
from visual_memory.errors import refuse
from visual_memory.files import read_file
from visual_memory.protocol.address import MESSAGE_BYTES, PORT_MAX, is_address, reaching

KEY = re.compile(r"[!-~]{0,4096}")  # with room beside it in the 8 KiB of metadata


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a connection needs."""

    target: str
    options: Sequence[tuple[str, int]]
    credentials: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str], ...]
    timeout: float

    def channel(self, api: Any) -> Any:
        """A channel of ``grpc`` or ``grpc.aio``; it connects with the first call."""
        if self.credentials is None:
            return api.insecure_channel(self.target, options=self.options)
        return api.secure_channel(self.target, self.credentials, options=self.options)

    def about(self, request: Message | Sequence[Message]) -> tuple[tuple[str, str], ...]:
        """The metadata of a call: of one message also how large it is."""
        if not isinstance(request, Message):
            return self.metadata
        return (*self.metadata, (MESSAGE_BYTES, str(request.ByteSize())))

    def patience(self, call: Call[Any] | None = None) -> Patience:
        """The time that one message has, with its retries."""
        if call is None:
            return Patience(self.target, self.timeout)
        request_id: str = getattr(call.first(), "request_id", "")
        return Patience(self.target, self.timeout, request_id=request_id, start=call.start)


def endpoint(
    target: str,
    api_key: str | None,
    root_certificates: bytes | str | os.PathLike[str] | None,
    timeout: float,
) -> Endpoint:
    """Raises InvalidArgument."""
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
            refuse("api_key", "must be up to 4,096 characters of ASCII, without spaces")
    if not isinstance(timeout, Real) or not 0 < timeout < threading.TIMEOUT_MAX:
        refuse("timeout", f"must be positive seconds, but is {timeout!r}")
    return Endpoint(
        target=target,
        options=[*reaching(target), ("grpc.max_receive_message_length", -1)],
        credentials=None if root_certificates is None else credentials(root_certificates),
        metadata=() if api_key is None else (("authorization", f"Bearer {api_key}"),),
        timeout=timeout,
    )


def credentials(root_certificates: bytes | str | os.PathLike[str]) -> grpc.ChannelCredentials:
    """Raises InvalidArgument where the file cannot be read."""
    if not isinstance(root_certificates, bytes):
        root_certificates = read_file(root_certificates, "root_certificates")
    return grpc.ssl_channel_credentials(root_certificates)
