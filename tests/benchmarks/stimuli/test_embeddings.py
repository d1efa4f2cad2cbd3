from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.conftest import to_picture

import visual_memory
from visual_memory_benchmarks.errors import BadPicture, CannotEmbed
from visual_memory_benchmarks.stimuli.embeddings import Embeddings, VectorFile

if TYPE_CHECKING:
    from tests.conftest import Start

LITE0 = "efficientnet-lite0"


def pixels(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_vectors_are_those_that_a_memory_would_store(
    client: visual_memory.Client, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(to_picture(1))
    memory = client.create_memory(f"m{uuid.uuid4().hex}")
    memory.insert(images=[path, to_picture(2), pixels(3)], labels=["a", "b", "c"], ids=list("abc"))
    stored = np.array([each.vector for each in memory.entries(include_vectors=True)])

    embeddings = Embeddings(client, LITE0)
    vectors = embeddings.of([path, to_picture(2), pixels(3), path])

    assert vectors.dtype == np.float32
    assert vectors.tobytes() == stored[[0, 1, 2, 0]].tobytes()
    assert embeddings.spec["name"] == LITE0
    assert embeddings.spec["bit_equal"]


def test_no_pictures_are_no_vectors(client: visual_memory.Client) -> None:
    assert Embeddings(client, LITE0).of([]).shape == (0, 1280)


def test_what_is_in_the_cache_is_not_asked_again(start: Start, tmp_path: Path) -> None:
    server = start()
    asked = [to_picture(seed) for seed in range(3)]
    with visual_memory.connect(server.address, timeout=5) as client:
        first = Embeddings(client, LITE0, tmp_path / "cache").of(asked)
        again = Embeddings(client, LITE0, tmp_path / "cache")

        server.end()

        assert again.of(asked[::-1]).tobytes() == first[::-1].tobytes()
        with pytest.raises(visual_memory.Unavailable):
            again.of([to_picture(9)])


def test_a_vector_that_was_cut_off_is_dropped_and_what_follows_is_whole(tmp_path: Path) -> None:
    spec = {"dimension": 3}
    a, b, c = np.eye(3, dtype=np.float32)
    keys = [bytes([number] * 32) for number in range(3)]
    VectorFile(tmp_path, spec).append({keys[0]: a, keys[1]: b})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])

    kept = VectorFile(tmp_path, spec).read()
    VectorFile(tmp_path, spec).append({keys[2]: c})
    found = VectorFile(tmp_path, spec).read()

    assert {key: row.tolist() for key, row in kept.items()} == {keys[0]: a.tolist()}
    assert {key: row.tolist() for key, row in found.items()} == {
        keys[0]: a.tolist(),
        keys[2]: c.tolist(),
    }


def test_another_embedder_has_another_file(tmp_path: Path) -> None:
    VectorFile(tmp_path, {"dimension": 3, "name": "a"}).append({bytes(32): np.zeros(3, "f4")})

    assert VectorFile(tmp_path, {"dimension": 3, "name": "b"}).read() == {}


@pytest.mark.parametrize("of_file", [True, False])
def test_a_picture_that_does_not_decode_is_named(
    of_file: bool, client: visual_memory.Client, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    name = r"bad\.png" if of_file else "number 1"

    with pytest.raises(BadPicture, match=rf"^The picture .*{name} "):
        Embeddings(client, LITE0).of([to_picture(1), bad if of_file else bad.read_bytes()])


def test_a_memory_that_has_the_name_for_something_else_is_refused(start: Start) -> None:
    with visual_memory.connect(start().address) as client:
        client.create_memory(f"embedder.{LITE0}", dimension=4)

        with pytest.raises(CannotEmbed, match="made for vectors: delete it"):
            Embeddings(client, LITE0)
