"""Routes: which HTTP requests make which calls, by the ``google.api.http`` rules of the protos."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from visual_memory.scopes import SERVICE
from visual_memory_service.errors import BadField

ALL: Final = "*"  # as body: the whole message but what the path says
VERBS = ("get", "post", "put", "patch", "delete")
VARIABLE = re.compile(r"\{([\w.]+)(?:=([^}]+))?\}")
SLASH = "(?:/|%2[Ff])"
COLON = re.compile("%3a", re.IGNORECASE)
SEGMENT = "(?:(?!%2[Ff])[^/:])+"  # of names, which have no colon
SEGMENTS: Mapping[str, str] = MappingProxyType(
    {"*": SEGMENT, "*/*": f"{SEGMENT}{SLASH}{SEGMENT}", "**": ".+"}
)


@dataclass(frozen=True, slots=True)
class Route:
    """A call by HTTP: its name, the verb and template of its path, and the field of the body.

    The ``variables`` are the fields that the path says, in order.

    The body is one field of the message, ``ALL`` others than those of the path, or none ("").
    """

    call: str
    verb: str
    template: str
    body: str
    request: type[Message]
    response: type[Message]
    pattern: re.Pattern[str]
    variables: tuple[str, ...]

    @property
    def grpc_path(self) -> str:
        """The path of the call for gRPC."""
        return f"/{SERVICE.full_name}/{self.call}"

    @property
    def body_type(self) -> Descriptor | None:
        """The type of message that the body is, None without one."""
        kind: Any = self.request.DESCRIPTOR
        if not self.body:
            return None
        inner: Descriptor = (
            kind if self.body == ALL else kind.fields_by_name[self.body].message_type
        )
        return inner

    def parameters(self) -> Iterator[FieldDescriptor]:
        """Yield the fields that the query may say: those of neither the path nor the body."""
        if self.body == ALL:
            return
        fields: Any = self.request.DESCRIPTOR.fields
        for field in fields:
            if field.name not in self.variables and field.name != self.body:
                yield field


class Found(NamedTuple):
    """A route, with the value of each field that the path says."""

    route: Route
    values: dict[str, str]


def make_routes() -> list[Route]:
    """Return the routes of all calls that have a rule."""
    routes = list[Route]()
    for method in SERVICE.methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        for verb in VERBS:
            if template := getattr(rule, verb):
                routes.append(
                    Route(
                        method.name,
                        verb.upper(),
                        template,
                        rule.body,
                        GetMessageClass(method.input_type),
                        GetMessageClass(method.output_type),
                        compiled(template),
                        tuple(name for name, _ in VARIABLE.findall(template)),
                    )
                )
    return routes


def compiled(template: str) -> re.Pattern[str]:
    """Return a pattern of paths, as they are sent, with a group for each variable in order."""
    at, pattern = 0, ""
    for found in VARIABLE.finditer(template):
        pattern += re.escape(template[at : found.start()])
        pattern += f"({SEGMENTS[found[2] or '*']})"
        at = found.end()
    return re.compile(pattern + re.escape(template[at:]))


def find(routes: list[Route], verb: str, path: str) -> Found | set[str]:
    """Return the route of a request by its path as it was sent, else the verbs that path takes.

    Raises BadField if the path is not UTF-8.
    """
    verbs, path = set[str](), COLON.sub(":", path)
    for route in routes:
        if (found := route.pattern.fullmatch(path)) is None:
            continue
        if route.verb != verb:
            verbs.add(route.verb)
            continue
        return Found(route, dict(zip(route.variables, map(decoded, found.groups()), strict=True)))
    return verbs


def decoded(text: str) -> str:
    """Return a part of a path or query without its percent signs. Raises BadField."""
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadField("The path", "must be UTF-8, in which other bytes are %XX") from None


def set_text(document: dict[str, Any], path: str, value: str) -> None:
    """Set the field of this path in a document. Raises BadField if it has another value already."""
    *outer, last = path.split(".")
    for name in outer:
        document = document.setdefault(name, {})
    if document.setdefault(last, value) != value:
        raise BadField(path, f"is {value!r} in the path, but another in the body")
