"""``visual-memory accept``: show what an older or unlisted file holds, then accept it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.databases import database_of
from tests.service.conftest import Run

from visual_memory_index import Catalog, Entry, Memory


@pytest.fixture
def run(command: Run) -> Run:
    return partial(command, "accept")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the memory pets, of the entries a, b and c."""
    folder = tmp_path / "data"
    with closing(Catalog(folder)) as catalog:
        memory = catalog.create("pets", dimension=2, embedder=None)
        assert memory is not None
        with closing(memory):
            insert(memory, "a", "b", "c")
    return folder


def insert(memory: Memory, *ids: str) -> None:
    rows = np.tile(np.array([[0.6, 0.8]], np.float32), (len(ids), 1))
    memory.insert([Entry(id, "cat", content_sha256=bytes(32)) for id in ids], rows)


def file_of(data: Path) -> Path:
    (path,) = (data / "memories").glob("*.sqlite")
    return path


def put_back(data: Path, do: Callable[[Catalog, Memory], None]) -> None:
    """Call ``do`` with pets, then put back the file as it was before."""
    before = file_of(data).read_bytes()
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        do(catalog, memory)
        catalog.note(memory)
    file_of(data).write_bytes(before)


def unlearn(catalog: Catalog, memory: Memory, *ids: str) -> None:
    begun = memory.unlearning.begin(ids, allow_missing=False).operation.name
    catalog.mark_unlearned(memory, ids, begun)
    memory.unlearning.erase(begun, settings=(), draft=lambda facts: "{}")
    memory.operations.end(begun, "done")


def held(data: Path) -> tuple[list[str], list[str]]:
    """Check that pets is sound; return its ids, and the calls in its audit log."""
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        assert catalog.names() == ["pets"]
        memory.check()
        return sorted(memory.ids()), [each.call for each in memory.audit_events(limit=99).events]


def test_what_is_as_it_was_noted_needs_no_acceptance(run: Run, data: Path) -> None:
    done = run("pets", "--data", data, "--apply")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "pets is as it was noted last, so nothing is to be accepted.\n"


def test_a_file_that_cannot_be_judged_is_refused_and_not_said_to_fit(run: Run, data: Path) -> None:
    with closing(sqlite3.connect(file_of(data))) as db, db:
        db.execute("PRAGMA user_version = 99")
    newer = run("pets", "--data", data)
    file_of(data).write_bytes(b"")
    emptied = run("pets", "--data", data)

    assert (newer.returncode, newer.stdout, emptied.returncode, emptied.stdout) == (1, "", 1, "")
    assert "has schema 99" in newer.stderr
    assert "is damaged (it is empty); stop the server" in emptied.stderr


def test_a_file_beside_the_log_of_another_is_refused_and_not_said_to_fit(
    run: Run, data: Path
) -> None:
    before = file_of(data).read_bytes()
    log = file_of(data).with_name(f"{file_of(data).name}-wal")
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        memory.update("a", label="dog")
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        memory.keep_setting("x", "y", call="Set")
        since = log.read_bytes()
    file_of(data).write_bytes(before)
    log.write_bytes(since)

    done = run("pets", "--data", data)

    assert (done.returncode, done.stdout) == (1, "")
    assert "its entries are not those of its digest" in done.stderr


def test_without_apply_it_only_shows(run: Run, data: Path) -> None:
    put_back(data, lambda catalog, memory: insert(memory, "d"))
    before = {path: path.read_bytes() for path in (data / "memories").iterdir()}

    done = run("pets", "--data", data)

    assert (done.returncode, done.stderr) == (0, "")
    assert "has 2 events, but 3 were noted, so 1 acknowledged write is missing" in done.stdout
    assert "What the file holds, 3 entries, would be accepted; --apply does it." in done.stdout
    assert "or accept what is there." in done.stdout
    assert "visual-memory accept" not in done.stdout
    assert {path: path.read_bytes() for path in (data / "memories").iterdir()} == before
    assert run("pets", "--data", data).stdout == done.stdout


def test_an_older_file_is_accepted_with_an_event_that_says_so(run: Run, data: Path) -> None:
    put_back(data, lambda catalog, memory: insert(memory, "d"))

    done = run("pets", "--data", data, "--apply")

    assert (done.returncode, done.stderr) == (0, "")
    assert "What the file holds, 3 entries, is accepted." in done.stdout
    assert held(data) == (["a", "b", "c"], ["CreateMemory", "InsertEntries", "AcceptMemory"])


def test_what_was_unlearned_is_not_accepted(run: Run, data: Path) -> None:
    put_back(data, lambda catalog, memory: unlearn(catalog, memory, "a", "c"))

    done = run("pets", "--data", data, "--apply")

    assert (
        "What the file holds, 1 entry, without 2 that were unlearned, is accepted." in done.stdout
    )
    ids, calls = held(data)
    assert ids == ["b"]
    assert calls[2:] == ["LeaveOutEntries", "AcceptMemory"]


def test_what_was_marked_as_unlearned_and_not_yet_deleted_is_not_accepted(
    run: Run, data: Path
) -> None:
    def mark(catalog: Catalog, memory: Memory) -> None:
        begun = memory.unlearning.begin(["a"], allow_missing=False).operation.name
        catalog.mark_unlearned(memory, ["a"], begun)

    put_back(data, mark)

    done = run("pets", "--data", data, "--apply")

    assert "it has not the operation pets/" in done.stdout
    assert held(data)[0] == ["b", "c"]


def test_of_a_log_that_was_lost_after_the_last_note_nothing_else_is_left_out(
    run: Run, data: Path
) -> None:
    """An entry unlearned and inserted again earlier stays."""
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        unlearn(catalog, memory, "a")
        insert(memory, "a")
        catalog.note(memory)
    before = file_of(data).read_bytes()
    with closing(Catalog(data)) as catalog, closing(catalog.open("pets")) as memory:
        insert(memory, "d")
    file_of(data).write_bytes(before)

    run("pets", "--data", data, "--apply")

    assert held(data)[0] == ["a", "b", "c"]


def test_where_the_catalog_is_lost_for_good_memories_are_listed_anew(
    run: Run, data: Path, tmp_path: Path
) -> None:
    """The steps are those of docs/backup.md."""
    new = tmp_path / "new"
    Catalog(new).close()
    for file in (data / "memories").iterdir():
        (new / "memories" / file.name).write_bytes(file.read_bytes())

    done = run("pets", "--data", new, "--apply")

    assert 'holds the memory "pets", but the list of memories has no such file' in done.stdout
    assert held(new)[0] == ["a", "b", "c"]


def test_of_two_files_that_are_not_listed_none_is_accepted(
    run: Run, data: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    Catalog(new).close()
    for name in ("one", "two"):
        (new / "memories" / f"{name}.sqlite").write_bytes(file_of(data).read_bytes())

    done = run("pets", "--data", new, "--apply")

    assert (done.returncode, done.stdout) == (1, "")
    assert 'There is no memory named "pets"' in done.stderr


def test_a_file_beside_one_that_is_listed_is_not_accepted_for_it(run: Run, data: Path) -> None:
    (data / "memories" / "older.sqlite").write_bytes(file_of(data).read_bytes())

    assert "nothing is to be accepted" in run("pets", "--data", data, "--apply").stdout


def test_what_is_damaged_is_not_accepted(run: Run, data: Path) -> None:
    put_back(data, lambda catalog, memory: insert(memory, "d"))
    with closing(Memory.open(file_of(data))) as memory, database_of(memory).transaction() as db:
        db.execute("UPDATE entries SET label = 'dog' WHERE id = 'a'")

    done = run("pets", "--data", data, "--apply")

    assert done.returncode == 1
    name = file_of(data).name
    assert f"{name} is damaged (the entry of key 1 is not as it was written)" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE memory SET digest = x'00'", "stray.sqlite is damaged ("),
        ("PRAGMA user_version = 99", "stray.sqlite has schema 99, but this release knows"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_name_of_its_file(
    run: Run, data: Path, change: str, said: str
) -> None:
    file = data / "memories" / "stray.sqlite"
    file.write_bytes(file_of(data).read_bytes())
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(change)

    done = run("stray", "--data", data, "--apply")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr


def test_what_cannot_be_accepted_is_one_sentence(run: Run, data: Path, tmp_path: Path) -> None:
    for arguments, said in (
        (("dogs", "--data", data), 'There is no memory named "dogs"'),
        (("pets", "--data", tmp_path), "no data folder of a server"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
