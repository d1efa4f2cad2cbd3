"""Answers of HTTP: they are sent as fast as their clients read, and counted until then."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Self

from starlette.responses import Response
from starlette.types import Scope, Send

from visual_memory_service.errors import Overloaded
from visual_memory_service.wire.admission import SHARE, SMALL_BYTES
from visual_memory_service.wire.messages import BYTES_PER_SECOND_MIN

PIECE_BYTES = 1 << 18
READ_SECONDS = 10.0  # in which a client must have read a small answer; larger ones get more
ABORT = "abort"  # of the state of a connection: what breaks it off
GONE = "gone"  # the event that its client has hung up


class Unsent:
    """Bytes of all answers that are being made or sent, of which there may be so many at most.

    An answer counts as its message while its JSON is made, and as JSON then. What JSON has more
    goes beyond the most, and so does an answer that is alone. Of each key there is a SHARE at most,
    with messages that wait.
    """

    def __init__(self, most: int) -> None:
        self.most, self.bytes, self.freed = most, 0, asyncio.Event()
        self.of = Counter[str]()  # by the name of a key


class Held:
    """Context manager: the bytes that one request holds of them."""

    def __init__(self, unsent: Unsent) -> None:
        self._unsent, self._bytes = unsent, 0
        self._holder, self._arrived = "", 0

    def arrive(self, size: int, holder: str) -> None:
        """Count a message for the caller with a key. Raises Overloaded if many are not read yet."""
        own, most = self._unsent.of[holder], int(SHARE * self._unsent.most)
        if size > SMALL_BYTES and own and own + size > most:
            raise Overloaded(most, holder)
        self._unsent.of[holder] += size
        self._holder, self._arrived = holder, size

    async def hold(self, size: int) -> None:
        """Hold so many bytes in place of those before, once there is room if they are many."""
        self._let_go()
        unsent = self._unsent
        while size > SMALL_BYTES and unsent.bytes and unsent.bytes + size > unsent.most:
            unsent.freed.clear()
            await unsent.freed.wait()
        self.swap(size)

    def swap(self, size: int) -> None:
        """Hold so many bytes in place of those before, which what is there already has."""
        self._let_go()
        self._unsent.bytes += size
        self._bytes = size

    def _let_go(self) -> None:
        self._unsent.bytes -= self._bytes
        self._bytes = 0
        self._unsent.freed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()
        self._unsent.of[self._holder] -= self._arrived
        if not self._unsent.of[self._holder]:
            del self._unsent.of[self._holder]


async def send_answer(response: Response, scope: Scope, send: Send) -> None:
    """Send a response; break the connection off if its client does not read it."""
    body = memoryview(response.body)
    start = {"type": "http.response.start", "status": response.status_code}
    try:
        async with asyncio.timeout(READ_SECONDS + len(body) / BYTES_PER_SECOND_MIN):
            await send({**start, "headers": response.raw_headers})
            for at in range(0, len(body) or 1, PIECE_BYTES):
                piece, more = bytes(body[at : at + PIECE_BYTES]), at + PIECE_BYTES < len(body)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        scope["state"][ABORT]()
