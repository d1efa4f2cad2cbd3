"""Dropping of data in which unlearned entries are named, outside of the entries themselves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from visual_memory_index.files import checksums as sums
from visual_memory_index.records.entry import Keys
from visual_memory_index.records.operation import GONE, REEMBED, UNLEARN
from visual_memory_index.records.steps import AT_ONCE, distinct, steps
from visual_memory_index.sqlite.requests import ERASED

NAMING_LABELS = (
    "SELECT 1 FROM operations WHERE kind IN ('assess', 'prune', 'dry-run') AND result IS NOT NULL "
    "LIMIT 1"
)
NAMELESS = (UNLEARN, REEMBED, "tune", "tune-dry-run", "calibrate", "check")  # no entry and no label
OF_KEYS = "WHERE key IN (SELECT value FROM json_each(?1))"
LABELS_OF_KEYS = f"SELECT label FROM entries {OF_KEYS} UNION SELECT label FROM relabels {OF_KEYS}"
KEYS_AT_ONCE = 8192


class SqliteUnlearning:
    """The part of a ``Transaction`` that drops data in which unlearned entries are named."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note_ids_to_unlearn(self, operation: str, ids: Iterable[str]) -> None:
        self._note(operation, distinct([*ids]), "INSERT INTO erasing VALUES (?, ?)", 1)

    def ids_to_unlearn(self, operation: str) -> list[str]:
        rows = self._db.execute(
            "SELECT id FROM erasing WHERE operation = ? ORDER BY id", (operation,)
        )
        return [id for (id,) in rows]

    def scrub(self, operation: str, labels: Iterable[str], settings: Iterable[str]) -> list[str]:
        """Drop data that names erased entries elsewhere; return the ``labels`` that no entry has.

        Fingerprints of requests are dropped with their answers, since they would let a guess of an
        id be checked. Certificates are kept, since they name no entry.
        """
        labels = set(labels)
        rows = self._db.execute(
            "SELECT DISTINCT label FROM entries WHERE label IN (SELECT value FROM json_each(?))",
            (json.dumps(list(labels)),),
        )
        gone = sorted(labels.difference(label for (label,) in rows))
        self._db.execute(
            "UPDATE requests SET fingerprint = x'', answer = ?1 WHERE EXISTS "
            "(SELECT 1 FROM json_each(requests.answer) AS each WHERE each.value IN "
            "(SELECT id FROM erasing WHERE operation = ?2 "
            "UNION ALL SELECT name FROM operations WHERE kind != ?3))",
            (ERASED, operation, UNLEARN),
        )
        self.drop_results(operation, gone)
        self._db.execute("DELETE FROM derived")
        self._db.executemany("DELETE FROM settings WHERE name = ?", [(name,) for name in settings])
        self.drop_ids(operation)
        return gone

    def drop_results(self, operation: str, labels: Sequence[str]) -> None:
        """Drop results and problems of operations that name ``labels`` or unlearned entries.

        A problem is replaced by a text that says so. The entries are those whose ids ``operation``
        still has to unlearn. Results of kinds that name neither are kept, whatever words they have.
        """
        named = json.dumps(list(labels))
        self._db.execute(
            "UPDATE operations SET result = NULL, problem = ?1 "
            "WHERE result IS NOT NULL "
            "AND kind NOT IN (SELECT value FROM json_each(?4)) AND EXISTS "
            "(SELECT 1 FROM json_tree(operations.result) AS each WHERE "
            "each.value IN (SELECT id FROM erasing WHERE operation = ?2) OR "
            "each.key IN (SELECT id FROM erasing WHERE operation = ?2) OR "
            "each.value IN (SELECT value FROM json_each(?3)) OR "
            "each.key IN (SELECT value FROM json_each(?3)))",
            (GONE, operation, named, json.dumps(NAMELESS)),
        )
        self._db.execute(
            "UPDATE operations SET problem = ?1 WHERE problem IN "
            "(SELECT problem FROM (SELECT DISTINCT problem FROM operations) WHERE "
            "EXISTS (SELECT 1 FROM erasing WHERE operation = ?2 AND instr(problem, id)) OR "
            "EXISTS (SELECT 1 FROM json_each(?3) AS each WHERE instr(problem, each.value)))",
            (GONE, operation, named),
        )

    @contextmanager
    def dropping_results(self, keys: Keys) -> Iterator[None]:
        """On leaving, drop results of operations that name labels which no entry has any more.

        Only labels of the entries with these ``keys`` are considered. A label that an undo would
        restore counts as in use. If no results are stored, no label is looked up, since that may
        read all entries.
        """
        if self._db.execute(NAMING_LABELS).fetchone() is None:
            yield
            return
        labels = set[str]()
        for step in steps(len(keys), KEYS_AT_ONCE):
            labels.update(
                label
                for (label,) in self._db.execute(LABELS_OF_KEYS, (json.dumps(keys[step].tolist()),))
            )
        yield
        if gone := self.unused_labels(labels):
            self.drop_results("", gone)

    def unused_labels(self, labels: Iterable[str]) -> list[str]:
        """Return the distinct ``labels`` that no entry has and no undo would restore.

        All entries are read at most once, and only until the last label is found.
        """
        left = dict.fromkeys(labels)
        for table in ("entries", "relabels"):
            found = self._db.execute(
                f"SELECT DISTINCT label FROM {table} "
                "WHERE label IN (SELECT value FROM json_each(?)) LIMIT ?",
                (json.dumps(list(left)), len(left)),
            ).fetchall()
            for (label,) in found:
                del left[label]
        return list(left)

    def drop_ids(self, operation: str) -> None:
        """Delete the ids that an operation still had to unlearn."""
        noted = self.ids_to_unlearn(operation)
        self._note(operation, noted, "DELETE FROM erasing WHERE operation = ? AND id = ?", -1)

    def _note(self, operation: str, ids: Iterable[str], statement: str, sign: int) -> None:
        """Do a ``statement`` for each of ``ids``: it adds a row (``sign`` 1) or deletes it (−1)."""
        coming = ((operation, id) for id in ids)
        while rows := list(islice(coming, AT_ONCE)):
            self._db.executemany(statement, rows)
            checksums = sum(map(sums.checksum, rows))
            sums.move(self._db, sign * len(rows), sign * checksums, table=sums.ERASING)
