"""Clients that are late, silent, secret or too many cost a server little and are told why."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from starlette.responses import Response
from tests.api_keys import add
from tests.authorities import Authority, Pair
from tests.conftest import SECONDS, refusal
from tests.web import Answer, WebServer, in_parts, read
from uvicorn import Config
from uvicorn.server import ServerState

import visual_memory
from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.access.callers import Callers
from visual_memory_service.access.key_file import KeyFile
from visual_memory_service.access.keys import Key
from visual_memory_service.access.limits import parse_limits
from visual_memory_service.config import Bounds, Settings
from visual_memory_service.errors import Overloaded
from visual_memory_service.http import accepting, answers
from visual_memory_service.http import server as http_server
from visual_memory_service.http.accepting import Acceptor
from visual_memory_service.http.gateway import HEALTH, Gateway
from visual_memory_service.http.server import Connection, HttpServer
from visual_memory_service.wire.admission import SMALL_BYTES
from visual_memory_service.wire.connections import most_connections
from visual_memory_service.wire.listener import limits

ROWS = np.eye(4).tolist()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebServer, dict[str, str]]]:
    """A server with keys, and their texts by name."""
    data = tmp_path_factory.mktemp("keyed") / "data"
    texts = {
        "ann": add(data, "ann", "admin"),
        "few": add(data, "few", "read", limits=parse_limits(["calls_per_second=1"])),
    }
    server = WebServer(data, "--erasure", "files", "--log-level", "debug")
    yield server, texts
    assert server.end() == 0
    assert "Traceback" not in server.last_log
    for text in texts.values():
        assert text.split("_")[-1] not in server.last_log


def with_key(text: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {text}"}


def opened(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def is_closed(connection: socket.socket) -> bool:
    """Read until the other side closes the connection; False if it does not for long."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server in this process that gives heads and readers half a second.

    It answers a number of bytes that the path says.
    """
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 1.0)
    for module in (http_server, answers):
        monkeypatch.setattr(module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(answers, "BYTES_PER_SECOND_MIN", 1 << 30)

    async def sized(scope: Any, receive: Any, send: Any) -> None:
        response = Response(bytes(int(scope["path"].removeprefix("/"))))
        await answers.send_answer(response, scope, send)

    config = Config(sized, lifespan="off", log_config=None)
    config.load()
    loop, state = asyncio.new_event_loop(), ServerState()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    listening = http_server.bound("127.0.0.1:0")

    async def listen() -> Acceptor:
        return Acceptor(listening, lambda: Connection(config, state, {}), state.connections, most=9)

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    yield "{}:{}".format(*listening.getsockname())

    async def close() -> None:
        acceptor.close()
        for each in list(state.connections):
            each.transport.abort()
        await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_who_does_not_send_a_head_is_hung_up_on(impatient: str) -> None:
    silent, begun, second = opened(impatient), opened(impatient), opened(impatient)
    begun.sendall(b"GET /1 HTTP/1.1\r\nHost: localhost\r\nX-")
    second.sendall(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert second.recv(65_536).startswith(b"HTTP/1.1 200")
    second.sendall(b"GET /1 HTTP/1.1\r\nHost:")

    for connection in (silent, begun, second):
        assert is_closed(connection)
        connection.close()


def test_who_comes_again_within_the_time_is_not(impatient: str) -> None:
    kept = HTTPConnection(impatient, timeout=SECONDS)
    for _ in range(4):
        kept.request("GET", "/1")
        assert kept.getresponse().read() == bytes(1)
        time.sleep(0.4)
    kept.close()


def test_who_does_not_read_an_answer_is_hung_up_on(impatient: str) -> None:
    unread = opened(impatient)
    unread.sendall(b"GET /50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(2)

    assert is_closed(unread)
    unread.close()
    read = opened(impatient)
    read.sendall(b"GET /5000000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert len(b"".join(iter(lambda: read.recv(1 << 20), b""))) > 5_000_000
    read.close()


def test_who_sends_a_refused_body_late_and_then_nothing_is_hung_up_on(impatient: str) -> None:
    held = opened(impatient)
    held.sendall(b"POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
    assert b"200" in held.recv(65_536).split(b"\r\n")[0]
    held.sendall(b"later")
    assert is_closed(held)
    held.close()


def test_who_asks_again_without_reading_is_hung_up_on(impatient: str) -> None:
    unread = opened(impatient)
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(200):
        unread.sendall(b"GET /60000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(2)

    def ask_on() -> None:
        for _ in range(50):
            unread.sendall(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.1)

    with pytest.raises(ConnectionError):
        ask_on()
    unread.close()


def test_few_connections_are_open_at_once(impatient: str) -> None:
    held = [opened(impatient) for _ in range(9)]
    for each in held:
        each.sendall(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert each.recv(65_536).startswith(b"HTTP/1.1 200")
    more = opened(impatient)
    assert is_closed(more)
    for each in (*held, more):
        each.close()


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (240, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))


@pytest.mark.usefixtures("few_descriptors")
def test_connections_of_all_kinds_leave_half_of_the_descriptors_to_files() -> None:
    assert most_connections(Bounds(connections_max=1000), with_http=False) == 120
    assert most_connections(Bounds(connections_max=1000), with_http=True) == 40
    assert most_connections(Bounds(connections_max=30), with_http=True) == 30
    ((_, by_grpc),) = (
        each for each in limits(Bounds(), with_http=True) if "incoming_connections" in each[0]
    )
    assert by_grpc == 40


def test_connections_count_before_they_speak_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "servers")
    shown = authority.issue("server")
    web = WebServer(
        tmp_path / "data",
        *map(str, ("--tls-certificate", shown.certificate, "--tls-key", shown.key)),
        *("--connections-max", "4", "--erasure", "files"),
    )
    web.tls = client_context(authority)
    silent = [opened(web.web) for _ in range(4)]
    more = opened(web.web)
    more.settimeout(accepting.HANDSHAKE_SECONDS / 2)

    assert is_closed(more)
    for each in (*silent, more):
        each.close()
    time.sleep(0.5)
    for _ in range(9):
        assert web.ask("GET", "/v1/memories").status == 200
    assert web.end() == 0


def test_wrong_bytes_after_an_answer_end_the_connection(web: WebServer) -> None:
    wrong = opened(web.web)
    wrong.sendall(
        b"POST /v1/memories HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert b"400" in wrong.recv(65_536).split(b"\r\n")[0]
    wrong.sendall(b"no chunk\r\n")
    assert is_closed(wrong)
    wrong.close()


@pytest.mark.parametrize("path", ["/v1/memories", "/healthz", "/nothing"])
def test_a_body_with_two_ends_ends_the_connection(path: str, web: WebServer) -> None:
    smuggling = opened(web.web)
    smuggling.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "GET /v1/server HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    answered = b"".join(iter(lambda: smuggling.recv(65_536), b""))
    smuggling.close()

    assert answered.count(b"HTTP/1.1 ") == 1
    assert b"connection: close\r\n" in answered
    if path == "/v1/memories":
        assert answered.startswith(b"HTTP/1.1 400 ")


def test_an_occupied_port_is_told_in_a_sentence(
    tmp_path: Path, command: Any, web: WebServer
) -> None:
    done = command(
        *("serve", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--erasure", "files"),
        *("--http-listen", web.web),
    )

    assert done.returncode == 1
    assert f"{web.web} cannot be listened on" in done.stderr
    assert not (tmp_path / "data").exists()


def test_who_sends_on_after_the_answer_is_hung_up_on(web: WebServer) -> None:
    endless = opened(web.web)
    endless.sendall(
        b"POST /v1/memories HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert b"400" in endless.recv(65_536).split(b"\r\n")[0]

    def send_on() -> None:
        end = time.monotonic() + 2 * answers.READ_SECONDS
        while time.monotonic() < end:
            endless.sendall(b"4\r\nmore\r\n")
            time.sleep(0.1)

    with pytest.raises(ConnectionError):
        send_on()
    endless.close()


def test_few_answers_are_held_at_once() -> None:
    async def held() -> None:
        unsent = answers.Unsent(1_000_000)
        with answers.Held(unsent) as first, answers.Held(unsent) as second:
            await first.hold(900_000)
            await second.hold(SMALL_BYTES)
            waiting = asyncio.create_task(second.hold(200_000))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert unsent.bytes == 900_000
            await first.hold(100_000)
            await waiting
            assert unsent.bytes == 300_000
        assert unsent.bytes == 0
        with answers.Held(unsent) as alone:
            await alone.hold(5_000_000)
        with answers.Held(unsent) as own, answers.Held(unsent) as more:
            own.arrive(400_000, "a")
            with pytest.raises(Overloaded, match='the key "a" may hold 500000'):
                more.arrive(200_000, "a")
            more.arrive(200_000, "b")
        assert not unsent.of

    asyncio.run(held())


def test_an_answer_counts_also_where_its_json_has_more_than_there_is_room_for() -> None:
    async def held() -> None:
        unsent = answers.Unsent(1_000_000)
        with answers.Held(unsent) as first, answers.Held(unsent) as second:
            await first.hold(600_000)
            await second.hold(300_000)
            second.swap(900_000)
            assert unsent.bytes == 1_500_000
            first.swap(100_000)
            assert unsent.bytes == 1_000_000
        assert unsent.bytes == 0

    asyncio.run(held())


def test_a_body_that_does_not_come_is_not_waited_for(web: WebServer) -> None:
    late = opened(web.web)
    late.sendall(
        b"POST /v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 40\r\n\r\n{"
    )

    assert b"503" in late.recv(65_536).split(b"\r\n")[0]
    late.close()


@pytest.mark.parametrize("length", [60_000, 9_000_000])
@pytest.mark.parametrize("call", ["memories/pets:classify", "memories/pets/entries:unlearn"])
def test_strangers_are_refused_before_their_bodies_are_read(
    call: str, length: int, keyed: tuple[WebServer, dict[str, str]]
) -> None:
    web, _ = keyed
    stranger = opened(web.web)
    stranger.sendall(
        f"POST /v1/{call} HTTP/1.1\r\nHost: localhost\r\n".encode()
        + f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{".encode()
    )

    assert b"401" in stranger.recv(65_536).split(b"\r\n")[0]
    stranger.close()


def test_large_documents_of_one_key_keep_no_others_waiting(
    keyed: tuple[WebServer, dict[str, str]],
) -> None:
    web, texts = keyed
    with visual_memory.connect(web.address, api_key=texts["ann"]) as client:
        client.create_memory("large", dimension=4).insert(vectors=np.eye(4), labels=list("abcd"))
    path = "/v1/memories/large:classify"
    wrong = {"domainMean": [0] * 300_000 + ["x"], "vectors": ROWS}
    question = {"vectors": np.tile(np.eye(4), (1000, 1)).tolist()}
    with ThreadPoolExecutor(3) as threads:
        slow = [
            threads.submit(web.ask, "POST", path, wrong, **with_key(texts["few"])) for _ in range(3)
        ]
        time.sleep(0.3)
        assert web.ask("POST", path, question, **with_key(texts["ann"])).status == 200
        assert not all(each.done() for each in slow)

        assert {each.result().status for each in slow} <= {400, 429}


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/memories", 401), ("/v1/nothing", 404), ("/v1/memories?a=b", 400)]
)
def test_strangers_wait_and_others_do_not(path: str, status: int, tmp_path: Path) -> None:
    key = add(tmp_path / "data", "ann", "admin")
    web = WebServer(tmp_path / "data", "--erasure", "files")
    over, answered, waits = threading.Event(), list[bytes](), list[float]()

    async def ask_on(host: str, port: str) -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAPI-Key: none\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            while True:
                asked = time.monotonic()
                writer.write(head)
                answered.append(await reader.readuntil(b"\r\n\r\n"))
                (length,) = re.findall(rb"content-length: (\d+)", answered[-1])
                await reader.readexactly(int(length))
                waits.append(time.monotonic() - asked)

    async def strangers() -> None:
        asking = [asyncio.create_task(ask_on(*web.web.split(":"))) for _ in range(900)]
        await asyncio.to_thread(over.wait)
        for each in asking:
            each.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}

    honest, began = web.connect(), time.monotonic()
    honest.connect()
    thread = threading.Thread(target=lambda: asyncio.run(strangers()))
    thread.start()
    try:
        while len(waits) < 2 * 900:  # what all asked at once is over, and each waits for its turn
            assert time.monotonic() - began < SECONDS
            time.sleep(0.01)
        before, asked = len(waits), time.monotonic()
        for asks, told in (("/v1/memories", 200), ("/v1/memories?a=b", 400)):
            honest.request("GET", asks, headers=with_key(key))
            assert read(honest).status == told
        seconds = time.monotonic() - asked
        paced = 200 * (time.monotonic() - began) + 200
        came = len(answered)
        time.sleep(1)
        waited = statistics.median(waits[before:])
    finally:
        over.set()
        thread.join()
        honest.close()

    assert web.end() == 0
    assert {int(each.split()[1]) for each in answered} == {status}
    assert 200 <= came <= paced
    assert seconds < min(3, waited)  # for both, where a stranger waits so long for one


def test_a_client_that_hangs_up_cancels_its_call(keyed: tuple[WebServer, dict[str, str]]) -> None:
    web, texts = keyed
    with visual_memory.connect(web.address, api_key=texts["ann"]) as client:
        memory = client.create_memory("hung-up", dimension=256)
        rows = np.random.default_rng(0).standard_normal((20_000, 256))
        memory.insert(vectors=rows, labels=[f"l{at % 90}" for at in range(len(rows))])
        operation = memory.assess(wait=False)
    connection = web.connect()
    path = f"/v1/operations/{operation.name}:wait"
    connection.request("POST", path, headers=with_key(texts["ann"]))
    time.sleep(0.3)
    connection.close()

    def is_told() -> bool:
        lines = web.log().splitlines()
        return any('"WaitOperation"' in line for line in lines if '"cancelled"' in line)

    end = time.monotonic() + 30
    while not is_told() and time.monotonic() < end:
        time.sleep(0.1)
    assert is_told()


@pytest.mark.parametrize("sent", [0, 10_000, 100_000])
def test_a_client_that_hangs_up_before_there_is_room_cancels_its_call(
    sent: int, tmp_path: Path
) -> None:
    web = WebServer(tmp_path / "data", "--erasure", "files", "--calls-max", "1")
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 4})
    start = pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="busy"))
    ending = threading.Event()

    def keep_busy() -> Iterator[pb.ImportEntriesRequest]:
        yield start
        for at in range(1000):
            batch = pb.EntryBatch(entries=[entry_pb2.Entry(label="x")])
            batch.vectors.rows, batch.vectors.data = 1, np.ones(4, np.float32).tobytes()
            yield pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=at, batch=batch))
            if ending.wait(0.2):
                return

    told = web.stub.ImportEntries(keep_busy())
    next(told)
    waiting = opened(web.web)
    waiting.sendall(
        b"POST /v1/memories/pets/entries:insert HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n" + b" " * sent
    )
    time.sleep(0.5)
    waiting.close()

    end = time.monotonic() + 20
    while '"cancelled"' not in web.log() and time.monotonic() < end:
        time.sleep(0.1)
    cancelled = [line for line in web.log().splitlines() if '"cancelled"' in line]
    ending.set()
    list(told)
    assert [json.loads(line)["method"] for line in cancelled] == ["InsertEntries"]
    assert web.end() == 0


Ending = Callable[[Any, Gateway], Awaitable[Any]]


async def not_ended(server: Any, gateway: Gateway) -> None:
    pass


async def stopped(server: Any, gateway: Gateway) -> None:
    await server.stop(0)


async def with_another_socket(server: Any, gateway: Gateway) -> None:
    gateway._socket = lambda: "another"
    await gateway.let_go()


def in_front_of(
    handlers: dict[str, Any], ask: Callable[[str], Answer], folder: Path, ending: Ending = not_ended
) -> Answer:
    """Return how an address answers by HTTP, where gRPC has these handlers and is ended so."""

    async def answered() -> Answer:
        server = grpc.aio.server()
        for path, handler in handlers.items():
            service, method = path.removeprefix("/").split("/")
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, {method: handler}),)
            )
        server.add_insecure_port(f"unix:{folder / 'socket'}")
        await server.start()
        callers = Callers(KeyFile(folder), {})
        gateway = Gateway(lambda: str(folder / "socket"), callers, (), Bounds())
        http = HttpServer(Settings(data=folder, http_listen="127.0.0.1:0"), gateway, None)
        asking = asyncio.create_task(asyncio.to_thread(ask, await http.start()))
        await asyncio.sleep(0.5)
        await ending(server, gateway)
        answer = await asking
        await http.close()
        await server.stop(0)
        return answer

    return asyncio.run(answered())


@pytest.mark.parametrize("ending", [stopped, with_another_socket])
def test_health_is_unavailable_where_its_call_is_ended(ending: Ending, tmp_path: Path) -> None:
    async def never(message: Any, context: Any) -> Any:
        await asyncio.sleep(3600)

    def ask(address: str) -> Answer:
        connection = HTTPConnection(address, timeout=SECONDS)
        connection.request("GET", "/healthz")
        with closing(connection):
            return read(connection)

    handlers: dict[str, Any] = {HEALTH: grpc.unary_unary_rpc_method_handler(never)}
    answer = in_front_of(handlers, ask, tmp_path, ending)

    assert (answer.status, answer.reason) == (503, "CONNECTION_ENDING")


def test_the_status_of_a_call_that_ends_while_it_is_sent_is_told(tmp_path: Path) -> None:
    async def full(messages: Any, context: Any) -> Any:
        await context.send_initial_metadata(())
        await asyncio.sleep(0.5)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "There is no room.")

    def ask(address: str) -> Answer:
        connection = HTTPConnection(address, timeout=SECONDS)
        body, kind = in_parts({}, bytes(60 << 20))
        path = "/v1/memories/pets/entries:insert"
        connection.request("POST", path, body, {"content-type": kind})
        with closing(connection):
            return read(connection)

    path = "/visual_memory.v1.VisualMemory/InsertEntries"
    answer = in_front_of({path: grpc.stream_unary_rpc_method_handler(full)}, ask, tmp_path)

    assert answer.status == 429
    assert answer.document["message"] == "There is no room."


def test_a_limit_tells_when_to_come_back(keyed: tuple[WebServer, dict[str, str]]) -> None:
    web, texts = keyed
    answers = [web.ask("GET", "/v1/memories", **with_key(texts["few"])) for _ in range(4)]
    refused = [each for each in answers if each.status == 429]

    assert refused
    assert all(each.reason == "LIMIT_REACHED" for each in refused)
    assert all(1 <= int(each.headers["retry-after"]) <= 5 for each in refused)


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({}, 401, "NO_KEY"),
        ({"authorization": "Bearer no\u00e9"}, 401, "WRONG_KEY"),
        ({"authorization": "Basic YTpi"}, 400, "BAD_FIELD"),
        ({"api-key": "wrong"}, 401, "WRONG_KEY"),
        ({"certificate-names-bin": "ann"}, 401, "NO_KEY"),
        ({"authorization": "Bearer " + "x" * 20_000}, 401, "WRONG_KEY"),
        ({"api-key": "x", "tracestate": "x" * 20_000, "traceparent": "y" * 9000}, 401, "WRONG_KEY"),
    ],
)
def test_a_wrong_key_is_no_key(
    headers: dict[str, Any], status: int, reason: str, keyed: tuple[WebServer, dict[str, str]]
) -> None:
    answer = keyed[0].ask("GET", "/v1/memories", **headers)

    assert (answer.status, answer.reason) == (status, reason)


def test_a_write_by_http_is_in_the_audit_log_with_its_principal(
    keyed: tuple[WebServer, dict[str, str]],
) -> None:
    web, texts = keyed
    key = with_key(texts["ann"])
    web.done("POST", "/v1/memories", {"name": "audited", "dimension": 4}, **key)
    entries = {"entries": [{"label": "x"}] * 4, "vectors": ROWS}
    web.done("POST", "/v1/memories/audited/entries:insert", entries, **key)
    events = web.done("GET", "/v1/memories/audited/auditEvents", **key)["events"]

    assert [(each["call"], each["principal"]) for each in events] == [
        ("CreateMemory", "ann"),
        ("InsertEntries", "ann"),
    ]
    assert web.ask("GET", "/v1/memories", Host="evil.example", **key).status == 200


@pytest.mark.parametrize("name", ["authorization", "api-key"])
@pytest.mark.parametrize("times", [3, 4])
def test_a_key_that_comes_too_often_is_refused(
    times: int, name: str, keyed: tuple[WebServer, dict[str, str]]
) -> None:
    web, texts = keyed
    value = f"Bearer {texts['ann']}" if name == "authorization" else texts["ann"]
    connection = web.connect()
    connection.putrequest("GET", "/v1/memories")
    for each in [value, value, value, "Bearer another"][:times]:
        connection.putheader(name, each)
        connection.putheader("tracestate", "a=b")
    connection.endheaders()
    answer = read(connection)
    connection.close()

    assert answer.status == (200 if times == 3 else 400)
    if times == 4:
        assert answer.document["message"] == f"{name} comes 4 times in the head; send it once."


@pytest.mark.parametrize("origin", ["", "null", "http://", "http:", "//", "http://evil.example"])
def test_where_no_host_is_named_no_page_may_call(
    origin: str, keyed: tuple[WebServer, dict[str, str]]
) -> None:
    web, texts = keyed
    nameless = opened(web.web)
    head = f"GET /v1/memories HTTP/1.0\r\nOrigin: {origin}\r\napi-key: {texts['ann']}\r\n\r\n"
    nameless.sendall(head.encode())

    assert b"403" in nameless.recv(65_536).split(b"\r\n")[0]
    nameless.close()


def client_context(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def peer(web: WebServer, context: ssl.SSLContext) -> bytes:
    """Return the certificate that the server shows, in DER."""
    host, port = web.web.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secret,
    ):
        return secret.getpeercert(binary_form=True) or b""


def test_certificates_are_those_of_grpc_and_name_the_principal(tmp_path: Path) -> None:
    made = Key("robot", ("admin",), (), created=datetime.now(UTC))
    KeyFile(tmp_path / "data").change(lambda keys: [made])
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    shown = servers.issue("server")
    web = WebServer(
        tmp_path / "data",
        *map(str, ("--tls-certificate", shown.certificate, "--tls-key", shown.key)),
        *("--tls-client-ca", str(clients.path), "--erasure", "files"),
    )
    web.tls = client_context(servers, clients.issue("robot"))
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 4})
    events = web.done("GET", "/v1/memories/pets/auditEvents")["events"]
    assert [each["principal"] for each in events] == ["robot"]
    before = peer(web, web.tls)
    assert web.ask("GET", "/v1/memories", Origin=f"https://{web.web}").status == 200
    assert web.ask("GET", "/v1/memories", Origin=f"http://{web.web}").reason == "FOREIGN_SITE"

    web.tls = client_context(servers, clients.issue("nobody"))
    assert web.ask("GET", "/v1/memories").reason == "NO_KEY"
    web.tls = client_context(servers)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        web.ask("GET", "/v1/memories")
    web.tls = client_context(clients, clients.issue("robot"))
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        web.ask("GET", "/v1/memories")
    web.tls = None
    with pytest.raises((ConnectionError, OSError)):
        web.ask("GET", "/v1/memories")

    web.tls = client_context(servers, clients.issue("robot"))
    fresh = servers.issue("fresh")
    for new, old in ((fresh.certificate, shown.certificate), (fresh.key, shown.key)):
        old.write_bytes(new.read_bytes())
    assert peer(web, web.tls) != before
    assert web.done("GET", "/v1/memories/pets")["name"] == "pets"
    assert web.end() == 0


def test_of_several_common_names_the_first_counts_as_by_grpc(tmp_path: Path) -> None:
    made = Key("robot", ("admin",), (), created=datetime.now(UTC))
    KeyFile(tmp_path / "data").change(lambda keys: [made])
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    shown = servers.issue("server")
    web = WebServer(
        tmp_path / "data",
        *map(str, ("--tls-certificate", shown.certificate, "--tls-key", shown.key)),
        *("--tls-client-ca", str(clients.path), "--erasure", "files"),
    )
    for common in (("robot", "nobody"), ("nobody", "robot")):
        pair = clients.issue("-".join(common), common=common)
        credentials = grpc.ssl_channel_credentials(
            servers.path.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
        )
        web.tls = client_context(servers, pair)
        with grpc.secure_channel(web.address, credentials) as channel:
            stub = service_pb2_grpc.VisualMemoryStub(channel)
            if common[0] == "robot":
                stub.ListMemories(pb.ListMemoriesRequest())
                web.done("GET", "/v1/memories")
            else:
                refused = refusal(stub.ListMemories, pb.ListMemoriesRequest())
                assert web.ask("GET", "/v1/memories").reason == refused.reason == "NO_KEY"
    assert web.end() == 0


def test_calls_under_way_end_before_the_server_does(tmp_path: Path) -> None:
    web = WebServer(tmp_path / "data", "--erasure", "files")
    web.done("POST", "/v1/memories", {"name": "pets", "dimension": 4})
    idle, answers = web.connect(), list[Answer]()
    idle.request("GET", "/healthz")
    assert read(idle).status == 200
    busy = web.connect()
    busy.putrequest("POST", "/v1/memories/pets/entries:insert")
    body = json.dumps({"entries": [{"label": "x"}] * 4, "vectors": ROWS}).encode()
    busy.putheader("Content-Type", "application/json")
    busy.putheader("Content-Length", str(len(body)))
    busy.endheaders()
    asking = threading.Thread(target=lambda: answers.append(read(busy)))
    asking.start()
    time.sleep(0.3)
    ending = threading.Thread(target=web.end)
    ending.start()
    time.sleep(0.3)
    busy.send(body)
    asking.join()
    ending.join()
    idle.close()
    busy.close()

    (answer,) = answers
    assert answer.status in (200, 503)
    if answer.status == 503:
        assert answer.reason in ("SERVER_STOPPING", "CONNECTION_ENDING")
    assert "Traceback" not in web.last_log
    assert web.process.returncode == 0
