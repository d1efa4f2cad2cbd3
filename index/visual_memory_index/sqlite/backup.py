"""A backup as one file: an SQLite database, then its length and SHA-256, to detect damage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from visual_memory_index.errors import BadBackup
from visual_memory_index.files.disk import new_file, remove_database, translate_os_errors

PIECE_BYTES = 1 << 18
BEGINNING = b"SQLite format 3\0"
END = b"visual-memory 1\n"
LENGTH_BYTES, HASH_BYTES = 8, 32
TRAILER_BYTES = len(END) + LENGTH_BYTES + HASH_BYTES
NAME_SETTING = "backup"  # the setting that identifies a backup


def with_checksum(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a database file in pieces, then a trailer with its length and SHA-256."""
    hasher, length = sha256(), 0
    while piece := file.read(PIECE_BYTES):
        hasher.update(piece)
        length += len(piece)
        yield piece
    yield END + length.to_bytes(LENGTH_BYTES, "little") + hasher.digest()


class IncomingBackup:
    """A backup received piece by piece, into a file that ``close`` removes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hasher, self._length = sha256(), 0
        self._last = b""  # the last bytes so far, perhaps the trailer
        self._file = new_file(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # buffered bytes that a full disk refuses
            self._file.close()
        remove_database(self.path)

    def write(self, piece: bytes) -> None:
        """Append the next piece. Raises NotWritten, BadBackup for another kind of file."""
        data = self._last + piece
        self._last = data[-TRAILER_BYTES:]
        body = memoryview(data)[: len(data) - len(self._last)]
        if body and not self._length and not data.startswith(BEGINNING):
            raise BadBackup("it is another kind of file")
        with translate_os_errors(self.path):
            self._file.write(body)
        self._hasher.update(body)
        self._length += len(body)

    @property
    def sha256(self) -> bytes:
        """The hash of the database, without the trailer."""
        return self._hasher.digest()

    def finish(self) -> None:
        """Check the trailer after the last piece. Raises BadBackup, NotWritten."""
        if not self._last.startswith(END) or len(self._last) != TRAILER_BYTES:
            raise BadBackup("its end is missing, so it was cut short or is another kind of file")
        length = int.from_bytes(self._last[len(END) : -HASH_BYTES], "little")
        if length != self._length:
            raise BadBackup(f"of its {length:,} bytes {self._length:,} are there")
        if self.sha256 != self._last[-HASH_BYTES:]:
            raise BadBackup("it was altered")
        with translate_os_errors(self.path):
            self._file.close()
