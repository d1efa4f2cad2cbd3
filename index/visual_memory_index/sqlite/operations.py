"""The operations on a memory, stored in its file."""

from __future__ import annotations

from visual_memory_index.errors import UnknownOperation
from visual_memory_index.records.entry import now
from visual_memory_index.records.operation import (
    CUT_SHORT,
    RESUMED,
    UNDOABLE,
    UNLEARN,
    Operation,
    State,
)
from visual_memory_index.sqlite.unlearn import SqliteUnlearning

COLUMNS = "name, kind, principal, state, result, problem, created_at, ended_at, undone_at"
KEPT_MICROSECONDS = 30 * 24 * 3600 * 1_000_000


class SqliteOperations(SqliteUnlearning):
    """The part of a ``Transaction`` that reads and writes operations."""

    def begin(self, name: str, kind: str, principal: str, *, created_at: int | None = None) -> None:
        """Insert a running operation, and delete operations that ended more than 30 days ago.

        Those that can be undone, and unlearnings, are never deleted.
        """
        self._db.execute(
            "DELETE FROM operations WHERE kind NOT IN (?, ?, ?, ?) AND ended_at < ?",
            (*UNDOABLE, UNLEARN, now() - KEPT_MICROSECONDS),
        )
        self._db.execute(
            "INSERT INTO operations (name, kind, principal, state, created_at) "
            "VALUES (?, ?, ?, 'running', ?)",
            (name, kind, principal, now() if created_at is None else created_at),
        )

    def end(
        self, name: str, state: State, *, result: str | None = None, problem: str | None = None
    ) -> None:
        self._db.execute(
            "UPDATE operations SET state = ?, result = ?, problem = ?, ended_at = ? WHERE name = ?",
            (state, result, problem, now(), name),
        )
        self.drop_ids(name)

    def draft(self, name: str, result: str) -> None:
        self._db.execute("UPDATE operations SET result = ? WHERE name = ?", (result, name))

    def mark_undone(self, name: str) -> None:
        self._db.execute("UPDATE operations SET undone_at = ? WHERE name = ?", (now(), name))

    def operation(self, name: str) -> Operation:
        query = f"SELECT {COLUMNS} FROM operations WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        if row is None:
            raise UnknownOperation(name)
        return Operation(*row)

    def page(self, *, before: str, limit: int) -> list[Operation]:
        """Return up to ``limit`` operations, newest first, whose names sort below ``before``.

        Their results are not loaded. An empty ``before`` starts at the newest.
        """
        columns = COLUMNS.replace("result", "NULL")
        rows = self._db.execute(
            f"SELECT {columns} FROM operations WHERE ? = '' OR name < ? ORDER BY name DESC LIMIT ?",
            (before, before, limit),
        )
        return [Operation(*row) for row in rows]

    def unfinished(self) -> list[Operation]:
        """Return the running operations, oldest first."""
        query = f"SELECT {COLUMNS} FROM operations WHERE state = 'running' ORDER BY name"
        return [Operation(*row) for row in self._db.execute(query)]

    def fail_unfinished(self) -> None:
        """Mark running operations as failed because of a restart, except those that are resumed."""
        self._db.execute(
            "UPDATE operations SET state = 'failed', problem = ?, ended_at = ? "
            f"WHERE state = 'running' AND kind NOT IN ({', '.join('?' * len(RESUMED))})",
            (CUT_SHORT, now(), *RESUMED),
        )
