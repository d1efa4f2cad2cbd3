"""The writer of a memory: concurrent writes share one transaction, and so one fsync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from visual_memory_index.errors import DiskFull, MemoryRefusal
from visual_memory_index.ram.change import Change
from visual_memory_index.records.measures import COMMIT_WRITES
from visual_memory_index.store.store import Store, Transaction

TOGETHER_MAX = 64
GATHERING_SECONDS = 0.004

T = TypeVar("T")
Write = Callable[[Transaction], tuple[T, Change | None]]


@dataclass(eq=False, slots=True)
class Job:
    """A waiting write, which later has its answer or error."""

    write: Write[Any]
    frees: bool = False
    answer: Any = None
    error: BaseException | None = None
    committed: list[Change] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def end(self, error: BaseException | None) -> None:
        """Mark the write as done, with its error, if any."""
        self.error = error
        self.done.set()


class _FailedHalfway(Exception):
    """A failure of a batch's write at index ``at``, so that the batch's transaction is undone."""

    def __init__(self, at: int) -> None:
        self.at = at


class Writer:
    """Does one write after another; each is all or nothing, and on disk when ``do`` returns.

    A write is called again if another write failed in the same transaction, so it may do nothing
    but write to the transaction.

    The first write that waits for its turn then does all waiting writes. Callers whose writes ended
    together tend to call again together, so it waits a little until as many writes are waiting as
    the last time. ``check`` may refuse all writes; ``prepare`` gets the changes before the commit,
    and ``publish`` after it, or ``undo`` is called if there was none. If the disk is full,
    ``give_up`` makes room for a write that frees disk space, and returns True if it could.
    """

    def __init__(
        self,
        store: Store,
        check: Callable[[], None],
        prepare: Callable[[Sequence[Change]], None],
        publish: Callable[[Sequence[Change]], None],
        undo: Callable[[], None],
        give_up: Callable[[], bool],
    ) -> None:
        self._store, self._check, self._give_up = store, check, give_up
        self._prepare, self._publish, self._undo = prepare, publish, undo
        self._waiting: list[Job] = []
        self._queue = threading.Condition()
        self._refusal: Callable[[], MemoryRefusal] | None = None
        self._together_before = 1
        self.turn = threading.RLock()  # whoever holds it may write

    def do(self, write: Write[T], *, frees: bool = False) -> T:
        """Do ``write`` and return its result, once it is on disk.

        ``frees`` is True if the write frees disk space, so that on a full disk ``give_up`` may make
        room for it. Raises the errors of ``write``, and FileUnavailable.
        """
        job = Job(write, frees)
        with self._queue:
            if self._refusal is not None:
                raise self._refusal()
            self._waiting.append(job)
            self._queue.notify()
            first = len(self._waiting) == 1
        if first:
            with self.turn:
                self._do_waiting()
        job.done.wait()
        if job.error is not None:
            error, job.error = job.error, None
            try:
                raise error
            finally:
                del error  # or it would keep all that the write held, by its traceback
        answer: T = job.answer
        return answer

    @contextmanager
    def refusing(self, refusal: Callable[[], MemoryRefusal]) -> Iterator[None]:
        """Refuse the writes that wait and that come, until the end; the caller has the turn."""
        with self._queue:
            self._refusal = refusal
            jobs, self._waiting = self._waiting, []
        for job in jobs:
            job.end(refusal())
        try:
            yield
        finally:
            self._refusal = None

    def _do_waiting(self) -> None:
        """Do the waiting writes, after a short wait for as many as last time; each ends.

        The number of the writes taken last is ``_together_before``; if it was 1, there is no wait.
        """
        with self._queue:
            if self._together_before > 1:
                with suppress(MemoryError, RuntimeError):  # of no memory for a lock to wait for
                    self._queue.wait_for(
                        lambda: len(self._waiting) >= self._together_before, GATHERING_SECONDS
                    )
            jobs, self._waiting = self._waiting, []
            self._together_before = len(jobs)
        try:
            for start in range(0, len(jobs), TOGETHER_MAX):
                self._commit_together(jobs[start : start + TOGETHER_MAX])
        except BaseException as error:
            for job in jobs:
                if not job.done.is_set():
                    job.end(error)

    def _commit_together(self, jobs: Sequence[Job]) -> None:
        """Commit all jobs in one transaction; a job that fails after it wrote gets its own."""
        try:
            committed = self._commit(jobs)
        except _FailedHalfway as failed:
            for part in (jobs[: failed.at], [jobs[failed.at]], jobs[failed.at + 1 :]):
                if part:
                    self._commit_together(part)
        except (MemoryRefusal, MemoryError) as error:  # perhaps of one job alone
            if len(jobs) > 1:
                for job in jobs:
                    self._commit_together([job])
            elif isinstance(error, DiskFull) and jobs[0].frees and self._give_up():
                self._commit_together(jobs)
            else:
                jobs[0].end(error)
        except BaseException as error:
            for job in jobs:
                job.end(error)
        else:
            COMMIT_WRITES.add(len(jobs))
            self._publish_together(jobs, committed)

    def _commit(self, jobs: Sequence[Job]) -> list[Change]:
        """Commit all jobs in one transaction, and return their changes; on an error undo all."""
        self._check()
        try:
            return self._transact(jobs)
        except BaseException:
            self._undo()
            raise

    def _publish_together(self, jobs: Sequence[Job], committed: Sequence[Change]) -> None:
        try:
            if committed:
                self._publish(committed)
        except BaseException as error:
            for job in jobs:
                job.end(job.error or error)
        else:
            for job in jobs:
                job.end(job.error)

    def _transact(self, jobs: Sequence[Job]) -> list[Change]:
        """Do all jobs in one transaction, and return their changes."""
        with self._store.transaction() as transaction:
            for at, job in enumerate(jobs):
                job.error, job.committed = None, []
                written = transaction.written
                try:
                    self._do(job, transaction)
                except MemoryRefusal as refusal:
                    if transaction.written == written:
                        job.error = refusal
                    elif len(jobs) == 1:
                        raise
                    else:
                        raise _FailedHalfway(at) from refusal
                except Exception as error:  # a bug in the write or the store
                    if len(jobs) == 1:
                        raise
                    raise _FailedHalfway(at) from error
            committed = [each for job in jobs for each in job.committed]
            self._prepare(committed)
        return committed

    def _do(self, job: Job, transaction: Transaction) -> None:
        job.answer, change = job.write(transaction)
        if change is not None and not change.is_empty:
            revision = transaction.next_revision()
            job.committed.append(replace(change, revision=revision, digest=transaction.digest()))
