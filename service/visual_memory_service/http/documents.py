"""JSON documents of messages, by the JSON mapping of protobuf, but for vectors and images.

A message ``Vectors`` is an array of rows, each an array of numbers, ``Images`` an array of texts in
base64, and the vector of an entry an array of numbers. Bytes that are not set are left out.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import NDArray

from visual_memory_service.errors import BadField
from visual_memory_service.http.misfits import (
    OBJECT,
    UNFIT,
    fields_of,
    is_map,
    message_of,
    misfit,
    wish,
)

BODY = "The body"
FLOAT = "<f4"
VECTORS, IMAGES = "visual_memory.v1.Vectors", "visual_memory.v1.Images"
NUMBERS = frozenset({int, float})  # of Python, as JSON has them
FLOATS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
VECTOR_FIELD = "visual_memory.v1.Entry.vector"

M = TypeVar("M", bound=Message)
Rows: TypeAlias = NDArray[np.float32]
Array: TypeAlias = tuple[tuple[str, ...], Rows | list[bytes]]  # the path of its field, and values


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; an empty body is an empty object. Raises BadField."""
    if not body.strip():
        return {}
    try:
        document = json.loads(body, parse_constant=refuse_constant, object_pairs_hook=without_twins)
    except RecursionError:
        raise BadField(BODY, "is nested too deeply") from None
    except json.JSONDecodeError as problem:
        raise BadField(BODY, f"is not JSON: {problem}") from None
    except UnicodeError:
        raise BadField(BODY, "is not JSON: it is not UTF-8, or has half a surrogate pair") from None
    except ValueError:
        raise BadField(BODY, "has a number of more than 4,300 digits") from None
    if not isinstance(document, dict):
        raise BadField(BODY, "must be a JSON object")
    return document


def refuse_constant(name: str) -> NoReturn:
    """Refuse a number that JSON does not have."""
    raise BadField(BODY, f"is not JSON: {name} is no number")


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, none of whose names comes twice or is no Unicode.

    Raises BadField, UnicodeError.
    """
    found = dict(pairs)
    "".join(found).encode()  # protobuf fails on lone surrogates in another way
    if len(found) < len(pairs):
        ((twin, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise BadField(BODY, f'is not JSON: "{twin}" comes twice in one object')
    return found


def to_message(document: Mapping[str, Any], kind: type[M]) -> M:
    """Convert a document to a message. Raises BadField."""
    message, arrays = kind(), list[Array]()
    descriptor: Any = kind.DESCRIPTOR
    kept = without_arrays(document, descriptor, (), arrays)
    try:
        json_format.ParseDict(kept, message)
        for path, values in arrays:
            set_array(message, path, values)
    except UNFIT as problem:
        told = misfit(kept, descriptor)
        raise told or BadField(BODY, f"does not fit: {first_line(problem)}") from None
    return message


def first_line(problem: Exception) -> str:
    """Return what protobuf says of fields that exclude each other."""
    return str(problem).partition("\n")[0].removesuffix(".")


def without_arrays(
    document: Mapping[str, Any], kind: Descriptor, path: tuple[str, ...], arrays: list[Array]
) -> dict[str, Any]:
    """Return the document of a message without its vectors and images, which ``arrays`` get.

    Raises BadField for what protobuf would take for a message, or a number, though it is none.
    """
    fields, kept = fields_of(kind), dict[str, Any]()
    for name, value in document.items():
        field, here = fields.get(name), ".".join((*path, name))
        if field is None or value is None or is_map(field):
            kept[name] = value
            continue
        inner, at = field.message_type, (*path, field.name)
        if inner is not None and inner.full_name == VECTORS:
            arrays.append((at, to_rows(value, here)))
        elif inner is not None and inner.full_name == IMAGES:
            arrays.append((at, to_pictures(value, here)))
        elif wish(field) == OBJECT and isinstance(value, dict) and not field.is_repeated:
            kept[name] = without_arrays(value, message_of(field), at, arrays)
        else:
            check(value, field, here)
            kept[name] = value
    return kept


def check(value: Any, field: FieldDescriptor, path: str) -> None:
    """Raise BadField if protobuf would take the value of a field for what it is not."""
    wanted, is_array = wish(field), field.is_repeated
    if (wanted != OBJECT and field.type not in FLOATS) or (
        is_array and not isinstance(value, list)
    ):
        return
    for at, each in enumerate(value if is_array else [value]):
        if isinstance(each, bool) or (wanted == OBJECT and not isinstance(each, dict)):
            raise BadField(f"{path}[{at}]" if is_array else path, f"must be {wanted}")


def set_array(message: Any, path: tuple[str, ...], values: Rows | list[bytes]) -> None:
    """Set vectors or images of a message. Raises ValueError if they come twice, or beside others.

    So protobuf refuses two fields of a oneof.
    """
    *outer, last = path
    for name in outer:
        message = getattr(message, name)
    group = message.DESCRIPTOR.fields_by_name[last].containing_oneof
    if message.HasField(last) or (group is not None and message.WhichOneof(group.name)):
        raise ValueError(f"{last} come twice, or beside what excludes them")
    array = getattr(message, last)
    array.SetInParent()
    if isinstance(values, list):
        array.data.extend(values)
    else:
        array.rows, array.data = len(values), values.tobytes()


def to_rows(rows: Any, path: str) -> Rows:
    """Return float32 vectors (n, d) of an array of rows. Raises BadField."""
    wish = "must be an array of rows, each an array of as many numbers"
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise BadField(path, wish)
    if len(set(map(len, rows))) > 1 or not all(NUMBERS.issuperset(map(type, row)) for row in rows):
        raise BadField(path, wish)
    try:
        values = np.array(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 0)
    except OverflowError:
        raise BadField(path, "must be of numbers within the range of float64") from None
    with np.errstate(over="ignore"):  # the call refuses what is not finite
        return values.astype(FLOAT)


def to_pictures(images: Any, path: str) -> list[bytes]:
    """Return pictures of an array of texts in base64. Raises BadField."""
    if not isinstance(images, list):
        raise BadField(path, "must be an array of texts in base64")
    return [to_bytes(image, f"{path}[{at}]") for at, image in enumerate(images)]


def to_bytes(text: Any, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise BadField(path, "must be a text in base64") from None


def is_images(field: FieldDescriptor) -> bool:
    """Return True if a field holds pictures."""
    return field.message_type is not None and field.message_type.full_name == IMAGES


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
