"""The contract of every store: exact bits, whole transactions or none, answers to past requests.

Written against ``store.Store`` alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from tests.index.conformance.implementations import PLACES, Place
from tests.index.filters import admits, filters

from visual_memory_index import CUT_SHORT, UNLEARN, WITHOUT_ID, Entry, Request, unit_rows
from visual_memory_index.errors import (
    EntriesExist,
    RequestErased,
    RequestReused,
    UnknownOperation,
    WrongOffset,
)
from visual_memory_index.ledger.digest import elements
from visual_memory_index.records.entry import Parts
from visual_memory_index.records.filter import Filter, parse
from visual_memory_index.records.request import LOCAL, StoredBatch
from visual_memory_index.sqlite import entries
from visual_memory_index.store.store import Identity, Page, Store, Transaction, new_identity

IDENTITY = Identity("birds", 3, '{"name": "ü"}', 1_700_000_000_000_000, True, "abc")
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32))
ENTRIES = [
    Entry("b", "crow", None, {"source": "web"}, 10, b"\x00\x01"),
    Entry("a", "Häher", None, {"b": "\x01\n", "a": "😀", "": ""}, 10, b""),
    Entry("ü", "crow", None, {}, 12, b"\xff"),
]


def listed(
    store: Store,
    *,
    filter: Filter | None = None,
    after: str = "",
    limit: int,
    bytes_max: int = sys.maxsize,
    parts: Parts = Parts.NONE,
) -> Page:
    return store.entries(filter=filter, after=after, limit=limit, bytes_max=bytes_max, parts=parts)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """A store with the three entries under the keys 5, 6 and 7."""
    with closing(place.create(IDENTITY)) as opened:
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
    given = elements(names, entries, vectors)
    transaction.insert(keys, names, entries, vectors, created_at, given)
    transaction.log("InsertEntries", len(entries), LOCAL)


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.id for entry in entries]


def test_a_memory_keeps_its_identity(store: Store) -> None:
    assert store.identity() == IDENTITY


def test_an_entry_comes_back_bit_for_bit(store: Store) -> None:
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


def test_a_vector_is_read_where_it_is_asked_for(store: Store) -> None:
    entry = store.entry("a")

    assert entry is not None
    assert entry.vector is None
    assert store.entry("nobody", Parts.VECTOR) is None


@pytest.mark.parametrize("at_once", [1, 2, 1024])
def test_vectors_are_read_by_key_bit_for_bit(
    store: Store, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "VECTORS_AT_ONCE", at_once)

    found, vectors = store.vectors(np.array([1, 5, 7, 8]), VECTORS.shape[1])
    none, nothing = store.vectors(np.array([8]), VECTORS.shape[1])

    assert found.tolist() == [5, 7]
    assert vectors.tobytes() == VECTORS[[0, 2]].tobytes()
    assert vectors.dtype == np.float32
    assert (none.tolist(), nothing.shape) == ([], (0, VECTORS.shape[1]))


def test_entries_come_in_pages_by_id(store: Store) -> None:
    first = listed(store, filter=None, after="", limit=2).entries
    second = listed(store, filter=None, after="b", limit=2, parts=Parts.VECTOR).entries

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
    text: str, admitted: list[str], store: Store
) -> None:
    filter = parsed(text)
    key_of = {"b": 5, "a": 6, "ü": 7}

    _, keys = store.keys(filter)

    assert (
        ids(listed(store, filter=filter, after="", limit=9, parts=Parts.VECTOR).entries) == admitted
    )
    assert store.ids(filter) == admitted
    assert sorted(keys.tolist()) == sorted(key_of[id] for id in admitted)


@pytest.mark.parametrize("new_place", PLACES.values(), ids=PLACES.keys())
def test_a_filter_admits_what_python_admits(
    new_place: Callable[[Path], Place], tmp_path: Path
) -> None:
    chance = Random(0)
    texts = ["", *"aAb*?é😀\uffff", "a*", "[a]", "%", '"\\', "ab\n", "\ue000", "$.a"]
    entries = [
        Entry(id, chance.choice(texts), None, {key: chance.choice(texts) for key in chosen})
        for id in texts[1:]
        for chosen in [chance.sample(texts, 3)]
    ]
    by_id = sorted(entries, key=lambda each: each.id.encode())
    with closing(new_place(tmp_path).create(new_identity("x", 1, None))) as store:
        with store.transaction() as transaction:
            keys = transaction.next_keys(len(entries))
            insert(transaction, keys, entries, np.ones((len(entries), 1), np.float32), 1)
        key_of = dict(zip(ids(entries), keys, strict=True))

        @settings(deadline=None)
        @given(filters)
        def compare(filter: Filter) -> None:
            admitted = [
                each.id
                for each in by_id
                if admits(filter, (each.id, each.label, dict(each.metadata), 1))
            ]
            assert store.ids(filter) == admitted
            assert ids(listed(store, filter=filter, limit=99).entries) == admitted
            assert sorted(store.keys(filter)[1]) == sorted(key_of[id] for id in admitted)

        compare()


@pytest.mark.parametrize("key", ["source", '"\\', "$.a", "", "é😀", "nobody's"])
def test_the_values_of_a_key_are_those_of_the_entries_that_have_it(key: str, store: Store) -> None:
    metadata = [{"source": "web"}, {"": "none"}, {key: "of it", "other": "x"}, {key: ""}]
    entries = [Entry(f"{at}", "owl", None, each) for at, each in enumerate(metadata)]
    with store.transaction() as transaction:
        insert(transaction, range(50, 54), entries, np.ones((4, 2), np.float32), 1)

    found = store.metadata_values(key)

    assert found == {
        each.id: each.metadata[key]
        for each in listed(store, filter=None, limit=99).entries
        if key in each.metadata
    }
    assert {"2", "3"} <= found.keys()
    assert store.has_metadata(key)


@pytest.mark.parametrize("count", [1, 5000])
def test_a_key_is_had_while_an_entry_that_votes_has_it(count: int, store: Store) -> None:
    assert not store.has_metadata("%")
    entries = [Entry(f"{at}", "owl", None, {"at": f"{at}"}) for at in range(count)]
    entries.append(Entry("last", "owl", None, {"%": ""}))
    keys = range(8, 9 + count)
    with store.transaction() as transaction:
        insert(transaction, keys, entries, np.ones((1 + count, 3), np.float32), 1)
    assert store.has_metadata("%")
    assert not store.has_metadata("nobody's")

    with store.transaction() as transaction:
        transaction.begin("1", "prune", LOCAL)
        transaction.prune(np.array([6, *keys[:-1]]), "1")
    assert (store.has_metadata("at"), store.has_metadata("%")) == (False, True)
    with store.transaction() as transaction:
        transaction.delete(np.array(keys[-1:]))
    assert not store.has_metadata("%")


def test_an_update_sets_label_and_metadata_alone(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.update(5, Entry("x", "owl", None, {"k": "v"}, 99, b"other"))

    entry = store.entry("b", Parts.VECTOR)
    assert entry is not None
    assert entry.vector is not None
    assert (entry.label, entry.metadata, entry.created_at) == ("owl", {"k": "v"}, 10)
    assert (entry.content_sha256, entry.vector.tobytes()) == (b"\x00\x01", VECTORS[0].tobytes())


def test_a_transaction_sees_its_own_writes_and_others_do_not(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.delete(np.array([5]))

        assert transaction.entry("b") is None
        assert transaction.ids(parsed('label = "crow"')) == ["ü"]
        assert transaction.keys(parsed('label = "crow"')) == [7]
        assert store.ids(parsed('label = "crow"')) == ["b", "ü"]


def test_every_change_has_a_revision_of_its_own(store: Store) -> None:
    before, _ = store.keys(parsed("id:a"))
    with store.transaction() as transaction:
        revision = transaction.next_revision()
    after, _ = store.keys(parsed("id:a"))

    assert (before, revision, after) == (0, 1, 1)


@pytest.mark.parametrize("m", [0, 1, 64, 65, 5000])
def test_all_rows_are_read_in_order_some_at_a_time(m: int, place: Place) -> None:
    vectors = np.arange(m, dtype=np.float32)[:, np.newaxis]
    with closing(place.create(new_identity("x", 1, None))) as store:
        with store.transaction() as transaction:
            entries = [Entry(f"{number}", "x") for number in range(m)]
            insert(transaction, range(m), entries, vectors, 0)

        parts = [part for _, part in store.rows(1)]

    assert [key for part in parts for key in part.keys] == [*range(m)]
    assert [id for part in parts for id in part.ids] == ids(entries)
    assert {label for part in parts for label in part.labels} == ({"x"} if m else set())
    assert np.array_equal(np.concatenate([part.vectors for part in parts]), vectors)


def test_a_page_holds_no_more_bytes_than_asked_but_always_an_entry(place: Place) -> None:
    with closing(place.create(new_identity("x", 1, None))) as store:
        entries = [Entry(id, "x", image=bytes(1000), thumbnail=b"small") for id in "abcd"]
        with store.transaction() as transaction:
            keys = transaction.next_keys(4)
            insert(transaction, keys, entries, np.ones((4, 1), np.float32), 0)

        pages = [
            listed(store, limit=limit, bytes_max=bytes_max, parts=parts)
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


def test_pictures_are_found_by_id_and_missing_ones_left_out(place: Place) -> None:
    with closing(place.create(new_identity("x", 1, None))) as store:
        entries = [Entry("a", "x", image=b"large", thumbnail=b"small"), Entry("b", "x")]
        with store.transaction() as transaction:
            keys = transaction.next_keys(2)
            insert(transaction, keys, entries, np.ones((2, 1), np.float32), 0)

        found = store.images(["a", "b", "nobody"], "image")
        with store.transaction() as transaction:
            transaction.delete(np.array(keys))
        left = store.images(["a"], "thumbnail")

    assert (found, left) == ({"a": b"large"}, {})


# Transactions


class Stop(Exception):
    """An error that only the test raises."""


def delete_and_stop(transaction: Transaction, key: int) -> None:
    transaction.delete(np.array([key]))
    transaction.keep_setting("temperature", "0")
    transaction.next_revision()
    transaction.log("DeleteEntries", 1, LOCAL)
    raise Stop


def test_a_transaction_that_raises_has_done_nothing(store: Store) -> None:
    before = store.digest()

    with pytest.raises(Stop), store.transaction() as transaction:
        delete_and_stop(transaction, 5)

    assert ids(listed(store, limit=9).entries) == ["a", "b", "ü"]
    assert (store.digest(), store.settings()) == (before, {})
    assert store.keys(parsed("id:a"))[0] == 0


def test_a_transaction_tells_whether_anything_was_written(store: Store) -> None:
    writes: list[Callable[[Transaction], object]] = [
        lambda transaction: transaction.next_keys(1),
        lambda transaction: transaction.delete(np.array([5])),
        lambda transaction: transaction.log("DeleteEntries", 1, LOCAL),
        lambda transaction: transaction.begin("m/1", "relabel", LOCAL),
        lambda transaction: transaction.relabel(np.array([6]), ["fox"], "m/1"),
        lambda transaction: transaction.keep_setting("temperature", "1"),
        lambda transaction: transaction.next_revision(),
    ]

    with store.transaction() as transaction:
        written = [transaction.written]
        for write in writes:
            write(transaction)
            written.append(transaction.written)
        transaction.look_up(["a", "b"])
        transaction.ids(parsed("id:a"))
        transaction.digest()
        with pytest.raises(UnknownOperation):
            transaction.operation("m/2")
        assert transaction.written == written[-1]

    assert all(before < after for before, after in pairwise(written))
    assert ids(listed(store, limit=9).entries) == ["a", "ü"]


def test_a_long_chain_of_relabels_that_were_undone_from_the_oldest_on_comes_back(
    store: Store,
) -> None:
    names = [f"m/{number:04}" for number in range(1500)]
    with store.transaction() as transaction:
        before = transaction.digest()
        for name in names:
            transaction.begin(name, "relabel", LOCAL)
            transaction.relabel(np.array([6]), [name], name)
        for name in names[:-1]:
            transaction.mark_undone(name)
            assert not len(transaction.unrelabel(name).keys)

        back = transaction.unrelabel(names[-1])

        assert back.ids.tolist() == ["a"]
        assert transaction.digest() == before


def test_a_batch_with_ids_that_are_there_is_refused_with_their_names(store: Store) -> None:
    batch = [Entry("new", "x"), Entry("b", "x"), Entry("ü", "x")]

    def write(transaction: Transaction) -> None:
        keys = transaction.next_keys(3)
        insert(transaction, range(keys.start + 10, keys.stop + 10), batch, VECTORS, 20)

    with pytest.raises(EntriesExist) as caught, store.transaction() as transaction:
        write(transaction)

    assert caught.value.ids == ("b", "ü")
    assert ids(listed(store, limit=9).entries) == ["a", "b", "ü"]


def test_no_key_comes_twice(place: Place) -> None:
    given: list[int] = []
    with closing(place.create(IDENTITY)) as store:
        for _ in range(2):
            with store.transaction() as transaction:
                keys = transaction.next_keys(3)
                insert(transaction, keys, ENTRIES, VECTORS, 0)
                transaction.delete(np.array(keys))
            given += keys

    with closing(place.open()) as store, store.transaction() as transaction:
        given += transaction.next_keys(2)

    assert given == sorted(set(given))


def test_entries_are_looked_up_in_the_order_asked(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.begin("m/1", "prune", LOCAL)
        transaction.prune(np.array([6]), "m/1")

        many = [f"nobody {number}" for number in range(5000)]
        known, unknown = transaction.look_up(["ü", many[9], *many, "a", "ü", many[0]])

    assert [*zip(*known, strict=True)] == [("ü", 7, "crow", True), ("a", 6, "Häher", False)]
    assert unknown == [many[9], *many[:9], *many[10:]]


def test_each_of_very_many_is_changed_and_changed_back_and_deleted(store: Store) -> None:
    names = [f"{number:05}" for number in range(9000)]
    many = [Entry(name, f"label {number // 1000}") for number, name in enumerate(names)]
    with store.transaction() as transaction:
        of_few = transaction.digest()
        keys = np.arange(8, 9008)
        insert(transaction, range(8, 9008), many, np.ones((9000, 3), np.float32), 1)
        transaction.begin("m/1", "assess", LOCAL)
        transaction.end("m/1", "done", result='{"label 0": 1}')
    with store.transaction() as transaction:
        before = transaction.digest()
        transaction.begin("m/2", "relabel", LOCAL)
        transaction.relabel(keys[::-1], ["owl"] * 9000, "m/2")
        assert transaction.ids(parsed("label = owl")) == names
        back = transaction.unrelabel("m/2")
        transaction.begin("m/3", "prune", LOCAL)
        transaction.prune(keys, "m/3")
        voting = transaction.unprune("m/3", 3)
        assert transaction.digest() == before
        assert transaction.operation("m/1").result
        transaction.begin("m/4", "unlearn", LOCAL)
        transaction.note_ids_to_unlearn("m/4", names)
        noted = transaction.ids_to_unlearn("m/4")
        transaction.delete(keys)
        transaction.scrub("m/4", (), ())
        assert transaction.ids_to_unlearn("m/4") == []
        assert transaction.digest() == of_few
        assert transaction.count() == 3
        assert transaction.operation("m/1").result is None

    assert [*zip(*back, strict=True)] == [
        (entry.id, key, entry.label) for entry, key in zip(many, keys.tolist(), strict=True)
    ]
    assert [*zip(*voting[:2], strict=True)] == [*zip(keys.tolist(), names, strict=True)]
    assert noted == names
    store.check()


def test_whoever_reads_sees_one_state_whatever_is_written_meanwhile(store: Store) -> None:
    rows = store.rows(3)
    with store.contents() as contents:
        _, first = next(rows)
        with store.transaction() as transaction:
            transaction.delete(np.array([6, 7]))
            transaction.log("DeleteEntries", 2, LOCAL)
        seen = [entry.id for part in contents.entries() for entry in part]

        assert (contents.count(), sorted(contents.ids())) == (3, ["a", "b", "ü"])
        assert [*first.ids, *(id for _, part in rows for id in part.ids)] == ["b", "a", "ü"]
        assert seen == ["b", "a", "ü"]
    assert ids(listed(store, limit=9).entries) == ["b"]


def test_what_was_committed_is_there_when_it_is_opened_again(place: Place) -> None:
    with closing(place.create(IDENTITY)) as store:
        with store.transaction() as transaction:
            insert(transaction, transaction.next_keys(3), ENTRIES, VECTORS, 10)
            transaction.keep_setting("temperature", "1")
        before = store.digest(), store.settings(), ids(listed(store, limit=9).entries)

    with closing(place.open()) as store:
        store.complete()

        assert store.identity() == IDENTITY
        assert (store.digest(), store.settings(), ids(listed(store, limit=9).entries)) == before
        assert store.bytes_on_disk() > 0


# Votes and labels


def test_the_votes_that_an_operation_took_are_given_back_by_it_alone(store: Store) -> None:
    with store.transaction() as transaction:
        for name, keys in (("m/1", [5]), ("m/2", [6, 7])):
            transaction.begin(name, "prune", LOCAL)
            transaction.prune(np.array(keys), name)
    silent = {id for _, id, _ in store.pruned()}
    before, _ = store.keys(parsed("id:a"))

    with store.transaction() as transaction:
        back = transaction.unprune("m/2", 3)

    assert silent == {"a", "b", "ü"}
    assert store.pruned() == [(5, "b", "crow")]
    assert [*zip(*back[:3], strict=True)] == [(6, "a", "Häher"), (7, "ü", "crow")]
    assert back.vectors.tobytes() == VECTORS[1:].tobytes()
    assert {revision for revision, _ in store.rows(3)} == {before}
    assert [id for _, part in store.rows(3) for id in part.ids] == ["a", "ü"]


def test_labels_are_given_back_where_nothing_has_set_them_since(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.begin("m/1", "relabel", LOCAL)
        transaction.relabel(np.array([5, 6, 7]), ["owl", "owl", "owl"], "m/1")
        transaction.update(5, Entry("b", "owl", metadata={"seen": "again"}))
        transaction.update(6, Entry("a", "jay"))
        transaction.begin("m/2", "relabel", LOCAL)
        transaction.relabel(np.array([7]), ["swan"], "m/2")

        restored = transaction.unrelabel("m/1")

    assert [*zip(*restored, strict=True)] == [("b", 5, "crow")]
    assert {entry.id: entry.label for entry in listed(store, limit=9).entries} == {
        "a": "jay",
        "b": "crow",
        "ü": "swan",
    }


def test_a_label_of_an_operation_undone_meanwhile_is_not_given_back_to(store: Store) -> None:
    with store.transaction() as transaction:
        for name, label in (("m/1", "owl"), ("m/2", "swan")):
            transaction.begin(name, "relabel", LOCAL)
            transaction.relabel(np.array([5]), [label], name)
            transaction.end(name, "done")
        transaction.mark_undone("m/1")
        first = transaction.unrelabel("m/1")
        transaction.mark_undone("m/2")

        second = transaction.unrelabel("m/2")

    assert not len(first.keys)
    assert [*zip(*second, strict=True)] == [("b", 5, "crow")]


# Answers to requests


def test_a_request_is_answered_as_before_and_its_id_serves_no_other(place: Place) -> None:
    with closing(place.create(IDENTITY)) as store, store.transaction() as transaction:
        transaction.keep(Request("r", b"content"), ["a", "é"])
        transaction.keep(WITHOUT_ID, ["b"])
    with closing(place.open()) as store:
        assert store.recall(Request("r", b"content")) == ["a", "é"]
        assert store.recall(Request("other", b"content")) is None
        assert store.recall(WITHOUT_ID) is None
        with pytest.raises(RequestReused):
            store.recall(Request("r", b"other"))
        with pytest.raises(RequestReused):
            store.stored_batches("r")
        with store.transaction() as transaction:
            assert transaction.recall(Request("r", b"content")) == ["a", "é"]


def test_an_import_goes_on_where_it_ends(store: Store) -> None:
    first, second = Request("r", b"1", 0), Request("r", b"2", 2)
    with store.transaction() as transaction:
        transaction.check_start(first)
        transaction.keep(first, ["a", "b"])
        for start in (0, 1, 3):
            with pytest.raises(WrongOffset):
                transaction.check_start(Request("r", b"", start))
        transaction.check_start(second)
        transaction.keep(second, ["c"])

    assert store.stored_batches("r") == [
        StoredBatch(0, ["a", "b"], b"1"),
        StoredBatch(2, ["c"], b"2"),
    ]
    assert store.stored_batches("other") == []
    with pytest.raises(RequestReused):
        store.recall(Request("r", b"1"))


# Operations and settings


def test_operations_are_listed_from_the_newest_and_say_how_they_ended(store: Store) -> None:
    with store.transaction() as transaction:
        for number, kind in enumerate(["prune", "assess", UNLEARN, "relabel"]):
            transaction.begin(f"m/{number}", kind, LOCAL)
        transaction.end("m/0", "done", result='{"count": 1}')
        transaction.end("m/3", "failed", problem="No room.")
        transaction.mark_undone("m/0")
    running = store.unfinished()

    store.fail_unfinished()

    assert [each.name for each in running] == ["m/1", "m/2"]
    assert [each.name for each in store.unfinished()] == ["m/2"]
    listed = store.operations(before="", limit=9)
    assert [(each.name, each.kind, each.state, each.problem) for each in listed] == [
        ("m/3", "relabel", "failed", "No room."),
        ("m/2", UNLEARN, "running", None),
        ("m/1", "assess", "failed", CUT_SHORT),
        ("m/0", "prune", "done", None),
    ]
    assert {each.result for each in listed} == {None}
    assert store.operation("m/0").result == '{"count": 1}'
    assert [each.undone_at is not None for each in listed] == [False, False, False, True]
    assert store.operations(before="m/2", limit=1) == [listed[2]]
    with pytest.raises(UnknownOperation):
        store.operation("m/9")


def test_what_is_derived_is_kept_under_its_name(place: Place) -> None:
    with closing(place.create(IDENTITY)) as store:
        for name, value in (("a.1", b"one"), ("a.2", b"\x00\xff"), ("b.1", b""), ("a.1", b"newer")):
            store.keep_derived(name, value)
        store.drop_derived(["b.1", "nothing"])
    with closing(place.open()) as store:
        assert [store.derived(name) for name in ("a.1", "a.2", "b.1")] == [
            b"newer",
            b"\x00\xff",
            None,
        ]
        assert list(store.derived_sizes("a.").items()) == [("a.1", 5), ("a.2", 2)]


# The audit log


def test_every_event_follows_the_one_before(store: Store) -> None:
    with store.transaction() as transaction:
        written = transaction.log("BackupMemory", 3, LOCAL)
        backups = transaction.backups()

    page = store.audit_events(1, 2)
    rest = store.audit_events(3, 9)

    assert [event.call for event in page.events] == ["InsertEntries", "InsertEntries"]
    assert rest.events == [written]
    assert backups == store.backups() == [written.time]
    assert (page.head, page.digest) == (rest.head, store.digest())
    assert (page.head.size, written.digest) == (4, store.digest())
    with store.contents() as contents:
        assert contents.last_event() == (3, written.to_json())
        assert [number for number, _ in contents.events()] == [0, 1, 2, 3]
        contents.check_file(lambda: None)


def test_an_operation_keeps_the_principal_that_began_it(place: Place) -> None:
    with closing(place.create(IDENTITY)) as store, store.transaction() as transaction:
        transaction.begin("m/1", UNLEARN, "ann")
        assert transaction.operation("m/1").principal == "ann"

    with closing(place.open()) as store:
        found = [*store.unfinished(), *store.operations(before="", limit=9), store.operation("m/1")]

    assert [each.principal for each in found] == ["ann"] * 3


# Erasing


def test_what_is_to_be_erased_is_noted_until_its_operation_ends(place: Place) -> None:
    with closing(place.create(IDENTITY)) as store, store.transaction() as transaction:
        transaction.begin("m/1", UNLEARN, LOCAL)
        transaction.note_ids_to_unlearn("m/1", ["ü", "a", "ü"])
        assert transaction.ids_to_unlearn("m/1") == ["a", "ü"]
    with closing(place.open()) as store:
        assert store.ids_to_unlearn("m/1") == ["a", "ü"]
        with store.transaction() as transaction:
            transaction.end("m/1", "done")
        assert store.ids_to_unlearn("m/1") == []


def test_all_that_names_what_was_erased_is_dropped(store: Store) -> None:
    store.keep_derived("lists.5", b"of all entries")
    with store.transaction() as transaction:
        transaction.begin("m/1", UNLEARN, LOCAL)
        transaction.note_ids_to_unlearn("m/1", ["a"])
        for name, result in (("m/2", {"pruned": ["a"]}), ("m/3", {"Häher": 1}), ("m/4", ["b"])):
            transaction.begin(name, "prune", LOCAL)
            transaction.end(name, "done", result=json.dumps(result))
        transaction.keep(Request("r", b"content"), ["a", "b"])
        transaction.keep(Request("s", b"content"), ["b"])
        transaction.keep_setting("calibration", "{}")
        transaction.keep_setting("taxonomy", "{}")
        transaction.delete(np.array([6]))

        gone = transaction.scrub("m/1", ["Häher", "crow"], ["calibration"])

    assert gone == ["Häher"]
    assert store.ids_to_unlearn("m/1") == []
    assert [store.operation(f"m/{number}").result for number in (2, 3, 4)] == [None, None, '["b"]']
    assert store.operation("m/2").problem is not None
    with pytest.raises(RequestErased):
        store.recall(Request("r", b"content"))
    assert store.recall(Request("s", b"content")) == ["b"]
    assert (store.settings(), store.derived("lists.5")) == ({"taxonomy": "{}"}, None)


def test_what_an_entry_holds_is_found_in_others_by_id_in_a_copy_and_else_by_content(
    store: Store, tmp_path: Path
) -> None:
    gone = store.sought(["b", "nobody"])
    of_nobody = store.sought(["nobody"])

    assert gone.ids == ["b"]
    assert (store.holds(gone), store.holds(gone, without=["b"])) == (True, False)
    assert not store.holds(of_nobody)
    stranger = replace(IDENTITY, uid="another")
    of_hash, of_vector = ENTRIES[0].content_sha256, VECTORS[:1]
    other = VECTORS[1:2]
    for number, (identity, entry, vector, held) in enumerate(
        [
            (IDENTITY, Entry("b", "cat"), other, True),
            (IDENTITY, Entry("c", "cat"), other, False),
            (stranger, Entry("b", "cat"), other, False),
            (stranger, Entry("c", "cat", content_sha256=of_hash), other, True),
            (stranger, Entry("c", "cat"), of_vector, True),
        ]
    ):
        for name, place in PLACES.items():
            folder = tmp_path / f"{name} {number}"
            folder.mkdir()
            with closing(place(folder).create(identity)) as another:
                with another.transaction() as transaction:
                    insert(transaction, range(1, 2), [entry], vector, 10)
                assert another.holds(gone) is held
                assert not another.holds(of_nobody)
