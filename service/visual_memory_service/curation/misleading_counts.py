"""Misleading counts, computed by an operation if they are not known yet."""

from __future__ import annotations

from visual_memory_index import Memory, Operation
from visual_memory_service.runtime.operations import Job, Operations, check_done
from visual_memory_service.runtime.threads import in_thread


def find_counts(k: int, memory: Memory, operations: Operations) -> Operation | None:
    """Return the operation that computes misleading counts for ``k``, and start it if needed.

    Returns None if none runs and the counts can be had within about a second.
    """
    kind = f"counts k={k}"
    running = operations.running(memory.identity.name, kind)
    if running is not None or memory.knows_counts(k):
        return running

    def work(job: Job) -> None:
        memory.misleading_counts(k, job.report_progress)

    return operations.start(memory, kind, work)


async def await_counts(k: int, memory: Memory, operations: Operations) -> None:
    """Wait until misleading counts for ``k`` are computed, or can be within about a second.

    Raises NotDone if the operation that computes them fails or is cancelled.
    """
    operation = await in_thread(find_counts, k, memory, operations)
    if operation is None:
        return
    async for _ in operations.watch(operation.name):
        pass
    await in_thread(check_done, memory, operation.name)
