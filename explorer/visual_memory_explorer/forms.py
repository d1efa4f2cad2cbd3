"""Forms: what a browser sends, read in RAM alone, for it may be what somebody has erased later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

FORM_BYTES_MAX = 160 << 20
FIELDS_MAX = 20_000
FIELDS, PARTS = b"application/x-www-form-urlencoded", b"multipart/form-data"


class BadForm(Exception):
    """A form that cannot be read; the message says why."""


class TooMuch(BadForm):
    """A form with more bytes than are read."""


class Form:
    """The fields of a form, in order, and its files; what is missing is empty."""

    def __init__(self, fields: list[tuple[str, str]], files: list[tuple[str, bytes]]) -> None:
        self._fields, self._files = fields, files

    def text(self, name: str) -> str:
        """Return the first field of a name."""
        return next((text for key, text in self._fields if key == name), "")

    def files(self, name: str) -> list[bytes]:
        """Return the files of a name; one that was not chosen comes empty, and is left out."""
        return [data for key, data in self._files if key == name and data]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)


async def read(request: Request) -> Form:
    """Read the form of a request. Raises BadForm, ClientDisconnect."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    body = await read_body(request)
    if kind == PARTS:
        return from_parts(body, options.get(b"boundary", b""))
    if body and kind != FIELDS:
        raise BadForm("The form must be sent as a browser sends it.")
    try:
        fields = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        raise BadForm(f"The form is not UTF-8, or has more than {FIELDS_MAX:,} fields.") from None
    return Form(fields, [])


async def read_body(request: Request) -> bytes:
    """Return the body. Raises TooMuch."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise TooMuch(f"At most {FORM_BYTES_MAX >> 20} MB are read at once: send fewer.")
    return bytes(body)


def from_parts(body: bytes, boundary: bytes) -> Form:
    """Return the form that a multipart body is. Raises BadForm."""
    reading = Parts()
    try:
        parser = MultipartParser(boundary, reading.callbacks())
        parser.write(body)
        parser.finalize()
        return reading.form()
    except (FormParserError, UnicodeDecodeError) as problem:
        raise BadForm(f"The form cannot be read: {problem}.") from None


class Parts:
    """Takes the parts of a multipart body from their parser."""

    def __init__(self) -> None:
        self._found = list[tuple[Mapping[bytes, bytes], bytes]]()
        self._data, self._header, self._value = bytearray(), b"", b""
        self._disposition: Mapping[bytes, bytes] = {}

    def callbacks(self) -> Any:
        """Return what the parser is to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_data,
            "on_part_end": self._end_part,
        }

    def form(self) -> Form:
        """Return the form; a part with the name of a file is one. Raises UnicodeDecodeError."""
        fields, files = list[tuple[str, str]](), list[tuple[str, bytes]]()
        for disposition, data in self._found:
            name = disposition.get(b"name", b"").decode()
            if b"filename" in disposition:
                files.append((name, data))
            else:
                fields.append((name, data.decode()))
        return Form(fields, files)

    def _begin(self) -> None:
        if len(self._found) == FIELDS_MAX:
            raise BadForm(f"The form has more than {FIELDS_MAX:,} fields.")
        self._data, self._disposition = bytearray(), {}

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, self._disposition = parse_options_header(self._value)
        self._header = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _end_part(self) -> None:
        self._found.append((self._disposition, bytes(self._data)))
