"""The messages of a call: each is received once there is room for it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from visual_memory.protocol import MESSAGE_BYTES
from visual_memory_service import errors
from visual_memory_service.access.callers import ANYBODY, Caller
from visual_memory_service.access.limits import BYTES, PIXELS
from visual_memory_service.convert.requests import pixels
from visual_memory_service.runtime.heap import release_free_pages
from visual_memory_service.runtime.measures import RECEIVED_BYTES
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.runtime.timeline import part
from visual_memory_service.wire.admission import PRESSED_SECONDS, SMALL_BYTES, AdmissionControl
from visual_memory_service.wire.connections import Connections
from visual_memory_service.wire.methods import Method, is_own

NO_MEMORY = "Arena alloc failed"  # how protobuf says it
NUMBER = re.compile(r"[0-9]{1,18}")
UNANNOUNCED_SECONDS = 15.0  # of silence, while a message of unknown size arrives
BYTES_PER_SECOND_MIN = 1 << 20  # a message that arrives slower counts as silence
LARGE_BYTES = 64 << 20  # held by a call whose freed pages are returned to the system
AT_ONCE_SECONDS, SMALL_SECONDS = 0.05, 2.0  # in which a message must come that waits for no room
KEY_SECONDS = 1.0  # after which a key may have been revoked


async def receive(context: Any) -> bytes | None:
    """Return the next message of a call, None after the last.

    gRPC's own iterator would keep each message until the next has come.
    """
    data = await context.read()
    return None if data is grpc.aio.EOF else data


class Messages:
    """The messages of the call that the current task answers.

    Each is received once there is room for it; a message that is too large is refused with a
    sentence. Most calls are admitted first. Others, such as health, are told under any load: their
    messages are small, and come at once. A client that is silent for too long ends the call: its
    task is cancelled, and ``refusal`` says why.
    """

    def __init__(
        self,
        method: Method,
        context: Any,
        admission: AdmissionControl,
        connections: Connections,
    ) -> None:
        self._method, self._handler, self._context = method, method.handler, context
        self._admission, self._connections = admission, connections
        self._task = asyncio.current_task()
        self.refusal: errors.RequestRefusal | None = None
        self.held, self.unannounced, self.patience = 0, False, PRESSED_SECONDS
        self.holder: str | None = None
        self.idle_seconds: float | None = None
        self._caller: Caller | None = None
        self._admitted, self._told_room = False, False
        self._named = False  # once the message that names memories has come
        self._key_found = time.monotonic()
        self._answer_bytes = 0  # if they are many
        self._reading, self._answering, self._unanswered = False, False, 0

    async def read(self, caller: Caller | None) -> Any:
        """Return the message of the call, or an iterator of its messages.

        Those of a ``caller`` count in its account, and name memories that its key is for.
        """
        if caller is not None:
            self._caller, self.idle_seconds = caller, caller.account.idle_seconds
            if caller is not ANYBODY:
                self.holder = caller.key.name
        if self._handler.request_streaming:
            if self._method.is_admitted:
                await self._admit()
                if is_own(self._context):
                    self._admission.reserve(self, self._announced() or 0)
                    await self._tell_room()
            return self._messages()
        if self._method.is_admitted:
            return await self._taken(await self._only())
        if (data := await self._small()) is None:
            await self._refuse_none()
        return self._parsed(data)

    async def _admit(self) -> None:
        with part("admit"):
            await self._admission.admit()
        self._admitted = True

    async def _only(self) -> bytes:
        """Receive the one message of the call, with room reserved for it."""
        size = self._announced()
        if size is None:
            async with self._admission.unannounced(
                self.holder
            ):  # first: a call waiting here takes no place
                await self._admit()
                self.unannounced, self.patience = True, UNANNOUNCED_SECONDS
                try:
                    return await self._first()
                finally:
                    self.unannounced, self.patience = False, PRESSED_SECONDS
        await self._admit()
        self._admission.reserve(self, size)
        if size > SMALL_BYTES and is_own(self._context):
            await self._tell_room()
        self.patience += size / BYTES_PER_SECOND_MIN
        data = await self._first()
        if len(data) > size:
            raise errors.BadField(
                MESSAGE_BYTES, f"in the metadata is {size}, but the message has {len(data)} bytes"
            )
        return data

    def _announced(self) -> int | None:
        """Return the message size that the client announced, or None. Raises BadField."""
        for name, value in self._context.invocation_metadata() or ():
            if name == MESSAGE_BYTES:
                if not (isinstance(value, str) and NUMBER.fullmatch(value)):
                    raise errors.BadField(
                        MESSAGE_BYTES, "in the metadata must be a number of bytes"
                    )
                return int(value)
        return None

    async def _tell_room(self) -> None:
        """Tell a caller by HTTP, who waits for it with the body, that there is room."""
        await self._context.send_initial_metadata(())
        self._told_room = True

    async def _first(self) -> bytes:
        data = await self._receive()
        if data is None:
            await self._refuse_none()
        return data

    async def _refuse_none(self) -> NoReturn:
        """Raise BadField for a call without a message, or CancelledError if it broke off."""
        await self._check_whole()
        raise errors.BadField("The message", "must be sent before the call is half-closed")

    async def _small(self) -> bytes | None:
        """Return the next message of a call that was not admitted, None after the last.

        Raises BadField if it is not small, and ClientSilent if it does not come soon, or if others
        wait for theirs.
        """
        receiving = asyncio.ensure_future(receive(self._context))
        closing = asyncio.ensure_future(self._connections.closing.wait())
        try:
            if not (await asyncio.wait([receiving], timeout=AT_ONCE_SECONDS))[0]:
                with self._admission.late():
                    await asyncio.wait(
                        [receiving, closing],
                        timeout=SMALL_SECONDS,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
            if not receiving.done():
                raise errors.ConnectionsRenewed if closing.done() else errors.ClientSilent
            data = receiving.result()
        finally:
            receiving.cancel()
            closing.cancel()
        if data is not None and (size := len(data)) > SMALL_BYTES:
            del data, receiving
            if size >= LARGE_BYTES:
                await in_thread(release_free_pages)
            raise errors.BadField(
                "The message", f"has {size} bytes, but this call takes {SMALL_BYTES} at most"
            )
        return data

    async def _messages(self) -> AsyncIterator[Any]:
        if not self._method.is_admitted:
            with suppress(errors.ClientSilent, errors.ConnectionsRenewed):  # it may ask again
                while (data := await self._small()) is not None:
                    yield self._parsed(data)
            return
        while (message := await self._next()) is not None:
            yield message
        if not (self._handler.response_streaming or self._told_room):  # HTTP sends one, or none
            await self._check_whole()

    async def _check_whole(self) -> None:
        """Raise CancelledError if the call broke off before its client had sent all messages.

        gRPC ends the messages of such a call as if all had come, but nothing can be sent any more.
        """
        if self._told_room:  # it cannot be sent again; HTTP sends a message, or breaks off
            raise asyncio.CancelledError
        try:
            await self._context.send_initial_metadata(())
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None

    async def _next(self) -> Any:
        """Return the next message of a stream, None after the last.

        It waits while the caller is in debt; what was received before is let go of meanwhile.
        """
        if self._named and self._caller is not None:
            with self._connections.to_read(self._renew):
                while await self._caller.account.wait():
                    if not self._owed():
                        self._admission.reserve(self, 0)
        data = await self._receive()
        return None if data is None else await self._taken(data)

    async def _taken(self, data: bytes) -> Any:
        self._admission.reserve(self, len(data))
        RECEIVED_BYTES.add(len(data), self._method.full_name)
        message = self._parsed(data)
        if self._caller is not None and self._caller.account.limits_rate(PIXELS):
            count, account = await in_thread(pixels, message), self._caller.account
            use = account.use if self._method.is_stream else account.use_without_debt
            use(PIXELS, count)
        return message

    def _parsed(self, data: bytes) -> Any:
        try:
            message = self._handler.request_deserializer(data)
        except DecodeError as problem:
            if NO_MEMORY in str(problem):
                raise errors.OutOfMemory from None
            raise errors.BadField(
                "The message", "is not one of this call's protobuf type"
            ) from None
        if self._caller is not None and not self._named:
            self._method.check_memories(message, self._caller.key)
            self._named = True
        return message

    async def _receive(self) -> bytes | None:
        self._reading = True
        self._note()
        try:
            with self._connections.to_read(self._renew), part("receive"):
                data = await receive(self._context)
            if self._caller is not None and data is not None:
                self._caller.account.use(BYTES, len(data))
                self._check_key()
            return data
        finally:
            self._reading = False
            self._unanswered += 1
            self._note()

    @contextmanager
    def answering(self, *, acknowledges: bool) -> Iterator[None]:
        """Context manager held while a response is sent.

        ``acknowledges`` is False if the response only says that work on a message goes on. Raises
        ConnectionsRenewed if connections have been closing for some seconds, and as ``Callers`` if
        the key has been revoked.
        """
        self._check_key()
        self._answering = True
        self._note()
        try:
            with self._connections.to_write():
                yield
        finally:
            self._answering = False
            if acknowledges:
                self._unanswered = max(self._unanswered - 1, 0)
            self._note()

    def hold_answer(self, size: int) -> None:
        """Hold the bytes of the one answer, if they are many, until its client has read it.

        Raises Overloaded if there is no room, unless the call may have written something.
        """
        if self._admitted and size > SMALL_BYTES:
            self._admission.reserve_answer(self, size, may_refuse=self._method.only_reads)
            self._answer_bytes = size

    def _note(self) -> None:
        """Tell admission control if the client is silent; a client that awaits an answer is not."""
        silent = self._answering or (self._reading and not self._owed())
        self._admission.note(self, silent=silent and self._admitted)

    def _owed(self) -> bool:
        return bool(self._handler.response_streaming and self._unanswered)

    def end_silent(self) -> None:
        """End the call because its client is silent."""
        self._end(errors.ClientSilent())

    def _renew(self) -> None:
        """End the call because its connection is closing, unless the call is handling a message."""
        if not self._owed():
            self._end(errors.ConnectionsRenewed())

    def _end(self, refusal: errors.RequestRefusal) -> None:
        if self.refusal is None and self._task is not None:
            self.refusal = refusal
            self._task.cancel()

    def _check_key(self) -> None:
        """Raise as ``Callers`` if the caller's key has been revoked, unless it was just found."""
        now = time.monotonic()
        if self._caller is not None and (self._named or now - self._key_found > KEY_SECONDS):
            self._method.caller(self._context)
            self._key_found = now

    def close(self) -> None:
        """Give back what the call held, of a large answer once its client has read it."""
        if not self._admitted:
            return
        self._admitted = False
        if self._answer_bytes:
            self.patience = PRESSED_SECONDS + self._answer_bytes / BYTES_PER_SECOND_MIN
            self._admission.note(self, silent=True)
            self._context.add_done_callback(lambda _: self._give_back())
        else:
            self._give_back()

    def _give_back(self) -> None:
        self._admission.note(self, silent=False)
        if self.held < LARGE_BYTES:
            self._admission.release(self)
        else:
            releasing = asyncio.ensure_future(asyncio.to_thread(release_free_pages))
            releasing.add_done_callback(lambda _: self._admission.release(self))
