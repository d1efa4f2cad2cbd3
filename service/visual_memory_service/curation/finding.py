"""A finding: the result of an operation that is streamed to one caller and not kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from visual_memory_index import Memory, Request
from visual_memory_service.runtime.operations import Job, Operations, check_done
from visual_memory_service.runtime.threads import in_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Finding(Generic[T]):
    """The progress of an operation, ``done`` of ``total``; ``found`` is None until the end."""

    operation: str
    done: int
    total: int
    found: T | None = None


async def find(
    kind: str, work: Callable[[Job], T], memory: Memory, operations: Operations, principal: str
) -> AsyncGenerator[Finding[T], None]:
    """Yield the progress of ``work`` as an operation of this ``kind``, then what it returns.

    ``principal`` is who asked.

    Closing the generator cancels the operation. Raises NotDone if the operation fails or another
    caller cancels it.
    """
    ended: list[tuple[int, T]] = []

    def keep(job: Job) -> None:
        found = work(job)
        ended.append((job.progress[1], found))

    begin = partial(operations.start, request=Request(principal=principal))
    name = (await in_thread(begin, memory, kind, keep)).name
    try:
        async for done, total in operations.watch(name):
            yield Finding(name, done, total)
    finally:
        operations.abandon(name)
    await in_thread(check_done, memory, name)
    total, found = ended[0]
    yield Finding(name, total, total, found)
