"""Long work on memories, in threads of its own: how far it is, waiting for it, stopping it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import structlog

from visual_memory_embedders import EmbeddingRefusal
from visual_memory_index import (
    CUT_SHORT,
    Memory,
    MemoryRefusal,
    Operation,
    OperationEnded,
    Request,
)
from visual_memory_service.errors import NotDone

PROGRESS_SECONDS = 0.5
AT_ONCE = 2  # others wait: each takes the processors as well as it can
log = structlog.get_logger()


class Cancelled(Exception):
    """Work that was asked to stop does."""


@dataclass(slots=True)
class Job:
    """One operation under way. Work calls ``told`` between its steps.

    ``stopped`` says of one that is cancelled that nobody asked for it: the server or memory goes.
    """

    operation: Operation
    done: int = 0
    total: int = 0
    stopped: bool = False
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
        if self.cancelled.is_set():
            raise Cancelled


Work = Callable[[Job], str | None]


class Operations:
    """Starts operations and knows those that run; the others are in their memory's file."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "operation")
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}

    def start(
        self, memory: Memory, kind: str, work: Work, *, request: Request | None = None
    ) -> Operation:
        """Begin ``work``, whose answer becomes the result; a repeated request begins nothing.

        Raises RequestReused, DiskFull.
        """
        with self._lock:
            operation = memory.begin(kind, request=request)
            if operation.state == "running" and operation.name not in self._jobs:
                job = self._jobs[operation.name] = Job(operation)
                self._threads.submit(self._run, memory, job, work)
        return operation

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
        """Ask an operation to stop. Raises UnknownOperation, OperationEnded."""
        job = self._jobs.get(name)
        operation = memory.operation(name)
        if job is None or operation.state != "running":
            raise OperationEnded(name, operation.state)
        job.cancelled.set()
        return operation

    def stop(self, memory_name: str | None = None) -> None:
        """Stop the operations of one memory, or all, and wait until they have."""
        jobs = [job for job in list(self._jobs.values()) if memory_name in (None, job.memory_name)]
        for job in jobs:
            job.stopped = True
            job.cancelled.set()
        wait([job.ended for job in jobs])

    def close(self) -> None:
        """Stop all of them, and the threads."""
        self.stop()
        self._threads.shutdown()

    def _run(self, memory: Memory, job: Job, work: Work) -> None:
        try:
            self._carry_out(memory, job, work)
        except Exception as error:  # nobody waits for this thread
            log.error("operation failed", operation=job.name, exc_info=error)
        finally:
            del self._jobs[job.name]
            job.ended.set_result(None)

    def _carry_out(self, memory: Memory, job: Job, work: Work) -> None:
        try:
            job.told(0, 0)
            result = work(job)
        except Cancelled:
            if job.stopped:
                memory.end(job.name, "failed", problem=CUT_SHORT)
            else:
                memory.end(job.name, "cancelled")
            return
        except (MemoryRefusal, EmbeddingRefusal) as refusal:
            memory.end(job.name, "failed", problem=str(refusal))
            return
        except Exception:
            memory.end(
                job.name,
                "failed",
                problem="The service failed on its own side; its log says why.",
            )
            raise
        if memory.operation(job.name).state == "running":
            memory.end(job.name, "done", result=result)


def check_done(memory: Memory, name: str) -> None:
    """Raises NotDone where an operation that has ended did not end well."""
    ended = memory.operation(name)
    if ended.state != "done":
        raise NotDone(ended.name, ended.state, ended.problem)
