"""Entries in a Parquet file: id, label, vector or image, and metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visual_memory.tables import EMBEDDER, SHA256
from visual_memory.terminal.refused import MissingExtra, Refused, listed
from visual_memory_service.pictures.item import Content, Item

ROWS = {"vector": 4096, "image": 64}  # about 20 MiB at a time
OPTIONAL = ("metadata", "image", SHA256, "pruned")
WANTED = "id and label (text), and vector (list of float) or image (binary); metadata is optional"


class File:
    """A Parquet file of entries, read in batches of rows; images beside vectors only if ``kept``.

    Vectors have the ``dimension`` of a memory. ``leaves_out_images`` says that it has such images,
    which are not kept.

    Raises Refused if the file cannot be read, or lacks a needed column.
    """

    def __init__(self, path: Path, dimension: int, *, kept: bool) -> None:
        self._path, self._arrow, self._dimension = path, pyarrow(), dimension
        try:
            self._file = self._arrow.parquet.ParquetFile(path)
            schema = self._file.schema_arrow
            self.content = self._check(schema)
            self.embedder = (schema.metadata or {}).get(EMBEDDER, b"").decode() or None
        except (OSError, UnicodeDecodeError, self._arrow.ArrowException) as error:
            why = "" if isinstance(error, self._arrow.ArrowInvalid) else f" ({error})"
            raise Refused(
                f"{path} is neither a folder nor a Parquet file that can be read{why}; "
                "name a folder, a CSV table, or a file that is whole."
            ) from None
        self.count: int = self._file.metadata.num_rows
        wanted = ["id", "label", self.content, "metadata"]
        pictured = self.content == "vector" and "image" in schema.names
        self.leaves_out_images = pictured and not kept
        if pictured and kept:
            self._check_image(schema)
            wanted.append("image")
        if self._fits(schema, "pruned", self._arrow.types.is_boolean):
            wanted.append("pruned")
        if self.content == "vector" and self._fits(schema, SHA256, self._arrow.types.is_string):
            wanted.append(SHA256)
        self._columns = [name for name in wanted if name in schema.names]
        self._rows = ROWS["image" if "image" in self._columns else "vector"]

    def items(self) -> Iterator[Item]:
        """Yield the rows as items, in order. Raises Refused if a row cannot be used."""
        try:
            yield from self._read()
        except (OSError, UnicodeDecodeError, self._arrow.ArrowException) as error:
            raise Refused(f"{self._path} cannot be read to its end ({error}).") from None

    def _read(self) -> Iterator[Item]:
        number, beside = 0, [name for name in self._columns if name != self.content]
        for batch in self._file.iter_batches(self._rows, columns=self._columns):
            columns: dict[str, list[Any]] = dict.fromkeys(OPTIONAL, [None] * len(batch))
            columns |= {name: batch.column(name).to_pylist() for name in beside}
            contents = self._contents(batch.column(self.content), number)
            if "metadata" in beside:
                columns["metadata"] = [self._metadata(m, number) for m in columns["metadata"]]
            optional = (columns[name] for name in OPTIONAL)
            rows = zip(columns["id"], columns["label"], contents, *optional, strict=True)
            for id, label, content, metadata, image, sha256, pruned in rows:
                if not id or not label or content is None:
                    raise self._lacking(number)
                yield Item(id, label, content, metadata, image, sha256 or "", bool(pruned))
                number += 1

    def _lacking(self, row: int) -> Refused:
        return Refused(f"Row {row} of {self._path} lacks an id, label or content.")

    def _check(self, schema: Any) -> str:
        """Return the name of the content's column, ``vector`` or ``image``.

        Raises Refused if a needed column is missing or has a wrong type.
        """
        if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
            raise Refused(f"{self._path} has more than one column {listed(twice)}.")
        types = self._arrow.types
        texts = (types.is_string, types.is_large_string, self._is_dictionary_of_text)
        if all(self._fits(schema, name, *texts) for name in ("id", "label")):
            if self._fits(schema, "vector", self._is_list_of_numbers):
                return "vector"
            if self._fits(schema, "image", self._is_binary):
                return "image"
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise Refused(f"{self._path} has the columns {found}; wanted are {WANTED}.")

    def _check_image(self, schema: Any) -> None:
        """Check the type of images beside vectors. Raises Refused."""
        if not self._fits(schema, "image", self._is_binary, self._arrow.types.is_null):
            raise Refused(
                f"The column image of {self._path} holds {schema.field('image').type}, where this "
                "memory keeps pictures; write the bytes of image files, or leave the column out."
            )

    def _fits(self, schema: Any, name: str, *kinds: Any) -> bool:
        return name in schema.names and any(kind(schema.field(name).type) for kind in kinds)

    def _is_binary(self, kind: Any) -> bool:
        return bool(self._arrow.types.is_binary(kind) or self._arrow.types.is_large_binary(kind))

    def _is_dictionary_of_text(self, kind: Any) -> bool:
        types = self._arrow.types
        return bool(types.is_dictionary(kind) and types.is_string(kind.value_type))

    def _is_list_of_numbers(self, kind: Any) -> bool:
        types = self._arrow.types
        lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
        return any(is_kind(kind) for is_kind in lists) and types.is_floating(kind.value_type)

    def _contents(self, column: Any, number: int) -> Iterable[Content | None]:
        if self.content == "image":
            images: list[bytes | None] = column.to_pylist()
            return images
        lengths = self._arrow.compute.list_value_length(column).to_pylist()
        for row, length in enumerate(lengths, number):
            if length is None:
                raise self._lacking(row)
            if length != self._dimension:
                raise Refused(
                    f"The vector of row {row} of {self._path} has dimension {length}, but this "
                    f"memory holds {self._dimension}."
                )
        flat: NDArray[np.floating[Any]] = column.flatten().to_numpy(zero_copy_only=False)
        return flat.astype(np.float32).reshape(len(column), -1)

    def _metadata(self, value: Any, number: int) -> dict[str, str]:
        """Convert a map, a struct or JSON text to a dict of strings. Raises Refused."""
        if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
            value = dict(value)  # of a map
        elif isinstance(value, str):
            with suppress(ValueError, RecursionError):
                value = json.loads(value or "null")
        if not isinstance(value, dict | None):
            raise Refused(
                f"The metadata of {self._path} near row {number} are neither a map, a struct nor "
                "a JSON object; null or an empty text mean none."
            )
        return {str(key): str(each) for key, each in (value or {}).items() if each is not None}


def pyarrow() -> Any:
    """Import pyarrow. Raises MissingExtra."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtra("pyarrow", extra="parquet", purpose="Parquet") from None
    return pyarrow
