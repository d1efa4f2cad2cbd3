"""No file holds deleted data once the server has stopped, except ids."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from tests.conftest import to_picture
from tests.service.erasure.residue import Residue

import visual_memory
from visual_memory import Memory

if TYPE_CHECKING:
    from tests.conftest import Start

COUNT = int(os.environ.get("DELETED", "20"))
DIMENSION = 16


def secret(kind: str, number: int) -> str:
    return f"{kind}-{hashlib.sha256(f'{kind} {number}'.encode()).hexdigest()[:24]}"


def person_ids() -> list[str]:
    return [secret("person", number) for number in range(COUNT)]


def insert(album: Memory, kind: str, ids: list[str]) -> dict[str, bytes]:
    """Insert entries with texts unique to ``kind``; return the texts and hashes by name."""
    labels = [secret(f"{kind} label", number) for number in range(len(ids))]
    names = [secret(f"{kind} name", number) for number in range(len(ids))]
    seed = zlib.crc32(kind.encode())
    rows = np.random.default_rng(seed).standard_normal((len(ids), DIMENSION), np.float32)
    album.insert(
        vectors=rows,
        images=[to_picture(seed + number, (24, 24)) for number in range(len(ids))],
        labels=labels,
        ids=ids,
        metadata=[{"name": name} for name in names],
    )
    hashes = {entry.id: entry.content_sha256 for entry in album.entries() if entry.id in ids}
    return {text: text.encode() for text in (*labels, *names, *hashes.values())} | {
        f"hash of {id}": bytes.fromhex(sha256) for id, sha256 in hashes.items()
    }


def delete_together(album: Memory) -> None:
    assert album.delete(ids=person_ids()) == COUNT


def delete_one_by_one(album: Memory) -> None:
    for id in person_ids():
        album.delete(ids=[id])


def purge(album: Memory) -> None:
    assert album.purge(filter="metadata.purged = yes", apply=True).count == COUNT


def replace(album: Memory) -> None:
    album.insert(
        vectors=np.ones((COUNT, DIMENSION)),
        labels=["cat"] * COUNT,
        ids=person_ids(),
        replace_existing=True,
    )


def lived(album: Memory, leave: Callable[[Memory], None]) -> dict[str, bytes]:
    """Insert, change and remove entries; return all data ever stored of them, by name."""
    ids = person_ids()
    secrets = insert(album, f"{album.name} first", ids)
    insert(album, "staying", [f"stays {number}" for number in range(COUNT)])
    third = {id: secret(f"{album.name} third", at) for at, id in enumerate(ids[::3])}
    undone = {id: secret(f"{album.name} undone", at) for at, id in enumerate(ids[1::3])}
    album.relabel(third, apply=True)
    album.undo(album.relabel(undone, apply=True).operation)
    album.assess(k=5)
    album.prune(method="ids", ids=ids[:5], apply=True)
    texts = [*third.values(), *undone.values()]
    for number, id in enumerate(ids):
        label, name = (secret(f"{album.name} new {kind}", number) for kind in ("label", "name"))
        album.update(id, label=label, metadata={"name": name, "purged": "yes"})
        texts += [label, name]
    album.assess(k=5)
    album.prune(method="hard", k=5, threshold=1)
    album.misleading_counts(5)
    leave(album)
    return secrets | {text: text.encode() for text in texts}


def test_of_what_was_updated_and_deleted_nothing_but_the_id_is_in_any_file(start: Start) -> None:
    server, secrets = start(), dict[str, bytes]()
    with visual_memory.connect(server.address) as client:
        for leave in (delete_together, delete_one_by_one, purge, replace):
            album = client.create_memory(leave.__name__, dimension=DIMENSION, store_images=True)
            secrets |= lived(album, leave)
            assert album.info().count >= COUNT

    assert server.end() == 0
    assert Residue(secrets).in_files(server.data) == {}
