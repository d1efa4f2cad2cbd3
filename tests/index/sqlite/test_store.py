"""Damage in the file of a store is reported, and deleted data are gone from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.sealing import alter

from visual_memory_index import Entry, unit_rows
from visual_memory_index.errors import CorruptStore
from visual_memory_index.ledger.digest import elements
from visual_memory_index.sqlite.store import SqliteStore
from visual_memory_index.sqlite.transaction import SqliteTransaction
from visual_memory_index.store.store import Identity, Labelled, new_identity

VECTORS = unit_rows(np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32))
IDS = ["b", "a", "ü"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    path = tmp_path / "birds.sqlite"
    with closing(SqliteStore.create(path, new_identity("birds", 3, None))) as opened:
        with opened.transaction() as transaction:
            entries = [Entry(id, "crow") for id in IDS]
            given = elements(IDS, entries, VECTORS)
            transaction.insert(range(5, 8), IDS, entries, VECTORS, 10, given)
        yield opened


def test_deleting_an_entry_deletes_its_vector(store: SqliteStore) -> None:
    with store.transaction() as transaction:
        transaction.delete(np.array([5, 77]))

    with closing(sqlite3.connect(store.path)) as db:
        assert db.execute("SELECT key FROM vectors").fetchall() == [(6,), (7,)]


def test_an_operation_is_looked_up_without_reading_the_results_of_others(
    store: SqliteStore,
) -> None:
    with closing(sqlite3.connect(store.path)) as db:
        plan = db.execute("EXPLAIN QUERY PLAN SELECT 1 FROM operations WHERE name = ?", ("m/1",))
        assert "USING COVERING INDEX" in plan.fetchone()[-1]
        *_, last = db.execute("SELECT name FROM pragma_table_info('operations')")

    assert last == ("result",)


def test_each_operation_of_a_chain_is_gone_through_once(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, undo, undone = [f"{at:02}" for at in range(30)], SqliteTransaction._unrelabel, []
    entries, keys = [Entry(name, "crow") for name in names], np.arange(8, 38)
    vectors = np.ones((30, 3), np.float32)

    def counted(transaction: SqliteTransaction, operation: str) -> tuple[Labelled, set[str]]:
        undone.append(operation)
        return undo(transaction, operation)

    monkeypatch.setattr(SqliteTransaction, "_unrelabel", counted)
    with store.transaction() as transaction:
        transaction.insert(
            range(8, 38), names, entries, vectors, 0, elements(names, entries, vectors)
        )
        before = transaction.digest()
        for at, name in enumerate([*names, "last"]):
            transaction.begin(name, "relabel", "local")
            transaction.relabel(keys[at % 30 :], [name] * (30 - at % 30), name)
        for name in names:
            transaction.mark_undone(name)
            assert not len(transaction.unrelabel(name).keys)
        undone.clear()

        back = transaction.unrelabel("last")

        assert transaction.digest() == before
    assert (back.keys.tolist(), back.labels.tolist()) == (keys.tolist(), ["crow"] * 30)
    assert undone == ["last", *names[::-1]]


def test_entries_that_an_undo_left_to_an_operation_undone_since_come_back_with_others(
    store: SqliteStore,
) -> None:
    with store.transaction() as transaction:
        for name, keys in (("a", [5, 6]), ("b", [5]), ("c", [6])):
            transaction.begin(name, "relabel", "local")
            transaction.relabel(np.array(keys), [name] * len(keys), name)
        transaction.mark_undone("a")
        transaction.unrelabel("a")
        transaction._unrelabel("b")  # as an early release did: 5 has the label of "a" again

        back = transaction.unrelabel("c")

    assert [*zip(*back, strict=True)] == [("b", 5, "crow"), ("a", 6, "crow")]


def test_what_sqlite_refuses_loses_the_whole_transaction(store: SqliteStore) -> None:
    def write(transaction: SqliteTransaction) -> None:
        transaction.delete(np.array([5]))
        transaction.prune(np.array([6]), "an operation that nobody began")

    with pytest.raises(sqlite3.IntegrityError), store.transaction() as transaction:
        write(transaction)

    assert [id for _, rows in store.rows(3) for id in rows.ids] == ["b", "a", "ü"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE sums SET count = 1 << 40 WHERE name = 'entries'",
        "UPDATE sums SET count = -7 WHERE name = 'entries'",
        "DELETE FROM sums WHERE name = 'entries'",
    ],
)
@pytest.mark.parametrize(("dimension", "most"), [(1, 150_000), (768, 3000)])
def test_a_damaged_count_asks_for_no_more_room_than_the_file_could_fill(
    damage: str, dimension: int, most: int, tmp_path: Path
) -> None:
    path, ids = tmp_path / "m.sqlite", [f"{number}" for number in range(500)]
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.standard_normal((500, dimension)).astype(np.float32))
    with closing(SqliteStore.create(path, new_identity("m", dimension, None))) as store:
        with store.transaction() as transaction:
            entries = [Entry(id, "crow", image=bytes(5000)) for id in ids]
            given = elements(ids, entries, vectors)
            transaction.insert(range(1, 501), ids, entries, vectors, 10, given)
        assert store.entry_count() == 500
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute(damage)

        assert 0 <= store.entry_count() < most


def test_a_vector_of_another_length_is_damage(store: SqliteStore) -> None:
    alter(store.path, "UPDATE vectors SET vector = x'00000000' WHERE key = 6")

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
    unstorable = Identity("x", None, None, 0)  # type: ignore[arg-type]  # that is why it is unstorable

    with pytest.raises(sqlite3.IntegrityError):
        SqliteStore.create(path, unstorable)

    assert [file.name for file in tmp_path.iterdir()] == ["x.sqlite"]
