"""Sessions: who has logged in, with which connection to the server."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from visual_memory import Error
from visual_memory.aio import Client

SESSIONS_MAX = 200
IDLE_SECONDS = 8 * 3600.0
PICTURES_BYTES_MAX = 64 << 20  # of one session; the pictures that were asked longest ago go first

Connect = Callable[[str | None], Client]


class Gone(Exception):
    """A picture that a session no longer holds."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it was sent, and a JPEG of it to show."""

    sent: bytes
    shown: bytes

    @property
    def size(self) -> int:
        """The bytes of both."""
        return len(self.sent) + len(self.shown)


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence for the next page, and the operations that can be undone there."""

    text: str
    undo: tuple[str, ...] = ()


@dataclass(slots=True)
class Session:
    """A browser that has logged in: its connection, and the pictures it asked about.

    ``csrf`` is the secret that each of its forms sends back.
    """

    client: Client
    has_key: bool
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    used: float = field(default_factory=time.monotonic)
    said: Said | None = None
    _pictures: OrderedDict[str, Picture] = field(default_factory=OrderedDict)

    def keep(self, picture: Picture) -> str:
        """Hold a picture in RAM, and return the name that ``picture`` takes."""
        name = secrets.token_urlsafe(12)
        self._pictures[name] = picture
        while sum(each.size for each in self._pictures.values()) > PICTURES_BYTES_MAX:
            self._pictures.popitem(last=False)
        return name

    def picture(self, name: str) -> Picture:
        """Return a picture that was kept. Raises Gone."""
        try:
            self._pictures.move_to_end(name)
        except KeyError:
            raise Gone(name) from None
        return self._pictures[name]

    def drop_pictures(self) -> None:
        """Let go of all pictures."""
        self._pictures.clear()


class Sessions:
    """The sessions by their secret tokens; the one that was idle longest goes first."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._sessions = OrderedDict[str, Session]()

    async def open(self, key: str | None) -> str:
        """Open a session with an API key, or with none, and return its token. Raises Error."""
        client = self._connect(key)
        try:
            await client.server_info()
        except Error:
            await client.close()
            raise
        while len(self._sessions) >= SESSIONS_MAX:
            await self.close(next(iter(self._sessions)))
        token = secrets.token_urlsafe(32)
        self._sessions[token] = Session(client, key is not None)
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a token, if there is one."""
        session = self._sessions.get(token)
        if session is not None:
            session.used = time.monotonic()
            self._sessions.move_to_end(token)
        return session

    async def close(self, token: str) -> None:
        """End a session; it is no error if there is none."""
        session = self._sessions.pop(token, None)
        if session is not None:
            session.drop_pictures()
            await session.client.close()

    async def close_all(self) -> None:
        """End all sessions."""
        for token in list(self._sessions):
            await self.close(token)

    def drop_pictures(self) -> None:
        """Let go of the pictures of all sessions, any of which may be of what was unlearned."""
        for session in self._sessions.values():
            session.drop_pictures()

    async def end_idle(self) -> None:
        """End the sessions that nobody used for too long, so that no key stays in RAM."""
        now = time.monotonic()
        for token, session in list(self._sessions.items()):
            if now - session.used <= IDLE_SECONDS:
                return
            await self.close(token)
