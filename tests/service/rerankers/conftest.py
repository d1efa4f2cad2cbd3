"""A local server that speaks the chat-completions API, and re-rankers in processes of their own."""

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
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any


class Handler(BaseHTTPRequestHandler):
    """Hands every POST to the answer that the test has set."""

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
    """``sent`` holds what came, in order; ``answer`` is what it does then."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: SimpleQueue[Sent] = SimpleQueue()
        self.answer: Answer = says("[1]")

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has hung up, which some tests want."""

    @property
    def url(self) -> str:
        return f"http://{self.host}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def says(text: object) -> Answer:
    """A chat completion with this text."""
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
    """``visual-memory reranker`` with the generated stub."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self.begin("reranker", *arguments, "--listen", "127.0.0.1:0", **environment)
        self.stub = reranker_pb2_grpc.RerankerStub(self.channel)


Start: TypeAlias = Callable[..., Reranker]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts re-rankers, each with arguments of its own; ends those that are left."""
    started: list[Reranker] = []

    def start(*arguments: object, **environment: str) -> Reranker:
        started.append(Reranker(*arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
