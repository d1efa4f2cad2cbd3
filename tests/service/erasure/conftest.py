"""A memory with people to be unlearned, and a server that is emptied after each test."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import Server, to_picture

import visual_memory
from visual_memory import Client, Entry, Memory

COUNT = int(os.environ.get("UNLEARNED", "60"))
RNG = np.random.default_rng(7)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def secret(kind: str, number: int) -> str:
    return f"{kind}-{hashlib.sha256(f'{kind} {number}'.encode()).hexdigest()[:24]}"


def person_ids(count: int = COUNT) -> list[str]:
    return [secret("person", number) for number in range(count)]


def rows(count: int) -> NDArray[np.float32]:
    return RNG.standard_normal((count, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of all tests of a module; each test's memories are dropped at its end."""
    standing = Server(tmp_path_factory.mktemp("unlearning") / "data")
    yield standing
    assert standing.end() == 0


@pytest.fixture
def server(standing: Server) -> Iterator[Server]:
    yield standing
    if standing.process.poll() is not None:
        standing.start()
    with visual_memory.connect(standing.address) as client:
        for memory in client.memories():
            client.delete_memory(memory.name)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def album(client: Client) -> Memory:
    return new_album(client)


def new_album(client: Client) -> Memory:
    """Create a memory with vectors and pictures of 90 entries that stay."""
    album = client.create_memory("album", dimension=32, store_images=True)
    album.insert(
        vectors=rows(90),
        images=[to_picture(number) for number in range(90)],
        labels=["cat", "dog", "owl"] * 30,
        ids=[f"stays {number:03}" for number in range(90)],
    )
    return album


def insert_people(album: Memory, ids: Sequence[str]) -> None:
    count = len(ids)
    album.insert(
        vectors=rows(count),
        images=[to_picture(1000 + number) for number in range(count)],
        labels=[secret("label", number) for number in range(count)],
        ids=ids,
        metadata=[{"name": secret("metadata", number)} for number in range(count)],
        request_id="people",
    )


def secrets_of(album: Memory, ids: Sequence[str]) -> dict[str, bytes]:
    """Return all data of these entries by name; images without headers."""
    found: dict[str, bytes] = {}
    entries = album.entries(include_vectors=True, include_images=True, include_thumbnails=True)
    for entry in entries:
        if entry.id in set(ids):
            assert entry.vector is not None
            assert entry.image is not None
            assert entry.thumbnail is not None
            found |= {
                f"id {entry.id}": entry.id.encode(),
                f"label {entry.id}": entry.label.encode(),
                f"metadata {entry.id}": entry.metadata["name"].encode(),
                f"vector {entry.id}": entry.vector.astype("<f4").tobytes(),
                f"image {entry.id}": entry.image[64:-16],
                f"thumbnail {entry.id}": entry.thumbnail[700:],
            }
    return found


def insert_same(memory: Memory, entries: Iterable[Entry], prefix: str = "") -> None:
    """Insert the content of entries again, with ``prefix`` before their ids."""
    listed = list(entries)
    memory.insert(
        vectors=np.stack([each.vector for each in listed if each.vector is not None]),
        images=[each.image for each in listed if each.image is not None] or None,
        labels=[each.label for each in listed],
        ids=[prefix + each.id for each in listed],
    )
