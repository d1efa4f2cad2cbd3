"""Answers to writes, stored so that a repeated request_id gets the same answer."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from visual_memory_index.errors import RequestErased, RequestReused, WrongOffset
from visual_memory_index.records.entry import now
from visual_memory_index.records.request import WHOLE, Request, StoredBatch
from visual_memory_index.records.steps import to_json

HOUR = 3600 * 1_000_000
REMEMBERED = 48 * HOUR  # the contract promises answers for 24 hours
STEP = HOUR  # the most that is counted between two writes, since clocks may jump
FORGET = """
    DELETE FROM requests WHERE age < ?1 AND (
        start = ?2 OR (
            SELECT age FROM requests AS batch WHERE batch.request_id = requests.request_id
            ORDER BY start DESC LIMIT 1
        ) < ?1
    )
"""  # an import is remembered as a whole
FIRST_AGE = "SELECT age FROM requests WHERE request_id = ? ORDER BY start LIMIT 1"
RENEW = "UPDATE requests SET answered_at = ?, age = ? WHERE request_id = ?"
ERASED = "null"  # the answer to a write whose entries were unlearned


class SqliteRequests:
    """The methods of ``Transaction`` and ``RegistryTransaction`` that store answers to requests."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def recall(self, request: Request) -> Any:
        if not request.id:
            return None
        row = self._db.execute(
            "SELECT fingerprint, answer FROM requests WHERE request_id = ? AND start = ?",
            (request.id, request.start),
        ).fetchone()
        if row is None:
            self._check_kind(request.id, importing=request.start != WHOLE)
            return None
        if row[1] == ERASED:
            raise RequestErased(request.id)
        if row[0] != request.fingerprint:
            raise RequestReused(request.id)
        return json.loads(row[1])

    def keep(self, request: Request, answer: Any) -> None:
        if not request.id:
            return
        time = now()
        last = "SELECT age, answered_at FROM requests ORDER BY age DESC LIMIT 1"
        before, then = self._db.execute(last).fetchone() or (0, time)
        text = to_json(answer) if isinstance(answer, list) else json.dumps(answer)
        age = before + min(max(time - then, 1), STEP)
        self._db.execute(FORGET, (age - REMEMBERED, WHOLE))
        self._db.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?)",
            (request.id, request.start, request.fingerprint, text, time, age),
        )
        if request.start != WHOLE:
            (first,) = self._db.execute(FIRST_AGE, (request.id,)).fetchone()
            if first < age - STEP:  # batches of a long import are kept until its last one is old
                self._db.execute(RENEW, (time, age, request.id))

    def _check_kind(self, request_id: str, *, importing: bool) -> None:
        """Raise RequestReused if an import and a write of another kind share an id."""
        other = "start = ?" if importing else "start > ?"  # either is found by the key
        statement = f"SELECT 1 FROM requests WHERE request_id = ? AND {other} LIMIT 1"
        if self._db.execute(statement, (request_id, WHOLE)).fetchone():
            raise RequestReused(request_id)

    def stored_batches(self, request_id: str) -> list[StoredBatch]:
        """Return the stored batches of an import, in order. Raises RequestReused, RequestErased."""
        self._check_kind(request_id, importing=True)
        rows = self._db.execute(
            "SELECT start, answer, fingerprint FROM requests WHERE request_id = ? ORDER BY start",
            (request_id,),
        ).fetchall()
        if any(ids == ERASED for _, ids, _ in rows):
            raise RequestErased(request_id)
        return [
            StoredBatch(start, json.loads(ids), fingerprint) for start, ids, fingerprint in rows
        ]

    def check_start(self, request: Request) -> None:
        if request.start == WHOLE:
            return
        last = self._db.execute(
            "SELECT start, answer FROM requests WHERE request_id = ? ORDER BY start DESC LIMIT 1",
            (request.id,),
        ).fetchone()
        if last and last[1] == ERASED:
            raise RequestErased(request.id)
        stored = last[0] + len(json.loads(last[1])) if last else 0
        if request.start != stored:
            raise WrongOffset(request.start, stored)
