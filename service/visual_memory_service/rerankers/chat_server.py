"""Client of a server with the common chat-completions API, for one question at a time."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, responses
from threading import Timer
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from visual_memory_service.config import BadSetting
from visual_memory_service.errors import BadChatAnswer, ChatUnavailable

ANSWER_BYTES_MAX = 1 << 20
CONNECTIONS = MappingProxyType({"http": HTTPConnection, "https": HTTPSConnection})
VISIBLE = re.compile(r"[!-~]*")  # ASCII, and no blanks, which would break an HTTP line
HINTS = MappingProxyType(
    {
        400: "its model may not take images",
        401: "check VISUAL_MEMORY_CHAT_KEY",
        403: "check VISUAL_MEMORY_CHAT_KEY",
        404: "check --url and --model",
        413: "show it fewer candidates with --candidates",
    }
)


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A chat server; ``url`` is the part before ``/chat/completions``. No proxy is used.

    ``timeout`` is in seconds, from connecting to the last byte. Redirects are not followed, because
    the key would be sent along. Raises BadSetting, whose message never holds the key.
    """

    url: str
    model: str
    key: str = field(repr=False)
    timeout: float

    def __post_init__(self) -> None:
        check_url(self.url)
        if not VISIBLE.fullmatch(self.key):
            raise BadSetting(
                "VISUAL_MEMORY_CHAT_KEY must be visible ASCII characters without blanks."
            )

    @property
    def host(self) -> str:
        """Return the host, with its port if the URL names one."""
        return urlsplit(self.url).netloc

    def ask(self, content: Sequence[Mapping[str, Any]], deadline: float) -> str:
        """Send ``content`` as a user's message and return the text of the answer.

        Raises ChatUnavailable, also at ``deadline`` by ``time.monotonic``, and BadChatAnswer.
        """
        message = {"role": "user", "content": content}
        body = {"model": self.model, "temperature": 0, "messages": [message]}
        status, answer = self._post(json.dumps(body).encode(), deadline)
        if status != 200:
            name, hint = responses.get(status, "unknown"), HINTS.get(status)
            problem = f"answered with status {status} ({name})"
            raise ChatUnavailable(self.host, f"{problem}; {hint}" if hint else problem)
        if len(answer) > ANSWER_BYTES_MAX:
            raise BadChatAnswer(self.host, f"with more than {ANSWER_BYTES_MAX} bytes")
        text = text_of(answer)
        if text is None:
            raise BadChatAnswer(self.host, "not with a chat completion that holds a text")
        return text

    def _post(self, body: bytes, deadline: float) -> tuple[int, bytes]:
        """Return status and body of the answer. Raises ChatUnavailable."""
        began = time.monotonic()
        seconds = max(0.0, min(deadline - began, self.timeout))
        deadline = began + seconds
        path = f"{urlsplit(self.url).path.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        problem = "cannot be reached"
        try:
            with self._connected(deadline) as connection:
                problem = "broke the connection off"
                connection.request("POST", path, body, headers)
                response: HTTPResponse = connection.getresponse()
                answer = response.read(ANSWER_BYTES_MAX + 1)
            left(deadline)  # raises where the answer was cut off
            return response.status, answer
        except (OSError, HTTPException) as error:
            if isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                problem = f"did not answer within {seconds:.3g} s"
            elif not isinstance(error, OSError):
                problem = "sent what is not a whole HTTP answer"
            elif error.strerror:
                problem = f"{problem}: {error.strerror}"
            raise ChatUnavailable(self.host, problem) from None

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[HTTPConnection]:
        """Yield a connection cut at ``deadline``; a socket's timeout restarts with every byte."""
        parts = urlsplit(self.url)
        kind, host = CONNECTIONS[parts.scheme], parts.hostname or ""
        with closing(kind(host, parts.port, timeout=left(deadline))) as connection:
            connection.connect()
            connection.sock.settimeout(left(deadline))
            timer = Timer(left(deadline), cut, [connection.sock])
            timer.start()
            try:
                yield connection
            finally:
                timer.cancel()
                timer.join()


def check_url(url: str) -> None:
    """Raise BadSetting if no request can be sent to ``url``."""
    try:
        parts = urlsplit(url)
        secret = parts.username is not None or parts.password is not None
        port, host = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise BadSetting(f"url is none that can be asked: {error}.") from None
    if secret:
        raise BadSetting("url must not hold a password; a key goes into VISUAL_MEMORY_CHAT_KEY.")
    if parts.scheme not in CONNECTIONS or not host or port == 0:
        raise BadSetting(
            f'url must be such as http://127.0.0.1:8080/v1, with http or https, but is "{url}".'
        )
    if parts.query or parts.fragment or not VISIBLE.fullmatch(parts.path):
        raise BadSetting(f'url must end with a path of visible ASCII characters, but is "{url}".')


def left(deadline: float) -> float:
    """Return the seconds until ``deadline``. Raises TimeoutError if it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def cut(connected: socket.socket) -> None:
    """Shut a socket down without TLS's own shutdown, which another thread may not call."""
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def text_of(answer: bytes) -> str | None:
    """Return the text of a chat completion, or None if it has none."""
    try:
        completion = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    match completion:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
    return None
