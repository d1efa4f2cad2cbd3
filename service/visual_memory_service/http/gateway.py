"""Gateway: makes the call that an HTTP request asks for on the server's own gRPC socket.

So keys, limits, admission, logs and metrics are those of gRPC. A large body is read once its call
has begun: whoever may not make it, or has too many under way, is refused at once.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.resources import files
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import grpc
import structlog
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from visual_memory.protocol import MESSAGE_BYTES
from visual_memory.scopes import CALLS, READ
from visual_memory_service import errors
from visual_memory_service.access.callers import Caller, Callers
from visual_memory_service.config import Bounds
from visual_memory_service.http.answers import GONE, Held, Unsent, send_answer
from visual_memory_service.http.bodies import Sent, to_request
from visual_memory_service.http.documents import dumped, to_document
from visual_memory_service.http.routes import Found, find, make_routes
from visual_memory_service.runtime.measures import CALLS_REFUSED
from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.status import (
    CANCELLED,
    OK,
    REFUSALS,
    UNAVAILABLE,
    answer,
    foreseen,
    http_status,
)
from visual_memory_service.wire.admission import SMALL_BYTES
from visual_memory_service.wire.calls import PAUSE, clear_frames
from visual_memory_service.wire.connections import most_connections
from visual_memory_service.wire.methods import CERTIFICATE_NAMES, PUBLIC

CONVERTED_AT_ONCE = 2  # large documents, which keep Python busy
AT_ONCE_BYTES = 4096  # of a document that is converted before a thread would begin
ENDS = 4  # of each connection to a socket two, beside those to the former one
BODY_SECONDS = 10.0  # in which a small body must have come
TRACING = ("traceparent", "tracestate")
KEYS = ("authorization", "api-key")
PASSED_MAX, CHARACTERS_MAX = 3, 512  # of a name, and of a value; gRPC refuses 8 KiB of them
JSON = "application/json"
BROKEN = (asyncio.InvalidStateError, grpc.RpcError, grpc.aio.BaseError)
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING, CLIENT_GONE, UNAUTHORIZED = 503, 499, 401  # statuses of HTTP
log = structlog.get_logger()


class CallFailed(Exception):
    """A call that ended with a status other than OK."""

    def __init__(self, status: status_pb2.Status, pause: float = 0.0) -> None:
        super().__init__(status.message)
        self.status, self.pause = status, pause  # seconds that its caller has to wait


class Gateway:
    """Answers HTTP requests by calls on the gRPC ``socket`` of this server, which may change.

    Pages of other sites than ``origins`` may not call; without keys, neither may those that reach
    the server by a name other than localhost. With keys, only what is ``public`` needs none.
    """

    def __init__(
        self,
        socket: Callable[[], str],
        callers: Callers,
        origins: tuple[str, ...],
        bounds: Bounds,
        public: Collection[str] = (),
    ) -> None:
        self._socket, self._callers = socket, callers
        self._origins, self._bounds, self._public = origins, bounds, public
        self._routes = make_routes()
        self._described = files(__package__).joinpath("openapi.json").read_bytes()
        self._fixed = {"/openapi.json": self._describe, "/healthz": self._health}
        self._path = ""
        self._channels: list[Any] = []
        self._former: list[Any] = []
        self._converting = asyncio.Semaphore(CONVERTED_AT_ONCE)
        self._converting_of = defaultdict[str, asyncio.Lock](asyncio.Lock)  # by the name of a key
        self._unsent = Unsent(bounds.pending_bytes_max)
        self._ending = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        with Held(self._unsent) as held:
            response = await self._response(Request(scope, receive), held)
            await send_answer(response, scope, send)

    async def _wait(self, seconds: float, gone: asyncio.Event) -> None:
        """Wait, so that whoever is refused all the time costs others little."""
        if seconds:
            events = [asyncio.ensure_future(each.wait()) for each in (gone, self._ending)]
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for each in events:
                each.cancel()

    def _pause(self, request: Request) -> float:
        """Return the seconds that whoever is refused here has to wait, by the key that it has."""
        if not self._callers.needs_keys:
            return 0.0
        try:
            return self._caller(request).account.refusals.seconds()
        except REFUSALS:
            return self._callers.strangers.seconds()

    def _caller(self, request: Request) -> Caller:
        """Return the caller of a request. Raises as ``Callers``."""
        names = request.scope["state"].get(CERTIFICATE_NAMES, ())
        return self._callers.find(lambda: passed(request), names)

    def end_waits(self) -> None:
        """Have nobody wait any longer who is refused."""
        self._ending.set()
        self._ending = asyncio.Event()

    async def _response(self, request: Request, held: Held) -> Response:
        verb, path = "GET" if request.method == "HEAD" else request.method, request.scope["path"]
        call = ""  # paths may have ids of entries, which are nothing for the log
        gone = request.scope["state"][GONE]
        try:
            if (fixed := self._fixed.get(path)) is not None:
                if verb != "GET":
                    raise errors.WrongVerb(request.method, ["GET"])
                return await fixed(request)
            self._check_site(request)
            found = self._find(verb, request)
            call = found.route.call
            sent = Sent.of(request, self._bounds.message_bytes_max)
            answering = self._answered(found, sent, request, held)
            return await unless_gone(answering, gone)
        except CallFailed as failed:
            clear_frames(failed)
            await self._wait(failed.pause, gone)
            return refused(failed.status)
        except REFUSALS as refusal:
            clear_frames(refusal)  # which may hold a body
            reason = type(refusal).__name__
            CALLS_REFUSED.add(1, reason)
            await self._wait(self._pause(request), gone)
            if not gone.is_set():  # thousands may be, at once
                log.info("refused", method=call, reason=reason, by="http")
            response = refused(answer(refusal))
            if isinstance(refusal, errors.WrongVerb):
                response.headers["allow"] = ", ".join(refusal.verbs)
            return response
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)  # which nobody receives
        except Exception as error:  # the client gets a status for whatever it is
            log.error("failed", method=call, exc_info=error, by="http")
            CALLS_REFUSED.add(1, type(foreseen(error)).__name__)
            return refused(answer(foreseen(error)))

    async def _describe(self, request: Request) -> Response:
        """Tell which calls there are, by OpenAPI."""
        return to_response(self._described)

    async def _health(self, request: Request) -> Response:
        """Tell if a ``service`` of the query serves, such as ``memories/NAME``, or the server."""
        asked = health_pb2.HealthCheckRequest(service=request.query_params.get("service", ""))
        method = self._channel().unary_unary(
            HEALTH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        told = await answer_of(method(asked))
        return to_response(
            dumped(to_document(told)), 200 if told.status == SERVING else NOT_SERVING
        )

    def _check_site(self, request: Request) -> None:
        """Raise ForeignSite if a page of another site calls, which a browser says."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self._callers.need_keys_now() and not is_local(host):
            raise errors.ForeignSite("host", host)
        own = f"{request.scope['scheme']}://{host}" if host else None
        if origin is not None and origin not in (own, *self._origins):
            raise errors.ForeignSite("origin", origin)

    def _find(self, verb: str, request: Request) -> Found:
        path = request.scope["raw_path"].decode("ascii", "replace")
        found = find(self._routes, verb, path)
        if isinstance(found, Found):
            return found
        if found:
            raise errors.WrongVerb(request.method, sorted(found))
        raise errors.UnknownPath(request.scope["path"])

    async def _made(self, found: Found, sent: Sent, request: Request) -> bytes:
        """Make a call, and return its answer. Raises CallFailed.

        A large message is read once the call has begun, which makes room for it.
        """
        path, metadata = found.route.grpc_path, list(passed(request))
        sending = None
        if sent.length <= SMALL_BYTES:
            message = await self._read_soon(found, sent, request)
            if PUBLIC.get(found.route.call) not in self._public:
                self._caller(request)  # to refuse a stranger here costs less than by gRPC
            metadata.append((MESSAGE_BYTES, str(len(message))))
            call = self._channel().unary_unary(path)(message, metadata=metadata)
        else:
            metadata.append((MESSAGE_BYTES, str(sent.message_bytes_max)))
            call = self._channel().stream_unary(path)(metadata=metadata)
            sending = asyncio.ensure_future(self._send(call, found, sent, request))
        ended = asyncio.ensure_future(answer_of(call))
        try:
            if sending is not None:
                await asyncio.wait((ended, sending), return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    sending.result()
            data: bytes = await ended
            return data
        finally:
            call.cancel()
            ended.cancel()
            if sending is not None:
                sending.cancel()
                sending.add_done_callback(retrieved)
            del sending  # or its error would keep itself, and the body

    async def _read_soon(self, found: Found, sent: Sent, request: Request) -> bytes:
        """Read a small message. Raises ClientSilent if it takes too long."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(found, sent, request)
        except TimeoutError:
            raise errors.ClientSilent from None

    async def _send(self, call: Any, found: Found, sent: Sent, request: Request) -> None:
        """Read the message of a call, and send it, unless the call ends meanwhile."""
        await call.initial_metadata()  # there is room for the message now
        data = await self._read(found, sent, request)
        with suppress(*BROKEN):  # which do not tell why it ended; its status does
            await call.write(data)
            await call.done_writing()

    async def _read(self, found: Found, sent: Sent, request: Request) -> bytes:
        """Return the message that a request holds, serialized.

        Raises BadField, TooLarge, and as ``Callers``: no body is read of a stranger.
        """
        if sent.length:
            self._caller(request)
        body = await sent.body(request)
        query = request.scope["query_string"].decode("ascii", "replace")
        async with self._in_turn(len(body), request) as do:
            data: bytes = await do(to_request, found, query, sent, body)
        return data

    async def _answered(self, found: Found, sent: Sent, request: Request, held: Held) -> Response:
        data = await self._made(found, sent, request)
        if self._callers.needs_keys and READ in CALLS[found.route.call].scopes:
            held.arrive(len(data), self._caller(request).key.name)
        await held.hold(len(data))
        async with self._in_turn(len(data), request) as do:
            body = await do(to_json, found.route.response, data)
        del data
        held.swap(len(body))
        return to_response(body)

    @asynccontextmanager
    async def _in_turn(self, size: int, request: Request) -> AsyncIterator[Callable[..., Any]]:
        """Context manager with what runs a conversion; few large ones run at once, in threads.

        Of them one is of each key, so that none keeps others waiting.
        """
        if size <= AT_ONCE_BYTES:
            yield at_once
            return
        async with AsyncExitStack() as turn:
            if self._callers.needs_keys:
                name = self._caller(request).key.name
                await turn.enter_async_context(self._converting_of[name])
            await turn.enter_async_context(self._converting)
            yield in_thread

    def _channel(self) -> Any:
        """Return a channel to the socket as it is now; several share the calls under way."""
        self._look()
        if not self._channels:
            count = -(-self._bounds.calls_max // self._bounds.connection_calls_max) + 1
            most = most_connections(self._bounds, with_http=True)
            count = min(count, max(1, most // ENDS))
            self._channels = [channel(self._path) for _ in range(count)]
            self._turns: Iterator[Any] = itertools.cycle(self._channels)
        return next(self._turns)

    def _look(self) -> None:
        """Use no channel any more whose socket has been replaced."""
        if (path := self._socket()) != self._path:
            self._former += self._channels
            self._channels, self._path = [], path

    async def let_go(self) -> None:
        """Close the connections to former sockets, whose buffers hold data."""
        self._look()
        former, self._former = self._former, []
        for each in former:
            await each.close()

    async def close(self) -> None:
        """Close all connections, and cancel the calls under way."""
        await self.let_go()
        for each in self._channels:
            await each.close()


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function on the event loop."""
    return function(*args)


def channel(path: str) -> Any:
    """Return a channel of its own to a socket."""
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    return grpc.aio.insecure_channel(f"unix:{path}", options=options)


def is_local(host: str) -> bool:
    """Return True if a Host header names an address, or localhost, and no other name."""
    with suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost":
            return True
        ip_address(name)
        return True
    return False


def retrieved(task: asyncio.Future[Any]) -> None:
    """Take notice of how a task ended, which asyncio would else complain of."""
    if not task.cancelled():
        task.exception()


def passed(request: Request) -> Iterator[tuple[str, str | bytes]]:
    """Yield what a request says of its caller, as metadata of gRPC. Raises BadField."""
    for name in KEYS:
        values = request.headers.getlist(name)
        if len(values) > PASSED_MAX:
            raise errors.BadField(name, f"comes {len(values)} times in the head; send it once")
        for value in values:
            yield name, in_ascii(value[:CHARACTERS_MAX])
    for name in TRACING:  # of which a call can do without
        for value in request.headers.getlist(name)[:PASSED_MAX]:
            if len(value) <= CHARACTERS_MAX:
                yield name, in_ascii(value)
    for certified in request.scope["state"].get(CERTIFICATE_NAMES, ()):
        yield CERTIFICATE_NAMES, certified.encode()


def in_ascii(value: str) -> str:
    """Return the value of a header as metadata may have it."""
    return "".join(each if " " <= each <= "~" else "?" for each in value)


async def unless_gone(answering: Coroutine[Any, Any, Response], gone: asyncio.Event) -> Response:
    """Return what a request is answered; cancel it if its client hangs up before.

    Raises ClientDisconnect then.
    """
    work, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        leaving.cancel()
        work.cancel()
        await asyncio.wait((work,))
        retrieved(work)
        del work  # or its error would keep itself, and the body


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the status that a call failed with."""
    if error.code() in (UNAVAILABLE, CANCELLED) and not error.trailing_metadata():
        return answer(errors.ConnectionEnding())  # nobody listens on the socket any more
    told = rpc_status.from_call(error)  # type: ignore[arg-type]  # is both on the client's side
    code: int = error.code().value[0]
    return told or status_pb2.Status(code=code, message=error.details() or "")


def pause_of(error: grpc.aio.AioRpcError) -> float:
    """Return the seconds that whoever is refused has to wait, as the call's end says."""
    said = (value for name, value in error.trailing_metadata() or () if name == PAUSE)
    return float(next(said, 0.0))


async def answer_of(call: Any) -> Any:
    """Return the answer of a call. Raises CallFailed, also where the server has ended it."""
    if await call.code() is OK:
        return await call
    try:
        await call
    except grpc.aio.AioRpcError as error:
        raise CallFailed(status_of(error), pause_of(error)) from None
    except asyncio.CancelledError:
        raise CallFailed(answer(errors.ConnectionEnding())) from None
    raise AssertionError


def to_json(kind: type[Message], data: bytes) -> bytes:
    """Return the JSON of a serialized message."""
    return dumped(to_document(kind.FromString(data)))


def to_response(data: bytes, code: int = 200, headers: Mapping[str, str] = HEADERS) -> Response:
    return Response(data, code, headers, media_type=JSON)


def refused(status: status_pb2.Status) -> Response:
    """Return the response of a call that failed: its google.rpc.Status as JSON."""
    headers, again = dict(HEADERS), error_details_pb2.RetryInfo()
    code = http_status(status.code)
    if code == UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if any(detail.Unpack(again) for detail in status.details):
        headers["retry-after"] = str(math.ceil(again.retry_delay.ToMilliseconds() / 1000))
    text = json_format.MessageToJson(status, indent=None)
    return to_response(text.encode(), code, headers)
