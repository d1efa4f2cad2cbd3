"""Serving: the explorer at an address, until it is stopped."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from starlette.types import ASGIApp
from uvicorn import Config, Server

from visual_memory.aio import Client
from visual_memory_explorer.app import Explorer
from visual_memory_explorer.prelabel import Prelabel
from visual_memory_explorer.sessions import Connect
from visual_memory_explorer.studio import Studio

IDLE_SECONDS = 60
DRAIN_SECONDS = 3


class BadAddress(Exception):
    """An address that the explorer cannot listen at; the message says why."""


class Serving(Server):
    """A server that ends at SIGTERM and SIGINT without sending them to its process again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Finish the requests under way at the first signal, and at once at the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def serve(
    connect: Connect,
    listen: str,
    *,
    origin: str | None = None,
    needs_key: bool = False,
    results: Path | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve pages at ``listen``, HOST:PORT, until the process is told to stop.

    ``origin`` is the address that browsers see, such as that of a proxy, if it is another one; the
    other arguments are those of ``Explorer``. ``ready`` is called with the address. Raises
    BadAddress.
    """
    listening = bound(listen, with_origin=origin is not None)
    here = address_of(listening)
    seen = [checked(origin)] if origin else origins(here)

    async def run() -> None:
        explorer = Explorer(connect, seen, needs_key=needs_key, results=results)
        ready(origin or f"http://{here}")
        try:
            await answer(explorer.application(), listening)
        finally:
            await explorer.close()

    asyncio.run(run())


def serve_studio(
    connect: Callable[[], Client],
    name: str,
    studio: Studio,
    listen: str,
    *,
    ready: Callable[[str], None],
) -> None:
    """Serve a memory as a backend of Label Studio, as ``serve`` does pages. Raises BadAddress."""
    listening = bound(listen, with_origin=False)

    async def run() -> None:
        async with connect() as client:
            prelabel = Prelabel(client.memory(name), studio)
            ready(f"http://{address_of(listening)}")
            try:
                await answer(prelabel.application(), listening)
            finally:
                await prelabel.close()

    asyncio.run(run())


async def answer(application: ASGIApp, listening: socket.socket) -> None:
    """Answer requests until a signal ends it."""
    config = Config(
        application,
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    await Serving(config).serve([listening])


def checked(origin: str) -> str:
    """Return an origin without the slash at its end. Raises BadAddress."""
    parts = urlsplit(origin.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise BadAddress(
            f"--origin must be like https://pictures.example.org, but it is {origin!r}."
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def bound(listen: str, *, with_origin: bool) -> socket.socket:
    """Return a socket bound to an address, which without an origin is this machine's own.

    Raises BadAddress.
    """
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65_535:
        raise BadAddress(f"--listen must be HOST:PORT, such as 127.0.0.1:0, but it is {listen!r}.")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise BadAddress(f"--listen must begin with an IP address, but it is {listen!r}.") from None
    if not address.is_loopback and not with_origin:
        raise BadAddress(
            f"{listen} can be reached from other machines, and keys would cross the network in the "
            "clear: put a proxy with TLS before the explorer, and name its address by --origin."
        )
    made = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, int(port)))
        made.listen()  # from now on connections wait, also before the server takes them
    except OSError as problem:
        made.close()
        raise BadAddress(f"The explorer cannot listen at {listen}: {problem.strerror}.") from None
    return made


def address_of(listening: socket.socket) -> str:
    """Return HOST:PORT of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def origins(here: str) -> list[str]:
    """Return the origins that browsers on this machine may have the pages from."""
    return [f"http://{here}", f"http://localhost:{here.rpartition(':')[2]}"]
