"""A local web server that can break off an answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web(ThreadingHTTPServer):
    """Serves ``files`` by path; ``cut`` ends the next answer after so many bytes.

    An answer ends where its ``Content-Length`` says, or with its ``chunks``, or else (``close``)
    where the connection does.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.cut: int | None = None
        self.end = "Content-Length"
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        if self.path not in self.server.files:
            self.send_error(404)
            return
        data = self.server.files[self.path]
        tag = self.server.tags.get(self.path, "")
        start = 0
        if wanted and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if wanted and start == len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if self.server.end == "Content-Length":
            self.send_header("Content-Length", str(len(data) - start))
        if self.server.end == "chunks":
            self.send_header("Transfer-Encoding", "chunked")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        end, self.server.cut = self.server.cut, None
        sent = data[start:] if end is None else data[start : start + end]
        if self.server.end != "chunks":
            self.wfile.write(sent)
            return
        self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent))
        if end is None:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def serving() -> Iterator[Web]:
    with Web() as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield web
        web.shutdown()
        thread.join()
