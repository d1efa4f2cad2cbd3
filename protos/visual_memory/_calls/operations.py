"""Calls about long-running operations (AIP-151): get, list, wait, cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from google.protobuf.duration_pb2 import Duration

from visual_memory._messages.answers import to_operation, to_page
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, name_of
from visual_memory._transport.retry import INTERRUPTS
from visual_memory.errors import FailedPrecondition
from visual_memory.types import Operation
from visual_memory.v1 import service_pb2 as pb

T = TypeVar("T")
WAIT_SECONDS = 1  # of one message; progress is reported between them


@dataclass(frozen=True, slots=True)
class Pending(Generic[T]):
    """A call that starts an operation, and the type of the operation's result."""

    call: Call[Operation]
    result_type: type[T]

    def result(self, operation: Operation) -> T:
        """Return the result of an operation that ended.

        Raises FailedPrecondition if the operation failed or was cancelled, or its result is gone.
        """
        check_done(operation)
        if not isinstance(operation.result, self.result_type):
            raise FailedPrecondition(
                f'The operation "{operation.name}" is done, and a repeated call cannot return its '
                f"result: {operation.problem} With another request_id, or none, the call starts a "
                "new operation.",
                reason="RESULT_GONE",
            )
        return operation.result


def get_operation(name: str) -> Call[Operation]:
    return Call("GetOperation", message(pb.GetOperationRequest, name=name), to_operation)


def list_operations(memory: str, page_token: str) -> Call[tuple[list[Operation], str]]:
    request = message(pb.ListOperationsRequest, memory=memory, page_token=page_token)
    return Call("ListOperations", request, partial(to_page, "operations", to_operation))


def cancel_operation(operation: str | Operation) -> Call[Operation]:
    request = message(pb.CancelOperationRequest, name=name_of(operation))
    return Call("CancelOperation", request, to_operation)


def wait_operation(operation: str | Operation) -> Call[Operation]:
    name, seconds = name_of(operation), Duration(seconds=WAIT_SECONDS)
    request = message(pb.WaitOperationRequest, name=name, timeout=seconds)
    return Call("WaitOperation", request, to_operation)


@contextmanager
def annotate_interrupts(name: str) -> Iterator[None]:
    """Context manager: add to an interrupt the operation that goes on, and what to do about it."""
    try:
        yield
    except INTERRUPTS as ended:
        ended.add_note(
            f'Interrupted; the operation goes on: the client\'s wait("{name}") waits for it, and '
            f'cancel("{name}") stops it.'
        )
        raise


def report(operation: Operation, progress: Callable[[int, int], None] | None) -> None:
    """Call ``progress``, if not None, with what an operation has done and all, where known."""
    if progress is not None and operation.total:
        progress(operation.done, operation.total)


def has_ended(operation: Operation) -> bool:
    """Return True if the operation has ended, False if it still runs.

    Raises FailedPrecondition if the operation cannot go on for now, such as while the disk is full.
    """
    if operation.state == "running" and operation.problem:
        raise FailedPrecondition(
            f'The operation "{operation.name}" goes on as soon as it can, and need not be started '
            f"again. For now: {operation.problem}"
        )
    return operation.state != "running"


def check_done(operation: Operation) -> None:
    """Raise FailedPrecondition if an operation failed or was cancelled."""
    if operation.state != "done":
        problem = operation.problem or "start it again if it should be done after all."
        said = "failed" if operation.state == "failed" else f"was {operation.state}"
        raise FailedPrecondition(f'The operation "{operation.name}" {said}: {problem}')
