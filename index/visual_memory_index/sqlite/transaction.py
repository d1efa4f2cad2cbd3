"""The writes of one transaction on a memory's file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import EntriesExist
from visual_memory_index.files import checksums as sums
from visual_memory_index.files.checksums import checksum
from visual_memory_index.ledger import digest as digests
from visual_memory_index.ledger.audit import Event
from visual_memory_index.records.entry import Entry, Keys, Known, Texts, VotingEntries, now
from visual_memory_index.records.filter import Filter
from visual_memory_index.records.steps import AT_ONCE, distinct, steps, to_json
from visual_memory_index.rows.rows import first_places
from visual_memory_index.sqlite import pairs
from visual_memory_index.sqlite.backup import backup_times
from visual_memory_index.sqlite.codes import add as add_codes
from visual_memory_index.sqlite.entries import (
    ROWS,
    ROWS_AT_ONCE,
    VALUES,
    VECTOR_CHECKSUM,
    VECTORS_AT_ONCE,
    altered,
    element,
    joined,
    keys_text,
    read_entries,
    read_ids,
    read_standing,
    rows_of,
    share_of,
    to_array,
    to_numbers,
    voting,
)
from visual_memory_index.sqlite.operations import SqliteOperations
from visual_memory_index.sqlite.requests import SqliteRequests
from visual_memory_index.store.store import Labelled
from visual_memory_index.store.stored_files import Remains

ERASED_AT_ONCE = 256
REMAINS = (
    "SELECT metadata, content_sha256, vector, coalesce(image, x''), "
    "coalesce(thumbnail, x'') "
    "FROM entries JOIN vectors USING (key) LEFT JOIN images USING (key) "
    "WHERE key IN (SELECT value FROM json_each(?))"
)
REPLACED = (
    "SELECT id, key, before.label, before.relabelled_by "
    "FROM relabels AS before JOIN entries USING (key) "
    "WHERE operation = ?1 AND entries.relabelled_by = ?1 ORDER BY key"
)
UNDONE = (
    "SELECT name FROM operations WHERE name IN (SELECT value FROM json_each(?)) "
    "AND undone_at IS NOT NULL"
)
COLUMNS = VALUES.count(",") + 2
TOGETHER = 64  # rows of one statement, in which other threads of Python go on


def insertion(rows: int) -> str:
    """Return SQL that inserts so many rows of the table ``entries``."""
    row = f"({', '.join('?' * COLUMNS)})"
    return (
        f"INSERT INTO entries ({VALUES}, checksum) VALUES {', '.join([row] * rows)} "
        "ON CONFLICT (id) DO NOTHING"
    )


INSERT, INSERT_TOGETHER = insertion(1), insertion(TOGETHER)


def with_checksum(
    key: int, id: str, entry: Entry, created_at: int, vector: memoryview
) -> tuple[Any, ...]:
    """Return the values of a new row of the table ``entries``, the last being its checksum."""
    image = crc32(entry.image) if entry.image else None
    thumbnail = crc32(entry.thumbnail) if entry.image else None
    texts = id, entry.label, entry.metadata_json
    parts = crc32(vector), thumbnail, image
    values = (key, *texts, created_at, entry.content_sha256, None, None, *parts)
    return (*values, checksum(values))


def known_of(rows: Sequence[tuple[Any, ...]]) -> Known:
    """Return the entries of rows of id, key, label and whether it votes."""
    ids, keys, labels, votes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Known(to_array(ids), np.array(keys, np.int64), to_array(labels), np.array(votes, bool))


def merged(later: Labelled, earlier: Labelled) -> Labelled:
    """Return the entries of both, keys ascending as in both; those in both as in ``later``."""
    places = np.searchsorted(earlier.keys, later.keys)
    found = np.append(earlier.keys, -1)[places] == later.keys
    earlier.labels[places[found]] = later.labels[found]
    if found.all():
        return earlier
    ids, labels = np.append(later.ids, earlier.ids), np.append(later.labels, earlier.labels)
    keys = np.append(later.keys, earlier.keys)
    places = first_places(keys)
    return Labelled(ids[places], keys[places], labels[places])


def integers(keys: Keys) -> Iterator[int]:
    """Yield ``keys`` as integers of Python, which SQLite takes."""
    for step in steps(len(keys)):
        yield from keys[step].tolist()


class SqliteTransaction(SqliteOperations, SqliteRequests):
    """A ``Transaction`` in SQL; ``state`` is the digest's, ``kind`` is ``Identity.kind``."""

    def __init__(self, db: sqlite3.Connection, path: Path, kind: str) -> None:
        super().__init__(db)
        self._path, self._kind = path, kind
        self.state, self.head = read_standing(db)
        counted: tuple[int, int] = db.execute("SELECT revision, next_key FROM memory").fetchone()
        self._revision, self._next_key = counted
        self._found = (*counted, self.head)

    @property
    def written(self) -> int:
        return self._db.total_changes + self._revision + self._next_key

    def finish(self) -> None:
        """Write the counters, the state of the digest and the head of the audit log."""
        if (self._revision, self._next_key, self.head) != self._found:
            self._db.execute(
                "UPDATE memory SET revision = ?, next_key = ?, digest = ?, audit_size = ?, "
                "audit_peaks = ?, audit_last = ?",
                (
                    self._revision,
                    self._next_key,
                    digests.to_bytes(self.state),
                    *astuple(self.head),
                ),
            )

    def log(self, call: str, count: int, principal: str) -> Event:
        event = Event(self.head.size, now(), principal, call, count, self.digest(), self.head.last)
        text = event.to_json()
        self._db.execute("INSERT INTO audit VALUES (?, ?)", (event.number, text))
        self.head = self.head.follow(text)
        return event

    def digest(self) -> str:
        return digests.shown(self.state, self._kind)

    def count(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM entries").fetchone()[0]
        return count

    def look_up(self, ids: Iterable[str]) -> tuple[Known, list[str]]:
        wanted, parts, unknown = iter(ids), list[Known](), list[str]()
        labels = dict[str, str]()  # each once
        while part := list(dict.fromkeys(islice(wanted, AT_ONCE))):
            rows = self._db.execute(
                "SELECT id, key, label, pruned_by IS NULL FROM entries "
                "WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(part),),
            )
            found = {
                id: (key, labels.setdefault(label, label), votes) for id, key, label, votes in rows
            }
            parts.append(known_of([(id, *found[id]) for id in part if id in found]))
            unknown += [id for id in part if id not in found]
        if len(parts) < 2:
            return (*parts, known_of([]))[0], unknown
        known = Known(*map(np.concatenate, zip(*parts, strict=True)))
        return known.at(np.sort(first_places(known.keys))), distinct(unknown)

    def next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def next_keys(self, count: int) -> range:
        self._next_key += count
        return range(self._next_key - count, self._next_key)

    def insert(
        self,
        keys: range,
        ids: Sequence[str],
        entries: Sequence[Entry],
        vectors: NDArray[np.float32],
        created_at: int,
        elements: Sequence[bytes],
        codes: NDArray[np.uint8] | None = None,
    ) -> None:
        data = np.ascontiguousarray(vectors, "<f4").reshape(-1).view(np.uint8).data
        width = 4 * vectors.shape[1]
        values = [
            with_checksum(key, id, entry, created_at, data[at * width : (at + 1) * width])
            for at, (key, id, entry) in enumerate(zip(keys, ids, entries, strict=True))
        ]
        whole = len(values) // TOGETHER * TOGETHER
        together = (values[start : start + TOGETHER] for start in range(0, whole, TOGETHER))
        inserted = self._db.executemany(INSERT_TOGETHER, ([*chain(*rows)] for rows in together))
        few = self._db.executemany(INSERT, values[whole:])
        if max(inserted.rowcount, 0) + max(few.rowcount, 0) < len(ids):
            known, _ = self.look_up(ids)
            raise EntriesExist(known.ids[known.keys < keys.start].tolist())
        self.state = digests.moved(self.state, came=elements)
        sums.move(self._db, len(values), sum(checksum for *_, checksum in values))
        # In one step, during which other threads of Python go on.
        self._db.execute(
            "INSERT INTO vectors SELECT key, substr(?1, 1 + (key - ?2) * ?3, ?3) "
            "FROM entries WHERE key >= ?2",
            (data, keys.start, width),
        )
        if codes is not None:
            add_codes(self._db, keys, codes, [value[VECTOR_CHECKSUM] for value in values])
        pairs.add(self._db, keys.start, keys.stop - 1)
        self._db.executemany(
            "INSERT INTO images (key, thumbnail, image) VALUES (?, ?, ?)",
            [
                (key, entry.thumbnail, entry.image)
                for key, entry in zip(keys, entries, strict=True)
                if entry.image
            ],
        )

    def delete(self, keys: Keys) -> None:
        """Delete the rows of entries; ``secure_delete`` overwrites their bytes."""
        if not len(keys):
            return
        gone = share_of(self._db, keys)
        pairs.remove(self._db, keys)
        with self.dropping_results(keys):
            self._db.executemany("DELETE FROM entries WHERE key = ?", zip(integers(keys)))
        self.state = self.state - gone.state
        sums.move(self._db, -gone.size, -gone.sum)

    def update(self, key: int, entry: Entry) -> None:
        find = "SELECT label, relabelled_by FROM entries WHERE key = ?"
        label, relabelled_by = self._db.execute(find, (key,)).fetchone()
        one = np.array([key], np.int64)
        with self.dropping_results(one):
            if label != entry.label:  # no undo would bring the former ones back
                relabelled_by = None
                self._db.execute("DELETE FROM relabels WHERE key = ?", (key,))
            values = (entry.label, entry.metadata_json, relabelled_by)
            pairs.remove(self._db, one)
            self._set(("label", "metadata", "relabelled_by"), one, [values])
            pairs.add(self._db, key, key)

    def remains_of(self, keys: Keys, limit_bytes: int) -> Remains:
        remains = Remains()
        texts_bytes = limit_bytes
        for step in steps(len(keys), ERASED_AT_ONCE):
            part = json.dumps(keys[step].tolist())
            rows = self._db.execute(REMAINS, (part,))
            for metadata, content_sha256, vector, image, thumbnail in rows:
                texts_bytes -= len(metadata)
                if texts_bytes >= 0:
                    for key, value in json.loads(metadata).items():
                        remains.texts.update((key, value))
                limit_bytes -= len(vector) + len(image) + len(thumbnail)
                if limit_bytes >= 0:
                    pictures = [each for each in (image, thumbnail) if each]
                    remains.contents.append((content_sha256, vector, pictures))
        return remains

    def same_content(self, hashes: Iterable[bytes]) -> set[tuple[bytes, bytes]]:
        wanted = to_json([each.hex().upper() for each in hashes if each])
        return set(
            self._db.execute(
                "SELECT content_sha256, vector FROM entries JOIN vectors USING (key) "
                "WHERE hex(content_sha256) IN (SELECT value FROM json_each(?))",
                (wanted,),
            )
        )

    def sample_images(self, limit: int, size: int) -> Iterator[bytes]:
        for row in self._db.execute("SELECT thumbnail, image FROM images LIMIT ?", (limit,)):
            yield from (each[:size] for each in row)

    def backups(self) -> list[int]:
        return backup_times(self._db)

    def setting(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def keep_setting(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def prune(self, keys: Keys, operation: str) -> None:
        self._set(("pruned_by",), keys, repeat((operation,)))

    def unprune(self, operation: str, dimension: int) -> VotingEntries:
        found = self._db.execute(f"{ROWS} WHERE pruned_by = ? ORDER BY key", (operation,))
        parts = [voting([], dimension, self._path)]
        while rows := found.fetchmany(VECTORS_AT_ONCE):  # Python does other work between
            parts.append(voting(rows, dimension, self._path))
        back = joined(parts)
        self._set(("pruned_by",), back.keys, repeat((None,)))
        return back

    def relabel(self, keys: Keys, labels: Texts, operation: str) -> None:
        self._db.executemany(
            "INSERT INTO relabels SELECT ?, key, label, relabelled_by FROM entries WHERE key = ?",
            zip(repeat(operation), integers(keys)),
        )
        self._set(("label", "relabelled_by"), keys, zip(labels, repeat(operation)))

    def unrelabel(self, operation: str) -> Labelled:
        restored, undone = self._unrelabel(operation)
        while undone:
            newest = max(undone)  # whose labels may be of an older one; names sort by time
            back, before = self._unrelabel(newest)
            restored, undone = merged(back, restored), undone - {newest} | before
        return restored

    def _unrelabel(self, operation: str) -> tuple[Labelled, set[str]]:
        """Restore the labels that an operation replaced, unless set since.

        Return them ascending by key, and the names of operations undone that had set such labels.
        """
        found = self._db.execute(REPLACED, (operation,))
        nothing = to_array(())
        parts: list[tuple[NDArray[Any], ...]] = [(nothing, np.empty(0, np.int64), nothing, nothing)]
        same = dict[str | None, str | None]()  # of labels and names, each once
        while rows := found.fetchmany(AT_ONCE):
            ids, keys, *columns = zip(*rows, strict=True)
            kept = [to_array([same.setdefault(each, each) for each in some]) for some in columns]
            parts.append((to_array(ids), np.array(keys, np.int64), *kept))
        *of_entries, before = map(np.concatenate, zip(*parts, strict=True))
        back = Labelled(*of_entries)
        with self.dropping_results(back.keys):
            self._set(("label", "relabelled_by"), back.keys, zip(back.labels, before, strict=True))
        undone = self._db.execute(UNDONE, (json.dumps([*{name for name in before if name}]),))
        return back, {name for (name,) in undone}

    def entry(self, id: str) -> Entry | None:
        return next(read_entries(self._db, "id = ?", [id], limit=1), None)

    def ids(self, filter: Filter) -> list[str]:
        return read_ids(self._db, filter)

    def keys(self, filter: Filter) -> Keys:
        return to_numbers(keys_text(self._db, filter))

    def _set(
        self, columns: Sequence[str], keys: Keys, values: Iterable[Sequence[str | None]]
    ) -> None:
        """Set ``columns`` of each entry to the next ``values``; update digest and totals."""
        update = f"UPDATE entries SET {' = ?, '.join(columns)} = ?, checksum = ? WHERE key = ?"
        grown = 0
        coming = iter(values)
        for step in steps(len(keys), ROWS_AT_ONCE):
            these = keys[step].tolist()
            new = dict(zip(these, islice(coming, len(these)), strict=True))
            rows = rows_of(self._db, [*new])
            changed = [altered(row, columns, new[row.key]) for row, _ in rows]
            self.state = digests.moved(
                self.state,
                came=[element(row, vector) for row, (_, vector) in zip(changed, rows, strict=True)],
                went=[element(row, vector) for row, vector in rows],
            )
            self._db.executemany(
                update, [(*new[row.key], row.checksum, row.key) for row in changed]
            )
            grown += sum(row.checksum for row in changed) - sum(row.checksum for row, _ in rows)
        sums.move(self._db, 0, grown)
