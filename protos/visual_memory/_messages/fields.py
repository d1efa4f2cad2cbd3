"""Checks of the fields of requests, which name the path of a field at fault."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from numbers import Real
from types import MappingProxyType
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from visual_memory._messages.arrays import is_array, to_numpy
from visual_memory.errors import refuse
from visual_memory.types import Operation

Metadata: TypeAlias = Mapping[str, str]
Check: TypeAlias = Callable[[Any, str], Any]
P = ParamSpec("P")
M = TypeVar("M", bound=Message)

TEXT_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
SECONDS_MAX = 600
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
WISHES = {
    FieldDescriptor.CPPTYPE_STRING: "a string",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
}


def name_of(operation: str | Operation) -> str:
    """Return the name of an operation, which may be given by its name."""
    return operation.name if isinstance(operation, Operation) else operation


def message(kind: Callable[P, M], *_: P.args, **fields: P.kwargs) -> M:
    """Build a protobuf message of the class ``kind`` from its fields.

    Raises InvalidArgument, naming the field, for a value of a wrong type.
    """
    try:
        return kind(**fields)  # type: ignore[call-arg]  # fields alone, which messages are made of
    except (TypeError, ValueError, OverflowError):
        for name, value in fields.items():
            check_field(kind, name, value)
        raise


def check_field(kind: Callable[..., Message], name: str, value: object) -> None:
    """Raise InvalidArgument if ``value`` has the wrong type for the scalar field ``name``.

    Raises TypeError if there is no such field.
    """
    fields = kind.DESCRIPTOR.fields_by_name  # type: ignore[attr-defined]  # a class of messages
    if name not in fields:  # of the keywords that a method hands on
        raise TypeError(f"unexpected keyword argument {name!r}")
    field = fields[name]
    try:
        kind(**{name: value})
    except UnicodeError:
        refuse(name, f"must be UTF-8, but is {value!r:.80}")
    except (TypeError, ValueError, OverflowError):
        if field.cpp_type in WISHES:
            refuse(name, f"must be {WISHES[field.cpp_type]}, but is {value!r:.80}")


def or_new_id(request_id: str | None) -> str:
    """Return the request_id, or a new random one if it is None or empty."""
    return uuid.uuid4().hex if request_id is None or request_id == "" else request_id


def whole(value: int, path: str, *, least: int) -> int:
    """Return a whole number as int, or the largest int32 if it is larger.

    The server takes so large a number to mean all there are. Raises InvalidArgument, naming the
    field ``path``, for other types and numbers below ``least``.
    """
    number = to_index(value, path)
    if number < least:
        refuse(path, f"must be at least {least}, but is {number}")
    return min(number, INT32_MAX)


def to_seed(seed: int, path: str) -> int:
    """Return a seed as int. Raises InvalidArgument, naming ``path``, unless it is 0 to 2^63 − 1."""
    number = to_index(seed, path)
    if not 0 <= number <= INT64_MAX:
        refuse(path, f"must be 0 to {INT64_MAX}, but is {number}")
    return number


def to_index(value: int, path: str) -> int:
    """Convert a whole number of any type, such as NumPy's, to int.

    Raises InvalidArgument, naming the field ``path``, for other types.
    """
    try:
        return operator.index(value)
    except TypeError:
        refuse(path, f"must be a whole number, but is {value!r}")


def to_duration(seconds: float, path: str) -> Duration:
    """Convert seconds to a Duration message.

    Raises InvalidArgument, naming the field ``path``, unless they are 0 to 600.
    """
    if not isinstance(seconds, Real) or not 0 <= seconds <= SECONDS_MAX:
        refuse(path, f"must be 0 to {SECONDS_MAX}, but are {seconds!r:.80}")
    return Duration(nanos=int(seconds % 1 * 1e9), seconds=int(seconds))


def strings(values: Iterable[str], path: str) -> list[str]:
    """Return the strings as a list.

    Raises InvalidArgument, naming the field ``path``, for a single string and for other items.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        refuse(path, f"must be a list of strings, but is {values!r:.80}")
    listed = list(values)
    for number, value in enumerate(listed):
        text_bytes(value, f"{path}[{number}]")
    return listed


def mappings(metadata: Iterable[Metadata]) -> list[Metadata]:
    """Return the metadata of several entries as a list.

    Raises InvalidArgument, naming ``metadata``, for a single mapping. Items are not checked.
    """
    if isinstance(metadata, Mapping):
        refuse("metadata", "must be a list with one mapping for each entry, but is one mapping")
    if not isinstance(metadata, Iterable):
        refuse("metadata", f"must be a list of mappings, but is {metadata!r:.80}")
    return list(metadata)


def check_metadata(metadata: Metadata, path: str) -> None:
    """Check that an entry's metadata maps strings to strings, with at most 16,384 bytes in all.

    Keys must be valid as in ``check_text``. Raises InvalidArgument; ``path`` is the entry's in
    errors.
    """
    check_mapping(metadata, f"{path}.metadata", "strings to strings")
    size = 0
    for key, value in metadata.items():
        check_text(key, f"{path}.metadata key")
        size += text_bytes(key, f"{path}.metadata") + text_bytes(value, f"{path}.metadata")
    if size > METADATA_BYTES_MAX:
        refuse(f"{path}.metadata", f"must be at most {METADATA_BYTES_MAX} bytes, but has {size}")


def check_labels(labels: Mapping[str, str], path: str) -> None:
    """Check that ids and labels in ``labels`` (label by id) are valid as in ``check_text``.

    Raises InvalidArgument, naming the field ``path``.
    """
    check_mapping(labels, path, "ids to labels")
    for id, label in labels.items():
        check_text(id, f"{path} key")
        check_text(label, f"{path}[{id!r:.80}]")


def check_mapping(mapping: Mapping[str, str], path: str, wish: str) -> None:
    """Check that a mapping maps strings to strings.

    Raises InvalidArgument, naming the field ``path``; ``wish``, such as "ids to labels", says there
    what it must map if it is no mapping.
    """
    if not isinstance(mapping, Mapping):
        refuse(path, f"must map {wish}, but is {mapping!r:.80}")
    for key, value in mapping.items():
        if not isinstance(key, str) or not isinstance(value, str):
            refuse(path, f"must map strings to strings, but has {key!r:.80}: {value!r:.80}")


def check_text(text: str, path: str) -> None:
    """Check that an id, a label or a key of metadata is 1 to 256 UTF-8 bytes without NUL.

    Raises InvalidArgument, naming the field ``path``.
    """
    size = text_bytes(text, path)
    if not 1 <= size <= TEXT_BYTES_MAX or "\0" in text:
        refuse(path, f"must be 1 to {TEXT_BYTES_MAX} UTF-8 bytes without NUL, but has {size}")


def text_bytes(text: str, path: str) -> int:
    """Return the length of a text in UTF-8 bytes.

    Raises InvalidArgument, naming the field ``path``, for other types and lone surrogates.
    """
    if not isinstance(text, str):
        way_out = f"; use str({text})" if isinstance(text, Real) else ""
        refuse(path, f"must be a string, but is {text!r:.80}{way_out}")
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        refuse(path, f"must be UTF-8, but is {text!r:.80}")


def share(fraction: float | None, path: str) -> float:
    """Return ``fraction`` if it is between 0 and 1, both excluded.

    Raises InvalidArgument, naming the field ``path``, for other values and None.
    """
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        refuse(path, f"must be between 0 and 1, both excluded, but is {fraction!r:.80}")
    return fraction


def floats(vector: Any, path: str) -> list[float]:
    """Return the numbers of a vector (d,), d ≥ 1, as a list.

    Raises InvalidArgument, naming the field ``path``, for other shapes and types.
    """
    import numpy as np

    try:
        given = to_numpy(vector, path) if is_array(vector) else vector
        array = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        refuse(path, f"must be a vector of numbers, but is {vector!r:.80}")
    if array.ndim != 1 or not array.size:
        refuse(path, f"must be a vector (d,), but has the shape {array.shape}")
    return cast("list[float]", array.tolist())


def optional(check: Check) -> Check:
    return lambda value, path: None if value is None else check(value, path)


natural, positive = partial(whole, least=0), partial(whole, least=1)
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "clusters": natural,
        "domain_mean": optional(floats),
        "exclude_ids": strings,
        "fraction": share,
        "ids": strings,
        "k": optional(positive),
        "level": optional(natural),
        "neighbors": optional(natural),
        "reliability_k": optional(positive),
        "seed": to_seed,
        "thin": positive,
        "threshold": positive,
        "value_k": positive,
    }
)


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's options by name, those in ``CHECKS`` checked and converted by its rules.

    Raises InvalidArgument, naming the option. Other options stay as they are; ``message`` checks
    the types of their values.
    """
    return {
        name: CHECKS[name](value, name) if name in CHECKS else value
        for name, value in options.items()
    }
