"""A memory made with store_images returns its pictures, and other memories store none."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.conftest import refusal, to_batch, to_picture

from visual_memory import Client, FailedPrecondition, InvalidArgument, Memory
from visual_memory.terminal.refused import Refused
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.cli import run

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Server, Start

PICTURES = [to_picture(1, format="JPEG"), to_picture(2, (300, 200)), to_picture(3, format="BMP")]
IDS = ["a", "b", "c"]


@pytest.fixture
def gallery(client: Client, empty: RemoteMemory) -> Memory:
    """A memory that stores the pictures of its three entries."""
    gallery = client.create_memory(f"{empty.name}x", store_images=True)
    gallery.insert(images=PICTURES, labels=["x", "x", "y"], ids=IDS)
    return gallery


@pytest.fixture
def rows(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of vectors that stores pictures with them."""
    return client.create_memory(f"{empty.name}x", dimension=4, store_images=True)


def test_pictures_come_back_as_they_were_sent(gallery: Memory) -> None:
    entries = list(gallery.entries(include_images=True, include_thumbnails=True))

    assert [entry.image for entry in entries] == PICTURES
    assert gallery.info().store_images
    for entry in entries:
        assert entry.thumbnail is not None
        with Image.open(BytesIO(entry.thumbnail)) as thumbnail:
            assert thumbnail.format == "JPEG"
            assert max(thumbnail.size) <= 128


def test_pictures_come_only_where_they_are_asked_for(gallery: Memory) -> None:
    plain, shown = gallery.get("b"), gallery.get("b", include_thumbnail=True)

    assert (plain.image, plain.thumbnail, shown.image) == (None, None, None)
    assert shown.thumbnail is not None


def test_pictures_survive_a_restart(start: Start) -> None:
    server = start()
    server.stub.CreateMemory(
        pb.CreateMemoryRequest(name="m", embedder="efficientnet-lite0", store_images=True)
    )
    batch = pb.EntryBatch(
        entries=[entry_pb2.Entry(id="a", label="x")], images=entry_pb2.Images(data=PICTURES[:1])
    )
    server.stub.InsertEntries(pb.InsertEntriesRequest(memory="m", batch=batch))
    server.restart()

    entry = server.stub.GetEntry(pb.GetEntryRequest(memory="m", id="a", include_image=True))

    assert entry.image == PICTURES[0]


def test_a_memory_keeps_no_pictures_unless_it_was_made_to(album: RemoteMemory) -> None:
    request = pb.GetEntryRequest(
        memory=album.name, id="a", include_image=True, include_thumbnail=True
    )

    entry = album.stub.GetEntry(request)

    assert (entry.image, entry.thumbnail) == (b"", b"")
    (file,) = (album.server.data / "memories").glob(f"{album.name}.*.sqlite*-wal")
    assert to_picture(1)[60:200] not in file.read_bytes()


def test_a_deleted_entry_takes_its_picture_along(gallery: Memory, server: Server) -> None:
    gallery.delete(["a"])
    gallery.insert(images=[PICTURES[1]], labels=["x"], ids=["a"])

    assert gallery.get("a", include_image=True).image == PICTURES[1]


def test_a_replaced_entry_has_the_new_picture(gallery: Memory) -> None:
    gallery.insert(images=[PICTURES[2]], labels=["x"], ids=["a"], replace_existing=True)

    entry = gallery.get("a", include_image=True)

    assert entry.image == PICTURES[2]
    assert entry.content_sha256 == hashlib.sha256(PICTURES[2]).hexdigest()


def test_a_relabelled_entry_keeps_its_picture(gallery: Memory) -> None:
    gallery.update("a", label="z")

    assert gallery.get("a", include_image=True).image == PICTURES[0]


def test_pages_of_pictures_fit_a_message(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("message_bytes_max = 1048576\n")
    server = start(None, "--config", str(config))
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="m", dimension=4, store_images=True))
    large = to_picture(5, (400, 300))
    for number in range(6):
        batch = to_batch(np.eye(4)[:1], [str(number)])
        batch.entries[0].image = large
        server.stub.InsertEntries(pb.InsertEntriesRequest(memory="m", batch=batch))

    ids, token, pages = list[str](), "", 0
    while token or not pages:
        request = pb.ListEntriesRequest(memory="m", include_images=True, page_token=token)
        page = server.stub.ListEntries(request)
        assert page.ByteSize() <= 1 << 20
        ids += [entry.id for entry in page.entries]
        token, pages = page.next_page_token, pages + 1

    assert ids == list("012345")
    assert pages > 1


def test_a_picture_is_kept_beside_a_vector(rows: Memory) -> None:
    rows.insert(
        vectors=np.eye(4)[:2], images=[PICTURES[0], None], labels=["x", "y"], ids=["a", "b"]
    )

    with_picture = rows.get("a", include_image=True, include_thumbnail=True)
    without = rows.get("b", include_image=True, include_thumbnail=True)

    assert with_picture.image == PICTURES[0]
    assert with_picture.thumbnail is not None
    assert with_picture.content_sha256 == hashlib.sha256(PICTURES[0]).hexdigest()
    assert (without.image, without.thumbnail) == (None, None)
    assert rows.search(vectors=np.eye(4)[:1], k=1)[0].ids == ["a"]


def test_pictures_beside_many_vectors_go_by_import(rows: Memory) -> None:
    count = 700
    images = [to_picture(number, (4, 4)) if number % 3 else None for number in range(count)]
    vectors = np.random.default_rng(0).normal(size=(count, 4))

    ids = rows.insert(vectors=vectors, images=images, labels=["x"] * count).ids

    stored = {entry.id: entry.image for entry in rows.entries(include_images=True)}
    assert [stored[id] for id in ids] == images


def test_a_bad_picture_beside_a_vector_is_named_and_nothing_is_stored(rows: Memory) -> None:
    with pytest.raises(InvalidArgument, match="not a whole JPEG") as refused:
        rows.insert(vectors=np.eye(4)[:3], images=[PICTURES[0], None, b"no"], labels=["x"] * 3)

    assert refused.value.field_violations[0][0] == "entries[2].image"
    assert rows.info().count == 0


def test_pictures_beside_vectors_need_a_memory_that_keeps_them(pets: RemoteMemory) -> None:
    batch = to_batch(np.eye(4)[:1], ["new"])
    batch.entries[0].image = PICTURES[0]
    stored = pets.stored()

    refused = refusal(
        pets.stub.InsertEntries, pb.InsertEntriesRequest(memory=pets.name, batch=batch)
    )

    assert isinstance(refused, FailedPrecondition)
    assert "keeps no pictures" in refused.message
    assert pets.stored() == stored


def test_a_picture_beside_an_image_is_refused(album: RemoteMemory) -> None:
    batch = pb.EntryBatch(
        entries=[entry_pb2.Entry(label="x", image=PICTURES[0])],
        images=entry_pb2.Images(data=PICTURES[:1]),
    )

    refused = refusal(
        album.stub.InsertEntries, pb.InsertEntriesRequest(memory=album.name, batch=batch)
    )

    assert refused.field_violations[0][0] == "entries[0].image"


def test_an_explanation_shows_the_entries(gallery: Memory, client: Client) -> None:
    shown = gallery.explain(images=PICTURES[:1], k=2, remove=["a"], include_thumbnails=True)
    bare = gallery.explain(images=PICTURES[:1], k=2)

    wanted = {*shown.before.neighbors.ids, *(shown.minimal_flip or ())}
    assert wanted <= shown.thumbnails.keys() <= set(IDS)
    assert all(data.startswith(b"\xff\xd8") for data in shown.thumbnails.values())
    assert bare.thumbnails == {}


def test_an_export_brings_the_pictures_to_another_memory(
    gallery: Memory, client: Client, server: Server, tmp_path: Path
) -> None:
    file, copy = tmp_path / "gallery.parquet", f"{gallery.name}copy"
    at = ["--server", server.address]
    run(["export", gallery.name, str(file), *at])
    run(["create", copy, "--store-images", *at])

    run(["insert", copy, str(file), *at])
    run(["insert", copy, str(file), *at])

    def whole(memory: Memory) -> list[object]:
        everything = memory.entries(include_vectors=True, include_images=True)
        return [
            (entry.id, entry.label, entry.image, entry.content_sha256, entry.vector.tobytes())
            for entry in everything
            if entry.vector is not None
        ]

    assert whole(client.memory(copy)) == whole(gallery)


def test_an_export_without_room_for_pictures_brings_the_vectors(
    gallery: Memory, client: Client, server: Server, tmp_path: Path
) -> None:
    file, copy = tmp_path / "gallery.parquet", f"{gallery.name}copy"
    at = ["--server", server.address]
    run(["export", gallery.name, str(file), *at])
    run(["create", copy, *at])

    run(["insert", copy, str(file), *at])

    assert client.memory(copy).info().count == 3
    assert client.memory(copy).get("a", include_image=True).image is None


def write_parquet(path: Path, vectors: NDArray[np.float64], images: list[bytes | None]) -> Path:
    """Write a Parquet file of entries e0, e1 and so on, each with a row and a picture."""
    table = {
        "id": [f"e{number}" for number in range(len(images))],
        "label": ["x"] * len(images),
        "vector": vectors.tolist(),
        "image": pa.array(images, pa.binary()),
    }
    pyarrow.parquet.write_table(pa.table(table), path)
    return path


def test_a_changed_vector_beside_the_same_picture_is_noticed(
    rows: Memory, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    file = write_parquet(tmp_path / "a.parquet", vectors, [*PICTURES[:2], None])
    insert = ["insert", rows.name, str(file), "--server", server.address]
    run(insert)
    assert run(insert) == 0
    assert "0 vectors inserted" in capsys.readouterr().out
    write_parquet(file, np.concatenate([-vectors[:1], vectors[1:]]), [*PICTURES[:2], None])

    with pytest.raises(Refused, match=r"Stored already with other content.* stored: e0; use"):
        run(insert)
    stored = rows.get("e0", include_vector=True).vector

    assert run([*insert, "--replace"]) == 0
    assert stored is not None
    vector = rows.get("e0", include_vector=True).vector
    assert vector is not None
    assert vector.tolist() == (-stored).tolist()


def test_bad_pictures_beside_vectors_stop_all_unless_they_may_be_skipped(
    rows: Memory, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images: list[bytes | None] = [PICTURES[0]] * 1500
    images[1400], images[1401], images[3] = b"nonsense", b"", None
    vectors = np.random.default_rng(0).normal(size=(1500, 4))
    file = write_parquet(tmp_path / "a.parquet", vectors, images)
    insert = ["insert", rows.name, str(file), "--server", server.address]

    with pytest.raises(Refused, match="e1400 is not a whole JPEG") as refused:
        run(insert)
    count = rows.info().count

    assert run([*insert, "--skip-bad"]) == 1
    assert count == 0
    assert "Nothing was stored, because of 2 pictures" in str(refused.value)
    assert rows.info().count == 1498
    assert "e1401" in capsys.readouterr().err


def test_what_only_the_server_sees_in_a_picture_is_skipped_too(
    rows: Memory, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_memory_service.commands.insert.bad", lambda items, limits: {})
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    file = write_parquet(tmp_path / "a.parquet", vectors, [PICTURES[0], b"nonsense", PICTURES[1]])

    done = run(["insert", rows.name, str(file), "--skip-bad", "--server", server.address])

    assert done == 1
    assert [entry.id for entry in rows.entries()] == ["e0", "e2"]
