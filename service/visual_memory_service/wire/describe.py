"""Descriptions of memories, as GetMemory and ListMemories answer them."""

from __future__ import annotations

from collections.abc import Callable

from visual_memory.v1 import memory_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.errors import MemoryClosed, MemoryRefusal, TooManyFiles, UnknownMemory
from visual_memory_service.convert import answers
from visual_memory_service.convert.page_token import from_token, to_page_bounds
from visual_memory_service.decisions.calibration import calibration_of
from visual_memory_service.decisions.drift import drift_of
from visual_memory_service.decisions.tune import default_rule_of
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.served_memory import ServedMemory
from visual_memory_service.wire.rerank import reranker_of


def describe(served: ServedMemory) -> memory_pb2.Memory:
    """Return a message on the current state of a memory."""
    memory = served.memory
    return answers.from_info(
        memory.info(),
        calibration_of(served),
        drift_of(served),
        default_rule_of(served),
        reranker_of(memory),
    )


def list_memories(
    request: pb.ListMemoriesRequest,
    memories: Memories,
    admits: Callable[[str], bool],
    bytes_max: int,
) -> pb.ListMemoriesResponse:
    """Describe a page of the memories whose names it ``admits``, cut short at ``bytes_max``.

    Raises BadField, TooManyFiles.
    """
    after, size = to_page_bounds(request)
    names = [name for name in memories.names() if name > after and admits(name)]
    found: list[memory_pb2.Memory] = []
    filled, last = 0, names[size - 1] if len(names) > size else ""
    for name in names[:size]:
        try:
            found.append(memories.told(name, describe))
        except (MemoryClosed, UnknownMemory):  # it was dropped meanwhile
            continue
        except TooManyFiles:
            raise
        except MemoryRefusal as damage:
            found.append(memory_pb2.Memory(name=name, damage=str(damage)))
        filled += found[-1].ByteSize()
        if filled >= bytes_max:  # labels may be very many
            last = name if name != names[-1] else ""
            break
    return pb.ListMemoriesResponse(memories=found, next_page_token=from_token(last, request))
