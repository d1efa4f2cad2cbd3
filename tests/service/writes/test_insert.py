"""Entries are stored as given, all of a batch or none."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.conftest import refusal, to_batch, to_vectors

import visual_memory
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

NAN, INF = float("nan"), float("inf")
AXES = np.eye(4)
INVALID, EXISTS = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS
Edit = Callable[[pb.EntryBatch], Any]


def with_row(row: list[float]) -> Edit:
    def edit(batch: pb.EntryBatch) -> None:
        batch.vectors.CopyFrom(to_vectors(np.vstack([AXES[:2], row])))

    return edit


def set_id(id: str) -> Edit:
    return lambda batch: setattr(batch.entries[2], "id", id)


def set_label(label: str) -> Edit:
    return lambda batch: setattr(batch.entries[2], "label", label)


def set_metadata(key: str, value: str) -> Edit:
    return lambda batch: batch.entries[2].metadata.update({key: value})


def set_images(batch: pb.EntryBatch) -> None:
    batch.images.data.extend([b"1", b"2", b"3"])


REFUSED = [
    ("zero", with_row([0, 0, 0, 0]), "entries[2].vector", "not zero"),
    ("nan", with_row([1, NAN, 0, 0]), "entries[2].vector", "finite"),
    ("infinite", with_row([-INF, 0, 0, 0]), "entries[2].vector", "finite"),
    ("other length", lambda b: b.vectors.CopyFrom(to_vectors(np.eye(3))), "vectors", "3, but"),
    ("torn row", lambda b: setattr(b.vectors, "data", b"\0" * 46), "vectors.rows", "46 bytes"),
    ("no rows", lambda b: setattr(b.vectors, "rows", 0), "vectors.rows", "0 rows"),
    ("minus rows", lambda b: setattr(b.vectors, "rows", -3), "vectors.rows", "-3 rows"),
    ("no data", lambda b: setattr(b.vectors, "data", b""), "vectors.rows", "0 bytes"),
    ("fewer rows", lambda b: b.vectors.CopyFrom(to_vectors(AXES[:2])), "vectors", "2 for 3"),
    ("nothing", lambda b: b.ClearField("vectors"), "images", "must be given"),
    ("no entries", lambda b: b.ClearField("entries"), "entries", "not be empty"),
    ("twice", set_id("n0"), "entries[2].id", "twice in this batch: n0"),
    ("long id", set_id("x" * 257), "entries[2].id", "has 257"),
    ("long multibyte id", set_id("é" * 129), "entries[2].id", "has 258"),
    ("NUL in id", set_id("a\0b"), "entries[2].id", "without NUL"),
    ("no label", set_label(""), "entries[2].label", "has 0"),
    ("long label", set_label("x" * 257), "entries[2].label", "has 257"),
    ("long multibyte label", set_label("€" * 86), "entries[2].label", "has 258"),
    ("NUL in label", set_label("a\0"), "entries[2].label", "without NUL"),
    ("empty key", set_metadata("", "x"), "entries[2].metadata key", "has 0"),
    ("long key", set_metadata("x" * 257, "x"), "entries[2].metadata key", "has 257"),
    ("NUL in value", set_metadata("x", "\0"), "entries[2].metadata['x']", "not hold NUL"),
    ("much metadata", set_metadata("x", "y" * 16_384), "entries[2].metadata", "has 16385"),
]


@pytest.mark.parametrize(
    ("edit", "field", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_one_bad_item_is_named_and_nothing_of_its_batch_is_stored(
    pets: RemoteMemory, edit: Edit, field: str, says: str
) -> None:
    before = pets.stored()
    batch = to_batch(AXES[:3], ["n0", "n1", "n2"])
    edit(batch)

    error = refusal(pets.stub.InsertEntries, pb.InsertEntriesRequest(memory=pets.name, batch=batch))

    assert (error.code, error.field_violations[0][0]) == (INVALID, field)
    assert says in error.message
    assert pets.stored() == before


def test_pictures_for_a_memory_of_vectors_are_refused(pets: RemoteMemory) -> None:
    before = pets.stored()
    batch = to_batch(AXES[:3], ["n0", "n1", "n2"])
    set_images(batch)

    error = refusal(pets.stub.InsertEntries, pb.InsertEntriesRequest(memory=pets.name, batch=batch))

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_EMBEDDER")
    assert pets.name in error.message
    assert pets.stored() == before


def test_an_id_that_exists_is_named_and_nothing_of_the_batch_is_stored(pets: RemoteMemory) -> None:
    before = pets.stored()
    batch = to_batch(AXES[:3], ["n0", "b", "n2"])

    error = refusal(pets.stub.InsertEntries, pb.InsertEntriesRequest(memory=pets.name, batch=batch))

    assert (error.code, error.reason) == (EXISTS, "ENTRIES_EXIST")
    assert "nothing of this write was stored: b;" in error.message
    assert pets.stored() == before


def test_more_entries_than_one_message_takes_are_refused(empty: RemoteMemory) -> None:
    rows = np.ones((10_001, 4))
    batch = to_batch(rows, [str(number) for number in range(10_001)])

    error = refusal(
        empty.stub.InsertEntries, pb.InsertEntriesRequest(memory=empty.name, batch=batch)
    )

    assert (error.code, error.field_violations[0][0]) == (INVALID, "entries")
    assert "10001" in error.message
    assert "10000" in error.message
    assert empty.stored() == []


def test_an_unknown_memory_is_named(pets: RemoteMemory) -> None:
    request = pb.InsertEntriesRequest(memory="nowhere", batch=to_batch(AXES[:1], ["x"]))

    error = refusal(pets.stub.InsertEntries, request)

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MEMORY")
    assert '"nowhere"' in error.message


@pytest.mark.parametrize("text", ["x" * 256, "é" * 128, "€uro 🐈", " ", "\n", "../a\\b", "*"])
def test_any_text_of_up_to_256_bytes_is_an_id_and_a_label(empty: RemoteMemory, text: str) -> None:
    empty.insert(AXES[:1], [text], [text])

    entry = empty.stub.GetEntry(pb.GetEntryRequest(memory=empty.name, id=text))
    assert (entry.id, entry.label) == (text, text)


def test_metadata_of_the_largest_size_is_kept(empty: RemoteMemory) -> None:
    metadata = {"k": "v" * 16_382, "é": ""}
    metadata["k"] = "v" * (16_384 - 1 - 2)
    batch = to_batch(AXES[:1], ["a"])
    batch.entries[0].metadata.update(metadata)

    empty.stub.InsertEntries(pb.InsertEntriesRequest(memory=empty.name, batch=batch))

    entry = empty.stub.GetEntry(pb.GetEntryRequest(memory=empty.name, id="a"))
    assert dict(entry.metadata) == metadata


def test_a_row_is_known_by_the_hash_of_its_picture_where_that_is_sent(empty: RemoteMemory) -> None:
    batch = to_batch(AXES[:2], ["a", "b"])
    batch.entries[0].content_sha256 = bytes(range(32))

    empty.stub.InsertEntries(pb.InsertEntriesRequest(memory=empty.name, batch=batch))

    stored = [entry_pb2.Entry.FromString(data).content_sha256 for data in empty.stored()]
    assert stored == [bytes(range(32)), sha256(AXES[1].astype("<f4").tobytes()).digest()]


def test_a_hash_of_another_length_is_refused_by_its_path(empty: RemoteMemory) -> None:
    batch = to_batch(AXES[:2], ["a", "b"])
    batch.entries[1].content_sha256 = b"short"

    error = refusal(
        empty.stub.InsertEntries, pb.InsertEntriesRequest(memory=empty.name, batch=batch)
    )

    assert (error.code, error.field_violations[0][0]) == (INVALID, "entries[1].content_sha256")
    assert empty.stored() == []


def test_rows_of_unit_length_keep_their_bits(empty: RemoteMemory) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 4))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True) * (1 + 9e-7)).astype("<f4")
    ids = [f"{number:02}" for number in range(50)]

    empty.insert(rows, ids)

    stored = [entry_pb2.Entry.FromString(data).vector for data in empty.stored()]
    assert b"".join(stored) == rows.tobytes()


@pytest.mark.parametrize("size", [1e-30, 0.5, 3e37])
def test_other_rows_are_brought_to_unit_length(empty: RemoteMemory, size: float) -> None:
    empty.insert(np.array([[3, 0, 4, 0]]) * size, ["a"])

    entry = empty.stub.GetEntry(pb.GetEntryRequest(memory=empty.name, id="a", include_vector=True))
    assert np.frombuffer(entry.vector, "<f4") == pytest.approx([0.6, 0, 0.8, 0], abs=1e-7)


def test_an_export_imported_elsewhere_is_the_same(pets: RemoteMemory, empty: RemoteMemory) -> None:
    pets.insert([[1, 2, 3, 4], [4, 3, 2, 1]], ["d", "e"])
    entries = [entry_pb2.Entry.FromString(data) for data in pets.stored()]
    pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=pets.name, ids=pets.ids()))

    pets.insert(
        np.stack([np.frombuffer(entry.vector, "<f4") for entry in entries]),
        [entry.id for entry in entries],
        [entry.label for entry in entries],
    )

    again = [entry_pb2.Entry.FromString(data) for data in pets.stored()]
    assert [(e.id, e.label, e.vector) for e in again] == [
        (e.id, e.label, e.vector) for e in entries
    ]


def test_ids_made_by_the_server_sort_as_they_were_inserted(empty: RemoteMemory) -> None:
    made = [id for _ in range(5) for id in empty.insert(np.ones((100, 4)), [""] * 100)]

    assert made == sorted(made)
    assert empty.ids() == made


def test_the_hash_is_that_of_the_row_as_it_was_sent(empty: RemoteMemory) -> None:
    row = np.array([[2, 0, 0, 0]], "<f4")

    empty.insert(row, ["a"])

    entry = entry_pb2.Entry.FromString(empty.stored()[0])
    assert entry.content_sha256 == hashlib.sha256(row.tobytes()).digest()


def test_existing_entries_are_replaced_on_request(pets: RemoteMemory) -> None:
    pets.insert(AXES[3:], ["b"], ["wolf"], replace_existing=True)

    entry = pets.stub.GetEntry(pb.GetEntryRequest(memory=pets.name, id="b", include_vector=True))
    assert (entry.label, entry.vector) == ("wolf", AXES[3].astype("<f4").tobytes())
    assert pets.ids() == ["a", "b", "c"]


# Updates


def update(pets: RemoteMemory, entry: entry_pb2.Entry, *paths: str) -> entry_pb2.Entry:
    return pets.stub.UpdateEntry(
        pb.UpdateEntryRequest(memory=pets.name, entry=entry, update_mask=FieldMask(paths=paths))
    )


@pytest.mark.parametrize(
    ("paths", "label", "metadata"),
    [
        ([], "wolf", {"size": "big"}),
        (["label"], "wolf", {"old": "yes"}),
        (["metadata"], "cat", {"size": "big"}),
        (["metadata", "label"], "wolf", {"size": "big"}),
    ],
)
def test_an_update_changes_what_its_mask_names(
    pets: RemoteMemory, paths: list[str], label: str, metadata: dict[str, str]
) -> None:
    update(pets, entry_pb2.Entry(id="a", metadata={"old": "yes"}), "metadata")
    vectors = [entry_pb2.Entry.FromString(data).vector for data in pets.stored()]

    update(pets, entry_pb2.Entry(id="a", label="wolf", metadata={"size": "big"}), *paths)

    entry = pets.stub.GetEntry(pb.GetEntryRequest(memory=pets.name, id="a"))
    assert (entry.label, dict(entry.metadata)) == (label, metadata)
    assert [entry_pb2.Entry.FromString(data).vector for data in pets.stored()] == vectors


def test_metadata_are_emptied_by_their_mask(pets: RemoteMemory) -> None:
    update(pets, entry_pb2.Entry(id="a", metadata={"old": "yes"}))

    changed = update(pets, entry_pb2.Entry(id="a"), "metadata")

    assert (changed.label, dict(changed.metadata)) == ("cat", {})


def test_a_new_label_votes_at_once(pets: RemoteMemory) -> None:
    update(pets, entry_pb2.Entry(id="a", label="wolf"))

    request = pb.ClassifyRequest(memory=pets.name, vectors=to_vectors(AXES[0]), k=1)
    assert pets.stub.Classify(request).decisions[0].label == "wolf"


@pytest.mark.parametrize(
    ("entry", "paths", "code", "says"),
    [
        (entry_pb2.Entry(id="x", label="y"), [], grpc.StatusCode.NOT_FOUND, "ids, .*: x"),
        (entry_pb2.Entry(label="y"), [], INVALID, "entry.id"),
        (entry_pb2.Entry(id="a"), [], INVALID, "update_mask"),
        (entry_pb2.Entry(id="a", label="y"), ["vector"], INVALID, '"vector"'),
        (entry_pb2.Entry(id="a", label="y"), ["label", "id"], INVALID, '"id"'),
        (entry_pb2.Entry(id="a"), ["label"], INVALID, "entry.label"),
        (entry_pb2.Entry(id="a", label="y" * 257), [], INVALID, "entry.label"),
        (entry_pb2.Entry(id="a", metadata={"": "y"}), [], INVALID, "entry.metadata key"),
    ],
)
def test_an_update_that_cannot_be_made_changes_nothing(
    pets: RemoteMemory,
    entry: entry_pb2.Entry,
    paths: list[str],
    code: grpc.StatusCode,
    says: str,
) -> None:
    before = pets.stored()

    error = refusal(update, pets, entry, *paths)

    assert error.code is code
    assert re.search(says, error.message)
    assert pets.stored() == before


# The client


@pytest.mark.parametrize(
    ("given", "kind", "field"),
    [
        ({"vectors": [[0.0] * 4]}, visual_memory.InvalidArgument, "entries[0].vector"),
        ({"vectors": [[NAN] * 4]}, visual_memory.InvalidArgument, "entries[0].vector"),
        ({"vectors": [[1.0] * 3]}, visual_memory.InvalidArgument, "vectors"),
        ({"labels": [""]}, visual_memory.InvalidArgument, "entries[0].label"),
        ({"ids": ["x" * 257]}, visual_memory.InvalidArgument, "entries[0].id"),
        ({"ids": ["a"]}, visual_memory.AlreadyExists, ""),
        ({"vectors": None, "images": [b"x"]}, visual_memory.FailedPrecondition, ""),
    ],
)
def test_the_client_raises_the_same_refusals(
    pets: RemoteMemory, given: dict[str, Any], kind: type[visual_memory.Error], field: str
) -> None:
    before = pets.stored()
    arguments: dict[str, Any] = {"vectors": [[1.0] * 4], "labels": ["cat"], **given}

    with (
        visual_memory.connect(pets.server.address) as client,
        pytest.raises(kind) as caught,
    ):
        client.memory(pets.name).insert(**arguments)

    assert [violation[0] for violation in caught.value.field_violations] == [field] * bool(field)
    assert pets.stored() == before
