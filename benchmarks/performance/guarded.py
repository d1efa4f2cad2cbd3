"""64 clients of a server with keys, TLS and metrics, beside 64 of a plain one, in turns.

The third server is plain, too, but for the log of slow calls, which is off: nothing of a call is
timed there. All hold the same entries and are asked the same.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hostile import add_key
from numpy.typing import NDArray
from ratios import announced, question
from served import Served, folder, served
from vectors import make

import visual_memory
from visual_memory.v1 import service_pb2_grpc

DIMENSION, ROWS, CLIENTS, CALLS, TURNS = 768, 20_000, 64, 40, 9
GUARDED_MIN = 0.85  # of the calls a second of the plain server
SCRAPE_SECONDS = 1.0


class Asked(NamedTuple):
    """A server with what its clients need to call it."""

    server: Served
    credentials: grpc.ChannelCredentials | None = None
    key: str | None = None


def certificate(work: Path) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = work / "server.pem", work / "server.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@contextmanager
def scraped(address: str) -> Iterator[None]:
    """Context manager: read the metrics of a server again and again meanwhile."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def ask(asked: Asked, queries: NDArray[np.float32]) -> float:
    """Have all clients ask at once, and return calls a second."""
    metadata = () if asked.key is None else (("authorization", f"Bearer {asked.key}"),)
    channels = [
        grpc.aio.insecure_channel(asked.server.address)
        if asked.credentials is None
        else grpc.aio.secure_channel(asked.server.address, asked.credentials)
        for _ in range(8)
    ]
    stubs: list[Any] = [service_pb2_grpc.VisualMemoryStub(each) for each in channels]

    async def client(number: int) -> None:
        stub = stubs[number % len(stubs)]
        for at in range(CALLS):
            request = question(queries[(number + at * CLIENTS) % len(queries)])
            await stub.Classify(request, metadata=(*announced(request), *metadata))

    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*map(client, range(CLIENTS)))
    took = loop.time() - began
    for each in channels:
        await each.close()
    return CLIENTS * CALLS / took


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with folder() as work, ExitStack() as open_servers:
        stored, asked = make("clustered", ROWS + 2000, DIMENSION).split(ROWS)
        shown, secret = certificate(work)
        key = add_key(work / "guarded", "clients")
        flags = {
            "plain": (),
            "guarded": ("--tls-certificate", str(shown), "--tls-key", str(secret)),
            "untimed": ("--slow-seconds", "inf"),
        }
        listen = f"127.0.0.1:{free_port()}"
        flags["guarded"] += ("--metrics-listen", listen)
        servers = dict[str, Asked]()
        for name, more in flags.items():
            server = open_servers.enter_context(served(work / name, *more))
            servers[name] = Asked(server)
            if name == "guarded":
                credentials = grpc.ssl_channel_credentials(shown.read_bytes())
                servers[name] = Asked(server, credentials, key)
            options = {"api_key": key, "root_certificates": shown} if name == "guarded" else {}
            with visual_memory.connect(server.address, **options) as client:  # type: ignore[arg-type]
                client.create_memory("bench", dimension=DIMENSION).insert(
                    vectors=stored.vectors, labels=stored.labels
                )
        rates: dict[str, list[float]] = {name: [] for name in servers}
        with scraped(listen):
            for turn in range(TURNS + 1):
                for name, each in servers.items():
                    rate = asyncio.run(ask(each, asked.vectors))
                    if turn:  # the first is to warm up
                        rates[name].append(rate)
    plain = rates.pop("plain")
    print(f"{ROWS} × {DIMENSION}, {CLIENTS} clients, medians of {TURNS} turns")
    print(f"plain    {statistics.median(plain):6.0f} calls/s")
    ratios = dict[str, float]()
    for name, found in rates.items():
        shares = [one / other for one, other in zip(found, plain, strict=True)]
        ratios[name] = statistics.median(shares)
        print(
            f"{name:8} {statistics.median(found):6.0f} calls/s, {ratios[name]:.2f} of plain "
            f"({min(shares):.2f} to {max(shares):.2f})"
        )
    print(f"goal: guarded at least {GUARDED_MIN}")
    return int(ratios["guarded"] < GUARDED_MIN)


def free_port() -> int:
    """Return a port that nothing uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


if __name__ == "__main__":
    raise SystemExit(main())
