"""Calls wait for operations no longer than they say, and no shorter."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration

from visual_memory.v1 import operation_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import WITHOUT_ID, Entry
from visual_memory_service.access.callers import ANYBODY, caller
from visual_memory_service.config import Settings
from visual_memory_service.erasure.unlearn import nothing_erased
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.wire.calls import at_end
from visual_memory_service.wire.servicer import Servicer


def test_a_call_waits_for_an_operation_that_no_job_works_on(tmp_path: Path) -> None:
    unused: Any = None
    settings = Settings(tmp_path)
    with closing(Memories(settings, lambda *_: None)) as memories, closing(Operations()) as works:
        memories.create("pets", embedder=None, dimension=2, store_images=False, request=WITHOUT_ID)
        pets = memories.use("pets").memory
        pets.insert([Entry("a", "cat")], np.eye(1, 2, dtype="f4"))
        begun = pets.unlearning.begin(["a"], allow_missing=False).operation
        request = pb.WaitOperationRequest(name=begun.name, timeout=Duration(nanos=300_000_000))

        async def waited() -> tuple[int, float, int]:
            servicer = Servicer(
                memories, unused, works, unused, unused, unused, settings, asyncio.Event()
            )
            at_end.set(ExitStack())
            caller.set(ANYBODY)
            start = time.monotonic()
            first = await servicer.WaitOperation(request, None)
            seconds = time.monotonic() - start
            request.ClearField("timeout")
            ending = asyncio.create_task(servicer.WaitOperation(request, None))
            await asyncio.sleep(0.15)  # so that it waits, without a job
            works.resume(pets, begun, lambda job: nothing_erased([]))
            return first.state, seconds, (await ending).state

        first, seconds, last = asyncio.run(waited())

    assert first == operation_pb2.Operation.RUNNING
    assert seconds >= 0.3
    assert last == operation_pb2.Operation.DONE
