"""JSON documents of messages, by the JSON mapping of protobuf, but for vectors and images.

A message ``Vectors`` is an array of rows, each an array of numbers, ``Images`` an array of texts in
base64, and the vector of an entry an array of numbers. Bytes that are not set are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar

import numpy as np
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from visual_memory_service.errors import BadField

BODY = "The body"
FLOAT = "<f4"
VECTORS, IMAGES = "visual_memory.v1.Vectors", "visual_memory.v1.Images"
VECTOR_FIELD = "visual_memory.v1.Entry.vector"

M = TypeVar("M", bound=Message)


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; an empty body is an empty object. Raises BadField."""
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=refuse_constant, object_pairs_hook=without_twins)
    except RecursionError:
        raise BadField(BODY, "is nested too deeply") from None
    except ValueError as problem:
        raise BadField(BODY, f"is not JSON: {problem}") from None
    if not isinstance(document, dict):
        raise BadField(BODY, "must be a JSON object")
    return document


def refuse_constant(name: str) -> NoReturn:
    """Refuse a number that JSON does not have."""
    raise ValueError(f"{name} is no number")


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, none of whose names comes twice. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twin}" comes twice in one object')
    return found


def to_message(document: Mapping[str, Any], kind: type[M]) -> M:
    """Convert a document to a message. Raises BadField."""
    message = kind()
    try:
        descriptor: Any = kind.DESCRIPTOR
        json_format.ParseDict(packed(document, descriptor, ""), message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as problem:
        raise BadField(BODY, f"does not fit: {first_line(problem)}") from None
    return message


def first_line(problem: Exception) -> str:
    """Return what protobuf says of a document, without its list of all fields."""
    return str(problem).partition("\n")[0].removesuffix(".") or type(problem).__name__


def packed(value: Any, kind: Descriptor, path: str) -> Any:
    """Return the document of a message with its vectors and images as protobuf has them."""
    if not has_arrays(kind) or not isinstance(value, dict):
        return value
    fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    return {
        name: packed_field(each, fields[name], f"{path}{name}") if name in fields else each
        for name, each in value.items()
    }


def packed_field(value: Any, field: FieldDescriptor, path: str) -> Any:
    kind = field.message_type
    if value is None or kind is None or kind.GetOptions().map_entry:
        return value
    if kind.full_name == VECTORS:
        return packed_vectors(value, path)
    if kind.full_name == IMAGES:
        return packed_images(value, path)
    if field.is_repeated and isinstance(value, list):
        return [packed(each, kind, f"{path}[{at}].") for at, each in enumerate(value)]
    return packed(value, kind, f"{path}.")


def packed_vectors(rows: Any, path: str) -> dict[str, Any]:
    wish = "must be an array of rows, each an array of as many numbers"
    if not isinstance(rows, list):
        raise BadField(path, wish)
    try:
        values = np.array(rows) if rows else np.empty((0, 0))
    except ValueError:
        raise BadField(path, wish) from None
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise BadField(path, wish)
    with np.errstate(over="ignore"):  # the call refuses what is not finite
        data = values.astype(FLOAT).tobytes()
    return {"rows": len(rows), "data": base64.b64encode(data).decode()}


def packed_images(images: Any, path: str) -> dict[str, Any]:
    if not isinstance(images, list):
        raise BadField(path, "must be an array of texts in base64")
    for at, image in enumerate(images):
        if not isinstance(image, str) or not is_base64(image):
            raise BadField(f"{path}[{at}]", "must be a text in base64")
    return {"data": images}


def is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def to_document(message: Message) -> dict[str, Any]:
    """Convert a message to a document."""
    document: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True
    )
    descriptor: Any = message.DESCRIPTOR
    unpack(document, descriptor)
    return document


def unpack(document: dict[str, Any], kind: Descriptor) -> None:
    """Replace the vectors of a document by arrays, and leave out bytes that are not set."""
    if not has_arrays(kind):
        return
    for field in kind.fields:
        name, inner = field.json_name, field.message_type
        if name not in document:
            continue
        value = document[name]
        if field.type == FieldDescriptor.TYPE_BYTES and not field.is_repeated:
            if not value:
                del document[name]
            elif field.full_name == VECTOR_FIELD:
                document[name] = numbers(value).tolist()
        elif inner is None or inner.GetOptions().map_entry:
            continue
        elif inner.full_name == VECTORS:
            document[name] = numbers(value["data"]).reshape(value["rows"], -1).tolist()
        else:
            for each in value if field.is_repeated else [value]:
                unpack(each, inner)


def dumped(document: Mapping[str, Any]) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def numbers(text: str) -> Any:
    """Return float32 numbers, as Python prints them."""
    return np.frombuffer(base64.b64decode(text), FLOAT)


@cache
def has_arrays(kind: Descriptor) -> bool:
    """Return True if a message may hold bytes, itself or in others."""
    return holds(kind, set())


def holds(kind: Descriptor, seen: set[str]) -> bool:
    seen.add(kind.full_name)
    return any(
        field.type == FieldDescriptor.TYPE_BYTES
        or (
            field.message_type is not None
            and field.message_type.full_name not in seen
            and holds(field.message_type, seen)
        )
        for field in kind.fields
    )
