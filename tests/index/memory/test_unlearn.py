"""Erasing returns the data to search for, and the search finds every trace."""

from __future__ import annotations

import gc
import json
import sqlite3
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from visual_memory_index import Entry, Facts, Memory, Request, ResiduePatterns, unit_rows
from visual_memory_index.codes.planes import Planes
from visual_memory_index.erasure.fragments import FRAGMENT_BYTES
from visual_memory_index.erasure.masks import masked
from visual_memory_index.errors import (
    DiskFull,
    RequestErased,
    RequestReused,
    TooManyIds,
    UnknownEntries,
)
from visual_memory_index.memory import unlearn as erasure
from visual_memory_index.memory.operations import StartedOperation
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.operation import GONE
from visual_memory_index.records.request import LOCAL
from visual_memory_index.store.store import Transaction, new_identity

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

RNG = np.random.default_rng(5)
VECTORS = unit_rows(RNG.standard_normal((4, 64)).astype(np.float32))
PICTURE, THUMBNAIL = RNG.bytes(4000), RNG.bytes(900)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """A memory in which ``first`` and ``twin`` have equal content, and only ``last`` its label."""
    entries = [
        Entry("id of the first", "a common label", None, {"note": "said of the first"}, 0, b"same"),
        Entry("id of the twin", "a common label", None, {}, 0, b"same"),
        Entry(
            "id of the last",
            "a label of its own",
            None,
            {"a key of the last": "x"},
            0,
            b"other",
            image=PICTURE,
            thumbnail=THUMBNAIL,
        ),
        Entry("id that stays", "a common label", None, {}, 0, b"stays"),
    ]
    vectors = VECTORS[[0, 0, 1, 2]]
    identity = new_identity("m", 64, None, store_images=True)
    with closing(Memory.create(tmp_path / "m.sqlite", identity)) as opened:
        opened.insert(entries, vectors)
        yield opened


def erased(memory: Memory, *ids: str) -> tuple[ResiduePatterns, Facts]:
    on_progress: list[Facts] = []

    def draft(facts: Facts) -> str:
        on_progress.append(facts)
        return "{}"

    name = memory.unlearning.begin(ids, allow_missing=False).operation.name
    patterns = memory.unlearning.erase(name, settings=(), draft=draft)
    assert patterns is not None
    return patterns, on_progress[0]


def test_what_was_erased_is_still_looked_for_if_memory_ran_out_for_its_patterns(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*parts: Any) -> ResiduePatterns:
        monkeypatch.setattr(erasure, "ResiduePatterns", ResiduePatterns)
        raise MemoryError

    monkeypatch.setattr(erasure, "ResiduePatterns", refused)
    (id, *_) = memory.ids()
    name = memory.unlearning.begin([id], allow_missing=False).operation.name

    with pytest.raises(MemoryError):
        memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")
    patterns = memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")

    assert patterns is not None
    assert masked(id.encode()) in patterns.found_in(id.encode())
    memory.unlearning.forget(name)
    assert memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}") is None


def test_why_operations_failed_that_could_not_be_written_is_forgotten_too(
    small_disk: SmallDisk,
) -> None:
    path = small_disk.folder / "m.sqlite"
    with closing(Memory.create(path, new_identity("m", 64, None))) as memory:
        memory.insert([Entry("a.person", "a", content_sha256=bytes(32))], VECTORS[:1])
        failed = memory.operations.begin("prune").operation.name
        small_disk.fill()
        memory.operations.end(failed, "failed", problem="No entry but a.person is left.")
        small_disk.make_room(3_000_000)

        erased(memory, "a.person")

        assert memory.operations.get(failed).problem == GONE


def test_why_an_operation_failed_is_forgotten_though_it_is_written_meanwhile(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id, *_) = memory.ids()
    failed = memory.operations.begin("prune").operation.name
    with monkeypatch.context() as filling:
        filling.setattr(memory._engine.writer, "do", full)
        memory.operations.end(failed, "failed", problem=f"No entry but {id} is left.")
    traced = memory.unlearning._with_traces

    def meanwhile(*parts: Any) -> Any:
        memory.operations.write_ends()
        return traced(*parts)

    monkeypatch.setattr(memory.unlearning, "_with_traces", meanwhile)

    erased(memory, id)

    assert memory._engine.store.operation(failed).problem == GONE


def full(*args: Any, **more: Any) -> Any:
    raise DiskFull(Path("m"), "the disk is full")


def test_the_facts_are_those_of_its_event_in_the_log(memory: Memory) -> None:
    before = memory.info().digest

    _, facts = erased(memory, "id of the last", "id of the first")

    page = memory.audit_events(limit=10)
    event = page.events[-1]
    assert sorted(facts.ids) == ["id of the first", "id of the last"]
    assert (facts.digest_before, facts.digest_after) == (before, memory.info().digest)
    assert (event.call, event.count, event.time) == ("UnlearnEntries", 2, facts.time)
    assert (facts.audit_index, facts.audit_event) == (event.number, page.head.last)
    assert facts.audit_root == page.head.root()


def test_an_erasure_that_a_restart_resumes_is_logged_under_the_principal_who_began_it(
    memory: Memory,
) -> None:
    request = Request(principal="ann")
    begun = memory.unlearning.begin(["id of the last"], allow_missing=False, request=request)
    memory.close()

    with closing(Memory.open(memory.path)) as again:
        again.unlearning.erase(begun.operation.name, settings=(), draft=lambda facts: "{}")

        event = again.audit_events(limit=10).events[-1]
        assert (event.call, event.principal) == ("UnlearnEntries", "ann")


def test_a_principal_called_like_an_erased_entry_is_no_residue(memory: Memory) -> None:
    memory.operations.begin("prune", request=Request(principal="id of the last"))

    patterns, _ = erased(memory, "id of the last")

    found = memory.unlearning.erase_file(patterns)
    assert found is not None
    assert not found.found


def test_the_facts_name_the_backups_that_were_made_before(memory: Memory, tmp_path: Path) -> None:
    times = list[int]()
    with memory.copying(
        tmp_path / "copy.sqlite",
        lambda: None,
        lambda transaction: times.append(transaction.log("BackupMemory", 4, LOCAL).time),
    ):
        pass

    _, facts = erased(memory, "id of the last")

    assert facts.backups == times != []


def test_what_is_drafted_of_the_facts_is_kept_and_nothing_is_left_to_be_erased(
    memory: Memory,
) -> None:
    name = memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name
    noted = memory.unlearning.ids(name)
    memory.unlearning.erase(
        name, settings=(), draft=lambda facts: json.dumps({"ids": list(facts.ids)})
    )
    memory.unlearning.forget(name)

    again = memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")

    assert (noted, memory.unlearning.ids(name)) == (["id of the last"], [])
    assert memory.operations.get(name).result == '{"ids": ["id of the last"]}'
    assert again is None


def test_patterns_are_the_same_again_until_they_are_forgotten(memory: Memory) -> None:
    name = memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name

    def erase() -> ResiduePatterns | None:
        return memory.unlearning.erase(name, settings=(), draft=lambda facts: "{}")

    patterns = erase()
    again = erase()
    memory.unlearning.forget(name)

    assert patterns is again is not None
    assert erase() is None


def test_a_write_of_what_was_erased_is_not_answered_as_before(memory: Memory) -> None:
    request = Request("a request", b"what it asked")
    entry = Entry("id of the next", "a common label", None, {}, 0, b"next")
    assert memory.insert([entry], VECTORS[3:], request=request) == ["id of the next"]

    erased(memory, "id of the next")

    with pytest.raises(RequestErased):
        memory.insert([entry], VECTORS[3:], request=request)


def test_what_a_picture_that_stays_has_too_is_no_trace(memory: Memory) -> None:
    alike = PICTURE[:3000] + bytes(1000)
    entry = Entry("id of the next", "a common label", None, {}, 0, b"next", image=alike)
    memory.insert([entry], VECTORS[3:])

    patterns, _ = erased(memory, "id of the last")

    assert not patterns.found_in(PICTURE[1000:2900])
    assert patterns.found_in(PICTURE[3100:3200])


class OfServer:
    """A transaction of a store without local files, which cannot return bytes to search for."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        if name in ("remains_of", "same_content", "sample_images"):
            raise AttributeError(name)
        return getattr(self._transaction, name)


def test_a_store_without_files_here_erases_and_has_nothing_to_search_for(memory: Memory) -> None:
    name = memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name
    with memory._engine.store.transaction() as transaction:
        known, _ = transaction.look_up(["id of the last"])
        plain = cast(Transaction, OfServer(transaction))
        erased, change = erasure.erase(plain, plain.operation(name), (), lambda facts: "{}")
        left = transaction.count()

    assert not any(erased)
    assert (change.removed.tolist(), left) == (known.keys.tolist(), 3)


def test_a_transaction_only_reads_what_patterns_are_made_of_later(memory: Memory) -> None:
    header = RNG.bytes(erasure.HEADER_BYTES)
    stays = Entry("id of the next", "a common label", None, {}, 0, b"next", image=header + b"more")
    memory.insert([stays], VECTORS[3:])
    name = memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name
    with memory._engine.store.transaction() as transaction:
        operation = transaction.operation(name)
        erased, _ = erasure.erase(transaction, operation, (), lambda facts: "{}")

    texts = {"id of the last", "a label of its own", "a key of the last", "x"}
    assert erased == (texts, [VECTORS[1].tobytes()], [PICTURE, THUMBNAIL], [b"", header])


def test_all_that_entries_were_made_of_is_looked_for(memory: Memory) -> None:
    patterns, _ = erased(memory, "id of the last")

    texts = [b"id of the last", b"a label of its own", b"a key of the last"]
    contents = [VECTORS[1].tobytes()[32:64], PICTURE[2000:2032], THUMBNAIL[500:532]]
    traces = [*Planes(VECTORS.shape[1]).traces(VECTORS[1:2])]
    assert all(patterns.found_in(each) for each in (*texts, *contents, traces[0][:32]))
    assert patterns.count == 6 + sum(len(each) >= FRAGMENT_BYTES for each in traces)


def test_what_others_have_too_is_no_trace(memory: Memory) -> None:
    patterns, _ = erased(memory, "id of the first")

    assert patterns.found_in(b"id of the first")
    assert patterns.found_in(b"said of the first")
    assert not patterns.found_in(b"a common label")
    assert not patterns.found_in(VECTORS[0].tobytes())
    assert patterns.count == 2


def test_a_vector_of_its_own_is_looked_for_though_another_entry_has_the_picture(
    memory: Memory,
) -> None:
    memory.insert([Entry("id of a copy", "a common label", None, {}, 0, b"other")], VECTORS[3:])
    patterns, _ = erased(memory, "id of the last")

    assert patterns.found_in(VECTORS[1].tobytes())


def test_of_a_label_that_nobody_is_left_with_and_of_twins_erased_together_all_is_looked_for(
    memory: Memory,
) -> None:
    patterns, _ = erased(memory, "id of the first", "id of the twin", "id that stays")

    assert patterns.found_in(b"a common label")
    assert patterns.found_in(VECTORS[0].tobytes()[:32])


def test_texts_of_entries_with_too_much_to_look_for_are_looked_for(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "LEFT_BYTES_MAX", len(PICTURE))

    patterns, _ = erased(memory, "id of the last")

    assert patterns.found_in(b"a key of the last")
    assert not patterns.found_in(PICTURE)


def has_taxonomy(memory: Memory) -> None:
    memory.keep_setting("taxonomy", '[["a label of its own", "thing"]]', call="SetTaxonomy")


def had_its_label(memory: Memory) -> None:
    memory.operations.relabel({"id that stays": "a label of its own"}, result=lambda ids: "{}")
    memory.operations.relabel({"id that stays": "another label"}, result=lambda ids: "{}")


def was_updated(memory: Memory) -> None:
    for number, key in enumerate(("a key of the last", "another key")):
        request = Request(f"request {number}", bytes([number]))
        memory.update("id that stays", label=None, metadata={key: "x"}, request=request)


def is_asked_again(memory: Memory) -> None:
    memory.unlearning.begin(["id of the last"], allow_missing=False)


def an_operation_named_an_entry_called_alike(memory: Memory) -> None:
    name = memory.operations.begin("dry-run").operation.name
    memory.operations.end(name, "done", result=json.dumps({"ids": ["id of the last but one"]}))


def an_operation_failed_that_named_it(memory: Memory) -> None:
    name = memory.operations.begin("prune").operation.name
    memory.operations.end(
        name, "failed", problem="No entry has these ids: another, id of the last."
    )


def an_operation_failed_that_named_its_label(memory: Memory) -> None:
    name = memory.operations.begin("calibrate").operation.name
    memory.operations.end(name, "failed", problem='Every entry is labelled "a label of its own".')


@pytest.mark.parametrize(
    "happened",
    [
        has_taxonomy,
        had_its_label,
        was_updated,
        is_asked_again,
        an_operation_named_an_entry_called_alike,
        an_operation_failed_that_named_it,
        an_operation_failed_that_named_its_label,
    ],
    ids=lambda each: each.__name__,
)
def test_what_stands_elsewhere_in_the_file_does_not_keep_an_erasure_from_ending(
    memory: Memory, happened: Callable[[Memory], None]
) -> None:
    happened(memory)
    patterns, _ = erased(memory, "id of the last")

    searched = memory.unlearning.erase_file(patterns)

    assert searched is not None
    assert not searched.found


def test_what_another_program_reads_is_tried_again_later(memory: Memory) -> None:
    patterns, _ = erased(memory, "id of the last")
    with closing(sqlite3.connect(memory.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entries").fetchone()
        memory.insert([Entry("another id", "a common label")], VECTORS[3:])

        assert memory.unlearning.erase_file(patterns) is None

    searched = memory.unlearning.erase_file(patterns)
    assert searched is not None
    assert not searched.found


def test_numbered_ids_are_told_from_what_the_file_has_behind_those_that_stay(
    memory: Memory,
) -> None:
    ids = [f"number of an entry {number}" for number in range(600)]
    rows = VECTORS[np.zeros(len(ids), np.intp)]
    memory.insert([Entry(id, id[-1], None, {}, 0, b"") for id in ids], rows)
    memory.delete(ids[60:450])

    for id in [*ids[450::15], ids[-1]]:  # of each length
        patterns, _ = erased(memory, id)
        searched = memory.unlearning.erase_file(patterns)

        assert searched is not None
        assert not searched.found, id


def test_what_an_operation_said_of_erased_entries_is_gone_and_else_stays(memory: Memory) -> None:
    results = {
        "named": {"ids": ["another", "id of the last"]},
        "labelled": {"labels": {"a label of its own": 1}},
        "counted": {"ids": ["one", "two"], "count": 1, "applied": True},
    }
    problems = {
        "failed": "Nothing has the ids one, id of the last.",
        "stopped": "The server ended.",
    }
    memory.insert([Entry("1", "a common label")], VECTORS[3:])
    names = {
        each: memory.operations.begin("dry-run").operation.name for each in (*results, *problems)
    }
    for each, result in results.items():
        memory.operations.end(names[each], "done", result=json.dumps(result))
    for each, problem in problems.items():
        memory.operations.end(names[each], "failed", problem=problem)

    erased(memory, "id of the last", "1")

    ended = {each: memory.operations.get(name) for each, name in names.items()}
    assert {each for each, operation in ended.items() if operation.problem == GONE} == {
        "named",
        "labelled",
        "failed",
    }
    assert ended["counted"].result == json.dumps(results["counted"])
    assert ended["stopped"].problem == problems["stopped"]


def test_pictures_that_stay_take_no_room_however_many_they_are(memory: Memory) -> None:
    for number in range(40):
        stays = Entry(f"stays {number}", "x", image=RNG.bytes(2_000_000), thumbnail=b"x")
        memory.insert([stays], VECTORS[:1])
    tracemalloc.start()

    patterns, _ = erased(memory, "id of the last")
    found = memory.unlearning.pieces_of(patterns)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found
    assert peak < 40_000_000


def test_texts_that_the_file_itself_has_are_no_traces(tmp_path: Path) -> None:
    identity = new_identity("the name of a memory", 64, None, store_images=False)
    with closing(Memory.create(tmp_path / "m.sqlite", identity)) as memory:
        operation = memory.operations.begin("dry-run").operation.name
        memory.operations.end(operation, "done", result='{"accuracy_before": 1.0}')
        texts = [
            "content_sha256",
            "the name of a memory",
            "UnlearnEntries",
            "SQLite format 3",
            "sqlite_autoindex_entries_1",
            "accuracy_before",
            identity.uid,
            operation,
        ]
        metadata = {text: "x" for text in texts}
        entry = Entry("the id of an entry", "a label", None, metadata, 0, b"")
        memory.insert([entry], VECTORS[:1])
        patterns, _ = erased(memory, "the id of an entry")

        searched = memory.unlearning.erase_file(patterns)

    assert searched is not None
    assert not searched.found


def test_a_preview_tells_stored_from_unknown_ids_each_once_in_the_given_order(
    memory: Memory,
) -> None:
    ids = ["z", "id of the last", "a", "id of the first", "z", "id of the last"]

    assert memory.unlearning.preview(ids) == (["id of the last", "id of the first"], ["z", "a"])
    assert sum(memory.info().label_counts.values()) == 4


@pytest.mark.parametrize("allow_missing", [False, True])
def test_more_ids_than_can_be_unlearned_at_once_begin_nothing(
    memory: Memory, allow_missing: bool
) -> None:
    most, unlearning = ["id of the last"] * erasure.UNLEARNED_MAX, memory.unlearning
    too_many = [*most, "id of the last"]

    refused = "At most 1,000,000 ids are unlearned at once, but 1,000,001 were given."
    with pytest.raises(TooManyIds, match=refused):
        unlearning.preview(too_many)
    with pytest.raises(TooManyIds, match=refused):
        unlearning.begin(too_many, allow_missing=allow_missing)

    assert not memory.operations.unfinished("unlearn")
    assert unlearning.preview(most) == (["id of the last"], [])


def test_an_unknown_id_is_named_and_nothing_begins_unless_it_may_be_missing(
    memory: Memory,
) -> None:
    ids = ["id of the last", "unknown"]
    with pytest.raises(UnknownEntries) as refused:
        memory.unlearning.begin(ids, allow_missing=False)
    nothing = memory.operations.unfinished("unlearn")

    begun = memory.unlearning.begin(ids, allow_missing=True).operation

    assert (refused.value.ids, nothing) == (("unknown",), [])
    assert (begun.kind, begun.state, begun.principal) == ("unlearn", "running", LOCAL)
    assert memory.unlearning.ids(begun.name) == ids
    assert memory.operations.unfinished("unlearn") == [begun]


def test_if_no_id_is_stored_the_operation_is_done_at_once(memory: Memory) -> None:
    begun = memory.unlearning.begin(["unknown"], allow_missing=True, none=lambda: '{"ids": []}')
    bare = memory.unlearning.begin(["unknown"], allow_missing=True).operation

    assert (begun.operation.state, begun.operation.result) == ("done", '{"ids": []}')
    assert (bare.state, bare.result) == ("done", "{}")
    assert memory.unlearning.ids(begun.operation.name) == []
    assert not memory.operations.unfinished("unlearn")


def test_a_request_that_is_repeated_gets_the_operation_it_began(memory: Memory) -> None:
    def begin(content: bytes) -> StartedOperation:
        request = Request("a request", content, principal="ann")
        return memory.unlearning.begin(["id of the last"], allow_missing=False, request=request)

    first, second = begin(b"same"), begin(b"same")

    assert second == (first.operation, True)
    assert (first.again, first.operation.principal) == (False, "ann")
    with pytest.raises(RequestReused):
        begin(b"other")
    assert memory.operations.unfinished("unlearn") == [first.operation]


def test_unfinished_are_running_unlearn_operations_alone_oldest_first(memory: Memory) -> None:
    memory.operations.begin("prune")
    ids = ["id of the first", "id of the twin", "id of the last"]
    names = [memory.unlearning.begin([id], allow_missing=False).operation.name for id in ids]
    memory.operations.end(names[1], "failed", problem="x")

    assert [each.name for each in memory.operations.unfinished("unlearn")] == [names[0], names[2]]


def test_ids_of_entries_that_others_deleted_meanwhile_are_erased_all_the_same(
    memory: Memory,
) -> None:
    def begin() -> str:
        return memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name

    name, bare = begin(), begin()
    memory.delete(["id of the last"])
    unlearning = memory.unlearning

    patterns = unlearning.erase(
        name, none=lambda: '{"ids": []}', settings=(), draft=lambda facts: "draft"
    )
    other = unlearning.erase(bare, settings=(), draft=lambda facts: "draft")

    assert patterns is not None
    assert other is not None
    assert patterns.found_in(b"id of the last")
    assert (patterns.count, other.count) == (1, 1)
    assert [memory.operations.get(each).result for each in (name, bare)] == ['{"ids": []}', "{}"]
    assert not unlearning.ids(name)
    found = unlearning.erase_file(patterns)
    assert found is not None
    assert not found.found


def test_settings_that_were_derived_from_the_entries_go_with_them(memory: Memory) -> None:
    memory.keep_setting("calibration", "{}", call="CalibrateMemory")
    memory.keep_setting("taxonomy", "[]", call="SetTaxonomy")
    name = memory.unlearning.begin(["id of the last"], allow_missing=False).operation.name

    memory.unlearning.erase(name, settings=["calibration"], draft=lambda facts: "{}")

    assert (memory.setting("calibration"), memory.setting("taxonomy")) == (None, "[]")


def test_what_was_erased_is_found_again_by_its_id_and_its_content(memory: Memory) -> None:
    unlearning = memory.unlearning
    sought, twin = unlearning.sought(["id of the last"]), unlearning.sought(["id of the first"])
    there = [unlearning.holds(sought), unlearning.holds(twin)]
    without = unlearning.holds(sought, without=["id of the last"])

    erased(memory, "id of the last", "id of the first")

    assert (there, without) == ([True, True], False)
    assert sought.ids == ["id of the last"]
    assert not unlearning.holds(sought)
    assert unlearning.holds(twin)
    assert not unlearning.holds(twin, without=["id of the twin"])


def test_files_beside_the_memory_are_searched_and_what_is_there_by_right_is_none(
    memory: Memory, tmp_path: Path
) -> None:
    patterns, _ = erased(memory, "id of the last")
    beside = tmp_path / "beside"
    beside.write_bytes(b"before id of the last after")

    with beside.open("rb") as file:
        alone = memory.unlearning.erase_file(patterns)
        searched = memory.unlearning.erase_file(patterns, [file.fileno()])
        excused = memory.unlearning.erase_file(patterns, [file.fileno()], patterns_there)

    assert alone is not None
    assert searched is not None
    assert excused is not None
    assert (len(alone.found), len(searched.found), len(excused.found)) == (0, 1, 0)
    assert searched.size == alone.size + beside.stat().st_size


def patterns_there(patterns: ResiduePatterns) -> frozenset[bytes]:
    return frozenset(patterns.found_in(b"id of the last"))


def test_a_file_is_rewritten_where_it_is_unknown_what_to_search_for(memory: Memory) -> None:
    memory.insert(
        [Entry(f"{n}", "x", image=RNG.bytes(9000)) for n in range(200)], VECTORS[[0] * 200]
    )
    memory.delete([f"{n}" for n in range(200)])
    patterns, _ = erased(memory, "id of the last")
    memory.unlearning.erase_file(patterns)
    before = memory.path.stat().st_size

    searched = memory.unlearning.erase_file(None)

    assert searched is not None
    assert not searched.found
    assert memory.path.stat().st_size < before / 2
    assert searched.size >= memory.path.stat().st_size


def test_caches_that_are_dropped_lose_no_entry(memory: Memory) -> None:
    memory.unlearning.drop_caches()

    memory.insert([Entry("another id", "a common label")], VECTORS[3:])
    assert sum(memory.info().label_counts.values()) == 5


@pytest.mark.parametrize("committed", [False, True])
def test_a_try_that_ran_out_of_memory_is_done_anew_and_looked_for(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    (id, *_) = memory.ids()
    name = memory.unlearning.begin([id], allow_missing=False).operation.name

    def drafted(facts: Facts) -> str:
        return "{}"

    def refused(*_: object) -> Any:
        raise MemoryError

    if committed:
        monkeypatch.setattr(RamCopy, "apply", refused)
    with pytest.raises(MemoryError):
        memory.unlearning.erase(name, settings=(), draft=drafted if committed else refused)
    monkeypatch.undo()
    patterns = memory.unlearning.erase(name, settings=(), draft=drafted)

    assert id not in memory.ids()
    assert patterns is not None
    assert masked(id.encode()) in patterns.found_in(id.encode())


def test_a_try_that_failed_keeps_nothing_of_what_it_read(memory: Memory) -> None:
    (id, *_) = memory.ids()
    name = memory.unlearning.begin([id], allow_missing=False).operation.name
    held = list[weakref.ref[Any]]()

    class Read:
        """What a write has read."""

    def refused(facts: Facts) -> str:
        read = Read()
        held.append(weakref.ref(read))
        raise MemoryError

    gc.disable()
    try:
        for _ in range(2):
            with suppress(MemoryError):
                memory.unlearning.erase(name, settings=(), draft=refused)
            assert [each() for each in held] == [None] * len(held)
    finally:
        gc.enable()
