"""An import outlives its streams, so what was acknowledged is kept outside of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from visual_memory._insertion import Insertion
from visual_memory._patience import Patience
from visual_memory.errors import Error, refuse
from visual_memory.types import InsertResult, Limits
from visual_memory.v1 import service_pb2 as pb

Progress: TypeAlias = Callable[[int, int], None]


class Import:
    """An insertion on its way: what is on disk, and what to send next.

    It outlives a broken stream: ``begin`` opens the next one, whose first acknowledgements say
    where to go on.
    """

    def __init__(
        self, insertion: Insertion, limits: Limits, progress: Progress | None, patience: Patience
    ) -> None:
        self._insertion, self._limits, self._progress = insertion, limits, progress
        self._ids: list[str] = []
        self._checked = 0
        self.patience = patience

    @property
    def stored(self) -> int:
        """How many leading entries are known to be on disk."""
        return len(self._ids)

    @property
    def finished(self) -> bool:
        """Whether everything is on disk, and no stream needs to say so again."""
        return self.going_on and self.stored == len(self._insertion)

    def begin(self) -> pb.ImportEntriesRequest:
        """The first message of a stream."""
        self.going_on, self.in_flight, self._acknowledged = False, 0, 0
        self._again: int | None = None
        self._expected = self._insertion.batches(self._limits, self._checked)
        start = pb.ImportStart(
            memory=self._insertion.memory,
            request_id=self._insertion.request_id,
            replace_existing=self._insertion.replace_existing,
        )
        return pb.ImportEntriesRequest(start=start)

    def note(self, answer: pb.ImportEntriesResponse) -> None:
        """Take an acknowledgement to heart. Raises Error where it is of another import."""
        self.patience.answered()
        offset, ids, before = answer.offset, list(answer.ids), self.stored
        if offset != self._acknowledged:
            raise Error(
                f"The server acknowledged entries from {offset} on where {self._acknowledged} was "
                "due; this client and the server do not fit together."
            )
        if self.going_on:
            self.in_flight -= 1
        elif not ids:
            self.going_on = True
            offset = offset if self._again is None else self._again
            del self._ids[offset:]
            self._acknowledged = offset
            self._batches = self._insertion.batches(self._limits, offset)
        elif offset >= self._checked and self._again is None and not self._would_send(answer):
            self._again = offset
        if self._again is not None and not self.going_on:
            self._acknowledged += len(ids)
            return
        self._check(offset, ids)
        self._ids[offset : offset + len(ids)] = ids
        self._acknowledged += len(ids)
        self._checked = self.stored
        if self.stored > before:
            self.patience.renew(self.stored)
            if self._progress is not None:
                self._progress(self.stored, len(self._insertion))

    def next(self) -> pb.ImportEntriesRequest | None:
        """The next batch, or None after the last. Raises InvalidArgument where a file is gone."""
        began = time.monotonic()
        request = next(self._batches, None)
        self.patience.extend(began)
        self.in_flight += request is not None
        return request

    def result(self) -> InsertResult:
        """What the call answers with."""
        return InsertResult(self._ids, self._insertion.request_id)

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Let an error say what is stored, and how to go on."""
        try:
            yield
        except Error as error:
            error.stored, error.request_id = self.stored, self._insertion.request_id
            error.message = (
                f"{error.message.removesuffix('.')}. {self.stored:,} leading entries of "
                f"{len(self._insertion):,} are stored; the same call with "
                f"request_id={error.request_id!r} goes on after them."
            )
            raise

    def _would_send(self, answer: pb.ImportEntriesResponse) -> bool:
        """Whether the batch that an earlier try stored is the one this call has there.

        Where it is not, it is sent again, and the server says whether it is another.
        """
        request = next(self._expected, None)
        if request is None:
            return False
        content = b"ImportBatch" + request.batch.SerializeToString(deterministic=True)
        same = hashlib.sha256(content).digest() == answer.fingerprint
        return same and request.batch.offset == answer.offset

    def _check(self, offset: int, ids: list[str]) -> None:
        end, known = offset + len(ids), self._insertion.ids
        if end > len(self._insertion) or (known and known[offset:end] != ids):
            refuse("request_id", "belongs to an import of other entries; repeat that one exactly")


def cut_short() -> Error:
    """What to raise where a stream ends without a reason."""
    return Error("The server ended the import before everything was stored.")
