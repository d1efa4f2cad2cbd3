"""The contents of a data folder, asked of a server or read in this process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np
from tests.conftest import to_vectors

from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import Catalog, Memory, Parts

COUNTED_K = 3
MANY = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as it is stored."""

    id: str
    label: str
    metadata: Mapping[str, str]
    vector: bytes
    image: bytes
    thumbnail: bytes
    pruned_by: str


@dataclass(frozen=True, slots=True)
class MemoryContents:
    """The entries of a memory, with its ``operations`` by name: state, and True if undone.

    ``searched`` and ``counts`` follow from the entries: the ids found by a search for all, and how
    often each misleads its ``COUNTED_K`` nearest.
    """

    dimension: int
    entries: Sequence[Found]
    operations: Mapping[str, tuple[str, bool]]
    searched: Sequence[str]
    counts: Mapping[str, int]

    def of(self, writer: str) -> dict[str, Found]:
        """Return the entries of one writer, by key."""
        return {
            entry.metadata.get("key", ""): entry
            for entry in self.entries
            if entry.metadata.get("writer") == writer
        }

    def inconsistencies(self) -> list[str]:
        """List the contradictions between entries, operations, search and counts."""
        problems = []
        voting = sorted(entry.id for entry in self.entries if not entry.pruned_by)
        if sorted(self.searched) != voting:
            problems.append("a search does not find exactly the entries that vote")
        if self.counts != counted(self.entries, self.dimension):
            problems.append("misleading counts do not fit the entries")
        for entry in self.entries:
            if bool(entry.image) != bool(entry.thumbnail):
                problems.append(f"{entry.id} has an image or a thumbnail, not both")
            if entry.pruned_by and self.operations.get(entry.pruned_by) != ("done", False):
                problems.append(f"{entry.id} was pruned by what was not done: {entry.pruned_by}")
        problems += [
            f"{name} runs, after a restart"
            for name, (state, _) in self.operations.items()
            if state == "running"
        ]
        return problems


Contents: TypeAlias = Mapping[str, MemoryContents]


def counted(entries: Sequence[Found], dimension: int) -> dict[str, int]:
    """Return the misleading counts by id, by brute force."""
    voting = [entry for entry in entries if not entry.pruned_by]
    rows = np.frombuffer(b"".join(entry.vector for entry in voting), "<f4")
    vectors = rows.reshape(-1, dimension).astype(np.float64)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    lists = np.argsort(-near, axis=1)[:, : max(0, min(COUNTED_K, len(voting) - 1))]
    counts = {entry.id: 0 for entry in voting}
    for entry, others in zip(voting, lists, strict=True):
        for other in others:
            counts[voting[other].id] += voting[other].label != entry.label
    return counts


def of_server(stub: Any) -> Contents:
    """Ask a server for its contents."""
    memories = stub.ListMemories(pb.ListMemoriesRequest(page_size=1000)).memories
    return {memory.name: of_remote_memory(stub, memory.name) for memory in memories}


def of_remote_memory(stub: Any, name: str) -> MemoryContents:
    info = stub.GetMemory(pb.GetMemoryRequest(name=name))
    entries = [
        Found(
            entry.id,
            entry.label,
            dict(entry.metadata),
            entry.vector,
            entry.image,
            entry.thumbnail,
            entry.pruned_by,
        )
        for page in pages(
            stub.ListEntries,
            pb.ListEntriesRequest(
                memory=name, include_vectors=True, include_images=True, include_thumbnails=True
            ),
        )
        for entry in page.entries
    ]
    operations = {
        each.name: (
            operation_pb2.Operation.State.Name(each.state).lower(),
            each.HasField("undo_time"),
        )
        for page in pages(stub.ListOperations, pb.ListOperationsRequest(memory=name))
        for each in page.operations
    }
    counts = {
        each.id: each.v
        for page in pages(
            stub.GetMisleadingCounts, pb.GetMisleadingCountsRequest(memory=name, k=COUNTED_K)
        )
        for each in page.counts
    }
    return MemoryContents(
        info.dimension, entries, operations, searched(stub, name, info.dimension), counts
    )


def pages(call: Callable[[Any], Any], request: Any) -> Iterator[Any]:
    while True:
        page = call(request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return


def searched(stub: Any, name: str, dimension: int) -> list[str]:
    query = to_vectors(np.eye(1, dimension))
    try:
        request = pb.SearchRequest(memory=name, vectors=query, k=MANY)
        return [neighbor.id for neighbor in stub.Search(request).results[0].neighbors]
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:  # nobody votes
            return []
        raise


def of_folder(folder: Path) -> Contents:
    """Read the contents of a folder that no server uses. Raises the refusals of doing so."""
    with closing(Catalog(folder)) as catalog:
        contents = {}
        for name in catalog.names():
            with closing(catalog.open(name)) as memory:
                contents[name] = of_memory(memory)
        return contents


def of_memory(memory: Memory) -> MemoryContents:
    parts = Parts.VECTOR | Parts.IMAGE | Parts.THUMBNAIL
    entries = []
    for entry in memory.entries(limit=MANY, parts=parts).entries:
        assert entry.vector is not None
        entries.append(
            Found(
                entry.id,
                entry.label,
                dict(entry.metadata),
                entry.vector.tobytes(),
                entry.image,
                entry.thumbnail,
                entry.pruned_by,
            )
        )
    operations = {
        each.name: (each.state, each.undone_at is not None)
        for each in memory.operations.page(limit=MANY)
    }
    dimension = memory.identity.dimension
    query = np.eye(1, dimension, dtype=np.float32)
    found = memory.ranking(query).neighbors.ids[0] if memory.count else []
    counts = memory.misleading_counts(COUNTED_K)
    return MemoryContents(
        dimension,
        entries,
        operations,
        list(found),
        dict(zip(counts.ids.tolist(), counts.v.tolist(), strict=True)),
    )


def damages(folder: Path, names: Sequence[str]) -> list[str]:
    """List problems in the files of a closed folder: SQLite's, and files of no memory."""
    files = sorted((folder / "memories").iterdir())
    databases = [path for path in files if path.suffix == ".sqlite"]
    problems = [f"{path.name} was left behind" for path in files if path not in databases]
    if len(databases) > len(names):
        problems.append(f"{len(databases)} files for {len(names)} memories")
    for path in [folder / "catalog.sqlite", *databases]:
        with closing(sqlite3.connect(path)) as db:
            try:
                problems += [f"{path.name}: {row}" for row in complaints(db)]
            except sqlite3.DatabaseError as error:
                problems.append(f"{path.name}: {error}")
    return problems


def complaints(db: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Return the problems that SQLite's own checks find."""
    rows = db.execute("PRAGMA integrity_check").fetchall()
    rows += db.execute("PRAGMA foreign_key_check").fetchall()
    return [row for row in rows if row != ("ok",)]
