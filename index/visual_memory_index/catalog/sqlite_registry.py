"""The registry of a catalog in an SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from visual_memory_index.catalog import tombstones
from visual_memory_index.catalog.tombstones import ANY, BEFORE_ALL, mark
from visual_memory_index.erasure.residue import ResiduePatterns
from visual_memory_index.errors import CATALOG_BACK, FOLDER_BACK, PUT_BACK, LostSecret
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.database import Database
from visual_memory_index.files.migrations import CATALOG_STEPS
from visual_memory_index.ledger.standing import Noted, Standing
from visual_memory_index.sqlite.requests import SqliteRequests

AT_ONCE = 1024  # marks
WAYS_OUT = {"": FOLDER_BACK, PUT_BACK: CATALOG_BACK}
TEXTS = (
    "SELECT CAST(name AS BLOB), CAST(ifnull(sql, '') AS BLOB) FROM sqlite_schema",
    "SELECT CAST(file AS BLOB) FROM memories",
    "SELECT CAST(file AS BLOB) FROM dropped",
    "SELECT CAST(uid AS BLOB), CAST(last AS BLOB), CAST(ifnull(erasing, '') AS BLOB) FROM noted",
    "SELECT CAST(name AS BLOB), CAST(ifnull(uid, '') AS BLOB) FROM backups",
    "SELECT CAST(request_id AS BLOB), CAST(answer AS BLOB) FROM requests",
)


class SqliteRegistryTransaction(SqliteRequests):
    """A ``RegistryTransaction`` in SQL."""

    def names(self) -> list[str]:
        rows = self._db.execute("SELECT name FROM memories WHERE state = 'ready'")
        return [name for (name,) in rows]

    def file_of(self, name: str) -> str | None:
        find = "SELECT file FROM memories WHERE name = ? AND state = 'ready'"
        row = self._db.execute(find, (name,)).fetchone()
        return row[0] if row else None

    def is_taken(self, name: str) -> bool:
        return bool(self._db.execute("SELECT 1 FROM memories WHERE name = ?", (name,)).fetchone())

    def files(self) -> Mapping[str, str]:
        rows = self._db.execute(
            "SELECT file, name FROM memories WHERE state IN ('creating', 'ready') "
            "UNION ALL SELECT file, '' FROM dropped"
        )
        return dict(rows.fetchall())

    def dropped(self) -> list[str]:
        return [file for (file,) in self._db.execute("SELECT file FROM dropped")]

    def noted(self, file: str) -> Noted | None:
        query = "SELECT uid, size, last, erasing FROM noted WHERE file = ?"
        row = self._db.execute(query, (file,)).fetchone()
        return Noted(row[0], Standing(*row[1:3]), row[3]) if row else None

    def knows_request(self, request_id: str) -> bool:
        known = "SELECT 1 FROM requests WHERE request_id = ?"
        return self._db.execute(known, (request_id,)).fetchone() is not None

    def ticks(self) -> int:
        count: int = self._db.execute("SELECT ticks FROM clock").fetchone()[0]
        return count

    def tick_of_backup(self, backup: str) -> int:
        row = self._db.execute("SELECT tick FROM backups WHERE name = ?", (backup,)).fetchone()
        return row[0] if row else BEFORE_ALL

    def backups(self, uid: str) -> list[int]:
        rows = self._db.execute("SELECT time FROM backups WHERE uid = ?", (uid,))
        return [time for (time,) in rows]

    def unlearned_since(
        self, secret: bytes, uid: str, ids: Iterable[str], since: int
    ) -> Iterator[str]:
        later = "SELECT 1 FROM tombstones WHERE tick > ? LIMIT 1"
        if not self._db.execute(later, (since,)).fetchone():
            return
        ids = iter(ids)
        while part := {mark(secret, uid, id): id for id in islice(ids, AT_ONCE)}:
            yield from (part[found] for found in self._stored_marks(list(part), since))

    def unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
        if not self._stored_marks([mark(secret, uid, ANY)], BEFORE_ALL):
            return []
        return list(self.unlearned_since(secret, uid, ids, BEFORE_ALL))

    def add(self, name: str, file: str) -> None:
        self._db.execute("INSERT INTO memories VALUES (?, ?, 'creating')", (name, file))

    def set_ready(self, name: str) -> None:
        self._db.execute("UPDATE memories SET state = 'ready' WHERE name = ?", (name,))

    def replace(self, name: str, file: str) -> None:
        self._db.execute("DELETE FROM dropped WHERE file = ?", (file,))
        self._db.execute("DELETE FROM memories WHERE name = ?", (name,))
        self._db.execute("INSERT INTO memories VALUES (?, ?, 'ready')", (name, file))

    def remove(self, name: str) -> str | None:
        gone = "DELETE FROM memories WHERE name = ? RETURNING file"
        row = self._db.execute(gone, (name,)).fetchone()
        return row[0] if row else None

    def drop(self, file: str) -> None:
        self._db.execute("INSERT INTO dropped VALUES (?)", (file,))

    def drop_unfinished(self) -> None:
        self._db.execute("INSERT INTO dropped SELECT file FROM memories WHERE state = 'creating'")
        self._db.execute("DELETE FROM memories WHERE state = 'creating'")

    def keep_ready(self, was_ready: Callable[[str], bool]) -> None:
        rows = self._db.execute("SELECT name, file FROM memories WHERE state = 'creating'")
        for name, file in rows.fetchall():
            if was_ready(file):
                self.set_ready(name)

    def forget_dropped(self, files: Iterable[str]) -> None:
        self._db.executemany("DELETE FROM dropped WHERE file = ?", [(file,) for file in files])

    def note(self, file: str, noted: Noted) -> None:
        if noted != self.noted(file):
            self._db.execute(
                "INSERT OR REPLACE INTO noted SELECT file, ?, ?, ?, ? FROM memories WHERE file = ?",
                (noted.uid, *noted.kept, noted.unlearning, file),
            )

    def note_backup(self, backup: str, uid: str, time: int) -> None:
        row = (backup, self._next_tick(), uid, time)
        self._db.execute("INSERT INTO backups VALUES (?, ?, ?, ?)", row)

    def mark_unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> int:
        now = self._next_tick()
        left = iter(dict.fromkeys(chain((ANY,), ids)))
        while part := [mark(secret, uid, id) for id in islice(left, AT_ONCE)]:
            count, sum_before = self._db.execute(
                "SELECT count(*), coalesce(sum(checksum(mark, tick)), 0) FROM tombstones "
                f"WHERE mark IN ({places(part)})",
                part,
            ).fetchone()
            rows = [(each, now) for each in part]
            self._db.executemany("INSERT OR REPLACE INTO tombstones VALUES (?, ?)", rows)
            sum_now = sum(map(sums.checksum, rows))
            sums.move(self._db, len(rows) - count, sum_now - sum_before, table=sums.TOMBSTONES)
        return now

    def read_secret(self, path: Path) -> bytes:
        (known,) = self._db.execute("SELECT secret_check FROM clock").fetchone()
        if known is None:
            tombstones.make_secret(path)
        secret = tombstones.read_secret(path)
        check = tombstones.check_of(secret)
        if known not in (None, check):
            raise LostSecret(path)
        self._db.execute("UPDATE clock SET secret_check = ? WHERE secret_check IS NULL", (check,))
        return secret

    def _next_tick(self) -> int:
        tick = "UPDATE clock SET ticks = ticks + 1 RETURNING ticks"
        count: int = self._db.execute(tick).fetchone()[0]
        return count

    def _stored_marks(self, marks: Sequence[bytes], since: int) -> list[bytes]:
        """Return the ``marks`` (HMACs of unlearned ids) stored after the logical time ``since``."""
        rows = self._db.execute(
            f"SELECT mark FROM tombstones WHERE +tick > ? AND mark IN ({places(marks)})",
            (since, *marks),
        )
        return [found for (found,) in rows]


class SqliteRegistry:
    """A ``Registry`` and its ``StoredFiles`` at ``path``. Raises CorruptStore, NewerStore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self.database = Database(path, CATALOG_STEPS, ways_out=WAYS_OUT)
        self.check = self.database.check
        self.close = self.database.close
        self.descriptors = self.database.descriptors
        self.rewrite = self.database.rewrite
        self.renew_connections = self.database.renew_connections

    @property
    def version(self) -> int:
        return self.database.version

    @contextmanager
    def reading(self) -> Iterator[SqliteRegistryTransaction]:
        with self.database.reading() as db:
            yield SqliteRegistryTransaction(db)

    @contextmanager
    def transaction(self) -> Iterator[SqliteRegistryTransaction]:
        with self._writing, self.database.transaction() as db:
            yield SqliteRegistryTransaction(db)

    def truncate_log(self) -> bool:
        with self._writing:
            return self.database.truncate_log()

    def found_in(self, patterns: ResiduePatterns) -> frozenset[bytes]:
        found: set[bytes] = set()
        with self.database.own_connection() as db:
            for select in TEXTS:
                for text in chain.from_iterable(db.execute(select)):
                    found |= patterns.found_in(text)
        return frozenset(found)


def places(values: Sequence[bytes]) -> str:
    """Return "?, ?, …", the placeholders of these ``values`` in an SQL statement."""
    return ", ".join("?" * len(values))
