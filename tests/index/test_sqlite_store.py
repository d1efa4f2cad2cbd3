"""The store keeps every bit of an entry, and gives entries by filter and by id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import CorruptStore, Entry, unit_rows
from visual_memory_index.digest import elements
from visual_memory_index.entry import Parts
from visual_memory_index.filter import Filter, parse
from visual_memory_index.sqlite_entries import ROWS_AT_ONCE
from visual_memory_index.sqlite_store import SqliteStore
from visual_memory_index.store import Identity, Transaction, new_identity

IDENTITY = Identity("birds", 3, '{"name": "ü"}', 1_700_000_000_000_000)
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32))
ENTRIES = [
    Entry("b", "crow", None, {"source": "web"}, 10, b"\x00\x01"),
    Entry("a", "Häher", None, {"b": "\x01\n", "a": "😀", "": ""}, 10, b""),
    Entry("ü", "crow", None, {}, 12, b"\xff"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore.create(tmp_path / "birds.sqlite", IDENTITY)) as opened:
        with opened.transaction() as transaction:
            insert(transaction, range(5, 7), ENTRIES[:2], VECTORS[:2], 10)
            insert(transaction, range(7, 8), ENTRIES[2:], VECTORS[2:], 12)
        yield opened


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def insert(
    transaction: Transaction,
    keys: range,
    entries: Sequence[Entry],
    vectors: NDArray[np.float32],
    created_at: int,
) -> None:
    names = [entry.id for entry in entries]
    transaction.insert(keys, names, entries, vectors, created_at, elements(names, entries, vectors))


def ids(entries: list[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def test_a_memory_keeps_its_identity(store: SqliteStore) -> None:
    assert store.identity() == IDENTITY


def test_a_new_identity_is_made_now() -> None:
    first, second = new_identity("x", 3, None), new_identity("x", 3, None)

    assert 1_700_000_000_000_000 < first.created_at <= second.created_at


def test_an_entry_comes_back_bit_for_bit(store: SqliteStore) -> None:
    for written, vector in zip(ENTRIES, VECTORS, strict=True):
        read = store.entry(written.id, Parts.VECTOR)

        assert read is not None
        assert read.vector is not None
        assert read.vector.tobytes() == vector.tobytes()
        assert (read.id, read.label, read.created_at) == (
            written.id,
            written.label,
            written.created_at,
        )
        assert (read.metadata, read.content_sha256) == (written.metadata, written.content_sha256)


def test_a_vector_is_read_where_it_is_asked_for(store: SqliteStore) -> None:
    entry = store.entry("a")

    assert entry is not None
    assert entry.vector is None
    assert store.entry("nobody", Parts.VECTOR) is None


def test_entries_come_in_pages_by_id(store: SqliteStore) -> None:
    first = store.entries(filter=None, after="", limit=2).entries
    second = store.entries(filter=None, after="b", limit=2, parts=Parts.VECTOR).entries

    assert (ids(first), ids(second)) == (["a", "b"], ["ü"])
    assert second[0].vector is not None


@pytest.mark.parametrize(
    ("text", "admitted"),
    [
        ('label = "crow"', ["b", "ü"]),
        ('NOT label = "crow" OR id = "ü"', ["a", "ü"]),
        ('metadata.source = "web"', ["b"]),
        ('create_time >= "1970-01-01T00:00:00.000012Z"', ["ü"]),
        ('label = "owl"', []),
    ],
)
def test_a_filter_holds_for_entries_ids_and_keys(
    text: str, admitted: list[str], store: SqliteStore
) -> None:
    filter = parsed(text)
    key_of = {"b": 5, "a": 6, "ü": 7}

    _, keys = store.keys(filter)

    assert (
        ids(store.entries(filter=filter, after="", limit=9, parts=Parts.VECTOR).entries) == admitted
    )
    assert store.ids(filter) == admitted
    assert keys.tolist() == [key_of[id] for id in sorted(admitted, key=lambda id: key_of[id])]


def test_deleting_an_entry_deletes_its_vector(store: SqliteStore) -> None:
    with store.transaction() as transaction:
        transaction.delete([5, 77])

    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("SELECT key FROM vectors").fetchall() == [(6,), (7,)]


def test_an_update_sets_label_and_metadata_alone(store: SqliteStore) -> None:
    with store.transaction() as transaction:
        transaction.update(5, Entry("x", "owl", None, {"k": "v"}, 99, b"other"))

    entry = store.entry("b", Parts.VECTOR)
    assert entry is not None
    assert entry.vector is not None
    assert (entry.label, entry.metadata, entry.created_at) == ("owl", {"k": "v"}, 10)
    assert (entry.content_sha256, entry.vector.tobytes()) == (b"\x00\x01", VECTORS[0].tobytes())


def test_a_transaction_sees_its_own_writes_and_others_do_not(store: SqliteStore) -> None:
    with store.transaction() as transaction:
        transaction.delete([5])

        assert transaction.entry("b") is None
        assert transaction.ids(parsed('label = "crow"')) == ["ü"]
        assert store.ids(parsed('label = "crow"')) == ["b", "ü"]


def test_every_change_has_a_revision_of_its_own(store: SqliteStore) -> None:
    before, _ = store.keys(parsed("id:a"))
    with store.transaction() as transaction:
        revision = transaction.next_revision()
    after, _ = store.keys(parsed("id:a"))

    assert (before, revision, after) == (0, 1, 1)


@pytest.mark.parametrize("m", [0, 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
def test_all_rows_are_read_in_order_some_at_a_time(m: int, tmp_path: Path) -> None:
    vectors = np.arange(m, dtype=np.float32)[:, np.newaxis]
    with closing(SqliteStore.create(tmp_path / "x.sqlite", new_identity("x", 1, None))) as store:
        with store.transaction() as transaction:
            entries = [Entry(f"{number}", "x") for number in range(m)]
            insert(transaction, range(m), entries, vectors, 0)

        parts = list(store.rows(1))

    assert [key for part in parts for key in part.keys] == [*range(m)]
    assert [id for part in parts for id in part.ids] == ids(entries)
    assert {label for part in parts for label in part.labels} == ({"x"} if m else set())
    assert np.array_equal(np.concatenate([part.vectors for part in parts]), vectors)


def test_a_vector_of_another_length_is_damage(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE vectors SET vector = x'00000000' WHERE key = 6")

    with pytest.raises(CorruptStore, match=r"birds\.sqlite is damaged \(a vector has another"):
        list(store.rows(3))


def test_a_file_without_a_memory_is_damage(tmp_path: Path) -> None:
    with (
        closing(SqliteStore(tmp_path / "empty.sqlite")) as store,
        pytest.raises(CorruptStore, match="it holds no memory"),
    ):
        store.identity()


def test_a_store_that_cannot_be_made_lets_go_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    unstorable = Identity("x", None, None, 0)  # type: ignore[arg-type]

    with pytest.raises(sqlite3.IntegrityError):
        SqliteStore.create(path, unstorable)

    assert [file.name for file in tmp_path.iterdir()] == ["x.sqlite"]


def test_a_page_holds_no_more_bytes_than_asked_but_always_an_entry(tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "x.sqlite", new_identity("x", 1, None))) as store:
        entries = [Entry(id, "x", image=bytes(1000), thumbnail=b"small") for id in "abcd"]
        with store.transaction() as transaction:
            keys = transaction.next_keys(4)
            insert(transaction, keys, entries, np.ones((4, 1), np.float32), 0)

        pages = [
            store.entries(limit=limit, bytes_max=bytes_max, parts=parts)
            for limit, bytes_max, parts in (
                (9, 1, Parts.IMAGE),
                (9, 2600, Parts.IMAGE),
                (9, 2600, Parts.THUMBNAIL),
                (2, 9999, Parts.NONE),
                (4, 9999, Parts.IMAGE),
            )
        ]

    assert [(ids(page.entries), page.more) for page in pages] == [
        (["a"], True),
        (["a", "b"], True),
        (["a", "b", "c", "d"], False),
        (["a", "b"], True),
        (["a", "b", "c", "d"], False),
    ]


def test_pictures_are_found_by_id_and_missing_ones_left_out(tmp_path: Path) -> None:
    with closing(SqliteStore.create(tmp_path / "x.sqlite", new_identity("x", 1, None))) as store:
        entries = [Entry("a", "x", image=b"large", thumbnail=b"small"), Entry("b", "x")]
        with store.transaction() as transaction:
            keys = transaction.next_keys(2)
            insert(transaction, keys, entries, np.ones((2, 1), np.float32), 0)

        found = store.images(["a", "b", "nobody"], "image")
        with store.transaction() as transaction:
            transaction.delete(keys)
        left = store.images(["a"], "thumbnail")

    assert (found, left) == ({"a": b"large"}, {})
