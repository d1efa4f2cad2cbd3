"""Whatever comes, a call is answered or refused: no crash, no hang, no failure without a name.

``FUZZED_MESSAGES`` says how many messages each call gets; 10,000 in ``make fuzz``.
"""

from __future__ import annotations

import os
import random
import socket
import string
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import SECONDS, Server
from tests.web import WebServer

import visual_memory
from visual_memory.scopes import CALLS, INFERENCE, SERVICE
from visual_memory.v1 import open_inference_pb2
from visual_memory_index.errors import BadFilter
from visual_memory_index.records.filter import parse

MESSAGES = int(os.environ.get("FUZZED_MESSAGES", "150"))
AT_ONCE = 24
CALL_SECONDS = 5.0
FAILED = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
LATE = grpc.StatusCode.DEADLINE_EXCEEDED
WAITS = ("WaitOperation",)  # as long as they are told to
TEXTS = ("", "pets", "gone", "a", "b", "rank", "softmax", "é\u0301", "\x00", "x" * 5000, "pets/1")
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in (SERVICE, open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"])
    for method in service.methods
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    server = WebServer(tmp_path_factory.mktemp("probed") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0
    assert "Traceback" not in server.last_log
    assert '"failed"' not in server.last_log


def fill(server: Server) -> None:
    """Make the memory that the messages name, unless it is there."""
    with visual_memory.connect(server.address) as client:
        if "pets" not in {each.name for each in client.memories()}:
            client.create_memory("pets", dimension=4).insert(
                vectors=np.eye(4), labels=list("xyxy"), ids=list("abcd")
            )


def scalar(field: Any, chance: random.Random) -> Any:
    """Return a value for a field, often one at an edge."""
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.randbytes(chance.choice((0, 1, 3, 16, 64)))
        return chance.choice(TEXTS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice((0.0, -1.0, 0.5, 1e-30, 1e30, float("nan"), float("inf")))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chance.choice((0, 1, 2))
    signed = kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    wide = kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
    most = (1 << (64 if wide else 32)) - 1
    edges = (0, 1, 2, 5, 1000, most >> 1) + ((-1, -(most >> 1) - 1) if signed else (most,))
    return chance.choice(edges)


def set_some(message: Any, chance: random.Random, depth: int = 0) -> Any:
    """Set some fields of a message, and of those in it, to whatever values."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.45 or depth > 4:
            continue
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for _ in range(chance.choice((0, 1, 3))):
                if inner is None:
                    getattr(message, field.name).append(scalar(field, chance))
                else:
                    set_some(getattr(message, field.name).add(), chance, depth + 1)
        elif inner is not None:
            getattr(message, field.name).SetInParent()
            set_some(getattr(message, field.name), chance, depth + 1)
        else:
            setattr(message, field.name, scalar(field, chance))
    return message


def malformed(method: Any, chance: random.Random) -> bytes:
    """Return a message of a call: with odd values, cut, with other bytes, or none at all."""
    data = bytearray(set_some(GetMessageClass(method.input_type)(), chance).SerializeToString())
    match chance.randrange(4):
        case 0:
            return bytes(data)
        case 1 if data:
            return bytes(data[: chance.randrange(len(data))])
        case 2 if data:
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(data)
    return chance.randbytes(chance.randrange(200))


def metadata(chance: random.Random) -> list[tuple[str, str]]:
    """Return metadata, some of them names that the server reads."""
    names = ("message-bytes", "authorization", "api-key", "traceparent", "x-other")
    return [
        (name, "".join(chance.choices(string.printable[:95], k=chance.choice((0, 1, 5, 60)))))
        for name in names
        if chance.random() < 0.1
    ]


def outcome(call: Any) -> tuple[grpc.StatusCode, str]:
    """Receive all answers of a call, and return how it ended."""
    with suppress(grpc.RpcError):
        for _ in call:
            pass
    return call.code(), call.details()


@pytest.mark.parametrize("path", METHODS)
def test_messages_of_any_bytes_are_answered_or_refused(path: str, probed: WebServer) -> None:
    chance, method = random.Random(path), METHODS[path]
    ask: Any = probed.channel.stream_stream(path)
    fill(probed)
    for begin in range(0, MESSAGES, AT_ONCE):
        calls = []
        for _ in range(min(AT_ONCE, MESSAGES - begin)):
            messages = [malformed(method, chance) for _ in range(chance.choice((0, 1, 1, 1, 2)))]
            call = ask(iter(messages), timeout=CALL_SECONDS, metadata=metadata(chance))
            calls.append((messages, call))
        for messages, call in calls:
            code, details = outcome(call)
            assert code not in FAILED, (details, messages)
            assert code is not LATE or method.name in WAITS, messages
    fill(probed)
    assert probed.stub.ListMemories(pb_list(), timeout=CALL_SECONDS).memories


def pb_list() -> Any:
    return GetMessageClass(SERVICE.methods_by_name["ListMemories"].input_type)()


def test_every_call_is_probed() -> None:
    assert {path.rpartition("/")[2] for path in METHODS} == CALLS.keys() | INFERENCE.keys()


@given(st.text() | st.text("abc.:*=\"<>()- \\'ANDORNT0", max_size=60))
@settings(max_examples=2000)
def test_any_filter_is_parsed_or_refused(text: str) -> None:
    with suppress(BadFilter):
        parse(text)


@pytest.mark.parametrize("seed", range(20))
def test_other_bytes_than_http_are_told_so_or_hung_up_on(seed: int, probed: WebServer) -> None:
    chance = random.Random(seed)
    host, port = probed.web.rsplit(":", 1)
    heads = (
        chance.randbytes(300),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/memories HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%00/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    )
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(chance.choice(heads) + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionResetError:
            return
    assert not answer or answer.split(b" ")[1] in (b"400", b"403", b"404", b"405", b"505"), answer
