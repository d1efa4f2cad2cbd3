"""Backups, restores and copies: one at a time, in a thread of low priority."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any, BinaryIO, TypeVar

from visual_memory.protocol import TRAILER_BYTES, BackupReader, with_checksum
from visual_memory_index import IncomingBackup, Request, lower_thread_priority, running_threads
from visual_memory_index.errors import BadBackup, MemoryClosed
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.threads import in_thread, until_done

WAITING_SECONDS = 0.5

T = TypeVar("T")


class Backups:
    """Makes backups, restores and copies. Its methods raise MemoryClosed once it is closed."""

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._thread = running_threads(1, "copy", lower_thread_priority)
        self._closed = threading.Event()

    def close(self) -> None:
        """Refuse new backups, restores and copies, and stop those under way."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)

    async def backup(self, name: str, request: Request) -> AsyncGenerator[tuple[bytes, int], None]:
        """Yield each piece of a backup with the size of the whole in bytes.

        Until the backup is made, the pieces are empty and the size is 0.
        Raises UnknownMemory, CorruptStore, BadAuditLog, FileUnavailable.
        """
        made = ExitStack()

        def make(*, check: Callable[[], None]) -> BinaryIO:
            return made.enter_context(self._memories.backup(name, check=check, request=request))

        making = asyncio.create_task(self._run(name, make))
        try:
            while not (await asyncio.wait([making], timeout=WAITING_SECONDS))[0]:
                yield b"", 0
            database = await making
            size = os.fstat(database.fileno()).st_size + TRAILER_BYTES
            pieces = with_checksum(database)
            while piece := await in_thread(next, pieces, b""):
                yield piece, size
        finally:
            making.cancel()
            await closed(making, made)

    @asynccontextmanager
    async def received(
        self, name: str, request_id: str, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[tuple[IncomingBackup, bytes]]:
        """Context manager: receive the backup of a new memory; yield the backup and its SHA-256.

        Raises MemoryExists before any piece is read, BadBackup, FileUnavailable.
        """
        made = ExitStack()

        def make() -> IncomingBackup:
            return made.enter_context(self._memories.arrival(name, request_id))

        making = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            arrival = await asyncio.shield(making)
            reader = BackupReader()
            async for piece in pieces:
                await in_thread(lambda piece: arrival.write(reader.read(piece)), piece)
            try:
                reader.check()
            except ValueError as problem:
                raise BadBackup(str(problem)) from None
            await in_thread(arrival.finish)
            yield arrival, reader.sha256
        finally:
            await closed(making, made)

    async def restore(self, arrival: IncomingBackup, name: str, request: Request) -> int:
        """Make a memory from a received backup; return the count of entries left out.

        Entries that were unlearned since the backup are left out. Raises BadBackup, NewerStore,
        MemoryExists, RequestReused, FileUnavailable.
        """
        restore = partial(self._memories.restore, name, arrival, request=request)
        return await self._run(name, restore)

    async def copy(self, name: str, new_name: str, request: Request) -> None:
        """Copy a memory, as it is now, to a new memory.

        Raises UnknownMemory, MemoryExists, RequestReused, FileUnavailable.
        """
        copy = partial(self._memories.copy, name, new_name, request=request)
        await self._run(name, copy)

    async def _run(self, name: str, work: Callable[..., T]) -> T:
        """Run ``work(check=…)`` in the backup thread and return its result; ``name`` is for errors.

        ``check`` raises MemoryClosed once the caller is cancelled or the server stops.
        """
        unwanted = threading.Event()

        def check() -> None:
            if unwanted.is_set() or self._closed.is_set():
                raise MemoryClosed(name)

        if self._closed.is_set():
            raise MemoryClosed(name)
        job = self._thread.submit(work, check=check)

        def give_up() -> None:
            unwanted.set()
            job.cancel()

        return await until_done(asyncio.wrap_future(job), give_up)


async def closed(making: asyncio.Future[Any], made: ExitStack) -> None:
    """Close ``made`` once ``making`` has ended, even if this call is cancelled meanwhile.

    Another thread closes ``made``, because closing may free many blocks of a file.
    """

    async def close() -> None:
        await asyncio.wait([making])
        await asyncio.to_thread(made.close)

    await asyncio.shield(asyncio.create_task(close()))
