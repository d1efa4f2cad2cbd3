"""An SQLite file that fsyncs, erases bytes, rolls back failures, and explains its errors."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from visual_memory_index.errors import (
    CorruptStore,
    DiskFull,
    FileHeld,
    FileUnavailable,
    NewerStore,
    ReadFailed,
    TooManyFiles,
    WriteFailed,
)
from visual_memory_index.files import database as database_module
from visual_memory_index.files import migrations
from visual_memory_index.files.damage import damage_of
from visual_memory_index.files.database import (
    PAGE_BYTES,
    Database,
    connect,
    connect_read_only,
    io_error,
    schema_of,
    translate_errors,
)
from visual_memory_index.files.disk import FILES_LEFT, database_files

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

STEPS = ("CREATE TABLE a (x TEXT NOT NULL UNIQUE) STRICT;",)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "a.sqlite", STEPS)) as opened:
        yield opened


def insert(database: Database, *values: str) -> None:
    with database.transaction() as db:
        db.executemany("INSERT INTO a VALUES (?)", [(value,) for value in values])


def log_of(database: Database) -> Path:
    return database_files(database.path)[1]


def copy_of_log(database: Database, to: Path) -> Path:
    """Copy the log of a database to the place beside another file."""
    return Path(shutil.copy(log_of(database), database_files(to)[1]))


def stored(database: Database) -> list[str]:
    with database.reading() as db:
        return [value for (value,) in db.execute("SELECT x FROM a ORDER BY x")]


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("secure_delete", 1),
        ("foreign_keys", 1),
        ("page_size", PAGE_BYTES),
        ("busy_timeout", 10000),
        ("user_version", 1),
    ],
)
def test_both_kinds_of_connection_are_set_up(
    pragma: str, value: int | str, database: Database
) -> None:
    with database.transaction() as db:
        assert db.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    with database.reading() as db:
        assert db.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_the_file_itself_has_the_page_size_and_the_log(database: Database) -> None:
    header = database.path.read_bytes()[:20]

    assert int.from_bytes(header[16:18], "big") == PAGE_BYTES == 16384
    assert header[18:20] == b"\x02\x02"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_any_exception_undoes_the_transaction(
    error: type[BaseException], database: Database
) -> None:
    def fail() -> None:
        with database.transaction() as db:
            db.execute("INSERT INTO a VALUES ('gone')")
            raise error

    with pytest.raises(error):
        fail()
    insert(database, "kept")

    assert stored(database) == ["kept"]


def test_a_broken_rule_undoes_the_transaction_and_is_no_damage(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, "twice", "twice")

    assert stored(database) == []


def test_a_reader_sees_one_state_while_the_writer_goes_on(database: Database) -> None:
    insert(database, "first")

    with database.reading() as db:
        before = db.execute("SELECT count(*) FROM a").fetchone()
        insert(database, "second")
        after = db.execute("SELECT count(*) FROM a").fetchone()

    assert before == after == (1,)
    assert stored(database) == ["first", "second"]


def test_a_reader_sees_nothing_that_is_not_committed(database: Database) -> None:
    with database.transaction() as db:
        db.execute("INSERT INTO a VALUES ('later')")
        assert stored(database) == []

    assert stored(database) == ["later"]


def test_connections_are_used_again_unless_reading_failed(database: Database) -> None:
    with database.reading() as first, database.reading() as second:
        assert first is not second
    with pytest.raises(ValueError), database.reading() as failed:  # noqa: PT011
        raise ValueError
    with database.reading() as left, database.reading() as new:
        assert failed not in (left, new)
        assert {left, new} & {first, second} == {left}


def test_many_threads_read_at_once(database: Database) -> None:
    insert(database, "x")
    answers, together = list[list[str]](), threading.Barrier(8)

    def read() -> None:
        together.wait(10)
        answers.append(stored(database))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [["x"]] * 8


def test_closing_folds_the_log_into_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", STEPS)
    insert(database, "x")
    stored(database)
    size = database.bytes_on_disk()

    database.close()

    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]
    assert 0 < database.bytes_on_disk() < size


def test_deleted_bytes_are_gone_when_the_file_is_closed(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", STEPS)
    insert(database, *(f"secret {number:04} {'x' * 90}" for number in range(1000)))
    with database.transaction() as db:
        db.execute("DELETE FROM a WHERE x NOT LIKE '%9 x%'")

    database.close()

    content = (tmp_path / "a.sqlite").read_bytes()
    assert content.count(b"secret") == 200  # in the table and in its index
    assert content.count(b"9 xxx") == 200


def test_a_full_disk_is_named_and_writing_goes_on_when_there_is_room(
    small_disk: SmallDisk,
) -> None:
    with closing(Database(small_disk.folder / "a.sqlite", STEPS)) as database:
        insert(database, "before")
        small_disk.fill()

        with pytest.raises(DiskFull, match=r"a\.sqlite could not be written .*make room"):
            insert(database, *(f"{number:09}" for number in range(9999)))
        assert stored(database) == ["before"]

        small_disk.make_room(2_000_000)
        insert(database, "after")
        assert stored(database) == ["after", "before"]


def test_where_nothing_can_be_written_that_is_not_told_as_a_full_disk(database: Database) -> None:
    with database.transaction() as db:
        db.execute("PRAGMA query_only = 1")

    with pytest.raises(WriteFailed, match="let the server write there"):
        insert(database, "x")


def test_a_disk_that_is_read_only_is_not_told_as_a_full_one(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "a.sqlite"
    Database(path, STEPS).close()
    small_disk.make_read_only()

    with pytest.raises(WriteFailed, match="let the server write there"):
        Database(path, STEPS)


def test_a_database_in_a_folder_that_is_missing_cannot_be_made_and_that_is_no_full_disk(
    tmp_path: Path,
) -> None:
    with pytest.raises(WriteFailed, match="no such file or directory"):
        Database(tmp_path / "missing" / "a.sqlite", STEPS)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFull),
        (sqlite3.SQLITE_IOERR_WRITE, DiskFull),  # a quota, for one
        (sqlite3.SQLITE_CANTOPEN, DiskFull),
        (sqlite3.SQLITE_IOERR_READ, ReadFailed),
        (sqlite3.SQLITE_IOERR_FSTAT, ReadFailed),
        (sqlite3.SQLITE_IOERR_FSYNC, WriteFailed),
        (sqlite3.SQLITE_READONLY_DBMOVED, WriteFailed),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, FileHeld),
    ],
)
def test_an_error_of_sqlite_is_told_as_a_full_disk_where_room_may_mend_it(
    code: int, kind: type[FileUnavailable], database: Database
) -> None:
    assert type(io_error(database.path, code, "disk I/O error")) is kind


@pytest.mark.parametrize("which", [1, 2])
def test_a_log_that_is_a_link_is_named_and_not_told_as_a_full_disk(
    which: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.sqlite"
    Database(path, STEPS).close()
    file = database_files(path)[which]
    file.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(WriteFailed, match=rf"^{file.name} could not be opened \(it is a link"):
        Database(path, STEPS)


def test_a_failed_read_says_nothing_of_a_write(database: Database) -> None:
    refusal = io_error(database.path, sqlite3.SQLITE_IOERR_READ, "disk I/O error")

    assert str(refusal) == (
        "a.sqlite could not be read (disk I/O error); look after the disk, or bring the file back "
        "from a copy or a backup."
    )


def test_the_lock_of_another_program_is_told_as_that_and_not_as_a_broken_disk(
    database: Database,
) -> None:
    with database.transaction() as db:
        db.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(FileHeld, match="another program holds it: have that let it go"):
            insert(database, "x")

    insert(database, "y")
    assert stored(database) == ["y"]


def test_an_empty_file_that_another_program_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sqlite"
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(database_module, "BUSY_TIMEOUT", "PRAGMA busy_timeout = 50")

        with pytest.raises(FileHeld, match="another program holds it"):
            Database(path, STEPS)

    with closing(Database(path, STEPS)) as opened:
        assert stored(opened) == []


def test_a_file_that_another_program_fills_while_it_is_waited_for_is_left_as_it_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE theirs (x)")
        with ThreadPoolExecutor(1) as thread:
            opening = thread.submit(Database, path, STEPS)
            wait([opening], timeout=0.3)
            other.execute("COMMIT")
            with pytest.raises(CorruptStore, match="it is of another program"):
                opening.result()
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_file_that_another_program_takes_while_its_tables_are_made_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        made_by = migrations.made_by

        def taken(steps: tuple[str, ...], page_bytes: int = 4096) -> Any:
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            return made_by(steps, page_bytes)

        monkeypatch.setattr(migrations, "made_by", taken)
        with ThreadPoolExecutor(1) as thread:
            opening = thread.submit(Database, path, STEPS)
            try:
                with pytest.raises(FileHeld, match="another program holds it"):
                    opening.result(timeout=30)
            finally:
                other.execute("ROLLBACK")


def test_what_cannot_be_opened_says_nothing_of_what_was_to_be_stored(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").mkdir()

    with pytest.raises(
        WriteFailed, match=r"^a\.sqlite could not be opened \(is a directory\); let the server"
    ):
        Database(tmp_path / "a.sqlite", STEPS)


def test_too_many_open_files_are_not_told_as_a_full_disk(
    database: Database, files_max: Callable[[int], None]
) -> None:
    files_max(3)

    with pytest.raises(TooManyFiles, match="ulimit -n"), database.own_connection():
        pass


def test_where_no_connection_can_be_made_anew_the_one_that_writes_stays_as_it_was(
    database: Database, files_max: Callable[[int], None]
) -> None:
    insert(database, "a")
    files_max(3)

    with pytest.raises(TooManyFiles):
        database.truncate_log()

    with database.transaction() as db:
        assert db.execute("PRAGMA busy_timeout").fetchone() == (10000,)


def test_a_file_that_is_gone_is_not_made_anew_by_who_reads_it(database: Database) -> None:
    for file in database_files(database.path):
        file.unlink(missing_ok=True)

    with pytest.raises(CorruptStore, match="the file is missing"), database.reading():
        pass

    assert not database.path.exists()


def test_nothing_is_committed_to_a_file_that_is_gone_or_replaced(database: Database) -> None:
    found: list[CorruptStore] = []
    database.damaged = found.append
    away = database.path.with_name("away")

    database.path.rename(away)
    with pytest.raises(CorruptStore, match="the file is missing"):
        insert(database, "lost")
    shutil.copy(away, database.path)
    with pytest.raises(CorruptStore, match="another file was put in its place"):
        insert(database, "lost")
    away.replace(database.path)

    insert(database, "kept")
    with database.reading() as db:
        assert db.execute("SELECT x FROM a").fetchall() == [("kept",)]
    assert [each.problem for each in found] == [
        "the file is missing",
        "another file was put in its place",
    ]


def test_another_file_in_its_place_is_not_searched(database: Database) -> None:
    away = database.path.with_name("away")
    before = database.descriptors()

    database.path.rename(away)
    with pytest.raises(CorruptStore, match="the file is missing"):
        database.descriptors()
    shutil.copy(away, database.path)
    with pytest.raises(CorruptStore, match="another file was put in its place"):
        database.descriptors()
    away.replace(database.path)

    assert database.descriptors() == before


def test_too_many_open_files_to_search_it_are_told(
    database: Database, files_max: Callable[[int], None]
) -> None:
    files_max(3)

    with pytest.raises(TooManyFiles, match="ulimit -n"):
        database.descriptors()


def test_a_file_that_was_emptied_is_damage_to_a_connection_of_its_own(database: Database) -> None:
    found: list[CorruptStore] = []
    database.damaged = found.append
    database.truncate_log()
    os.truncate(database.path, 0)

    damaged = pytest.raises(CorruptStore, match=r"a\.sqlite is damaged")
    with damaged, database.own_connection() as db:
        db.execute("SELECT x FROM a").fetchall()

    assert len(found) == 1


def test_nothing_is_written_to_another_file_by_connections_that_were_renewed(
    database: Database,
) -> None:
    away = database.path.with_name("away")
    database.path.rename(away)
    shutil.copy(away, database.path)
    with pytest.raises(CorruptStore, match="another file was put in its place"):
        database.renew_connections()
    away.replace(database.path)

    insert(database, "kept")

    with closing(sqlite3.connect(database.path)) as db:
        assert db.execute("SELECT x FROM a").fetchall() == [("kept",)]


@pytest.fixture
def files_max() -> Iterator[Callable[[int], None]]:
    """Yield a function that limits the open files of this process until the test is over."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_that_would_leave_few_others_is_not_opened(
    tmp_path: Path, files_max: Callable[[int], None]
) -> None:
    with ExitStack() as low, ExitStack() as others:
        for _ in range(12):
            low.enter_context(open(os.devnull))
        used = set(map(int, os.listdir("/dev/fd")))
        free = (number for number in count() if number not in used)
        files_max(next(islice(free, FILES_LEFT + 8, None)))

        def open_all() -> None:
            for number in range(9):
                others.callback(Database(tmp_path / f"{number}.sqlite", STEPS).close)

        with pytest.raises(TooManyFiles, match=r"^[1-9]\.sqlite could not .*ulimit -n") as refused:
            open_all()
        for _ in range(FILES_LEFT - 8):
            others.enter_context(open(os.devnull))
        low.close()
        with pytest.raises(TooManyFiles, match=r"^gaps\.sqlite could not .*ulimit -n"):
            Database(tmp_path / "gaps.sqlite", STEPS)
    assert not (tmp_path / str(refused.value).partition(" ")[0]).exists()


@pytest.mark.parametrize("content", [b"not a database" * 999, b"SQLite format 3\0" + b"\xff" * 999])
def test_a_file_that_is_no_database_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)

    with pytest.raises(CorruptStore, match=r"a\.sqlite is damaged \(.*backup") as refusal:
        Database(path, STEPS)

    assert refusal.value.path == path
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", [b"", b"S"])  # SQLite takes either for a new file
@pytest.mark.parametrize("open_file", [connect, connect_read_only, schema_of])
def test_a_log_beside_an_empty_file_stays(
    open_file: Callable[[Path], object], left: bytes, database: Database
) -> None:
    insert(database, "x")
    path = database.path.with_name("copy.sqlite")
    log = copy_of_log(database, path)
    path.write_bytes(left)

    with pytest.raises(CorruptStore, match=r"it is empty, though its log copy\.sqlite-wal is not"):
        open_file(path)

    assert (path.read_bytes(), log.read_bytes()) == (left, log_of(database).read_bytes())


def test_a_damaged_page_is_named_when_it_is_read(
    tmp_path: Path, garble: Callable[[Path, int, int], None]
) -> None:
    path = tmp_path / "a.sqlite"
    with closing(Database(path, STEPS)) as database:
        insert(database, *(f"{number:0999}" for number in range(200)))
    garble(path, 7, PAGE_BYTES)

    with closing(Database(path, STEPS)) as database:
        damaged = pytest.raises(CorruptStore, match=r"a\.sqlite is damaged \(.*malformed")
        with damaged, database.reading() as db:
            db.execute("SELECT x FROM a NOT INDEXED").fetchall()
        with database.reading() as db:
            assert db.execute("SELECT 1").fetchone() == (1,)


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with closing(Database(path, STEPS)) as database:
        insert(database, *(f"{number:0999}" for number in range(200)))
    with path.open("r+b") as file:
        file.truncate(5 * PAGE_BYTES)

    with pytest.raises(CorruptStore), closing(Database(path, STEPS)) as database:
        stored(database)


def test_a_file_cut_short_beside_its_log_is_damaged_and_not_one_that_cannot_be_written(
    database: Database,
) -> None:
    insert(database, "0" * 10 * PAGE_BYTES)
    database.truncate_log()
    insert(database, "x")
    path = database.path.with_name("copy.sqlite")
    copy_of_log(database, path)
    path.write_bytes(database.path.read_bytes()[: 5 * PAGE_BYTES])

    with (
        pytest.raises(CorruptStore, match="it is shorter than it was"),
        closing(Database(path, STEPS)) as cut,
        cut.reading() as db,
    ):
        db.execute("SELECT x FROM a NOT INDEXED").fetchall()


def test_a_newer_file_is_refused(database: Database) -> None:
    with database.transaction() as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(NewerStore, match="schema 99, but this release knows up to 1"):
        Database(database.path, STEPS)


@pytest.mark.parametrize("code", ["SQLITE_BUSY", "SQLITE_PROTOCOL"])
def test_a_file_that_another_program_holds_is_not_damaged(tmp_path: Path, code: str) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = getattr(sqlite3, code)
    path = tmp_path / "m.sqlite"

    with pytest.raises(FileHeld), damage_of(path), translate_errors(path):
        raise error
