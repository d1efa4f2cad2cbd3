"""Bodies of HTTP requests: how long they may be, how they are read, and the messages they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl

from google.protobuf.descriptor import FieldDescriptor
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from visual_memory_service.errors import BadField, TooLarge
from visual_memory_service.http.documents import BODY, is_images, parsed, set_array, to_message
from visual_memory_service.http.routes import ALL, Found, Route, set_text
from visual_memory_service.wire.messages import NUMBER

JSON_BYTES_MAX = 16 << 20  # as Python has it, JSON takes up to twenty times its size
GROWS = 2  # "0," of a vector are four bytes of a message
HEAD_BYTES = 65_536  # more than path and query can have
JSON, MULTIPART = "application/json", "multipart/form-data"
REQUEST_PART, IMAGE_PART = "request", "image"
PARTS_MAX = 20_000
SWITCHES = {"true": True, "false": False}
UNLEARNING = "UnlearnEntries"


@dataclass(frozen=True, slots=True)
class Sent:
    """What the head of a request says of its body: the type of content, and the bytes.

    The message that is made of it has ``message_bytes_max`` at most.
    """

    content_type: str
    length: int
    message_bytes_max: int

    @classmethod
    def of(cls, request: Request, bytes_max: int) -> Self:
        """Read the head. Raises BadField, and TooLarge for more than a message may have."""
        size, headers = request.headers.get("content-length", "0"), request.headers
        if "transfer-encoding" in headers:
            raise BadField(BODY, "must come with a Content-Length, and not in chunks")
        if not NUMBER.fullmatch(size):
            raise BadField("Content-Length", "must be a number of bytes")
        length, kind = int(size), headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() == MULTIPART:
            if length > bytes_max:
                raise TooLarge(length, bytes_max)
            return cls(kind, length, min(length + HEAD_BYTES, bytes_max))
        if length and kind.partition(";")[0].strip().lower() != JSON:
            raise BadField(
                "Content-Type", f"must be {JSON} or {MULTIPART} (curl has --json and -F)"
            )
        if length > min(JSON_BYTES_MAX, bytes_max):
            raise BadField(
                BODY,
                f"has {length} bytes, but at most {min(JSON_BYTES_MAX, bytes_max)} of JSON are "
                f"read; send pictures as {MULTIPART}, or fewer at once",
            )
        return cls(JSON, length, min(GROWS * length + HEAD_BYTES, bytes_max))

    async def body(self, request: Request) -> bytes:
        """Receive the body. Raises ClientDisconnect."""
        return await request.body() if self.length else b""


def to_request(found: Found, query: str, sent: Sent, body: bytes) -> bytes:
    """Convert a request to the serialized message of its call. Raises BadField, TooLarge."""
    route = found.route
    content, images = read(route, sent, body)
    document = whole(route, content)
    for name, value in in_query(route, query).items():
        document[name] = value
    for path, value in found.values.items():
        set_text(document, path, value)
    message: Any = to_message(document, route.request)
    if images:
        set_images(message if route.body == ALL else getattr(message, route.body), images)
    if route.call == UNLEARNING and not message.id_count:
        message.id_count = len(message.ids)  # all have come, or the body would have broken off
    data: bytes = message.SerializeToString()
    if len(data) > sent.message_bytes_max:
        raise TooLarge(len(data), sent.message_bytes_max)
    return data


def read(route: Route, sent: Sent, body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the document that a body is, and the pictures that come in parts. Raises BadField."""
    if route.body_type is None:
        if body.strip():
            raise BadField(BODY, f"of {route.verb} {route.template} must be empty")
        return {}, []
    if sent.content_type == JSON:
        return parsed(body), []
    return from_parts(parts(body, sent.content_type))


def whole(route: Route, content: dict[str, Any]) -> dict[str, Any]:
    """Return the document of the whole message, of which the body is a field, or all."""
    return {route.body: content} if route.body not in ("", ALL) else content


def in_query(route: Route, query: str) -> dict[str, Any]:
    """Return the fields that a query says. Raises BadField."""
    fields = {name: field for field in route.parameters() for name in (field.name, field.json_name)}
    document = dict[str, Any]()
    try:
        said = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadField("The query", "must be UTF-8, in which other bytes are %XX") from None
    for name, value in said:
        field = fields.get(name)
        if field is None:
            known = ", ".join(sorted(each.json_name for each in route.parameters()))
            raise BadField(
                name or "The query", f"is no parameter here; there are: {known or 'none'}"
            )
        if field.json_name in document:
            raise BadField(name, "comes twice in the query")
        document[field.json_name] = SWITCHES.get(value, value) if is_switch(field) else value
    return document


def is_switch(field: FieldDescriptor) -> bool:
    """Return True if a field is true or false."""
    return field.type == FieldDescriptor.TYPE_BOOL


def from_parts(found: list[tuple[str, bytes]]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the document of the part "request", if there is one, and the parts "image".

    Raises BadField.
    """
    requests = [data for name, data in found if name == REQUEST_PART]
    for name, _ in found:
        if name not in (REQUEST_PART, IMAGE_PART):
            raise BadField(
                f"The part {name!r}", f'must be named "{REQUEST_PART}" or "{IMAGE_PART}"'
            )
    if len(requests) > 1:
        raise BadField(f'The part "{REQUEST_PART}"', "comes twice")
    if requests and len(requests[0]) > JSON_BYTES_MAX:
        raise BadField(f'The part "{REQUEST_PART}"', f"has more than {JSON_BYTES_MAX} bytes")
    images = [data for name, data in found if name == IMAGE_PART]
    return parsed(requests[0]) if requests else {}, images


def set_images(message: Any, images: list[bytes]) -> None:
    """Set the pictures of a message. Raises BadField if it has none, or has others already."""
    field = next((each for each in message.DESCRIPTOR.fields if is_images(each)), None)
    if field is None:
        raise BadField(f'The part "{IMAGE_PART}"', "is of no use here: the call takes no images")
    try:
        set_array(message, (field.name,), images)
    except ValueError:
        raise BadField(
            field.json_name, f'or vectors are in the part "{REQUEST_PART}", too; send one of both'
        ) from None


def parts(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Return the name and the content of each part of a multipart body. Raises BadField."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise BadField("Content-Type", f"{MULTIPART} must say its boundary")
    reading = Parts()
    try:
        parser = MultipartParser(boundary, reading.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError) as problem:
        raise BadField(BODY, f"is not {MULTIPART}: {problem}") from None
    if not reading.ended:
        raise BadField(BODY, f"is not {MULTIPART}, or breaks off before its last boundary")
    return reading.found


class Parts:
    """Takes the parts of a multipart body from their parser."""

    def __init__(self) -> None:
        self.found, self.ended = list[tuple[str, bytes]](), False
        self._data, self._header, self._value, self._name = bytearray(), b"", b"", ""

    def callbacks(self) -> Any:
        """Return what the parser is to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.found) == PARTS_MAX:
            raise BadField(BODY, f"has more than {PARTS_MAX} parts")
        self._data, self._name = bytearray(), ""

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode()
        self._header, self._value = b"", b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _end_part(self) -> None:
        self.found.append((self._name, bytes(self._data)))

    def _end(self) -> None:
        self.ended = True
