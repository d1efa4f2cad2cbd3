"""A server that answers HTTP, and requests to it."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, NamedTuple

from tests.conftest import SECONDS, Server


class Answer(NamedTuple):
    """The answer to an HTTP request, with its document."""

    status: int
    headers: http.client.HTTPMessage
    document: Any

    @property
    def reason(self) -> str:
        """The reason of a refusal; empty if it has none."""
        details = self.document.get("details", [])
        return str(next((each["reason"] for each in details if "reason" in each), ""))


class WebServer(Server):
    """A server that answers HTTP at ``web`` too, with TLS if it has a context for that."""

    tls: ssl.SSLContext | None = None

    def start(self, *flags: str) -> None:
        super().start("--http-listen", "127.0.0.1:0", *flags)
        assert self.process.stdout is not None
        self.web = self.process.stdout.readline().removeprefix("http on ").strip()

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection of its own."""
        if self.tls is not None:
            return http.client.HTTPSConnection(self.web, timeout=SECONDS, context=self.tls)
        return http.client.HTTPConnection(self.web, timeout=SECONDS)

    def ask(
        self,
        verb: str,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request with a document, or a body, and return the answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if document is not None:
            body = json.dumps(document).encode()
            sent.setdefault("content-type", "application/json")
        connection = self.connect()
        try:
            connection.request(verb, path, body, sent)
            return read(connection)
        finally:
            connection.close()

    def done(self, verb: str, path: str, document: Any = None, **more: Any) -> Any:
        """Send a request that is answered, and return the document."""
        answer = self.ask(verb, path, document, **more)
        assert answer.status == 200, answer
        return answer.document


def read(connection: http.client.HTTPConnection) -> Answer:
    """Read the answer to what was sent on a connection."""
    response = connection.getresponse()
    text = response.read()
    return Answer(response.status, response.headers, json.loads(text) if text else None)


def in_parts(request: Any, *pictures: bytes, name: str = "image") -> tuple[bytes, str]:
    """Return a multipart body of a document, if there is one, and pictures; and its type."""
    lines = []
    if request is not None:
        lines += [b'Content-Disposition: form-data; name="request"', json.dumps(request).encode()]
    for at, picture in enumerate(pictures):
        head = f'Content-Disposition: form-data; name="{name}"; filename="{at}.png"'
        lines += [head.encode(), picture]
    body = b"".join(
        b"--edge\r\n%s\r\n\r\n%s\r\n" % pair for pair in zip(lines[::2], lines[1::2], strict=True)
    )
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"
