"""Long work on memories, in threads of its own: how far it is, waiting for it, stopping it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, TypeVar

import structlog

from visual_memory_embedders import EmbeddingRefusal
from visual_memory_index import (
    CUT_SHORT,
    UNLEARN,
    Memory,
    MemoryClosed,
    MemoryRefusal,
    NotWritten,
    Operation,
    OperationEnded,
    Request,
    in_full,
)
from visual_memory_service.errors import NotCancellable, NotDone
from visual_memory_service.status import foreseen

PROGRESS_SECONDS = 0.5
CHECK_SECONDS = 0.1
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between tries, the last again and again
AT_ONCE = 2  # others wait: each takes the processors as well as it can
GOES_ON = "{} What is to be erased is noted: it goes on when the server is started again."
log = structlog.get_logger()

T = TypeVar("T")


class Cancelled(Exception):
    """Work that was asked to stop does."""


@dataclass(slots=True)
class Job:
    """One operation under way. Work calls ``told`` between its steps.

    ``stopped`` says why one is cancelled that nobody asked to: the server or the memory goes, or
    what it works on is erased. ``problem`` says what it waits for, if it does.
    """

    operation: Operation
    memory: Memory
    done: int = 0
    total: int = 0
    stopped: str = ""
    problem: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: Future[None] = field(default_factory=Future)

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.operation.name

    @property
    def memory_name(self) -> str:
        """The memory it works on."""
        return self.name.rpartition("/")[0]

    def told(self, done: int, total: int) -> None:
        """Note how far it is. Raises Cancelled."""
        self.done, self.total = done, total
        self.check()

    def check(self) -> None:
        """Raises Cancelled."""
        if self.cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Wait. Raises Cancelled."""
        self.cancelled.wait(seconds)
        self.check()

    def wait(self, future: Future[Any]) -> None:
        """Wait for what another thread does, and raise what it does. Raises Cancelled."""
        while not wait([future], timeout=CHECK_SECONDS).done:
            self.check()
        future.result()

    def insist(self, act: Callable[[], T], *, against: type[Exception] = NotWritten) -> T:
        """Act again and again while that fails for lack of room. Raises Cancelled."""
        for pause in pauses():
            try:
                result = act()
            except against as problem:
                log.warning("operation waits", operation=self.name, reason=in_full(problem))
                self.problem = str(problem)
                self.pause(pause)
            else:
                self.problem = ""
                return result
        raise AssertionError

    def end_cancelled(self) -> None:
        """Note in the memory that it was stopped, and why; erasures go on at the next start.

        Raises NotWritten.
        """
        if self.stopped and self.operation.kind == UNLEARN:
            return
        if self.stopped:
            self.memory.end(self.name, "failed", problem=self.stopped)
        else:
            self.memory.end(self.name, "cancelled")

    def end_failed(self, problem: str) -> None:
        """Note in the memory why it failed; of an erasure only here, which goes on at a start.

        What it is to erase may be marked as unlearned already, and still be stored.
        """
        if self.operation.kind == UNLEARN:
            self.memory.put_off(self.operation, GOES_ON.format(problem))
        else:
            self.memory.end(self.name, "failed", problem=problem)


Work = Callable[[Job], str | None]


def pauses() -> Iterator[float]:
    """Seconds between tries, without end."""
    return chain(PAUSES, repeat(PAUSES[-1]))


class Operations:
    """Starts operations and knows those that run; the others are in their memory's file."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "operation")
        self._erasing = ThreadPoolExecutor(1, "erasing")  # waits for nothing else
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queued: dict[str, Future[None]] = {}
        self._kept_off: dict[str, tuple[str, str]] = {}  # of a memory, why, and but which kind
        self._closed = False

    def start(
        self, memory: Memory, kind: str, work: Work, *, request: Request | None = None
    ) -> Operation:
        """Begin ``work``, whose answer becomes the result; a repeated request begins nothing.

        Raises RequestReused, NotWritten, MemoryClosed where the server is stopping.
        """
        if self._closed:
            raise MemoryClosed(memory.identity.name)
        begun = memory.begin(kind, request=request)
        if not begun.again:
            self.go_on(memory, begun.operation, work)
        return begun.operation

    def go_on(self, memory: Memory, operation: Operation, work: Work) -> None:
        """Do the work of an operation that is noted to run, unless it is being done.

        Raises MemoryClosed where the server is stopping.
        """
        threads = self._erasing if operation.kind == UNLEARN else self._threads
        job = Job(operation, memory)
        with self._lock:
            if job.name in self._jobs:
                return
            if not self._closed:
                reason, but = self._kept_off.get(job.memory_name, ("", operation.kind))
                if operation.kind != but:
                    job.stopped = reason
                    job.cancelled.set()
                self._jobs[job.name] = job
                self._queued[job.name] = threads.submit(self._run, job, work)
                return
        job.stopped = CUT_SHORT
        job.end_cancelled()
        raise MemoryClosed(memory.identity.name)

    def job(self, name: str) -> Job | None:
        """An operation that runs, or None."""
        return self._jobs.get(name)

    async def progress(self, name: str) -> AsyncIterator[tuple[int, int]]:
        """How far an operation is, again and again until it has ended."""
        while job := self._jobs.get(name):
            yield job.done, job.total
            await asyncio.wait([asyncio.wrap_future(job.ended)], timeout=PROGRESS_SECONDS)

    def running(self, memory_name: str, kind: str) -> Operation | None:
        """An operation of this kind that runs on a memory, or None."""
        for job in list(self._jobs.values()):
            if job.memory_name == memory_name and job.operation.kind == kind:
                return job.operation
        return None

    def cancel(self, memory: Memory, name: str) -> Operation:
        """Ask an operation to stop, perhaps again.

        Raises UnknownOperation, OperationEnded, NotCancellable.
        """
        job = self._jobs.get(name)
        operation = memory.operation(name)
        if operation.kind == UNLEARN:
            raise NotCancellable(name)
        if operation.state == "cancelled":
            return operation
        if job is None or operation.state != "running":
            raise OperationEnded(name, operation.state)
        self._cancel(job)
        return memory.operation(name)

    def abandon(self, name: str) -> None:
        """Stop an operation whose result nobody waits for any more."""
        if job := self._jobs.get(name):
            job.cancelled.set()

    def stop(
        self, memory_name: str | None = None, *, reason: str = CUT_SHORT, but: str = ""
    ) -> None:
        """Stop the operations of one memory, or all, and wait until they have.

        Those of the kind ``but`` go on, or wait for their turn.
        """
        jobs = [
            job
            for job in list(self._jobs.values())
            if memory_name in (None, job.memory_name) and job.operation.kind != but
        ]
        for job in jobs:
            job.stopped = reason
            try:
                self._cancel(job)
            except MemoryRefusal as refusal:  # the next start finds it cut short
                log.error("end not noted", operation=job.name, problem=in_full(refusal))
        wait([job.ended for job in jobs])

    @contextmanager
    def kept_off(self, memory_name: str, *, reason: str, but: str) -> Iterator[None]:
        """Stop the operations of a memory, those that begin meanwhile too, ``but`` those of a kind.

        One user of a memory at a time.
        """
        with self._lock:
            self._kept_off[memory_name] = reason, but
        try:
            self.stop(memory_name, reason=reason, but=but)
            yield
        finally:
            with self._lock:
                del self._kept_off[memory_name]

    def close(self) -> None:
        """Begin no more, stop all of them, and the threads."""
        with self._lock:
            self._closed = True
        self.stop()
        self._threads.shutdown()
        self._erasing.shutdown()

    def _cancel(self, job: Job) -> None:
        """One that still waits for a thread ends here, one that runs at its next step."""
        job.cancelled.set()
        with self._lock:  # whoever comes second finds none
            queued = self._queued.pop(job.name, None)
        if queued is not None and queued.cancel():
            try:
                job.end_cancelled()
            finally:
                self._ended(job)

    def _ended(self, job: Job) -> None:
        with self._lock:
            self._queued.pop(job.name, None)
            self._jobs.pop(job.name, None)
        job.ended.set_result(None)

    def _run(self, job: Job, work: Work) -> None:
        try:
            self._carry_out(job, work)
        except Exception as error:  # nobody waits for this thread
            log.error("operation failed", operation=job.name, exc_info=error)
        finally:
            self._ended(job)

    def _carry_out(self, job: Job, work: Work) -> None:
        try:
            job.check()
            if job.memory.operation(job.name).state != "running":  # since it was asked to go on
                return
            result = work(job)
            if job.memory.operation(job.name).state == "running":
                end = partial(job.memory.end, job.name, "done", result=result)
                job.insist(end) if job.operation.kind == UNLEARN else end()
        except Cancelled:
            job.end_cancelled()
        except (MemoryRefusal, EmbeddingRefusal) as refusal:  # also a full disk
            job.end_failed(str(refusal))
        except Exception as error:
            job.end_failed(str(foreseen(error)))
            raise


def check_done(memory: Memory, name: str) -> None:
    """Raises NotDone where an operation that has ended did not end well."""
    ended = memory.operation(name)
    if ended.state != "done":
        raise NotDone(ended.name, ended.state, ended.problem)
