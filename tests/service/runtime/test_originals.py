"""A server that keeps vectors in files alone says so, and answers and erases as another does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.conftest import Server
from tests.service.conftest import Run, text

import visual_memory
from visual_memory import Client

VECTORS = np.random.default_rng(3).standard_normal((90, 32)).astype(np.float32)
IDS = [f"entry {number}" for number in range(90)]


def answers(client: Client) -> list[object]:
    """Return all that decisions say, with an explanation and a head."""
    pets = client.memory("pets")
    decided = [
        *pets.classify(vectors=VECTORS[:9], k=20),
        *pets.classify(vectors=VECTORS[:9], head="discriminants", blend=0.5),
    ]
    return [
        *((each.label, each.scores, each.neighbors.distances.tobytes()) for each in decided),
        str(pets.explain(vectors=VECTORS[3:4])),
        pets.misleading_counts(5),
    ]


def test_answers_are_the_same_and_the_memory_says_where_its_vectors_are(
    tmp_path: Path, command: Run
) -> None:
    server = Server(tmp_path / "data")
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=32)
        pets.insert(vectors=VECTORS, labels=["cat", "dog", "owl"] * 30, ids=IDS)
        in_ram, kept = answers(client), pets.info().originals
    server.end()

    server = Server(tmp_path / "data", "--originals", "disk")
    with visual_memory.connect(server.address) as client:
        on_disk, info = answers(client), client.memory("pets").info()
        shown = text(command("info", "pets", "--server", server.address))
        certificate = client.memory("pets").unlearn(IDS[:5])
        verified = visual_memory.verify(certificate, client.server_info().public_keys)
        left = client.memory("pets").classify(vectors=VECTORS[:1], k=90)[0]
    assert server.end() == 0

    assert (kept, info.originals) == ("ram", "disk")
    assert on_disk == in_ram
    assert "read from the disk" in shown
    assert verified.trusted
    assert not certificate.also_in
    assert set(left.neighbors.ids) == set(IDS[5:])
