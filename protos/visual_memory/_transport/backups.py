"""Transfers of backups between a server and a file, restarted if they break.

The timeout bounds the time without progress, and the time of retries after the first break.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from visual_memory._messages.answers import to_restored
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, or_new_id
from visual_memory._transport.blocking import Transport
from visual_memory._transport.channel import Failed
from visual_memory._transport.imports import Progress
from visual_memory._transport.retry import RetryBudget
from visual_memory.errors import refuse
from visual_memory.files import check_path, refusing, whole_file
from visual_memory.protocol import PIECE_BYTES, BackupReader
from visual_memory.types import RestoreResult
from visual_memory.v1 import service_pb2 as pb

T = TypeVar("T")


def receive(
    memory: str,
    path: str | os.PathLike[str],
    overwrite: bool,
    transport: Transport,
    report_progress: Progress,
) -> int:
    """Write the backup of a memory to the file ``path`` and return its size in bytes.

    ``report_progress`` is called with the bytes received and all bytes. Raises AlreadyExists if the
    file exists, unless ``overwrite``.
    """
    with whole_file(path, overwrite=overwrite) as file:
        request = message(pb.BackupMemoryRequest, memory=memory)

        def attempt(budget: RetryBudget) -> int:
            file.seek(0)
            file.truncate()
            reader = BackupReader()
            with transport.channel.stream("BackupMemory", request) as stream:
                while (answer := stream.read(budget.remaining)) is not None:
                    budget.renew(0)
                    if answer.data:
                        file.write(answer.data)
                        reader.read(answer.data)
                        report_progress(file.tell(), answer.total_bytes)
            try:
                reader.check()
            except ValueError as problem:
                raise incomplete_backup(memory, str(problem)) from None
            return file.tell()

        return retry_transfer(transport, attempt)


def incomplete_backup(memory: str, problem: str) -> grpc.RpcError:
    """Return the error for a stream that ended normally with an incomplete or altered backup.

    ``problem`` is a clause for its message. The error counts as retriable.
    """
    sentence = f"The backup of {memory} did not come whole ({problem}), so no file was written."
    return Failed(grpc.StatusCode.UNAVAILABLE, sentence)


def send(
    path: str | os.PathLike[str],
    name: str,
    request_id: str | None,
    transport: Transport,
    report_progress: Progress,
) -> RestoreResult:
    """Restore the backup at ``path`` as the memory ``name``.

    ``report_progress`` is called with the bytes sent and all bytes. Raises InvalidArgument if the
    file cannot be read.
    """
    check_path(path, "path")
    first = message(pb.RestoreMemoryRequest, name=name, request_id=or_new_id(request_id))
    call = Call("RestoreMemory", first, to_restored)
    with refusing(path, "path"), open(path, "rb") as file:
        found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        refuse("path", f"cannot be read twice, as may be needed: {os.fspath(path)}", separator=": ")
    failed: list[BaseException] = []

    def messages(budget: RetryBudget) -> Iterator[pb.RestoreMemoryRequest]:
        yield first
        sent = 0
        try:
            for piece in pieces(path):
                yield pb.RestoreMemoryRequest(data=piece)
                budget.renew(0)
                sent += len(piece)
                report_progress(sent, found.st_size)
        except GeneratorExit:
            raise
        except BaseException as error:  # gRPC would say no more than that there was one,
            failed.append(error)  # and wait for the timeout where it is no Exception
            raise Failed(grpc.StatusCode.CANCELLED, "The file was not sent.") from None

    def attempt(budget: RetryBudget) -> RestoreResult:
        try:
            with (
                transport.channel.upload("RestoreMemory", messages(budget)) as stream,
                budget.annotate_interrupts(),
            ):
                return call.read(stream.read(budget.remaining))
        except grpc.RpcError:
            if failed:
                raise failed[0] from None
            raise

    return retry_transfer(transport, attempt, call)


def pieces(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yield a file in pieces of up to 256 KiB. Raises InvalidArgument if it cannot be read."""
    with refusing(path, "path"), open(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def retry_transfer(
    transport: Transport, attempt: Callable[[RetryBudget], T], call: Call[Any] | None = None
) -> T:
    """Repeat a transfer until it succeeds; return its result.

    Each attempt gets a new budget, which its progress renews; ``call``, if given, is the write
    whose request_id errors name. Retries end one timeout after the first break.
    """
    retries: RetryBudget | None = None
    while True:
        budget = transport.endpoint.budget(call)
        try:
            return attempt(budget)
        except grpc.RpcError as error:
            transport.channel.check_open()
            if not budget.remaining():
                (retries or budget).raise_timeout()
            retries = retries or transport.endpoint.budget(call)
            next_delay = retries.next_delay(error)
        time.sleep(next_delay)
