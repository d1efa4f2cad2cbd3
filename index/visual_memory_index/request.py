"""Answers to writes, kept so that a repeated request_id is answered as the first time."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from visual_memory_index.database import REMEMBERED_MICROSECONDS, now
from visual_memory_index.errors import RequestReused, WrongOffset


@dataclass(frozen=True, slots=True)
class Request:
    """A write that may come again: its id, a hash of its content, and where a batch starts.

    ``start`` counts the entries before it in an import, and is 0 for every other write.
    """

    id: str
    fingerprint: bytes
    start: int = 0


def recall(db: sqlite3.Connection, request: Request | None) -> Any:
    """The answer given before, or None. Raises RequestReused where the content differs."""
    if request is None:
        return None
    row = db.execute(
        "SELECT fingerprint, answer FROM requests WHERE request_id = ? AND start = ?",
        (request.id, request.start),
    ).fetchone()
    if row is None:
        return None
    if row[0] != request.fingerprint:
        raise RequestReused(request.id)
    return json.loads(row[1])


def keep(db: sqlite3.Connection, request: Request | None, answer: Any) -> None:
    """Store the answer with the write that it answers, and forget those past their time."""
    if request is None:
        return
    db.execute("DELETE FROM requests WHERE answered_at < ?", (now() - REMEMBERED_MICROSECONDS,))
    db.execute(
        "INSERT INTO requests VALUES (?, ?, ?, ?, ?)",
        (request.id, request.start, request.fingerprint, json.dumps(answer), now()),
    )


def stored_batches(db: sqlite3.Connection, request_id: str) -> list[tuple[int, list[str]]]:
    """Where each stored batch of an import starts, with the ids that it stored."""
    rows = db.execute(
        "SELECT start, answer FROM requests WHERE request_id = ? ORDER BY start", (request_id,)
    )
    return [(start, json.loads(answer)) for start, answer in rows]


def check_start(db: sqlite3.Connection, request: Request) -> None:
    """Refuse an import batch that leaves a gap. Raises WrongOffset."""
    last = db.execute(
        "SELECT start, answer FROM requests WHERE request_id = ? ORDER BY start DESC LIMIT 1",
        (request.id,),
    ).fetchone()
    stored = last[0] + len(json.loads(last[1])) if last else 0
    if request.start != stored:
        raise WrongOffset(request.start, stored)
