"""A local server of the chat-completions API, and re-rankers in processes of their own."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import pytest
from tests.conftest import Process

from visual_memory.v1 import reranker_pb2_grpc

Answer: TypeAlias = Callable[["Handler"], None]


class Sent(NamedTuple):
    """A request as the server received it."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Handler(BaseHTTPRequestHandler):
    """Answers every POST as the test has set."""

    server: ChatSpeaker
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.sent.put(Sent(self.path, dict(self.headers), json.loads(body)))
        self.server.answer(self)

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class ChatSpeaker(ThreadingHTTPServer):
    """A server that keeps its requests in ``sent``, and answers each by ``answer``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: SimpleQueue[Sent] = SimpleQueue()
        self.answer: Answer = says("[1]")

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up, as in some tests."""

    @property
    def url(self) -> str:
        return f"http://{self.host}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def says(text: object) -> Answer:
    """Return an answer that is a chat completion with this text."""
    message = {"role": "assistant", "content": text}
    return gives(json.dumps({"choices": [{"index": 0, "message": message}]}).encode())


def gives(body: bytes, status: int = 200) -> Answer:
    return lambda handler: handler.send(status, body)


@pytest.fixture
def speaker() -> Iterator[ChatSpeaker]:
    with ChatSpeaker() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Reranker(Process):
    """A ``visual-memory reranker`` process, with the generated stub."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self.begin("reranker", *arguments, "--listen", "127.0.0.1:0", **environment)
        self.stub = reranker_pb2_grpc.RerankerStub(self.channel)


Start: TypeAlias = Callable[..., Reranker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a re-ranker; re-rankers still running are ended."""
    started: list[Reranker] = []

    def start(*arguments: object, **environment: str) -> Reranker:
        started.append(Reranker(*arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
