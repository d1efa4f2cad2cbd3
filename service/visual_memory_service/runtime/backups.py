"""Backups, memories made of them, and copies: one after another, in a thread that gives way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, BinaryIO, TypeAlias, TypeVar

from visual_memory_index import Arrival, MemoryClosed, Request, lower_thread_priority, sealed
from visual_memory_service.runtime.memories import Memories, OpenMemory, Restored
from visual_memory_service.runtime.threads import in_thread, until_done

WAITING_SECONDS = 0.5

T = TypeVar("T")
Check: TypeAlias = Callable[[], None]


class Copies:
    """What is copied of memories, and comes in to be one. Raises MemoryClosed once it is closed.

    Settings that were ``fitted`` to entries go with them where some are left out.
    """

    def __init__(self, memories: Memories, fitted: Sequence[str]) -> None:
        self._memories = memories
        self._fitted = fitted
        self._thread = ThreadPoolExecutor(1, "copy", lower_thread_priority)
        self._closed = threading.Event()

    def close(self) -> None:
        """Begin no more, and stop what is under way."""
        self._closed.set()
        self._thread.shutdown(cancel_futures=True)

    async def backup(self, name: str) -> AsyncIterator[bytes]:
        """A backup in pieces, which are empty while it is being made.

        Raises UnknownMemory, CorruptStore, BadAuditLog, NotWritten.
        """
        made = ExitStack()

        def make(check: Check) -> BinaryIO:
            return made.enter_context(
                self._memories.backup(name, settings=self._fitted, check=check)
            )

        making = asyncio.create_task(self._in_turn(name, make))
        try:
            while not (await asyncio.wait([making], timeout=WAITING_SECONDS))[0]:
                yield b""
            pieces = sealed(await making)
            while piece := await in_thread(next, pieces, b""):
                yield piece
        finally:
            making.cancel()
            await closed(making, made)

    @asynccontextmanager
    async def received(
        self, name: str, request_id: str, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[Arrival]:
        """The backup of a memory to be, once all of it has come.

        Raises MemoryExists before any of it does, BadBackup, NotWritten.
        """
        made = ExitStack()

        def make() -> Arrival:
            return made.enter_context(self._memories.arrival(name, request_id))

        making = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            arrival = await asyncio.shield(making)
            async for piece in pieces:
                await in_thread(arrival.write, piece)
            await in_thread(arrival.finish)
            yield arrival
        finally:
            await closed(making, made)

    async def restore(self, arrival: Arrival, name: str, request: Request | None) -> Restored:
        """A memory of a backup that was received.

        Raises BadBackup, NewerStore, MemoryExists, RequestReused, NotWritten.
        """

        def restore(check: Check) -> Restored:
            return self._memories.restore(
                name, arrival, settings=self._fitted, check=check, request=request
            )

        return await self._in_turn(name, restore)

    async def copy(self, name: str, new_name: str, request: Request | None) -> OpenMemory:
        """A memory that holds what another does now.

        Raises UnknownMemory, MemoryExists, RequestReused, NotWritten.
        """

        def copy(check: Check) -> OpenMemory:
            return self._memories.copy(
                name, new_name, settings=self._fitted, check=check, request=request
            )

        return await self._in_turn(name, copy)

    async def _in_turn(self, name: str, work: Callable[[Check], T]) -> T:
        """Do it in the thread; where nobody waits for it any more, stop it first."""
        unwanted = threading.Event()

        def check() -> None:
            if unwanted.is_set() or self._closed.is_set():
                raise MemoryClosed(name)

        if self._closed.is_set():
            raise MemoryClosed(name)
        job = self._thread.submit(work, check)

        def give_up() -> None:
            unwanted.set()
            job.cancel()

        return await until_done(asyncio.wrap_future(job), give_up)


async def closed(making: asyncio.Future[Any], made: ExitStack) -> None:
    """Close what a thread has ``made``, once it has ended: it goes on where a call is cancelled.

    Another thread does that, for it may free many blocks, also where the call is cancelled again.
    """

    async def close() -> None:
        await asyncio.wait([making])
        await asyncio.to_thread(made.close)

    await asyncio.shield(asyncio.create_task(close()))
