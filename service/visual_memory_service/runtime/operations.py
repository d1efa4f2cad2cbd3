"""Operations: long work on memories in threads, with progress, waiting and cancelling."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, TypeVar

import structlog

from visual_memory_embedders.errors import EmbeddingRefusal
from visual_memory_index import (
    CUT_SHORT,
    REEMBED,
    RESUMED,
    UNLEARN,
    WITHOUT_ID,
    Memory,
    Operation,
    Request,
    errors,
)
from visual_memory_service.errors import (
    NotCancellable,
    NotDone,
    OutOfMemory,
    RequestRefusal,
    TooManyOperations,
)
from visual_memory_service.runtime.fair_threads import FairThreads
from visual_memory_service.runtime.measures import OPERATIONS_ENDED
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.status import foreseen

PROGRESS_SECONDS = 0.5
CHECK_SECONDS = 0.1
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between tries, the last again and again
AFTER = "It begins after the unlearning {}, which waits: {}"
AFTER_ANOTHER = "It begins after the unlearning of another memory, which waits."
DELETED = "Its memory was being deleted."
AT_ONCE = 2  # further operations wait, since each may use all processors
WAITING_MAX = 100  # of one memory
MEMORIES_MAX = 100
SHORT_SECONDS_MAX = 30.0
ENDED_MAX = 1000  # operations whose progress is kept after their end
log = structlog.get_logger()

T = TypeVar("T")


class Cancelled(Exception):
    """Raised inside work that was asked to stop."""


@dataclass(slots=True)
class Job:
    """One running operation; its work calls ``report_progress`` between steps.

    ``progress`` is (done, total), both 0 until the first report. ``stopped`` is the reason if no
    client cancelled it: the server stops, the memory is dropped, or entries are erased. ``problem``
    says what the job waits for, if anything; ``short_seconds`` counts how long it waited for RAM.
    """

    operation: Operation
    memory: Memory
    progress: tuple[int, int] = (0, 0)
    stopped: str = ""
    problem: str = ""
    short_seconds: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: Future[None] = field(default_factory=Future)

    @property
    def name(self) -> str:
        """Return the name of the operation."""
        return self.operation.name

    @property
    def memory_name(self) -> str:
        """Return the name of the memory that the operation works on."""
        return self.name.rpartition("/")[0]

    def report_progress(self, done: int, total: int) -> None:
        """Set the progress of the job. Raises Cancelled."""
        self.progress = done, total
        self.check()

    def check(self) -> None:
        """Raise Cancelled if the job was asked to stop."""
        if self.cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until the job is cancelled. Raises Cancelled."""
        try:
            self.cancelled.wait(seconds)
        except (MemoryError, RuntimeError):  # of no memory for a lock to wait for
            time.sleep(seconds)
        self.check()

    def wait(self, future: Future[Any]) -> None:
        """Wait for ``future``, and raise its exception, if any. Raises Cancelled."""
        while not wait([future], timeout=CHECK_SECONDS).done:
            self.check()
        try:
            future.result()
        finally:
            del future  # or its error would keep all that this thread holds, by its traceback

    def retry_while(
        self, act: Callable[[], T], *, against: type[Exception] = errors.FileUnavailable
    ) -> T:
        """Call ``act``, with pauses, until it does not raise ``against``. Raises Cancelled.

        Lack of open files is waited for, too, and of RAM or threads SHORT_SECONDS_MAX in all of the
        job. A problem is logged when it begins, and once it has ended.
        """
        logged = ""
        for pause in pauses():
            try:
                result = act()
            except Exception as error:
                problem: Exception | None = error if isinstance(error, against) else foreseen(error)
                if isinstance(problem, OutOfMemory):
                    self.short_seconds += pause
                    if self.short_seconds > SHORT_SECONDS_MAX:
                        raise
                elif not isinstance(problem, (against, errors.TooManyFiles)):
                    raise
                reason, self.problem = errors.in_full(problem), str(problem)
                problem = None  # or it would keep all that the try held, by its traceback
            else:
                if logged:
                    log.info("operation goes on", operation=self.name)
                self.problem = ""
                return result
            if reason != logged:
                log.warning("operation waits", operation=self.name, reason=reason)
            logged = reason
            self.pause(pause)
        raise AssertionError

    def end_cancelled(self) -> None:
        """Store that the operation was cancelled or stopped; some kinds stay running instead.

        The next start resumes these. Raises FileUnavailable.
        """
        if self.stopped and self.operation.kind in RESUMED:
            return
        if self.stopped:
            self.memory.operations.end(self.name, "failed", problem=self.stopped)
        else:
            self.memory.operations.end(self.name, "cancelled")

    def end_failed(self, problem: str) -> None:
        """Store that the operation failed; the failure of an erasure is kept only in RAM.

        The next start resumes the erasure, because entries may be marked as unlearned but not yet
        deleted.
        """
        if self.operation.kind == UNLEARN:
            log.warning("operation put off", operation=self.name, reason=problem)
            self.memory.operations.put_off(self.operation, problem)
        else:
            self.memory.operations.end(self.name, "failed", problem=problem)


Work = Callable[[Job], str | None]
Suspension = tuple[str, Sequence[str]]  # its reason, and the kinds that go on


async def until_seen(operations: Sequence[Operation], jobs: Mapping[str, Job]) -> None:
    """Wait for the jobs of ``operations`` that have ended on the disk, so that readers see them."""
    ending = [
        asyncio.wrap_future(jobs[each.name].ended)
        for each in operations
        if each.state != "running" and each.name in jobs
    ]
    if ending:
        await asyncio.wait(ending)


def pauses() -> Iterator[float]:
    """Yield the seconds between tries, without end."""
    return chain(PAUSES, repeat(PAUSES[-1]))


class Operations:
    """Starts operations and tracks running ones; ended operations are in their memories' files.

    Those that run or wait are of ``memories_max`` memories at most, since these stay open.
    """

    def __init__(self, memories_max: int = MEMORIES_MAX) -> None:
        self._memories_max = memories_max
        self._threads = FairThreads(AT_ONCE, "operation")
        self._erasing = FairThreads(1, "erasing")  # waits for nothing else
        self._reembedding = FairThreads(1, "re-embedding")  # takes hours, or waits for a disk
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._ended_progress: dict[str, tuple[int, int]] = {}  # of the ENDED_MAX that ended last
        self._suspended = defaultdict[str, list[Suspension]](list)  # by memory
        self._closed = False

    def start(
        self, memory: Memory, kind: str, work: Work, *, request: Request = WITHOUT_ID
    ) -> Operation:
        """Start ``work``, which returns its result as JSON, and return the operation.

        A repeated request starts nothing and returns the earlier operation. Raises RequestReused,
        FileUnavailable, TooManyOperations, MemoryClosed if the server is stopping.
        """
        name = memory.identity.name
        if self._closed:
            raise errors.MemoryClosed(name)
        if repeated(request, memory) is None:
            self.check_room(name)
            if self._threads.count(name) >= WAITING_MAX:
                raise TooManyOperations(f'on the memory "{name}"', WAITING_MAX)
        started = memory.operations.begin(kind, request=request)
        if not started.again:
            self.resume(memory, started.operation, work)
        return started.operation

    def resume(self, memory: Memory, operation: Operation, work: Work) -> None:
        """Run the work of an operation that is stored as running, unless the work runs already.

        Where such operations are suspended, one that goes on afterwards is not begun. Raises
        MemoryClosed if the server is stopping.
        """
        job = Job(operation, memory)
        with self._lock:
            if job.name in self._jobs:
                return
            if not self._closed:
                for reason, kinds in self._suspended.get(job.memory_name, ()):
                    if operation.kind not in kinds:
                        if operation.kind in RESUMED:
                            return
                        job.stopped = reason
                        job.cancelled.set()
                self._jobs[job.name] = job
                threads, group = self._queue(job)
                threads.submit(group, job.name, partial(self._run, job, work))
                return
        job.stopped = CUT_SHORT
        job.end_cancelled()
        raise errors.MemoryClosed(memory.identity.name)

    def job(self, name: str) -> Job | None:
        """Return the job of an operation, or None if it is not running."""
        return self._jobs.get(name)

    async def read(self, memory: Memory, name: str) -> Operation:
        """Return an operation as it is now; one that has ended only once readers see what it did.

        Its end is on the disk a little before the copy in RAM has its changes. Raises
        UnknownOperation.
        """
        jobs = dict(self._jobs)
        operation = await in_thread(memory.operations.get, name)
        await until_seen([operation], jobs)
        return operation

    async def page(self, memory: Memory, before: str, limit: int) -> list[Operation]:
        """Return up to ``limit`` operations below ``before``, newest first; see ``read``."""
        jobs = dict(self._jobs)
        found = await in_thread(memory.operations.page, before=before, limit=limit)
        await until_seen(found, jobs)
        return found

    def problem(self, name: str, is_shown: Callable[[str], object] = str) -> str:
        """Return what a running operation waits for, or an empty text.

        Another memory is named if ``is_shown`` of its name is true.

        Erasures are done one after another: the problem of the first is one of the others, too.
        """
        job = self._jobs.get(name)
        if job is None or job.operation.kind != UNLEARN:
            return job.problem if job else ""
        jobs = list(self._jobs.values())
        first = next((each for each in jobs if each.operation.kind == UNLEARN), job)
        if first is job or not first.problem:
            return job.problem
        shown = is_shown(first.memory_name)
        return AFTER.format(first.name, first.problem) if shown else AFTER_ANOTHER

    def progress(self, name: str) -> tuple[int, int]:
        """Return (done, total) of an operation that runs or ended lately, of any other (0, 0)."""
        job = self._jobs.get(name)
        return job.progress if job else self._ended_progress.get(name, (0, 0))

    async def watch(self, name: str) -> AsyncIterator[tuple[int, int]]:
        """Yield (done, total) of an operation repeatedly until it has ended."""
        while job := self._jobs.get(name):
            yield job.progress
            await asyncio.wait([asyncio.wrap_future(job.ended)], timeout=PROGRESS_SECONDS)

    def check_room(self, memory_name: str) -> None:
        """Check that operations of no more than ``memories_max`` memories would run or wait.

        Raises TooManyOperations.
        """
        busy = {job.memory_name for job in [*self._jobs.values()]}
        if memory_name not in busy and len(busy) >= self._memories_max:
            raise TooManyOperations("on different memories", self._memories_max)

    def count_by_kind(self) -> Counter[str]:
        """Return how many operations of each kind run, or wait to."""
        return Counter(job.operation.kind.partition(" ")[0] for job in [*self._jobs.values()])

    def works_on(self, memory_name: str) -> bool:
        """Return True if an operation on a memory runs, or waits to."""
        return any(job.memory_name == memory_name for job in [*self._jobs.values()])

    def running(self, memory_name: str, kind: str) -> Operation | None:
        """Return a running operation of this kind on a memory, or None."""
        for job in list(self._jobs.values()):
            if job.memory_name == memory_name and job.operation.kind == kind:
                return job.operation
        return None

    def cancel(self, memory: Memory, name: str) -> Operation:
        """Cancel an operation; cancelling it again is no error.

        One that would go on after a restart is cancelled on the disk by then. Raises
        UnknownOperation, OperationEnded, NotCancellable, FileUnavailable.
        """
        job = self._jobs.get(name)
        operation = memory.operations.get(name)
        if operation.kind == UNLEARN:
            raise NotCancellable(name)
        if job is not None and operation.state != "running":
            wait([job.ended])
        if operation.state not in ("running", "cancelled"):
            raise errors.OperationEnded(name, operation.state)
        if operation.kind in RESUMED or job is None:
            return self._cancel_on_disk(memory, operation)
        if operation.state == "running":
            self._end_now(job)
        return memory.operations.get(name)

    def _cancel_on_disk(self, memory: Memory, operation: Operation) -> Operation:
        """Cancel an operation so that it does not go on after a restart."""
        name, job = operation.name, self._jobs.get(operation.name)
        try:
            if operation.state == "running":
                memory.operations.end(name, "cancelled")
        except errors.MemoryClosed:  # it replaces the memory at this moment, unless it stops
            if job is None:
                raise
            self._end_now(job)
            wait([job.ended])
        if (job := self._jobs.get(name)) is not None:
            self._end_now(job)
        memory.operations.write_ends()
        ended = memory.operations.get(name)
        if ended.state != "cancelled":
            raise errors.OperationEnded(name, ended.state)
        return ended

    def _end_now(self, job: Job) -> None:
        with self._lock:  # it does not go on, even if it was stopped at the same time
            job.stopped = ""
            job.cancelled.set()
        self._cancel(job)

    def abandon(self, name: str) -> None:
        """Cancel an operation whose result is not needed any more, unless it has ended."""
        if job := self._jobs.get(name):
            job.cancelled.set()

    def stop(
        self,
        memory_name: str | None = None,
        *,
        reason: str = CUT_SHORT,
        except_kinds: Sequence[str] = (),
    ) -> None:
        """Stop the operations of one memory, or of all, and wait until they have ended.

        Operations of ``except_kinds`` go on. ``reason`` is stored as the problem of the stopped
        ones.
        """
        jobs = [
            job
            for job in list(self._jobs.values())
            if memory_name in (None, job.memory_name) and job.operation.kind not in except_kinds
        ]
        with self._lock:
            for job in jobs:
                if not job.cancelled.is_set():
                    job.stopped = reason
                    job.cancelled.set()
        with ExitStack() as stack:  # all is called, whatever is raised
            stack.callback(wait, [job.ended for job in jobs])
            for job in jobs:
                stack.callback(self._stop, job)

    def _stop(self, job: Job) -> None:
        try:
            self._cancel(job)
        except errors.MemoryRefusal as refusal:  # the next start marks it as cut short
            log.error("end not noted", operation=job.name, problem=errors.in_full(refusal))

    @contextmanager
    def suspend_others(
        self, memory_name: str, *, reason: str, except_kinds: Sequence[str]
    ) -> Iterator[None]:
        """Stop a memory's operations, and any started inside the block, except those of some kinds.

        ``reason`` is stored as their problem.
        """
        suspension = reason, except_kinds
        with self._lock:
            self._suspended[memory_name].append(suspension)
        try:
            self.stop(memory_name, reason=reason, except_kinds=except_kinds)
            yield
        finally:
            with self._lock:
                self._suspended[memory_name].remove(suspension)
                if not self._suspended[memory_name]:
                    del self._suspended[memory_name]

    def close(self) -> None:
        """Refuse new operations, stop the running ones, and end the threads."""
        with self._lock:
            self._closed = True
        self.stop()
        for threads in (self._threads, self._erasing, self._reembedding):
            threads.shutdown()

    def _queue(self, job: Job) -> tuple[FairThreads, str]:
        """Return the threads that a job waits for, and its group there: erasures are of one."""
        if job.operation.kind == UNLEARN:
            return self._erasing, ""
        threads = self._reembedding if job.operation.kind == REEMBED else self._threads
        return threads, job.memory_name

    def _cancel(self, job: Job) -> None:
        """End a queued job now, or a running job at its next progress report."""
        job.cancelled.set()
        threads, group = self._queue(job)
        if threads.withdraw(group, job.name):
            try:
                job.end_cancelled()
            finally:
                self._ended(job)

    def _ended(self, job: Job) -> None:
        with self._lock:
            self._ended_progress[job.name] = job.progress
            if len(self._ended_progress) > ENDED_MAX:
                del self._ended_progress[next(iter(self._ended_progress))]
            self._jobs.pop(job.name, None)
        try:
            state = job.memory.operations.get(job.name).state
            if state != "running":  # else it goes on after a restart
                OPERATIONS_ENDED.add(1, job.operation.kind.partition(" ")[0], state)
        except errors.MemoryRefusal:
            pass  # its memory was dropped
        except Exception as problem:  # such as of no memory: those who wait are told all the same
            log.warning("end not counted", operation=job.name, problem=repr(problem))
        finally:
            job.ended.set_result(None)

    def _run(self, job: Job, work: Work) -> None:
        try:
            self._carry_out(job, work)
        except errors.MemoryClosed:  # its end cannot be stored: the memory was dropped
            log.info("operation ended with its memory", operation=job.name)
        except Exception as error:  # nobody waits for this thread
            log.error("operation failed", operation=job.name, exc_info=error)
        finally:
            self._ended(job)

    def _carry_out(self, job: Job, work: Work) -> None:
        attempt = job.retry_while if job.operation.kind == UNLEARN else once

        def stored() -> Operation:
            return job.memory.operations.get(job.name)

        try:
            job.check()
            if attempt(stored).state != "running":  # ended while queued
                return
            result = work(job)
            if attempt(stored).state == "running":
                attempt(partial(job.memory.operations.end, job.name, "done", result=result))
        except Cancelled:
            job.end_cancelled()
        except (errors.MemoryRefusal, EmbeddingRefusal, RequestRefusal) as refusal:
            job.end_failed(str(refusal))
        except Exception as error:
            job.end_failed(str(foreseen(error)))
            raise


def once(act: Callable[[], T]) -> T:
    """Call ``act``."""
    return act()


def check_done(memory: Memory, name: str) -> None:
    """Raise NotDone if an operation has failed or was cancelled."""
    ended = memory.operations.get(name)
    if ended.state != "done":
        raise NotDone(ended.name, ended.state, ended.problem)


def unless_repeated(check: Callable[[], None], request: Request, memory: Memory) -> None:
    """Call ``check`` before an operation is made, unless this request made one before."""
    if repeated(request, memory) is None:
        check()


def repeated(request: Request, memory: Memory) -> Operation | None:
    """Return the operation that this request started before, or None. Raises RequestReused."""
    names = memory.recall(request)
    return memory.operations.get(names[0]) if names else None
