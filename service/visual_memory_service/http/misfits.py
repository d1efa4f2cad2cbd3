"""Says which field keeps a JSON document from being a message, and what the field must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from visual_memory_service.errors import BadField

NAME_CHARACTERS = 64  # of a name that is told
OBJECT = "an object"
WISHES: Mapping[int, str] = MappingProxyType(
    {
        FieldDescriptor.TYPE_DOUBLE: "a number of 64 bits",
        FieldDescriptor.TYPE_FLOAT: "a number of 32 bits",
        FieldDescriptor.TYPE_INT64: "a whole number of 64 bits",
        FieldDescriptor.TYPE_INT32: "a whole number of 32 bits",
        FieldDescriptor.TYPE_BOOL: "true or false",
        FieldDescriptor.TYPE_STRING: "a text",
        FieldDescriptor.TYPE_BYTES: "a text in base64",
    }
)
TEXTS: Mapping[str, str] = MappingProxyType(  # messages that JSON has as texts
    {
        "google.protobuf.Duration": 'a duration such as "2.5s"',
        "google.protobuf.Timestamp": 'a time such as "2026-01-31T12:00:00Z"',
        "google.protobuf.FieldMask": 'names of fields such as "label,metadata"',
    }
)

# What ParseDict raises of documents that do not fit, such as of whole numbers of 400 digits.
UNFIT = (json_format.ParseError, ValueError, TypeError, ArithmeticError, RecursionError)


def misfit(document: Mapping[str, Any], kind: Descriptor, path: str = "") -> BadField | None:
    """Return what is wrong with the first field that does not fit, None if each does by itself.

    The document is at this ``path``. It takes a few times as long as to parse the document.
    """
    fields = fields_of(kind)
    for name, value in document.items():
        field, here = fields.get(name), inside(path, name)
        if field is None:
            known = ", ".join(sorted(each.json_name for each in kind.fields))
            return BadField(here, f"is no field here; there are: {known or 'none'}")
        if not fits({name: value}, kind):
            if field.is_repeated:
                return of_several(value, field, kind, here)
            return of_one(value, field, here)
    return None


def of_several(value: Any, field: FieldDescriptor, kind: Descriptor, path: str) -> BadField | None:
    """Return what is wrong with the value of a field that is an array or a map."""
    if is_map(field):
        if not isinstance(value, dict):
            return BadField(path, f"must be {OBJECT}")
        pairs, inner = list(value.items()), message_of(field)
        at = first_misfit(pairs, lambda some: fits({field.name: dict(some)}, kind))
        one = inner.fields_by_name["value"]
        return None if at is None else of_one(pairs[at][1], one, inside(path, pairs[at][0]))
    if not isinstance(value, list):
        return BadField(path, f"must be an array, of which each is {wish(field)}")
    at = first_misfit(value, lambda some: fits({field.name: some}, kind))
    return None if at is None else of_one(value[at], field, f"{path}[{at}]")


def of_one(value: Any, field: FieldDescriptor, path: str) -> BadField | None:
    """Return what is wrong with one value of a field."""
    if wish(field) == OBJECT and isinstance(value, dict):
        return misfit(value, message_of(field), path)
    return BadField(path, f"must be {wish(field)}")


def first_misfit(items: Sequence[Any], fit: Callable[[Sequence[Any]], bool]) -> int | None:
    """Return the index of the first item that does not fit, None if each does by itself.

    Halves of halves are tried, since there may be millions of items.
    """
    low, high = 0, len(items)
    while high - low > 1:
        middle = (low + high) // 2
        if fit(items[low:middle]):
            low = middle
        else:
            high = middle
    return None if fit(items[low:high]) else low


def fits(document: dict[str, Any], kind: Descriptor) -> bool:
    try:
        json_format.ParseDict(document, GetMessageClass(kind)())
    except UNFIT:
        return False
    return True


def wish(field: FieldDescriptor) -> str:
    """Return what each value of a field must be."""
    inner = field.message_type
    return WISHES[field.type] if inner is None else TEXTS.get(inner.full_name, OBJECT)


def fields_of(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """Return the fields of a message by the names that a document may have for them."""
    return {name: field for field in kind.fields for name in (field.name, field.json_name)}


def message_of(field: FieldDescriptor) -> Descriptor:
    """Return the type of the messages that a field has."""
    assert field.message_type is not None
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    inner = field.message_type
    return inner is not None and inner.GetOptions().map_entry


def inside(path: str, name: str) -> str:
    """Return the path of what has this name in what is at ``path``."""
    name = name or '""'
    if len(name) > NAME_CHARACTERS:
        name = f"{name[:NAME_CHARACTERS]}…"
    return f"{path}.{name}" if path else name
