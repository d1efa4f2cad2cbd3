"""A replica holds everything of a memory at one moment, except data that must not be copied."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.sealing import seal

from visual_memory_index import Entry, Memory, Request
from visual_memory_index.errors import CorruptStore, DiskFull, MemoryClosed
from visual_memory_index.files.migrations import MEMORY_STEPS, migrate
from visual_memory_index.records.entry import Parts
from visual_memory_index.records.request import LOCAL
from visual_memory_index.sqlite.replica import Replica, check_tables
from visual_memory_index.store.store import Transaction, new_identity

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

DIMENSION = 8
SETTINGS = ("calibration",)
NAN = np.full(DIMENSION, np.nan, "<f4").tobytes().hex()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """Yield a memory of six entries, two with pictures; one pruned, one relabelled, one request."""
    identity = new_identity("pets", DIMENSION, None, store_images=True)
    with closing(Memory.create(tmp_path / "pets.sqlite", identity)) as memory:
        fill(memory)
        yield memory


def fill(memory: Memory) -> None:
    pictures = {0: b"first picture" * 9, 3: b"fourth picture" * 9}
    entries = [
        Entry(
            f"entry number {at}",
            "cat" if at < 3 else "dog",
            metadata={"source": "web"},
            content_sha256=sha256(pictures.get(at, b"")).digest(),
            image=pictures.get(at, b""),
            thumbnail=pictures.get(at, b"")[:9],
        )
        for at in range(6)
    ]
    memory.insert(entries, rows(6), request=Request("insertion", b"six"))
    memory.keep_setting("taxonomy", "{}", call="SetTaxonomy")
    memory.keep_setting("calibration", "fitted", call="CalibrateMemory")
    prune = memory.operations.begin("prune").operation.name
    memory.operations.prune(["entry number 1"], operation=prune, result=json.dumps)
    memory.operations.relabel({"entry number 2": "wolf"}, result=json.dumps)


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    wide = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    units: NDArray[np.float32] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype("f4")
    return units


def replicate(
    memory: Memory,
    target: Path,
    name: str = "pets2",
    *,
    leave_out: Sequence[str] = (),
    check: Callable[[], None] = lambda: None,
) -> int:
    def finish(transaction: Transaction) -> None:
        transaction.log("CopyMemory", transaction.count(), LOCAL)

    with memory.copying(target, check) as replica:
        return replica.write(memory.identity, name, finish, leave_out=leave_out, settings=SETTINGS)


def contents(memory: Memory) -> list[tuple[object, ...]]:
    """Return every entry with its vector, its pictures and whether it votes."""
    parts = Parts.VECTOR | Parts.IMAGE | Parts.THUMBNAIL
    return [
        (
            *(each.id, each.label, each.metadata, each.created_at, bool(each.pruned_by)),
            *(each.image, each.thumbnail, [] if each.vector is None else each.vector.tolist()),
        )
        for each in memory.entries(limit=100, parts=parts).entries
    ]


def calls(memory: Memory) -> list[str]:
    return [event.call for event in memory.audit_events(limit=100).events]


def test_a_replica_has_all_that_belongs_to_a_memory(memory: Memory, tmp_path: Path) -> None:
    assert replicate(memory, tmp_path / "copy.sqlite") == 0

    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        assert contents(copy) == contents(memory)
        assert copy.info().digest == memory.info().digest
        assert copy.identity.uid == memory.identity.uid
        assert (copy.identity.name, copy.identity.created_at) == (
            "pets2",
            memory.identity.created_at,
        )
        assert [copy.setting(name) for name in ("taxonomy", *SETTINGS)] == ["{}", "fitted"]
        assert copy.revision == memory.revision
        assert calls(copy) == [*calls(memory), "CopyMemory"]


def test_what_was_done_can_be_undone_in_a_replica_under_its_new_name(
    memory: Memory, tmp_path: Path
) -> None:
    replicate(memory, tmp_path / "copy.sqlite")

    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        relabel, prune = copy.operations.page(limit=9)
        assert relabel.name == memory.operations.page(limit=9)[0].name.replace("pets/", "pets2/")
        assert copy.entry("entry number 1").pruned_by == prune.name
        assert copy.operations.undo(prune.name) == ["entry number 1"]
        assert copy.operations.undo(relabel.name) == ["entry number 2"]
        assert copy.entry("entry number 2").label == "cat"


def test_answers_and_what_is_derived_stay_behind(memory: Memory, tmp_path: Path) -> None:
    memory._engine.store.keep_derived("lists", b"derived")
    target = tmp_path / "copy.sqlite"

    replicate(memory, target)

    with closing(sqlite3.connect(target)) as db:
        for table in ("requests", "derived", "erasing"):
            assert db.execute(f"SELECT * FROM {table}").fetchall() == []
    assert b"insertion" not in target.read_bytes()


def test_an_operation_that_runs_stays_behind(memory: Memory, tmp_path: Path) -> None:
    running = memory.operations.begin("assess").operation

    replicate(memory, tmp_path / "copy.sqlite")

    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        assert {each.kind for each in copy.operations.page(limit=9)} == {"prune", "relabel"}
    assert memory.operations.get(running.name).state == "running"


def test_a_replica_is_of_the_moment_at_which_it_was_begun(memory: Memory, tmp_path: Path) -> None:
    before = contents(memory)
    seen: list[list[str]] = []

    def begin(transaction: Transaction) -> None:
        transaction.log("BackupMemory", transaction.count(), LOCAL)

    with memory.copying(tmp_path / "copy.sqlite", lambda: None, begin) as replica:
        memory.delete(["entry number 0"])
        memory.insert([Entry("later", "cat")], rows(1, seed=5))
        replica.write(memory.identity, "pets", lambda transaction: seen.append([]))

    assert len(seen) == 1
    assert memory.info().count == 6
    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        assert contents(copy) == before
        assert calls(copy)[-1] == "BackupMemory"


def test_what_is_left_out_is_nowhere_in_the_file(memory: Memory, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    gone = memory.entry("entry number 3", Parts.VECTOR | Parts.IMAGE)
    also = memory.entry("entry number 2", Parts.VECTOR)
    assert gone.vector is not None
    assert also.vector is not None

    left_out = replicate(memory, target, leave_out=["entry number 3", "entry number 2", "nobody"])

    assert left_out == 2
    data = target.read_bytes()
    for trace in (gone.vector, also.vector, gone.image, b"entry number 3", b"entry number 2"):
        assert bytes(trace) not in data
    assert b"wolf" not in data
    with closing(Memory.open(target)) as copy:
        assert copy.info().count == 4
        assert calls(copy)[-2:] == ["LeaveOutEntries", "CopyMemory"]
        assert [copy.setting(name) for name in ("taxonomy", *SETTINGS)] == ["{}", None]
        assert copy.revision == memory.revision + 1
        relabel, prune = [copy.operations.get(each.name) for each in copy.operations.page(limit=9)]
        assert (relabel.result, bool(relabel.problem)) == (None, True)
        assert prune.result == '["entry number 1"]'


def test_without_entries_a_replica_has_the_digest_of_the_others(
    memory: Memory, tmp_path: Path
) -> None:
    replicate(memory, tmp_path / "copy.sqlite", leave_out=["entry number 0", "entry number 1"])

    memory.delete(["entry number 0", "entry number 1"])
    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        assert copy.info().digest == memory.info().digest
        assert copy.check().digest == memory.info().digest


def test_what_waits_to_be_unlearned_is_left_out(memory: Memory, tmp_path: Path) -> None:
    memory.unlearning.begin(["entry number 4"], allow_missing=False)

    left_out = replicate(memory, tmp_path / "copy.sqlite")

    assert left_out == 1
    assert memory.info().count == 6
    with closing(Memory.open(tmp_path / "copy.sqlite")) as copy:
        assert "entry number 4" not in copy.ids()
        assert copy.operations.unfinished("unlearn") == []


def test_a_replica_is_its_owners_alone_and_one_file(memory: Memory, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"

    replicate(memory, target)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.glob("copy.sqlite*")) == [target]


def test_a_check_may_stop_it(memory: Memory, tmp_path: Path) -> None:
    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        replicate(memory, tmp_path / "copy.sqlite", check=check)

    assert memory.delete(["entry number 0"]) == ["entry number 0"]


def test_a_memory_that_closes_stops_it(memory: Memory, tmp_path: Path) -> None:
    with memory.copying(tmp_path / "copy.sqlite", lambda: None) as replica:
        memory.close()
        with pytest.raises(MemoryClosed):
            replica.write(memory.identity, "pets", lambda transaction: None)


def test_erasing_waits_for_a_replica_that_reads_the_log(memory: Memory, tmp_path: Path) -> None:
    cut = threading.Thread(target=memory.unlearning.erase_file, args=(None,))
    with memory.copying(tmp_path / "copy.sqlite", lambda: None) as replica:
        cut.start()
        memory.insert([Entry("later", "cat")], rows(1, seed=5))  # nobody else has to wait
        assert len(memory.ids()) == 7
        assert cut.is_alive()
        replica.write(memory.identity, "pets", lambda transaction: None)
    cut.join(60)

    assert not cut.is_alive()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE entries SET label = 'fox' WHERE key = 1", "not those of its digest"),
        ("UPDATE images SET image = x'00' WHERE key = 1", "not those of its digest"),
        ("DELETE FROM entries WHERE key = 1", "not those of its digest"),
        ("UPDATE vectors SET vector = x'00' WHERE key = 1", "another length"),
        (f"UPDATE vectors SET vector = x'{NAN}' WHERE key = 1", "not finite"),
    ],
)
def test_a_memory_that_is_not_what_was_written_is_refused(
    damage: str, problem: str, memory: Memory, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(memory.path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(damage)
        seal(db)

    with pytest.raises(CorruptStore, match=rf"pets\.sqlite is damaged \(.*{problem}"):
        replicate(memory, tmp_path / "copy.sqlite")


def test_a_full_disk_is_told_and_the_memory_stays(memory: Memory, small_disk: SmallDisk) -> None:
    small_disk.fill()
    small_disk.make_room(100_000)

    with pytest.raises(DiskFull, match=r"copy\.sqlite could not be written"):
        replicate(memory, small_disk.folder / "copy.sqlite")

    assert len(memory.ids()) == 6


@pytest.mark.parametrize(
    "more",
    [
        "CREATE VIEW more AS SELECT * FROM entries",
        "CREATE TRIGGER more AFTER UPDATE ON memory BEGIN DELETE FROM entries; END",
        "CREATE VIRTUAL TABLE more USING fts5(text)",
    ],
)
def test_a_file_that_would_do_more_than_hold_rows_is_refused(more: str, tmp_path: Path) -> None:
    path = tmp_path / "pets.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, MEMORY_STEPS, path)
        check_tables(path)
        db.execute(more)

    with pytest.raises(CorruptStore, match="more than the tables of a memory"):
        check_tables(path)


def test_a_replica_of_no_memory_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source.sqlite"
    source.write_bytes(b"no database at all" * 100)

    with pytest.raises(CorruptStore, match=r"source\.sqlite is damaged"):
        Replica(source, tmp_path / "copy.sqlite", lambda: None)
