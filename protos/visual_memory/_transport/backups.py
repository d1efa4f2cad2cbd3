"""Backups on their way between a server and a file, begun anew where they break off.

The timeout bounds the time in which nothing moves, and that in which it is tried again after it
broke off.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, TypeVar

import grpc

from visual_memory._messages.answers import to_restored
from visual_memory._messages.call import Call
from visual_memory._messages.fields import message, named
from visual_memory._transport.channel import Channel
from visual_memory._transport.connection import Endpoint
from visual_memory._transport.retry import Patience
from visual_memory.errors import refuse
from visual_memory.files import check_path, refuse_file
from visual_memory.types import RestoreResult
from visual_memory.v1 import service_pb2 as pb

PIECE_BYTES = 1 << 18

T = TypeVar("T")


def receive(
    opened: Callable[[], Channel],
    endpoint: Endpoint,
    memory: str,
    file: BinaryIO,
    told: Callable[[int], None],
) -> int:
    """Write a memory's backup into ``file``; how many bytes that are. ``told`` hears it as well."""
    request = message(pb.BackupMemoryRequest, memory=memory)

    def attempt(patience: Patience) -> int:
        file.seek(0)
        file.truncate()
        stream = opened().stream("BackupMemory", request)
        try:
            while (answer := stream.read(patience.remaining)) is not None:
                patience.renew(0)
                file.write(answer.data)
                told(file.tell())
        finally:
            stream.cancel()
        return file.tell()

    return again_and_again(attempt, endpoint.patience)


def send(
    opened: Callable[[], Channel],
    endpoint: Endpoint,
    path: str | os.PathLike[str],
    name: str,
    request_id: str | None,
    told: Callable[[int, int], None],
) -> RestoreResult:
    """Have the backup at ``path`` made the memory ``name``; ``told`` hears how many bytes went.

    Raises InvalidArgument where it cannot be read.
    """
    check_path(path, "path")
    first = message(pb.RestoreMemoryRequest, name=name, request_id=named(request_id))
    call = Call("RestoreMemory", first, to_restored)
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
    except OSError as problem:
        refuse_file(path, "path", problem)

    if not stat.S_ISREG(found.st_mode):
        refuse("path", f"cannot be read twice, as may be needed: {os.fspath(path)}", separator=": ")
    failed: list[Exception] = []

    def messages(patience: Patience) -> Iterator[pb.RestoreMemoryRequest]:
        yield first
        try:
            with open(path, "rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield pb.RestoreMemoryRequest(data=piece)
                    patience.renew(0)
                    told(file.tell(), found.st_size)
        except Exception as error:  # gRPC would say no more than that there was one
            failed.append(error)
            raise

    def attempt(patience: Patience) -> RestoreResult:
        stream = opened().upload("RestoreMemory", messages(patience))
        try:
            with patience.noted():
                return call.read(stream.read(patience.remaining))
        except grpc.RpcError:
            if failed:
                raise failed[0] from None
            raise
        finally:
            stream.cancel()

    return again_and_again(attempt, partial(endpoint.patience, call))


def again_and_again(attempt: Callable[[Patience], T], begin: Callable[[], Patience]) -> T:
    """What an attempt comes to, each with a patience to renew when something moves.

    How long it is tried again counts from where it first broke off.
    """
    retries: Patience | None = None
    while True:
        patience = begin()
        try:
            return attempt(patience)
        except grpc.RpcError as error:
            if not patience.remaining():
                patience.give_up()
            retries = retries or begin()
            pause = retries.pause(error)
        time.sleep(pause)
