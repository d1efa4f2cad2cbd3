"""The gRPC methods of the server: what each needs of its caller's key."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from visual_memory.scopes import CALLS, INFERENCE, PERMITS, READ, SCOPES, Call
from visual_memory_service.access.callers import ANYBODY, Caller, Callers
from visual_memory_service.access.keys import Key
from visual_memory_service.errors import OtherMemories, WrongScope

HEALTH = "/grpc.health.v1."
INFERENCE_PATH = "/inference."
OURS = ("/visual_memory.v1.", INFERENCE_PATH)
PROBES = (
    f"{INFERENCE_PATH}GRPCInferenceService/ServerLive",
    f"{INFERENCE_PATH}GRPCInferenceService/ServerReady",
)
PUBLIC = MappingProxyType(  # as the setting names them
    {"GetServerInfo": "server-info", "ServerReflectionInfo": "reflection"}
)
ANY_KEY = Call(frozenset(SCOPES), memories=())
CERTIFICATE_NAMES = "certificate-names-bin"  # of metadata, by which HTTP passes them on
OWN_SOCKET = "unix:"  # which only this process may connect to
NAMES = ("x509_subject_alternative_name", "x509_common_name")  # of a certificate, to gRPC


@dataclass(frozen=True, slots=True)
class Method:
    """A gRPC method: its path and handler, and what it ``needs`` of the key of one of ``callers``.

    Without these nobody needs a key, nor for what ``is_open``. It ``is_ours`` if it is of our
    service, in contrast to health and reflection, and ``is_stream`` with several requests or
    answers.
    """

    path: str
    handler: Any
    callers: Callers | None
    needs: Call
    is_open: bool
    is_ours: bool
    is_stream: bool

    @classmethod
    def of(cls, path: str, handler: Any, callers: Callers | None, public: Collection[str]) -> Self:
        """Return a method; health needs no key, and neither does what is ``public``."""
        name, is_ours = path.rpartition("/")[2], path.startswith(OURS)
        is_stream = bool(handler.request_streaming or handler.response_streaming)
        is_open = path.startswith(HEALTH) or path in PROBES or PUBLIC.get(name) in public
        needs = ANY_KEY
        if callers is not None and is_ours and not is_open:
            needs = (INFERENCE if path.startswith(INFERENCE_PATH) else CALLS)[name]
        return cls(path, handler, callers, needs, is_open, is_ours, is_stream)

    @property
    def name(self) -> str:
        """The name of the call, without that of its service."""
        return self.path.rpartition("/")[2]

    @property
    def full_name(self) -> str:
        """The name of the call with that of its service, as OpenTelemetry has it."""
        return self.path[1:]

    @property
    def is_admitted(self) -> bool:
        """True if its calls wait for room; others are told under any load, and small."""
        return self.is_ours and not self.is_open

    @property
    def only_reads(self) -> bool:
        """True if its calls change nothing."""
        return READ in self.needs.scopes

    @property
    def may_take_long(self) -> bool:
        """True if how long a call takes is up to its client."""
        return self.is_stream or not self.is_ours or self.name == "WaitOperation"

    def caller(self, context: Any) -> Caller | None:
        """Return the caller, None if it needs no key. Raises as ``Callers``."""
        if self.callers is None or self.is_open:
            return None
        return self.callers.find(context.invocation_metadata, certificate_names(context))

    def check_scope(self, key: Key) -> None:
        """Raise WrongScope if a key does not permit the call."""
        if key is ANYBODY.key:
            return
        if not any(map(key.permits, self.needs.scopes)):
            permitted = [scope for scope in SCOPES if PERMITS[scope] & self.needs.scopes]
            raise WrongScope(key.name, key.scopes, self.name, permitted)

    def check_memories(self, message: Any, key: Key) -> None:
        """Raise OtherMemories if a message names a memory that the key is not for."""
        if not key.memories:
            return
        for path in self.needs.memories:
            named = message
            for field in path.split("."):
                named = getattr(named, field)
            memory = named.partition("/")[0]
            if memory and not key.is_for(memory):
                raise OtherMemories(key.name, key.memories, memory)


def certificate_names(context: Any) -> Iterator[str]:
    """Yield the names in the certificate of a caller, which gRPC or HTTP has verified."""
    known = context.auth_context()
    for kind in NAMES:
        for name in known.get(kind, ()):
            yield name.decode(errors="replace")
    if is_own(context):
        for name, value in context.invocation_metadata() or ():
            if name == CERTIFICATE_NAMES:
                yield value.decode(errors="replace")


def is_own(context: Any) -> bool:
    """Return True if a call comes from this process, which makes it for one by HTTP."""
    peer: str = context.peer()
    return peer.startswith(OWN_SOCKET)
