"""The state of an import, kept when a stream that sends it breaks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import NoReturn, TypeAlias

from visual_memory._messages.fields import to_duration
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import Pace
from visual_memory._transport.retry import INTERRUPTS, RetryBudget
from visual_memory.errors import Error, refuse
from visual_memory.protocol import fingerprint, take_hashes
from visual_memory.types import InsertResult, Limits
from visual_memory.v1 import service_pb2 as pb

Progress: TypeAlias = Callable[[int, int], None]


class Import:
    """An insertion in progress: the entries acknowledged, and the batches to send next.

    After a stream breaks, ``start_stream`` begins another; the server's first acknowledgements say
    where to resume. Batches that were sent are sent again as they were: the server may be storing
    them still, and refuses a request that is divided otherwise. Without a ``pace`` batches are as
    large as a message may be.
    """

    def __init__(
        self,
        insertion: Insertion,
        limits: Limits,
        progress: Progress | None,
        budget: RetryBudget,
        pace: Pace | None,
    ) -> None:
        self._insertion, self._limits, self._progress = insertion, limits, progress
        self._pace = pace
        self._ids: list[str] = []
        self._unlearned: dict[str, None] = {}
        self._divided: list[range] = []  # the entries of each batch sent, not stored when resumed
        self.budget = budget

    @property
    def stored(self) -> int:
        """Count the leading entries that the server has confirmed to be on disk."""
        return len(self._ids)

    @property
    def finished(self) -> bool:
        """Return True if the server has confirmed on this stream that all entries are on disk."""
        return self.resumed and self.stored == len(self._insertion)

    def start_stream(self) -> pb.ImportEntriesRequest:
        """Reset the state of the stream, and return the first message of a new one."""
        self.resumed = False
        self.sent = deque[float]()  # the times of batches that are not acknowledged yet
        self._answer_time = time.monotonic()
        self._expected = self._matched = 0
        start = pb.ImportStart(
            memory=self._insertion.memory,
            request_id=self._insertion.request_id,
            replace_existing=self._insertion.replace_existing,
            alive_every=to_duration(self.budget.alive_seconds, "alive_every"),
        )
        return pb.ImportEntriesRequest(start=start)

    def acknowledge(self, answer: pb.ImportEntriesResponse) -> None:
        """Process an answer of the server. Raises Error if it belongs to another import.

        An answer that only says that the server is working extends the deadline. The batches that
        an earlier attempt stored are not sent again, up to the first that differs from this call's
        entries; all later entries are sent, and the server accepts or refuses them.
        """
        answer_time, self._answer_time = self._answer_time, time.monotonic()
        if answer.working:
            self.budget.extend(answer_time)
            return
        offset, ids = answer.offset, list(answer.ids)
        if offset != self._expected:
            raise Error(
                f"The server acknowledged entries from {offset} on where {self._expected} was "
                "due; this client and the server do not fit together."
            )
        self._expected += len(ids)
        if self._expected > len(self._insertion):
            refuse_other_import()
        self._unlearned |= dict.fromkeys(answer.unlearned_ids)
        if self.resumed:
            self._measure_pace(len(ids))
            self._record(offset, ids)
        elif not ids:
            self._resume()
        elif offset == self._matched and self._matches(answer):
            self._matched += len(ids)
            self._record(offset, ids)

    def next(self) -> pb.ImportEntriesRequest | None:
        """Return the next batch, or None after the last.

        Raises InvalidArgument if a file cannot be read.
        """
        began = time.monotonic()
        request = next(self._batches, None)
        self.budget.extend(began)
        if request is not None:
            self.sent.append(time.monotonic())
            offset = request.batch.offset
            if not self._divided or offset >= self._divided[-1].stop:
                self._divided.append(range(offset, offset + len(request.batch.batch.entries)))
        return request

    def result(self) -> InsertResult:
        """Return the result of the import, once all entries are stored; does not wait."""
        return InsertResult(self._ids, self._insertion.request_id, [*self._unlearned])

    @contextmanager
    def annotate_errors(self) -> Iterator[None]:
        """Context manager: add to an error or interrupt what was confirmed, and how to resume.

        An interrupt is a Ctrl-C or a cancellation. ``unlearned`` of the error or interrupt lists
        the stored ids that had been unlearned before.
        """
        try:
            yield
        except Error as error:
            error.stored, error.request_id = self.stored, self._insertion.request_id
            error.unlearned = [*self._unlearned]
            if any(path == "request_id" for path, _ in error.field_violations):
                raise  # of another import: nothing of this one is stored, and it cannot resume
            error.message = f"{error.message.removesuffix('.')}."
            error.advice = self._advice()
            raise
        except INTERRUPTS as ended:
            ended.add_note(f"Interrupted. {self._advice()}")
            vars(ended)["unlearned"] = [*self._unlearned]
            raise

    def _advice(self) -> str:
        return (
            f"The server confirmed {self.stored:,} leading entries of {len(self._insertion):,}; "
            f"the same call with request_id={self._insertion.request_id!r} goes on after what is "
            "stored."
        )

    def _resume(self) -> None:
        self.resumed, self._expected = True, self._matched
        del self._ids[self._matched :]
        again = [part for part in self._divided if part.start >= self._matched]
        self._divided = again if again and again[0].start == self._matched else []
        end = self._divided[-1].stop if self._divided else self._matched
        new = self._insertion.batches(self._limits, end, self._pace)
        self._batches = chain(map(self._insertion.batch, self._divided.copy()), new)
        self._acknowledged = time.monotonic()

    def _measure_pace(self, count: int) -> None:
        """Adapt the pace to the seconds that the server took for a batch of ``count`` entries."""
        now = time.monotonic()
        began = max(self.sent.popleft() if self.sent else now, self._acknowledged)
        self._acknowledged = now
        if self._pace is not None:
            self._pace.note(count, now - began)

    def _matches(self, answer: pb.ImportEntriesResponse) -> bool:
        """Return True if a batch that the server has stored equals this call's entries there.

        A batch already acknowledged to this call counts as equal, without a comparison.
        """
        if answer.offset < self.stored:
            return True
        began = time.monotonic()
        part = range(answer.offset, answer.offset + len(answer.ids))
        batch = self._insertion.batch(part).batch
        self.budget.extend(began)
        return fingerprint(batch, take_hashes(batch.batch)) == answer.fingerprint

    def _record(self, offset: int, ids: list[str]) -> None:
        before, end, known = self.stored, offset + len(ids), self._insertion.ids
        if known and known[offset:end] != ids:
            refuse_other_import()
        self._ids[offset:end] = ids
        if self.stored > before:
            self.budget.renew(self.stored)
            if self._progress is not None:
                self._progress(self.stored, len(self._insertion))


def refuse_other_import() -> NoReturn:
    """Raise InvalidArgument that says: the request_id belongs to an import of other entries."""
    refuse("request_id", "belongs to an import of other entries; repeat that one exactly")


def incomplete_import() -> Error:
    """Return the error for a stream that ended without an error before all entries were stored."""
    return Error("The server ended the import before everything was stored.")
