"""The operations on a memory, stored in its file."""

from __future__ import annotations

import sqlite3

from visual_memory_index.errors import UnknownOperation
from visual_memory_index.records.entry import now
from visual_memory_index.records.operation import CUT_SHORT, UNLEARN, Operation, State

COLUMNS = "name, kind, principal, state, result, problem, created_at, ended_at, undone_at"
KEPT_MICROSECONDS = 30 * 24 * 3600 * 1_000_000


def begin(db: sqlite3.Connection, name: str, kind: str, principal: str) -> None:
    """Insert a running operation; delete old ones except prunes, relabellings and unlearnings."""
    db.execute(
        "DELETE FROM operations WHERE kind NOT IN ('prune', 'relabel', 'unlearn') AND ended_at < ?",
        (now() - KEPT_MICROSECONDS,),
    )
    db.execute(
        "INSERT INTO operations (name, kind, principal, state, created_at) "
        "VALUES (?, ?, ?, 'running', ?)",
        (name, kind, principal, now()),
    )


def end(
    db: sqlite3.Connection,
    name: str,
    state: State,
    *,
    result: str | None = None,
    problem: str | None = None,
) -> None:
    """Store the state, the result or problem, and the end time of an operation."""
    db.execute(
        "UPDATE operations SET state = ?, result = ?, problem = ?, ended_at = ? WHERE name = ?",
        (state, result, problem, now(), name),
    )


def fail_unfinished(db: sqlite3.Connection) -> None:
    """Mark running operations as failed because of a restart, except unlearn operations."""
    db.execute(
        "UPDATE operations SET state = 'failed', problem = ?, ended_at = ? "
        "WHERE state = 'running' AND kind != ?",
        (CUT_SHORT, now(), UNLEARN),
    )


def draft(db: sqlite3.Connection, name: str, result: str) -> None:
    """Store a preliminary result of a running operation."""
    db.execute("UPDATE operations SET result = ? WHERE name = ?", (result, name))


def unfinished(db: sqlite3.Connection) -> list[Operation]:
    """Return the running operations, oldest first."""
    rows = db.execute(f"SELECT {COLUMNS} FROM operations WHERE state = 'running' ORDER BY name")
    return [Operation(*row) for row in rows]


def mark_undone(db: sqlite3.Connection, name: str) -> None:
    """Mark an operation as undone."""
    db.execute("UPDATE operations SET undone_at = ? WHERE name = ?", (now(), name))


def get(db: sqlite3.Connection, name: str) -> Operation:
    """Return an operation by name. Raises UnknownOperation."""
    row = db.execute(f"SELECT {COLUMNS} FROM operations WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownOperation(name)
    return Operation(*row)


def page(db: sqlite3.Connection, *, before: str, limit: int) -> list[Operation]:
    """Return up to ``limit`` operations, newest first, whose names sort below ``before``.

    Their results are not loaded. An empty ``before`` starts at the newest.
    """
    columns = COLUMNS.replace("result", "NULL")
    rows = db.execute(
        f"SELECT {columns} FROM operations WHERE ? = '' OR name < ? ORDER BY name DESC LIMIT ?",
        (before, before, limit),
    )
    return [Operation(*row) for row in rows]
