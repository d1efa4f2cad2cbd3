"""Pictures: formats, orientation, and that a bad picture fails only its own batch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.conftest import refusal, to_picture

import visual_memory
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_embedders.images.images import FORMATS

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def insertion(album: RemoteMemory, *pictures: bytes) -> pb.InsertEntriesRequest:
    ids = [f"n{number}" for number in range(len(pictures))]
    return pb.InsertEntriesRequest(
        memory=album.name,
        batch=pb.EntryBatch(
            entries=[entry_pb2.Entry(id=id, label="new") for id in ids],
            images=entry_pb2.Images(data=pictures),
        ),
    )


def embed(album: RemoteMemory, *pictures: bytes) -> list[bytes]:
    request = pb.EmbedRequest(memory=album.name, images=entry_pb2.Images(data=pictures))
    vectors = album.stub.Embed(request).vectors
    width = len(vectors.data) // vectors.rows
    return [vectors.data[at : at + width] for at in range(0, len(vectors.data), width)]


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def test_embed_answers_the_vectors_that_are_stored(album: RemoteMemory) -> None:
    stored = [entry_pb2.Entry.FromString(data).vector for data in album.stored()]

    assert embed(album, to_picture(1), to_picture(2)) == stored


def test_a_picture_is_its_own_nearest(album: RemoteMemory) -> None:
    request = pb.ClassifyRequest(memory=album.name, k=1)
    request.images.data.extend([to_picture(2), to_picture(1)])

    decisions = album.stub.Classify(request).decisions

    assert [decision.neighbors[0].id for decision in decisions] == ["b", "a"]
    assert all(decision.neighbors[0].distance < 1e-6 for decision in decisions)


def test_pictures_have_the_same_bits_one_by_one_and_together(album: RemoteMemory) -> None:
    pictures = [to_picture(seed, (50 + seed, 60)) for seed in range(9)]

    together = embed(album, *pictures)

    assert [embed(album, picture)[0] for picture in pictures] == together


def test_every_format_is_taken(album: RemoteMemory) -> None:
    pictures = [to_picture(3, format=format) for format in FORMATS]

    album.stub.InsertEntries(insertion(album, *pictures))

    assert album.ids() == ["a", "b", *(f"n{number}" for number in range(len(FORMATS)))]


def test_formats_without_loss_are_the_same_picture(album: RemoteMemory) -> None:
    lossless: dict[str, dict[str, Any]] = {
        "PNG": {},
        "BMP": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
    }

    vectors = embed(album, *(to_picture(3, format=f, **more) for f, more in lossless.items()))

    assert len(set(vectors)) == 1


def test_the_first_frame_of_an_animation_counts(album: RemoteMemory) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", "green")]
    moving = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])

    first, still = embed(album, moving, saved(frames[0], "GIF"))

    assert first == still


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_applied(album: RemoteMemory, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = to_picture(4, (80, 50), "JPEG", exif=exif)
    with Image.open(io.BytesIO(turned)) as image:
        upright = saved(ImageOps.exif_transpose(image))

    first, second = embed(album, turned, upright)

    assert first == second


BAD = {
    "empty": (b"", "is empty"),
    "garbage": (b"no picture at all", "is not a whole JPEG, PNG"),
    "truncated": (to_picture(5, format="JPEG", size=(200, 200))[:-2000], "images[2]"),
    "torn PNG": (to_picture(5)[:-100], "images[2]"),
    "format not taken": (to_picture(5, format="PPM"), "is not a whole JPEG, PNG"),
    "too many bytes": (bytes(32 * 2**20 + 1), "33,554,433 bytes: send at most 33,554,432"),
    "too many pixels": (saved(Image.new("1", (8001, 8000))), "8,001 × 8,000 pixels"),
    "far too many pixels": (saved(Image.new("1", (20_000, 10_000))), "images[2]"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_picture_is_named_and_nothing_of_its_batch_is_stored(
    album: RemoteMemory, kind: str
) -> None:
    before = album.stored()
    bad, says = BAD[kind]

    error = refusal(album.stub.InsertEntries, insertion(album, to_picture(6), to_picture(7), bad))

    assert (error.code, error.reason) == (INVALID, "UNDECODABLE_IMAGE")
    assert error.field_violations[0][0] == "images[2]"
    assert error.message.startswith("images[2] ")
    assert says in error.message
    assert album.stored() == before


@pytest.mark.parametrize("call", ["Classify", "Search", "Embed"])
def test_one_bad_picture_among_the_queries_is_named(album: RemoteMemory, call: str) -> None:
    kinds = {"Classify": pb.ClassifyRequest, "Search": pb.SearchRequest, "Embed": pb.EmbedRequest}
    request = kinds[call](memory=album.name)
    request.images.data.extend([to_picture(1), b"?"])

    error = refusal(getattr(album.stub, call), request)

    assert (error.code, error.field_violations[0][0]) == (INVALID, "images[1]")


def test_no_pictures_are_refused(album: RemoteMemory) -> None:
    error = refusal(album.stub.Embed, pb.EmbedRequest(memory=album.name))

    assert (error.code, error.field_violations[0][0]) == (INVALID, "images")


def test_a_memory_of_vectors_embeds_nothing(pets: RemoteMemory) -> None:
    request = pb.EmbedRequest(memory=pets.name, images=entry_pb2.Images(data=[to_picture()]))

    error = refusal(pets.stub.Embed, request)

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_EMBEDDER")


def test_a_memory_of_pictures_takes_vectors_of_its_dimension(album: RemoteMemory) -> None:
    album.insert(np.ones((1, 1280)), ["vector"])

    error = refusal(lambda: album.insert(np.ones((1, 4)), ["other"]))

    assert (error.code, error.reason) == (INVALID, "WRONG_DIMENSION")
    assert album.ids() == ["a", "b", "vector"]


def test_the_client_inserts_and_asks_with_pictures_of_every_kind(album: RemoteMemory) -> None:
    png = to_picture(8)
    with Image.open(io.BytesIO(png)) as image, visual_memory.connect(album.server.address) as c:
        pixels = np.asarray(image.convert("RGB"))
        memory = c.memory(album.name)
        memory.insert(images=[png, image, pixels], labels=["x"] * 3, ids=["1", "2", "3"])
        vectors = [entry.vector for entry in memory.entries("label = x", include_vectors=True)]
        embedded = memory.embed([png])[0]

    assert all(np.array_equal(vector, embedded) for vector in vectors if vector is not None)
    assert len(vectors) == 3
