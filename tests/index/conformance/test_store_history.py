"""A store holds the same as a dict after random changes, before and after it is reopened."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.index.conformance.implementations import PLACES, Place

from visual_memory_index import Entry, parse, unit_rows
from visual_memory_index.errors import EntriesExist
from visual_memory_index.ledger import audit
from visual_memory_index.ledger import digest as digests
from visual_memory_index.records.entry import Parts
from visual_memory_index.records.request import LOCAL
from visual_memory_index.store.store import Transaction, new_identity

DIMENSION = 5
IDENTITY = new_identity("m", DIMENSION, None, store_images=True)
IDS = ["a", "B", "b", "ab", "ü", "\ue000", "😀", "a/b.jpg"]  # no two codes order all of them alike
LABELS = ["cat", "dog", "Häher"]
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((9, DIMENSION)).astype(np.float32))
ALL = Parts.VECTOR | Parts.IMAGE | Parts.THUMBNAIL
CATS = parse('label = "cat"')
SILENT = parse("pruned_by:*")

some_ids = st.lists(st.sampled_from(IDS), unique=True)


@dataclass(frozen=True)
class Kept:
    """The oracle's record of an entry; ``setter`` is the operation that last set its label."""

    key: int
    entry: Entry
    vector: int
    setter: str = ""

    def element(self) -> bytes:
        return digests.element(
            self.entry.id,
            self.entry.label,
            self.entry.metadata_json,
            VECTORS[self.vector].tobytes(),
            self.entry.content_sha256 if self.entry.image else b"",
            not self.entry.pruned_by,
        )


class Refused(Exception):
    """An error that only the test raises."""


class StoreMachine(RuleBasedStateMachine):
    def new_place(self) -> Place:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.place = self.new_place()
        self.store = self.place.create(IDENTITY)
        self.model: dict[str, Kept] = {}
        self.settings: dict[str, str] = {}
        self.prunes: list[str] = []
        self.relabels: dict[str, dict[int, tuple[str, str]]] = {}
        self.revision, self.next_key, self.events, self.operations = 0, 0, 1, 0

    def teardown(self) -> None:
        self.store.close()

    @contextmanager
    def changing(self, call: str, count: int) -> Iterator[Transaction]:
        """Context manager: a transaction that changes entries and logs its audit event."""
        with self.store.transaction() as transaction:
            yield transaction
            transaction.log(call, count, LOCAL)
            self.revision += 1
            assert transaction.next_revision() == self.revision
        self.events += 1

    def begun(self, transaction: Transaction, kind: str) -> str:
        self.operations += 1
        name = f"m/{self.operations:04}"
        transaction.begin(name, kind, LOCAL)
        return name

    @rule(ids=some_ids, data=st.data())
    def insert(self, ids: list[str], data: st.DataObject) -> None:
        entries = [
            Entry(
                id,
                data.draw(st.sampled_from(LABELS)),
                metadata=data.draw(st.dictionaries(st.sampled_from("xü"), st.text("aß😀\n"))),
                content_sha256=data.draw(st.binary(max_size=4)),
                image=data.draw(st.sampled_from([b"", b"a picture"])),
            )
            for id in ids
        ]
        chosen = [data.draw(st.integers(0, len(VECTORS) - 1)) for _ in ids]
        vectors = VECTORS[np.array(chosen, dtype=int)]
        existing = sorted(id for id in ids if id in self.model)
        taken = []
        try:
            with self.changing("InsertEntries", len(ids)) as transaction:
                keys = transaction.next_keys(len(ids))
                assert keys.start >= self.next_key
                elements = digests.elements(ids, entries, vectors)
                transaction.insert(keys, ids, entries, vectors, 7, elements)
        except EntriesExist as error:
            taken = sorted(error.ids)
        assert taken == existing
        if existing:
            return
        self.next_key = keys.stop
        for key, id, entry, vector in zip(keys, ids, entries, chosen, strict=True):
            self.model[id] = Kept(key, replace(entry, created_at=7), vector)

    @rule(ids=some_ids)
    def delete(self, ids: list[str]) -> None:
        with self.changing("DeleteEntries", len(ids)) as transaction:
            known, unknown = transaction.look_up(ids)
            transaction.delete(known.keys)
        assert known.ids.tolist() == [id for id in ids if id in self.model]
        assert unknown == [id for id in ids if id not in self.model]
        for id in known.ids:
            del self.model[id]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), label=st.sampled_from(LABELS), metadata=st.just({"x": "new"}))
    def update(self, data: st.DataObject, label: str, metadata: dict[str, str]) -> None:
        id = data.draw(st.sampled_from(sorted(self.model)))
        kept = self.model[id]
        changed = replace(kept.entry, label=label, metadata=metadata)
        with self.changing("UpdateEntry", 1) as transaction:
            transaction.update(kept.key, changed)
        setter = kept.setter if label == kept.entry.label else ""
        self.model[id] = replace(kept, entry=changed, setter=setter)

    @rule(ids=some_ids)
    def prune(self, ids: list[str]) -> None:
        with self.changing("PruneEntries", len(ids)) as transaction:
            name = self.begun(transaction, "prune")
            known, _ = transaction.look_up(ids)
            voting = known.at(known.votes)
            transaction.prune(voting.keys, name)
        self.prunes.append(name)
        for id in voting.ids:
            kept = self.model[id]
            self.model[id] = replace(kept, entry=replace(kept.entry, pruned_by=name))

    @precondition(lambda self: self.prunes)
    @rule(data=st.data())
    def unprune(self, data: st.DataObject) -> None:
        name = self.prunes.pop(data.draw(st.integers(0, len(self.prunes) - 1)))
        wanted = [each for each in self.model.values() if each.entry.pruned_by == name]
        with self.changing("Undo", len(wanted)) as transaction:
            back = transaction.unprune(name, DIMENSION)
            transaction.mark_undone(name)
        assert {revision for revision, _ in self.store.rows(DIMENSION)} == {self.revision}
        assert list(back.ids) == [
            kept.entry.id for kept in sorted(wanted, key=lambda each: each.key)
        ]
        for kept in wanted:
            entry = replace(kept.entry, pruned_by="")
            self.model[entry.id] = replace(kept, entry=entry)

    @rule(ids=some_ids, label=st.sampled_from(LABELS))
    def relabel(self, ids: list[str], label: str) -> None:
        with self.changing("RelabelEntries", len(ids)) as transaction:
            name = self.begun(transaction, "relabel")
            known, _ = transaction.look_up(ids)
            transaction.relabel(known.keys, [label] * len(known.keys), name)
        self.relabels[name] = {}
        for id in known.ids:
            kept = self.model[id]
            self.relabels[name][kept.key] = kept.entry.label, kept.setter
            self.model[id] = replace(kept, entry=replace(kept.entry, label=label), setter=name)

    @precondition(lambda self: self.relabels)
    @rule(data=st.data())
    def unrelabel(self, data: st.DataObject) -> None:
        """Undo a relabel: its entries get the label before, or an earlier one.

        The earlier one, if the label before is of an operation that was undone meanwhile, too.
        """
        name = data.draw(st.sampled_from(sorted(self.relabels)))
        with self.changing("Undo", 0) as transaction:
            transaction.mark_undone(name)
            restored = transaction.unrelabel(name)
        before = self.relabels.pop(name)
        for other in self.relabels.values():
            for key, (_, setter) in other.items():
                if setter == name and key in before:
                    other[key] = before[key]
        wanted: dict[str, str] = {}
        for id, kept in self.model.items():
            if kept.setter == name and kept.key in before:
                label, setter = before[kept.key]
                self.model[id] = replace(
                    kept, entry=replace(kept.entry, label=label), setter=setter
                )
                wanted[id] = label
        assert dict(zip(restored.ids, restored.labels, strict=True)) == wanted
        assert restored.keys.tolist() == sorted(self.model[id].key for id in restored.ids)

    @rule(name=st.sampled_from("xy"), value=st.text("ab"))
    def keep_setting(self, name: str, value: str) -> None:
        with self.store.transaction() as transaction:
            transaction.keep_setting(name, value)
        self.settings[name] = value

    @rule(ids=some_ids)
    def refuse(self, ids: list[str]) -> None:
        """Make many changes in a transaction that fails, and so changes nothing."""
        with pytest.raises(Refused), self.store.transaction() as transaction:
            spoil(transaction, ids)

    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.place.open()
        self.store.complete()

    @invariant()
    def holds_the_entries(self) -> None:
        ordered = sorted(self.model.values(), key=lambda each: each.entry.id.encode())
        page = self.store.entries(
            filter=None, after="", limit=len(IDS) + 1, bytes_max=sys.maxsize, parts=ALL
        )
        assert not page.more
        assert [shown(entry) for entry in page.entries] == [
            shown(replace(each.entry, vector=VECTORS[each.vector])) for each in ordered
        ]
        for filter, admits in (
            (CATS, lambda kept: kept.entry.label == "cat"),
            (SILENT, lambda kept: bool(kept.entry.pruned_by)),
        ):
            assert filter is not None
            revision, keys = self.store.keys(filter)
            assert revision == self.revision
            assert sorted(keys.tolist()) == sorted(each.key for each in ordered if admits(each))
            assert self.store.ids(filter) == [each.entry.id for each in ordered if admits(each)]

    @invariant()
    def has_the_voting_by_row(self) -> None:
        by_key = sorted(self.model.values(), key=lambda each: each.key)
        voting = [each for each in by_key if not each.entry.pruned_by]
        revisions, parts = zip(*self.store.rows(DIMENSION), strict=True)
        assert len(parts[-1].keys) == 0
        assert {*revisions} == {self.revision}
        assert [
            row for part in parts for row in zip(part.keys, part.ids, part.labels, strict=True)
        ] == [(each.key, each.entry.id, each.entry.label) for each in voting]
        vectors = np.concatenate([part.vectors for part in parts])
        assert vectors.tobytes() == VECTORS[[each.vector for each in voting]].tobytes()
        assert sorted(self.store.pruned()) == [
            (each.key, each.entry.id, each.entry.label) for each in by_key if each.entry.pruned_by
        ]

    @invariant()
    def has_their_digest_and_a_log_that_leads_to_it(self) -> None:
        state = digests.total([each.element() for each in self.model.values()])
        digest = digests.shown(state, IDENTITY.kind)
        assert self.store.digest() == digest
        with self.store.contents() as contents:
            assert np.array_equal(contents.state, state)
            assert contents.count() == self.store.entry_count() == len(self.model)
            assert sorted(contents.ids()) == sorted(self.model)
            keys = [entry.key for part in contents.entries() for entry in part]
            assert keys == sorted(each.key for each in self.model.values())
            texts = (text for _, text in contents.events())
            assert audit.check(texts, contents.head, digest) == self.events

    @invariant()
    def has_the_settings(self) -> None:
        assert self.store.settings() == self.settings


def spoil(transaction: Transaction, ids: list[str]) -> None:
    known, _ = transaction.look_up(ids)
    transaction.delete(known.keys)
    transaction.keep_setting("x", "spoiled")
    transaction.next_keys(3)
    transaction.next_revision()
    transaction.log("DeleteEntries", len(known.keys), LOCAL)
    raise Refused


def shown(entry: Entry) -> tuple[object, ...]:
    assert entry.vector is not None
    return (
        entry.id,
        entry.label,
        dict(entry.metadata),
        entry.created_at,
        entry.content_sha256,
        entry.pruned_by,
        entry.image,
        entry.vector.tobytes(),
    )


@pytest.mark.parametrize("new_place", PLACES.values(), ids=PLACES.keys())
def test_a_store_holds_what_a_dict_would(new_place: Callable[[Path], Place]) -> None:
    with tempfile.TemporaryDirectory() as folder:

        class Machine(StoreMachine):
            def new_place(self) -> Place:
                return new_place(Path(tempfile.mkdtemp(dir=folder)))

        run_state_machine_as_test(
            Machine,
            settings=settings(max_examples=30, stateful_step_count=20),
        )
