"""An import outlives its streams, so what was acknowledged is kept outside of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeAlias

from visual_memory._messages.fields import to_duration
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import Pace
from visual_memory._transport.retry import ENDED, Patience
from visual_memory.errors import Error, refuse
from visual_memory.protocol.fingerprint import fingerprint, take_hashes
from visual_memory.types import InsertResult, Limits
from visual_memory.v1 import service_pb2 as pb

Progress: TypeAlias = Callable[[int, int], None]


class Import:
    """An insertion on its way: what is on disk, and what to send next.

    It outlives a broken stream: ``begin`` opens the next one, whose first acknowledgements say
    where to go on. Without a ``pace`` all of it is one batch.
    """

    def __init__(
        self,
        insertion: Insertion,
        limits: Limits,
        progress: Progress | None,
        patience: Patience,
        pace: Pace | None,
    ) -> None:
        self._insertion, self._limits, self._progress = insertion, limits, progress
        self._pace = pace
        self._ids: list[str] = []
        self._unlearned: dict[str, None] = {}
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
        self.going_on = False
        self._sent, self._heard = deque[float](), time.monotonic()
        self._due = self._agreed = 0
        start = pb.ImportStart(
            memory=self._insertion.memory,
            request_id=self._insertion.request_id,
            replace_existing=self._insertion.replace_existing,
            alive_every=to_duration(self.patience.alive_seconds),
        )
        return pb.ImportEntriesRequest(start=start)

    @property
    def in_flight(self) -> int:
        """How many batches are on their way."""
        return len(self._sent)

    def note(self, answer: pb.ImportEntriesResponse) -> None:
        """Take an acknowledgement to heart. Raises Error where it is of another import.

        While the server says that it works, the timeout stands still.
        A batch stored by an earlier try counts where this call would send the same. From the first
        other one on everything is sent, and the server judges.
        """
        self.patience.answered()
        heard, self._heard = self._heard, time.monotonic()
        if answer.working:
            self.patience.extend(heard)
            return
        offset, ids = answer.offset, list(answer.ids)
        if offset != self._due:
            raise Error(
                f"The server acknowledged entries from {offset} on where {self._due} was "
                "due; this client and the server do not fit together."
            )
        self._due += len(ids)
        if self._due > len(self._insertion):
            refuse_other()
        self._unlearned |= dict.fromkeys(answer.unlearned_ids)
        if self.going_on:
            self._measure(len(ids))
            self._keep(offset, ids)
        elif not ids:
            self._go_on()
        elif offset == self._agreed and self._would_send(answer):
            self._agreed += len(ids)
            self._keep(offset, ids)

    def next(self) -> pb.ImportEntriesRequest | None:
        """The next batch, or None after the last. Raises InvalidArgument where a file is gone."""
        began = time.monotonic()
        request = next(self._batches, None)
        self.patience.extend(began)
        if request is not None:
            self._sent.append(time.monotonic())
        return request

    def result(self) -> InsertResult:
        """What the call answers with."""
        return InsertResult(self._ids, self._insertion.request_id, [*self._unlearned])

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Let an error or an interrupt say what is stored, and how to go on."""
        try:
            yield
        except Error as error:
            error.stored, error.request_id = self.stored, self._insertion.request_id
            if any(path == "request_id" for path, _ in error.field_violations):
                raise  # another import's: nothing of this one is stored, and it cannot go on
            error.message = f"{error.message.removesuffix('.')}."
            error.advice = self._account()
            raise
        except ENDED as ended:
            ended.add_note(f"Interrupted. {self._account()}")
            raise

    def _account(self) -> str:
        return (
            f"{self.stored:,} leading entries of {len(self._insertion):,} are stored; "
            f"the same call with request_id={self._insertion.request_id!r} goes on after them."
        )

    def _go_on(self) -> None:
        self.going_on, self._due = True, self._agreed
        del self._ids[self._agreed :]
        self._batches = self._insertion.batches(self._limits, self._agreed, self._pace)
        self._acknowledged = time.monotonic()

    def _measure(self, count: int) -> None:
        """The server works on a batch from when it has it, and is done with the one before."""
        now = time.monotonic()
        began = max(self._sent.popleft() if self._sent else now, self._acknowledged)
        self._acknowledged = now
        if self._pace is not None:
            self._pace.note(count, now - began)

    def _would_send(self, answer: pb.ImportEntriesResponse) -> bool:
        """Whether a stored batch is of the entries that this call has there.

        One that was acknowledged to this call before is, and need not be read again.
        """
        if answer.offset < self.stored:
            return True
        began = time.monotonic()
        part = range(answer.offset, answer.offset + len(answer.ids))
        batch = self._insertion.batch(part).batch
        self.patience.extend(began)
        return fingerprint(batch, take_hashes(batch.batch)) == answer.fingerprint

    def _keep(self, offset: int, ids: list[str]) -> None:
        before, end, known = self.stored, offset + len(ids), self._insertion.ids
        if known and known[offset:end] != ids:
            refuse_other()
        self._ids[offset:end] = ids
        if self.stored > before:
            self.patience.renew(self.stored)
            if self._progress is not None:
                self._progress(self.stored, len(self._insertion))


def refuse_other() -> NoReturn:
    """Raises InvalidArgument where what is stored is of another import."""
    refuse("request_id", "belongs to an import of other entries; repeat that one exactly")


def cut_short() -> Error:
    """What to raise where a stream ends without a reason."""
    return Error("The server ended the import before everything was stored.")
