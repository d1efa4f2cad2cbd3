"""A memory writes to disk first, then shows readers; all of a batch or nothing."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.sealing import alter

from visual_memory_index import Entry, Filter, Memory, Query, Request, Rule, parse, unit_rows
from visual_memory_index.codes.planes import Planes
from visual_memory_index.errors import (
    CorruptCopy,
    CorruptStore,
    DiskFull,
    EntriesExist,
    MemoryClosed,
    NotVoting,
    RequestReused,
    UnknownEntries,
    WrongDimension,
    WrongOffset,
)
from visual_memory_index.files.database import PAGE_BYTES
from visual_memory_index.memory import default_rules
from visual_memory_index.ram.change import Change
from visual_memory_index.records.entry import Parts, VotingEntries
from visual_memory_index.records.operation import GONE
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.rows.rows import Rows
from visual_memory_index.scan.indexes import ScannedIndexes
from visual_memory_index.scan.scanned_index import TOGETHER_MAX, ScannedIndex
from visual_memory_index.store.store import new_identity

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

RNG = np.random.default_rng(0)
VECTORS = unit_rows(RNG.standard_normal((4200, 8)).astype(np.float32))
QUERY = VECTORS[:1]
REQUEST = Request("r", b"content")
LONG = 10


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def new_memory(folder: Path, dimension: int = 8) -> Memory:
    return Memory.create(folder / "m.sqlite", new_identity("m", dimension, None))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(new_memory(tmp_path)) as made:
        yield made


def entries(ids: Sequence[str], label: str = "cat") -> list[Entry]:
    return [Entry(id, label) for id in ids]


def insert(memory: Memory, ids: Sequence[str], label: str = "cat") -> list[str]:
    return memory.insert(entries(ids, label), VECTORS[: len(ids)])


def everything(memory: Memory) -> object:
    """Return all that a memory answers, from disk and from RAM."""
    (found,) = memory.nearest([Query(QUERY, 999)])
    on_disk = [
        (entry.id, entry.label, entry.metadata) for entry in memory.entries(limit=999).entries
    ]
    info = memory.info()
    return on_disk, found.ids.tolist(), found.labels.tolist(), info.count, info.label_counts


def found(memory: Memory, k: int = 999, **query: object) -> list[str]:
    (answer,) = memory.nearest([Query(QUERY, k, **query)])  # type: ignore[arg-type]  # of several types
    ids: list[str] = answer.ids[0].tolist()
    return ids


def test_what_was_inserted_is_found_and_counted(memory: Memory) -> None:
    answered = memory.insert(
        [Entry("a", "cat", metadata={"k": "v"}), Entry("b", "dog")], VECTORS[:2]
    )

    assert answered == ["a", "b"]
    assert found(memory, k=1) == ["a"]
    assert memory.entry("a").metadata == {"k": "v"}
    info = memory.info()
    assert (info.count, info.label_counts, memory.count) == (2, {"cat": 1, "dog": 1}, 2)
    assert info.bytes_on_disk > PAGE_BYTES


def test_an_entry_gives_its_vector_bit_for_bit_where_it_is_asked_for(memory: Memory) -> None:
    insert(memory, ["a"])

    vector = memory.entry("a", Parts.VECTOR).vector

    assert vector is not None
    assert vector.tobytes() == VECTORS[0].tobytes()
    assert memory.entry("a").vector is None
    (listed,) = memory.entries(limit=1, parts=Parts.VECTOR).entries
    assert listed.vector is not None


def test_missing_ids_are_made_and_sort_in_the_order_of_the_batch(memory: Memory) -> None:
    ids = insert(memory, [""] * 50)

    assert ids == sorted(set(ids))
    assert [entry.id for entry in memory.entries(limit=99).entries] == ids


def test_entries_get_the_time_at_which_they_were_stored(memory: Memory) -> None:
    memory.insert([Entry("a", "x", created_at=7)], VECTORS[:1])

    assert memory.entry("a").created_at > 1_700_000_000_000_000


def test_an_empty_batch_changes_nothing(memory: Memory) -> None:
    insert(memory, ["a"])
    before = everything(memory)

    assert memory.insert([], VECTORS[:0]) == []
    assert memory.delete([]) == []
    assert everything(memory) == before


def test_nobody_is_near_in_an_empty_memory(memory: Memory) -> None:
    (answer,) = memory.nearest([Query(VECTORS[:3], 5)])

    assert answer.ids.shape == answer.labels.shape == answer.distances.shape == (3, 0)
    assert memory.nearest([]) == []


def test_several_queries_get_their_own_answers_together(memory: Memory) -> None:
    insert(memory, [f"{number:03}" for number in range(100)])
    memory.update("003", label="dog")
    queries = [
        Query(VECTORS[:2], 3),
        Query(VECTORS[7:8], 500),
        Query(VECTORS[3:4], 2, parsed('label = "dog"')),
        Query(VECTORS[3:4], 1, None, ["003"]),
        Query(VECTORS[:0], 3),
        Query(VECTORS[3:4], 2, parsed('label = "owl"')),
    ]

    together = memory.nearest(queries)

    alone = [memory.nearest([query])[0] for query in queries]
    assert [answer.ids.tolist() for answer in together] == [answer.ids.tolist() for answer in alone]
    shapes = [answer.distances.shape for answer in together]
    assert shapes == [(2, 3), (1, 100), (1, 1), (1, 1), (0, 3), (1, 0)]
    assert together[0].ids[:, 0].tolist() == ["000", "001"]
    assert together[2].ids.tolist() == [["003"]]


@pytest.mark.parametrize("count", [1, TOGETHER_MAX - 11, TOGETHER_MAX - 10, TOGETHER_MAX - 9, 4200])
@pytest.mark.parametrize("filter", [None, parsed('label = "cat"')])
def test_the_next_neighbours_move_up_for_excluded_ones(
    count: int, filter: object, memory: Memory
) -> None:
    insert(memory, [f"{number:04}" for number in range(4200)])
    ranking = found(memory, k=5000)

    left = found(memory, k=10, filter=filter, exclude_ids=[*ranking[:count], "nobody", ranking[0]])

    assert left == ranking[count : count + 10]


def test_vectors_of_another_length_are_refused(memory: Memory) -> None:
    with pytest.raises(WrongDimension, match="have dimension 3, but this memory holds 8"):
        memory.insert(entries(["a"]), np.ones((1, 3), np.float32))

    assert memory.count == 0


def test_ids_that_exist_store_nothing_of_the_batch(memory: Memory) -> None:
    insert(memory, ["a", "b"])
    before = everything(memory)

    with pytest.raises(EntriesExist, match="nothing of this write was stored: b, a") as refusal:
        insert(memory, ["new", "b", "a"], "dog")

    assert refusal.value.ids == ("b", "a")
    assert everything(memory) == before


@pytest.mark.parametrize("replace_existing", [False, True])
@pytest.mark.parametrize("ids", [["new", "new"], ["a", "a"]])
def test_an_id_that_comes_twice_stores_nothing(
    ids: list[str], replace_existing: bool, memory: Memory
) -> None:
    insert(memory, ["a", "b"])
    before = everything(memory)

    with pytest.raises((EntriesExist, sqlite3.IntegrityError)):
        memory.insert(entries(ids), VECTORS[:2], replace_existing=replace_existing)

    assert everything(memory) == before
    assert insert(memory, ["new"]) == ["new"]


def test_replacing_takes_the_new_label_vector_and_metadata(memory: Memory) -> None:
    memory.insert([Entry("a", "cat", metadata={"k": "v"}), *entries(["b", "c"])], VECTORS[:3])

    memory.insert([*entries(["new", "a"], "dog")], VECTORS[[5, 6]], replace_existing=True)

    entry = memory.entry("a", Parts.VECTOR)
    assert entry.vector is not None
    assert (entry.label, entry.metadata, entry.vector.tolist()) == ("dog", {}, VECTORS[6].tolist())
    assert sorted(found(memory)) == ["a", "b", "c", "new"]
    assert memory.nearest([Query(VECTORS[6:7], 1)])[0].ids.tolist() == [["a"]]
    assert memory.info().label_counts == {"cat": 2, "dog": 2}


def test_deleted_entries_are_gone_at_once_and_after_a_restart(tmp_path: Path) -> None:
    memory = new_memory(tmp_path)
    insert(memory, ["a", "b", "c"])

    assert memory.delete(["c", "a", "c"]) == ["c", "a"]

    assert found(memory) == ["b"]
    memory.close()
    with closing(Memory.open(tmp_path / "m.sqlite")) as memory:
        assert found(memory) == ["b"]
        with pytest.raises(UnknownEntries):
            memory.entry("a")


def test_unknown_ids_delete_nothing_unless_they_may_be_missing(memory: Memory) -> None:
    insert(memory, ["a", "b"])
    before = everything(memory)

    with pytest.raises(UnknownEntries, match="nothing was changed: x, y") as refusal:
        memory.delete(["a", "x", "y"])

    assert refusal.value.ids == ("x", "y")
    assert everything(memory) == before
    assert memory.delete(["a", "x"], allow_missing=True) == ["a"]
    assert found(memory) == ["b"]


def test_a_purge_forgets_what_it_said_it_would(memory: Memory) -> None:
    insert(memory, ["c", "a", "b"])
    insert(memory, ["d"], "dog")
    cats = parsed('label = "cat"')

    assert memory.would_purge(cats) == ["a", "b", "c"]
    assert memory.count == 4
    assert memory.purge(cats) == ["a", "b", "c"]
    assert memory.purge(cats) == []
    assert found(memory) == ["d"]


def test_an_update_is_seen_by_search_and_filter(memory: Memory) -> None:
    memory.insert([Entry("a", "cat", metadata={"k": "v"})], VECTORS[:1])

    relabelled = memory.update("a", label="dog")
    described = memory.update("a", metadata={"n": "w"})

    assert (relabelled.label, relabelled.metadata) == ("dog", {"k": "v"})
    assert (described.label, described.metadata) == ("dog", {"n": "w"})
    assert memory.nearest([Query(QUERY, 1, parsed('label = "dog"'))])[0].labels.tolist() == [
        ["dog"]
    ]
    assert memory.info().label_counts == {"dog": 1}
    assert memory.would_purge(parsed("metadata.n = w")) == ["a"]


def test_an_unknown_entry_is_not_read_and_nothing_is_said_of_changes(memory: Memory) -> None:
    with pytest.raises(UnknownEntries) as refusal:
        memory.entry("a")

    assert str(refusal.value) == "No entry has these ids: a."
    assert refusal.value.ids == ("a",)


def test_an_unknown_entry_is_not_updated(memory: Memory) -> None:
    with pytest.raises(UnknownEntries, match="a"):
        memory.update("a", label="dog", request=REQUEST)

    assert memory.recall(REQUEST) is None


def test_the_audit_log_names_the_principal_who_asked_for_each_write(tmp_path: Path) -> None:
    ann = Request(principal="ann")
    identity = new_identity("m", 8, None)
    with closing(Memory.create(tmp_path / "m.sqlite", identity, principal="ann")) as memory:
        memory.insert(entries(["a", "b", "c", "d", "e"]), VECTORS[:5], request=ann)
        memory.update("a", label="dog", request=ann)
        memory.delete(["b"], request=ann)
        memory.purge(parsed("id = c"), request=ann)
        memory.keep_setting("taxonomy", "{}", call="SetTaxonomy", request=ann)
        memory.operations.relabel({"d": "owl"}, result=str, request=ann)
        pruning = memory.operations.begin("prune", request=ann).operation.name
        memory.operations.prune(["e"], operation=pruning, result=str)
        memory.operations.undo(pruning, request=ann)
        fitting = memory.operations.begin("calibrate", request=ann).operation.name
        memory.operations.end(
            fitting, "done", settings=lambda transaction: {"t": "1"}, call="CalibrateMemory"
        )
        unlearning = memory.unlearning.begin(["a"], allow_missing=False, request=ann).operation.name
        memory.unlearning.erase(unlearning, settings=(), draft=lambda facts: "{}")
        memory.insert(entries(["f"]), VECTORS[:1])

        events = memory.audit_events(limit=99).events

    assert [event.principal for event in events] == [*["ann"] * 11, "local"]


def test_a_write_that_changes_no_entry_leaves_the_revision(tmp_path: Path) -> None:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 8, None))) as memory:
        memory.insert([Entry("a", "cat", metadata={"k": "v"}), Entry("b", "dog")], VECTORS[:2])
        prune = memory.operations.begin("prune").operation.name
        before, digest = memory.revision, memory.info().digest

        memory.delete(["c"], allow_missing=True)
        memory.purge(parsed("id = c"))
        memory.update("a", label="cat", metadata={"k": "v"})
        relabel = memory.operations.relabel({"b": "dog"}, result=str).name
        memory.operations.prune([], operation=prune, result=str)
        memory.operations.undo(prune)
        memory.operations.undo(relabel)

        assert (memory.revision, memory.info().digest) == (before, digest)
        assert len(memory.audit_events(limit=99).events) == 9
        memory.update("a", metadata={})
        assert memory.revision == before + 1


def test_a_tuning_that_has_ended_makes_no_rule_the_default(memory: Memory) -> None:
    cancelled, tuned = (memory.operations.begin("tune").operation.name for _ in range(2))
    memory.operations.end(cancelled, "cancelled")

    ended = [
        memory.operations.tune(Rule(k=k), operation=name, result="{}", revision=0).state
        for k, name in ((7, tuned), (9, cancelled), (11, tuned))
    ]

    assert ended == ["done", "cancelled", "done"]
    rules = default_rules.from_json(memory.setting(default_rules.SETTING))
    assert [each.rule for each in rules] == [Rule(k=7)]


def repeats() -> list[Callable[[Memory, Request], object]]:
    return [
        lambda memory, request: memory.insert(
            entries(["", "new"]), VECTORS[:2], request=request, replace_existing=True
        ),
        lambda memory, request: memory.delete(["a"], request=request),
        lambda memory, request: memory.purge(parsed("id = a"), request=request),
        lambda memory, request: memory.update("b", label="dog", request=request).label,
    ]


@pytest.mark.parametrize("write", repeats(), ids=["insert", "delete", "purge", "update"])
def test_a_repeated_write_is_answered_as_before_and_done_once(
    write: Callable[[Memory, Request], object], tmp_path: Path
) -> None:
    memory = new_memory(tmp_path)
    insert(memory, ["a", "b"])
    first = write(memory, REQUEST)
    after = everything(memory)

    second = write(memory, REQUEST)
    memory.close()
    with closing(Memory.open(tmp_path / "m.sqlite")) as memory:
        third = write(memory, REQUEST)

        assert first == second == third
        assert everything(memory) == after
        with pytest.raises(RequestReused):
            write(memory, Request(REQUEST.id, b"other content"))
        with pytest.raises(RequestReused):
            memory.recall(Request(REQUEST.id, b"other content"))
        assert everything(memory) == after


def test_an_import_goes_on_where_it_ended(tmp_path: Path) -> None:
    memory = new_memory(tmp_path)

    def send(ids: list[str], start: int) -> list[str]:
        request = Request("import", str(ids).encode(), start)
        return memory.insert(entries(ids), VECTORS[: len(ids)], request=request)

    send(["a", "b"], 0)
    send(["c"], 2)
    memory.close()
    memory = Memory.open(tmp_path / "m.sqlite")

    with closing(memory):
        with pytest.raises(WrongOffset, match="3 leading entries are stored"):
            send(["e"], 4)
        assert send(["c"], 2) == ["c"]
        assert send(["d"], 3) == ["d"]
        stored = [(batch.start, batch.ids) for batch in memory.stored_batches("import")]
        assert stored == [(0, ["a", "b"]), (2, ["c"]), (3, ["d"])]
        assert sorted(found(memory)) == ["a", "b", "c", "d"]


def test_deleted_bytes_are_in_no_file_once_the_memory_is_closed(tmp_path: Path) -> None:
    d = 500
    vectors = unit_rows(RNG.standard_normal((300, d)).astype(np.float32))
    memory = new_memory(tmp_path, d)
    ids = [f"secret {number:03}" for number in range(300)]
    for start in range(0, 300, 50):
        part = slice(start, start + 50)
        memory.insert(entries(ids[part]), vectors[part])
    gone = RNG.permutation(300)[:200]
    memory.delete([ids[number] for number in gone[:100]])
    replaced = [ids[number] for number in gone[100:150]]
    memory.insert(entries(replaced), np.eye(50, d, dtype=np.float32), replace_existing=True)
    for number in gone[150:]:
        memory.delete([ids[number]])

    memory.close()

    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    remembered = [n for n in range(300) if content.count(vectors[n][100:110].tobytes())]
    assert remembered == sorted(set(range(300)) - set(gone))
    named = {n for n in range(300) if ids[n].encode() in content}
    assert named == set(range(300)) - set(gone[:100]) - set(gone[150:])


def test_a_full_disk_changes_nothing_and_writing_goes_on_when_there_is_room(
    small_disk: SmallDisk,
) -> None:
    with closing(new_memory(small_disk.folder)) as memory:
        insert(memory, ["a", "b", "c"])
        before = everything(memory)
        small_disk.fill()

        with pytest.raises(DiskFull, match=r"m\.sqlite could not be written"):
            insert(memory, [f"{number}" for number in range(600)])
        for _ in range(100):
            try:
                memory.delete(["a"])
            except DiskFull:
                break
            before = everything(memory)
        assert everything(memory) == before

        small_disk.make_room(2_000_000)
        insert(memory, [f"{number}" for number in range(600)])
        memory.delete(["b"])
        after = everything(memory)
    with closing(Memory.open(small_disk.folder / "m.sqlite")) as memory:
        assert everything(memory) == after


@pytest.mark.parametrize("table", ["entries", "vectors", "sqlite_autoindex_entries_1", "memory"])
def test_a_damaged_page_is_refused_when_it_is_read(
    table: str, tmp_path: Path, garble: Callable[[Path, int, int], None]
) -> None:
    path = tmp_path / "m.sqlite"
    with closing(new_memory(tmp_path)) as memory:
        insert(memory, ["a", "b"])
    with closing(sqlite3.connect(path)) as db:
        find = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = db.execute(find, (table,)).fetchone()
    garble(path, page, PAGE_BYTES)

    damaged = pytest.raises(CorruptStore, match=r"m\.sqlite is damaged")
    with damaged, closing(Memory.open(path)) as memory:
        memory.entry("a")


def test_a_page_in_the_middle_of_many_is_refused_at_opening(
    tmp_path: Path, garble: Callable[[Path, int, int], None]
) -> None:
    path = tmp_path / "m.sqlite"
    with closing(new_memory(tmp_path)) as memory:
        insert(memory, [f"{number}" for number in range(600)])
    with closing(sqlite3.connect(path)) as db:
        find = "SELECT pageno FROM dbstat WHERE name = 'entries' AND pagetype = 'leaf'"
        pages = [page for (page,) in db.execute(find)]
    garble(path, pages[len(pages) // 2], PAGE_BYTES)

    with pytest.raises(CorruptStore, match=r"m\.sqlite is damaged"):
        Memory.open(path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET vector = zeroblob(16) WHERE key = 1",
        "DELETE FROM vectors WHERE key = 1",
        "UPDATE entries SET label = 'dog' WHERE key = 1",
    ],
)
@pytest.mark.parametrize("pruned", [True, False])
def test_an_entry_that_is_damaged_is_refused_at_opening_whether_it_votes_or_not(
    damage: str, pruned: bool, tmp_path: Path
) -> None:
    with closing(new_memory(tmp_path)) as memory:
        insert(memory, ["a", "b"])
        if pruned:
            operation = memory.operations.begin("prune").operation.name
            memory.operations.prune(["a"], operation=operation, result=lambda ids: "{}")
    with closing(sqlite3.connect(tmp_path / "m.sqlite")) as db, db:
        db.execute(damage)

    for _ in range(2):
        with pytest.raises(CorruptStore, match="of key 1 is not as it was written"):
            Memory.open(tmp_path / "m.sqlite")


def test_who_deletes_the_sums_has_all_entries_compared_with_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with closing(new_memory(tmp_path)) as memory:
        insert(memory, ["a", "b"])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM sums")
    Memory.open(path).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM sums")
        db.execute("DELETE FROM vectors WHERE key = 1")
        db.execute("DELETE FROM entries WHERE key = 1")

    for _ in range(2):
        with pytest.raises(CorruptStore, match="its entries are not those of its digest"):
            Memory.open(path)


def test_a_closed_memory_says_so(tmp_path: Path) -> None:
    memory = new_memory(tmp_path)
    insert(memory, ["a"])
    memory.close()
    memory.close()

    calls: list[Callable[[], object]] = [
        memory.info,
        lambda: memory.nearest([Query(QUERY, 1)]),
        lambda: memory.entry("a"),
        lambda: memory.entries(limit=1),
        lambda: memory.would_purge(parsed("id = a")),
        lambda: memory.recall(REQUEST),
        lambda: memory.stored_batches("r"),
        lambda: insert(memory, ["b"]),
        lambda: memory.delete(["a"]),
        lambda: memory.purge(parsed("id = a")),
        lambda: memory.update("a", label="x"),
    ]
    for call in calls:
        with pytest.raises(MemoryClosed, match='"m" was deleted, is closing or gets other vectors'):
            call()


def in_threads(*runs: Callable[[], None]) -> None:
    """Run all at once, switching threads often; raise the first error of any."""
    turn = sys.getswitchinterval()
    errors = list[BaseException]()

    def guarded(run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in runs]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(turn)
    if errors:
        raise errors[0]


def test_readers_see_all_of_a_batch_or_nothing(memory: Memory) -> None:
    done = threading.Event()
    insert(memory, [f"stays {number}" for number in range(10)], "stays")

    def write() -> None:
        try:
            for round in range(60):
                batch = [f"{round} {number}" for number in range(10)]
                insert(memory, batch, f"batch {round}")
                if round % 3:
                    memory.insert(
                        entries(batch, f"again {round}"), VECTORS[20:30], replace_existing=True
                    )
                if round % 2:
                    memory.delete(batch)
                elif round % 4:
                    memory.purge(parsed(f'label = "batch {round}" OR label = "again {round}"'))
        finally:
            done.set()

    def read(filter: str | None) -> Callable[[], None]:
        admitting = parsed(filter) if filter else None

        def search() -> None:
            while not done.is_set():
                (answer,) = memory.nearest([Query(QUERY, 9999, admitting)])
                labels, counts = np.unique(answer.labels[0].astype(str), return_counts=True)
                assert set(counts) <= {10}, (labels, counts)
                assert filter is None or not {"stays"} & set(labels)
                assert set(memory.info().label_counts.values()) == {10}

        return search

    in_threads(write, read(None), read('NOT label = "stays"'), read('label = "again*"'))

    assert memory.count == 10 * (1 + 15)


def test_readers_see_all_of_a_batch_replaced_or_nothing(memory: Memory) -> None:
    done, ids = threading.Event(), [f"{number}" for number in range(500)]
    insert(memory, ids, "red")

    def replace() -> None:
        try:
            for round in range(15):
                new = entries(ids, ["blue", "red"][round % 2])
                memory.insert(new, VECTORS[:500], replace_existing=True)
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            assert list(memory.info().label_counts.values()) == [500]
            (answer,) = memory.nearest([Query(QUERY, 9999)])
            assert answer.ids.shape == (1, 500)
            assert len(set(answer.labels[0])) == 1

    in_threads(replace, read, read)


def test_filters_agree_with_the_labels_while_they_change(memory: Memory) -> None:
    done, ids = threading.Event(), [f"{number}" for number in range(20)]
    insert(memory, ids, "red")

    def relabel() -> None:
        try:
            for round in range(200):
                memory.update(ids[round % 20], label=["blue", "red"][round // 20 % 2])
        finally:
            done.set()

    def read(color: str) -> Callable[[], None]:
        def search() -> None:
            while not done.is_set():
                (answer, everyone) = memory.nearest(
                    [Query(QUERY, 99, parsed(f"label = {color}")), Query(QUERY, 99)]
                )
                assert set(answer.labels[0]) <= {color}
                assert answer.ids.shape[1] == (everyone.labels == color).sum()
                assert everyone.ids.shape == (1, 20)

        return search

    in_threads(relabel, read("red"), read("blue"))


def test_of_what_runs_only_erasures_are_unfinished(memory: Memory) -> None:
    memory.operations.begin("prune")
    insert(memory, ["a"])
    erasing = memory.unlearning.begin(["a"], allow_missing=False).operation

    assert memory.operations.unfinished("unlearn") == [erasing]


def test_an_operation_that_was_cancelled_on_a_full_disk_says_nothing_of_what_was_unlearned_since(
    small_disk: SmallDisk,
) -> None:
    with closing(new_memory(small_disk.folder)) as memory:
        insert(memory, ["a"])
        cancelled, failed = (memory.operations.begin("check").operation.name for _ in range(2))
        erasing = memory.unlearning.begin(["a"], allow_missing=False).operation.name
        small_disk.fill()
        memory.operations.end(cancelled, "cancelled")
        memory.operations.end(failed, "failed", problem="a is not there")
        assert memory._engine.store.operation(cancelled).state == "running"
        small_disk.make_room(2_000_000)

        memory.unlearning.erase(erasing, settings=(), draft=lambda facts: "{}")

        assert memory.operations.get(cancelled).problem is None
        assert memory.operations.get(failed).problem == GONE


def test_a_relabel_and_its_refusal_name_entries_in_byte_order(memory: Memory) -> None:
    insert(memory, ["c", "a", "b"])

    done = memory.operations.relabel(dict.fromkeys(["c", "a", "b"], "owl"), result=repr)

    assert done.result == "['a', 'b', 'c']"
    with pytest.raises(UnknownEntries) as refusal:
        memory.operations.relabel(dict.fromkeys(["z", "a", "y"], "jay"), result=repr)
    assert refusal.value.ids == ("y", "z")


def assessed(memory: Memory, label: str) -> str:
    """Return the name of an operation whose result names a label."""
    name = memory.operations.begin("assess").operation.name
    memory.operations.end(name, "done", result=f'{{"confusion": {{"{label}": {{}}}}}}')
    return name


def test_results_that_name_a_label_go_once_an_undo_takes_it_from_the_last_entry(
    memory: Memory,
) -> None:
    insert(memory, ["a"])
    relabelled = memory.operations.relabel({"a": "owl"}, result=lambda ids: "{}").name
    named = assessed(memory, "owl")

    memory.operations.undo(relabelled)

    assert memory.operations.get(named).problem == GONE


def test_results_that_name_a_former_label_go_once_no_undo_would_restore_it(memory: Memory) -> None:
    insert(memory, ["a"])
    memory.operations.relabel({"a": "owl"}, result=lambda ids: "{}")
    named = assessed(memory, "cat")
    assert memory.operations.get(named).result

    memory.update("a", label="fox")

    assert memory.operations.get(named).problem == GONE


def test_a_prune_of_pruned_entries_says_that_they_do_not_vote(memory: Memory) -> None:
    insert(memory, ["a", "b"])
    first, second = (memory.operations.begin("prune").operation.name for _ in range(2))
    memory.operations.prune(["a"], operation=first, result=str)

    with pytest.raises(NotVoting, match=r"No entry that votes here has these ids .*: a"):
        memory.operations.prune(["b", "a"], operation=second, result=str)

    assert memory.info().pruned_counts == {"cat": 1}


def test_a_memory_is_closed_when_nobody_reads_any_more(memory: Memory) -> None:
    insert(memory, [f"{number}" for number in range(600)])
    started = threading.Barrier(4)

    def read() -> None:
        started.wait(10)
        try:
            while True:
                memory.nearest([Query(VECTORS, 9, parsed("label = cat"))])
        except MemoryClosed:
            return

    def close() -> None:
        started.wait(10)
        memory.close()

    in_threads(read, read, read, close)


def nearest_by_brute_force(
    query: NDArray[np.float32], vectors: NDArray[np.float32], ids: list[str], k: int
) -> list[str]:
    distances = (1 - vectors.astype(float) @ query.astype(float)).clip(0, 2).round(12)
    return [id for _, id in sorted(zip(distances, ids, strict=True))][:k]


@pytest.mark.parametrize("k", [1, 50, 1100, 9999])
def test_neighbours_are_those_of_brute_force(k: int, tmp_path: Path) -> None:
    vectors = unit_rows(RNG.standard_normal((3000, 16)).astype(np.float32))
    ids = [f"{number:04}" for number in RNG.permutation(3000)]

    with closing(new_memory(tmp_path, 16)) as memory:
        memory.insert(entries(ids), vectors)
        (answer,) = memory.nearest([Query(vectors[:3], k)])

    wanted = [nearest_by_brute_force(query, vectors, ids, k) for query in vectors[:3]]
    assert answer.ids.tolist() == wanted
    assert (np.diff(answer.distances, axis=1) >= 0).all()


def test_info_is_of_one_moment(memory: Memory) -> None:
    digests, on_progress = {0: memory.info().digest}, list[tuple[int, str]]()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            info = memory.info()
            on_progress.append((info.count, info.digest))

    with ThreadPoolExecutor(2) as threads:
        looking = [threads.submit(look) for _ in range(2)]
        for number in range(1, 200):
            insert(memory, [f"{number:03}"])
            digests[number] = memory._engine.store.digest()
        done.set()
        for each in looking:
            each.result()

    assert all(digests[count] == digest for count, digest in on_progress)


def test_a_setting_is_not_lost_to_one_that_was_read_before_it(memory: Memory) -> None:
    store, read, go_on = memory._engine.store, threading.Event(), threading.Event()

    class Slow:
        """A store that delays the first answer about its settings."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def settings(self) -> dict[str, str]:
            found = store.settings()
            if not read.is_set():
                read.set()
                go_on.wait(0.5)
            return found

    memory._engine.store = Slow()  # type: ignore[assignment]  # a store all the same
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(memory.keep_setting, "a", "1", call="SetTaxonomy")
        read.wait()
        memory.keep_setting("b", "2", call="SetReranker")
        go_on.set()
        first.result()

    assert (memory.setting("a"), memory.setting("b")) == ("1", "2")


def test_who_reads_the_file_holds_up_no_publishing_and_no_query_but_is_waited_for_at_the_end(
    memory: Memory,
) -> None:
    insert(memory, ["a"])
    store, reading, go_on = memory._engine.store, threading.Event(), threading.Event()

    class Slow:
        """A store that delays its answer about ids."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def ids(self, filter: Filter) -> list[str]:
            reading.set()
            go_on.wait(3 * LONG)
            return store.ids(filter)

    memory._engine.store = Slow()  # type: ignore[assignment]  # a store all the same
    with ThreadPoolExecutor(3) as threads:
        read = threads.submit(memory.would_purge, parsed('label = "cat"'))
        reading.wait(LONG)
        try:
            threads.submit(insert, memory, ["b"]).result(LONG)
            after = threads.submit(found, memory).result(LONG)
            end = threads.submit(memory.close)
            assert not end.done()
        finally:
            go_on.set()
        end.result(LONG)

    assert (sorted(after), read.result()) == (["a", "b"], ["a", "b"])


def test_while_a_copy_is_made_an_erasure_is_put_off_and_nobody_waits_for_it(
    memory: Memory, tmp_path: Path
) -> None:
    insert(memory, ["a"])
    sought = memory.unlearning.sought(["a"])

    with (
        ThreadPoolExecutor(3) as threads,
        memory.copying(tmp_path / "copy", check=lambda: None) as replica,
    ):
        erasing = threads.submit(memory.unlearning.erase_file, None)
        holding = threads.submit(memory.unlearning.holds, sought)
        seeking = threads.submit(memory.unlearning.sought, ["a"])
        assert holding.result(LONG)
        assert seeking.result(LONG).ids == ["a"]
        assert erasing.result(LONG) is None
        replica.write(memory.identity, "copy", lambda transaction: None, settings=())

    assert memory.unlearning.erase_file(None) is not None


def test_a_copy_that_cannot_follow_a_commit_is_read_anew(memory: Memory) -> None:
    insert(memory, ["a", "b"])

    with pytest.raises(KeyError):
        memory._engine._publish([Change(np.array([1, 99]))])

    assert found(memory) == ["a", "b"]
    insert(memory, ["c"])
    assert sorted(found(memory, filter=parsed('label = "cat"'))) == ["a", "b", "c"]


class ShortOfRam(ScannedIndex):
    """An index in a process that is out of memory."""

    def remove(self, rows: Rows) -> None:
        if len(rows):
            raise MemoryError


class ShortOfRamIndexes(ScannedIndexes):
    def new(self, dimension: int, **options: Any) -> ShortOfRam:
        return ShortOfRam(Blocks(dimension), Planes(dimension), self._threads)


def test_a_prune_that_fails_after_its_commit_is_done_and_can_be_undone(tmp_path: Path) -> None:
    new_memory(tmp_path).close()
    with closing(Memory.open(tmp_path / "m.sqlite", indexes=ShortOfRamIndexes())) as memory:
        insert(memory, ["a", "b", "c"])
        begun = memory.operations.begin("prune").operation.name

        with pytest.raises(MemoryError):
            memory.operations.prune(["a"], operation=begun, result=json.dumps)
        memory.operations.end(begun, "failed", problem="out of memory")

        ended = memory.operations.get(begun)
        assert (ended.state, ended.result, ended.problem) == ("done", '["a"]', None)
        assert sorted(found(memory)) == ["b", "c"]
        assert memory.operations.undo(begun) == ["a"]
        assert sorted(found(memory)) == ["a", "b", "c"]


def test_an_end_that_the_file_knows_holds_over_one_that_is_in_ram_alone(memory: Memory) -> None:
    begun = memory.operations.begin("unlearn").operation
    memory.operations.end(
        begun.name, "done", result="{}", settings=lambda transaction: {"a": "b"}, call="A"
    )

    memory.operations.put_off(begun, "The disk failed.")
    memory.operations.end(begun.name, "failed", settings=lambda transaction: {"a": "c"}, call="A")

    (listed,) = memory.operations.page(limit=9)
    assert listed.state == memory.operations.get(begun.name).state == "done"
    assert memory.setting("a") == "b"


def test_a_copy_of_which_not_even_that_is_left_is_refused_until_a_restart(memory: Memory) -> None:
    insert(memory, ["a", "b", "c"])
    store = memory._engine.store

    class Short:
        """A store that runs out of memory after some rows."""

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def rows(self, dimension: int) -> Iterator[tuple[int, VotingEntries]]:
            for _, rows in store.rows(dimension):
                one = rows.keys[:1], rows.ids[:1], rows.labels[:1], rows.vectors[:1]
                yield 1, VotingEntries(*one)
                raise MemoryError

    memory._engine.store = Short()  # type: ignore[assignment]  # a store all the same
    with pytest.raises(MemoryError):
        memory._engine._publish([Change(np.array([1, 99]))])

    calls: list[Callable[[], object]] = [
        memory.info,
        lambda: memory.nearest([Query(QUERY, 1)]),
        lambda: memory.entry("a"),
        lambda: insert(memory, ["d"]),
        memory.ids,
    ]
    for call in calls:
        with pytest.raises(CorruptCopy, match="restart the server, which reads the file again"):
            call()
    memory.close()
    with closing(Memory.open(memory.path)) as opened:
        assert sorted(found(opened)) == ["a", "b", "c"]


def test_operations_are_newest_first_after_a_clock_that_went_back(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    Memory.create(path, new_identity("m", 2, None)).close()
    future = f"m/{'7z' * 13}"
    alter(
        path,
        "INSERT INTO operations (name, kind, state, created_at) "
        f"VALUES ('{future}', 'x', 'done', 0)",
    )

    with closing(Memory.open(path)) as memory:
        begun = [memory.operations.begin("x").operation.name for _ in range(3)]
        listed = [each.name for each in memory.operations.page(before="", limit=9)]
        rest = [each.name for each in memory.operations.page(before=begun[0], limit=9)]

    assert listed == [*reversed(begun), future]
    assert rest == [future]
