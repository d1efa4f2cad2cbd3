"""Vectors of pictures by a server's embedder, each computed once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import visual_memory
from visual_memory_benchmarks.errors import CannotEmbed
from visual_memory_benchmarks.stimuli.stimuli import hashed, unreadable

Picture: TypeAlias = "Path | bytes | NDArray[np.uint8]"
Vectors: TypeAlias = Mapping[bytes, NDArray[np.float32]]  # by content

BATCH = 64
KEY_BYTES = hashlib.sha256().digest_size
NAME_MAX = 63


class MemoryEmbeddings:
    """An embedder of pictures that calls one memory's embedder; ``spec`` determines the vectors.

    Vectors are kept in the folder ``cache``, if given: the same content is embedded once for a
    spec. Raises CannotEmbed for a memory that takes vectors only.
    """

    def __init__(self, memory: visual_memory.Memory, cache: Path | None = None) -> None:
        found = memory.info().embedder
        if found is None:
            raise CannotEmbed(
                f"The memory {memory.name} takes vectors only, and cannot be shown pictures: make "
                "one with an embedder."
            )
        self._memory = memory
        self.spec: dict[str, Any] = asdict(found)
        self._file = VectorFile(cache, self.spec) if cache else None
        self._vectors = dict(self._file.read() if self._file else {})

    def of(
        self, pictures: Sequence[Picture], names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Return the unit vectors of pictures: (n, d).

        ``names`` name the pictures in messages. Raises BadPicture if one cannot be read or decoded.
        """
        keys = [content_key(picture) for picture in pictures]
        names = names or [_name(picture, at) for at, picture in enumerate(pictures)]
        first = {key: at for at, key in reversed(list(enumerate(keys)))}
        wanted = sorted(at for key, at in first.items() if key not in self._vectors)
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            rows = self._embed([pictures[at] for at in batch], [names[at] for at in batch])
            found = {keys[at]: row for at, row in zip(batch, rows, strict=True)}
            self._vectors |= found
            if self._file:
                self._file.append(found)
        if not keys:
            return np.empty((0, self.spec["dimension"]), np.float32)
        return np.stack([self._vectors[key] for key in keys])

    def _embed(self, pictures: Sequence[Picture], names: Sequence[str]) -> NDArray[np.float32]:
        try:
            return self._memory.embed(pictures)
        except visual_memory.InvalidArgument as error:
            raise unreadable(error, names) from None


class Embeddings(MemoryEmbeddings):
    """An embedder of pictures that calls a server's embedder of this name.

    A server embeds only for a memory, so an empty memory ``embedder.NAME`` is created and kept.
    Raises CannotEmbed if a memory of this name has another embedder.
    """

    def __init__(
        self, client: visual_memory.Client, embedder: str, cache: Path | None = None
    ) -> None:
        name = f"embedder.{re.sub('[^a-z0-9._-]', '-', embedder.lower())}"[:NAME_MAX]
        try:
            memory = client.create_memory(name, embedder=embedder)
        except visual_memory.AlreadyExists:
            memory = client.memory(name)
        found = memory.info().embedder
        if found is None or found.name != embedder:
            raise CannotEmbed(
                f"The memory {memory.name} is needed to embed with {embedder}, but was made "
                f"for {found.name if found else 'vectors'}: delete it."
            )
        super().__init__(memory, cache)


class VectorFile:
    """An append-only file of one embedder's vectors, each after the ``content_key`` of its picture.

    Several processes may use it; a record cut short by a kill is dropped.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
        self._path = folder / f"{name}.vectors"
        self._record = np.dtype([("key", f"V{KEY_BYTES}"), ("row", "<f4", spec["dimension"])])
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> Vectors:
        """Return all vectors by content key; none if there is no file."""
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = len(data) // self._record.itemsize
        records = np.frombuffer(data, self._record, whole)
        return {bytes(key): row for key, row in zip(records["key"], records["row"], strict=True)}

    def append(self, vectors: Vectors) -> None:
        """Append vectors, given by content key; remove a record that was cut short before them."""
        records = np.empty(len(vectors), self._record)
        records["key"] = [np.void(key) for key in vectors]
        records["row"] = list(vectors.values())
        with self._path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, 2)
            file.truncate(size - size % self._record.itemsize)
            file.write(records.tobytes())


def content_key(picture: Picture) -> bytes:
    """Return SHA-256 of a file's bytes, or of shape and pixels. Raises BadPicture."""
    if isinstance(picture, Path):
        return bytes.fromhex(hashed(picture))
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).digest()
    shape = f"pixels {picture.shape}\n".encode()
    return hashlib.sha256(shape + picture.tobytes()).digest()


def _name(picture: Picture, at: int) -> str:
    return str(picture) if isinstance(picture, Path) else f"number {at}"
