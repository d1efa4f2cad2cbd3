"""One caller who does the server's worst beside ten who ask: what these notice of it.

The hostile caller has a key with limits, and a process that runs while others idle (SCHED_IDLE), so
that what the attack costs its own machine is not counted. By turns it sends bursts of thousands of
calls, calls that end after a millisecond, messages that are too large, pictures of 64 megapixels,
streams that say nothing, streams that send more than they may, and backups that it hardly reads.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from ratios import packed
from served import Served, folder, served
from vectors import make

import visual_memory.aio
from visual_memory.errors import details
from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb
from visual_memory_service.access.key_file import KeyFile
from visual_memory_service.access.keys import Key, new_secret
from visual_memory_service.access.limits import parse_limits

DIMENSION, K, ROWS, QUERIES, HONEST = 768, 50, 20_000, 200, 10
PAUSE_SECONDS = 0.05  # of an honest caller between two calls
TURN_SECONDS = 10.0  # of each attack
TAIL_MAX = 2.0  # times the p99 of honest callers alone
RSS_MAX = 1 << 30  # more than alone
LIMITS = (
    "calls=8", "streams=4", "calls_per_second=50", "bytes_per_second=2e6",
    "neighbors_per_second=1e4", "pixels_per_second=1e7", "idle_seconds=5",
)  # fmt: skip
MEBIBYTE = 1 << 20

Turn = tuple[str, float, float]  # an attack, when it began and ended
Metadata = tuple[tuple[str, str], ...]


def add_key(data: Path, name: str, *limits: str) -> str:
    """Add a key for everything to a data folder, and return its text."""
    text, secret = new_secret()
    now = datetime.now(UTC)
    made = Key(name, ("admin",), (), now, limits=parse_limits(limits), secrets=(secret,))
    KeyFile(data).change(lambda keys: [*keys, made])
    return text


class Attacker:
    """The hostile caller, with what became of its calls."""

    def __init__(self, address: str, key: str) -> None:
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.insecure_channel(address, options=options) for _ in range(8)]
        self._stubs = [service_pb2_grpc.VisualMemoryStub(each) for each in self._channels]
        self._key: Metadata = (("authorization", f"Bearer {key}"),)
        rows = np.random.default_rng(1).standard_normal((200, DIMENSION)).astype("<f4")
        self._rows = rows
        self._small = pb.ClassifyRequest(memory="bench", k=K, vectors=packed(rows[:1]))
        self._many = pb.ClassifyRequest(memory="bench", k=K, vectors=packed(rows))
        self._large = pb.InsertEntriesRequest(
            memory="bench", batch=pb.EntryBatch(images=entry_pb2.Images(data=[bytes(120 << 20)]))
        )
        buffer = io.BytesIO()
        Image.new("RGB", (8000, 8000)).save(buffer, "PNG", compress_level=9)
        pictures = entry_pb2.Images(data=[buffer.getvalue()] * 4)
        self._pictures = pb.ClassifyRequest(memory="album", images=pictures)
        self.came = Counter[str]()
        self.turns: list[Turn] = []

    def run(self, until: float) -> None:
        """Attack by turns until a time of ``time.monotonic``."""
        attacks = itertools.cycle(
            (
                *(self.burst, self.impatient, self.too_large, self.megapixels),
                *(self.silent, self.indebted, self.slow),
            )
        )
        while time.monotonic() < until:
            attack, began = next(attacks), time.monotonic()
            end = min(until, began + TURN_SECONDS)
            while time.monotonic() < end:
                attack(end)
            self.turns.append((attack.__name__, began, time.monotonic()))

    def burst(self, end: float) -> None:
        self._ask([self._small, self._many], 5000, end - time.monotonic())

    def impatient(self, end: float) -> None:
        self._ask([self._small], 1000, 0.001)

    def megapixels(self, end: float) -> None:
        self._ask([self._pictures], 16, end - time.monotonic())

    def _ask(self, requests: list[Any], count: int, seconds: float) -> None:
        calls = [
            stub.Classify.future(request, metadata=self._key, timeout=max(0.001, seconds))
            for stub, request, _ in zip(
                itertools.cycle(self._stubs), itertools.cycle(requests), range(count), strict=False
            )
        ]
        for call in calls:
            self._note(call)

    def too_large(self, end: float) -> None:
        said = (("message-bytes", str(self._large.ByteSize())),)
        for metadata in (self._key, (*self._key, *said)):
            self._note(
                self._stubs[0].InsertEntries.future(self._large, metadata=metadata, timeout=9)
            )

    def silent(self, end: float) -> None:
        def nothing() -> Iterator[pb.ImportEntriesRequest]:
            time.sleep(max(0.0, end - time.monotonic()))
            yield from ()

        calls = [
            stub.ImportEntries(nothing(), metadata=self._key, timeout=60)
            for stub in self._stubs
            for _ in range(12)
        ]
        for call in calls:
            self._note(call)

    def indebted(self, end: float) -> None:
        """Send more than the limit of bytes on streams, and never read an acknowledgement."""

        def batches(number: int) -> Iterator[pb.ImportEntriesRequest]:
            name = f"{number}-{time.monotonic()}"
            yield pb.ImportEntriesRequest(start=pb.ImportStart(memory="dump", request_id=name))
            count = len(self._rows)
            for offset in itertools.count(0, count):
                if time.monotonic() > end:
                    return
                entries = [entry_pb2.Entry(label="x")] * count
                batch = pb.EntryBatch(entries=entries, vectors=packed(self._rows))
                step = pb.ImportBatch(offset=offset, batch=batch)
                yield pb.ImportEntriesRequest(batch=step)

        calls = [
            stub.ImportEntries(batches(number), metadata=self._key, timeout=60)
            for number, stub in enumerate(self._stubs)
        ]
        time.sleep(max(0.0, end - time.monotonic()))
        for call in calls:
            call.cancel()
            self._note(call)

    def slow(self, end: float) -> None:
        calls = [
            stub.BackupMemory(
                pb.BackupMemoryRequest(memory="bench"), metadata=self._key, timeout=60
            )
            for stub in self._stubs
        ]
        for call in calls:
            with suppress(grpc.RpcError):
                next(call)
        time.sleep(max(0.0, end - time.monotonic()))
        for call in calls:
            call.cancel()
            self._note(call)

    def _note(self, call: Any) -> None:
        if call.cancelled():
            self.came["hung up"] += 1
            return
        error = call.exception()
        if error is None:
            self.came["answered"] += 1
        else:
            self.came[details(error).get("reason") or error.code().name] += 1


def attack(address: str, key: str, seconds: float, told: Any) -> None:
    """Attack a server from a process that runs while others idle; tell what became of the calls."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    attacker = Attacker(address, key)
    attacker.run(time.monotonic() + seconds)
    told.put((dict(attacker.came), attacker.turns))


async def ask(
    memory: visual_memory.aio.Memory, queries: NDArray[np.float32], until: float
) -> list[tuple[float, float]]:
    """Ask as an honest caller until a time of ``time.monotonic``.

    Returns when each call began, and its milliseconds.
    """
    took: list[tuple[float, float]] = []
    for at in itertools.count():
        if (began := time.monotonic()) >= until:
            return took
        await memory.classify(vectors=queries[at % len(queries)][None], k=K, neighbors=5)
        took.append((began, 1000 * (time.monotonic() - began)))
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError


async def all_ask(
    address: str, keys: list[str], queries: NDArray[np.float32], seconds: float
) -> NDArray[np.float64]:
    """Have all honest callers ask, and return of all calls (n, 2) when they began, and how long."""
    clients = [visual_memory.aio.connect(address, api_key=key, timeout=30) for key in keys]
    until = time.monotonic() + seconds
    took = await asyncio.gather(*(ask(each.memory("bench"), queries, until) for each in clients))
    for each in clients:
        await each.close()
    return np.concatenate([np.array(each) for each in took])


def told(name: str, calls: NDArray[np.float64], server: Served) -> float:
    took = calls[:, 1]
    p50, p99, most = np.percentile(took, (50, 99, 100))
    rss = server.memory_bytes("VmRSS") / MEBIBYTE
    print(
        f"{name:28}{len(took):7} answers  p50 {p50:6.1f} ms  p99 {p99:6.1f}  slowest {most:6.0f}  "
        f"RAM {rss:.0f} MB",
        flush=True,
    )
    return float(p99)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--alone", type=float, default=60.0)
    options = parser.parse_args()
    with folder() as work:
        data = work / "data"
        honest = [add_key(data, f"honest-{number}") for number in range(HONEST)]
        hostile = add_key(data, "hostile", *LIMITS)
        with served(data) as server:
            with visual_memory.connect(server.address, api_key=honest[0]) as client:
                stored, asked = make("clustered", ROWS + QUERIES, DIMENSION).split(ROWS)
                client.create_memory("bench", dimension=DIMENSION).insert(
                    vectors=stored.vectors, labels=stored.labels
                )
                client.create_memory("dump", dimension=DIMENSION)
                pictures = [Image.effect_noise((64, 64), 50).convert("RGB") for _ in range(4)]
                album = client.create_memory("album", embedder="efficientnet-lite0")
                album.insert(images=pictures, labels=["x", "y", "x", "y"])
            measure = partial(all_ask, server.address, honest, asked.vectors)
            asyncio.run(measure(5.0))
            alone = told("honest callers alone", asyncio.run(measure(options.alone)), server)
            before = server.memory_bytes("VmRSS")
            answers: Any = multiprocessing.get_context("spawn").Queue()
            process = multiprocessing.get_context("spawn").Process(
                target=attack, args=(server.address, hostile, options.seconds, answers)
            )
            process.start()
            calls = asyncio.run(measure(options.seconds))
            beside = told("beside the hostile one", calls, server)
            came, turns = answers.get(timeout=120)
            for name in dict.fromkeys(name for name, *_ in turns):
                of_name = [
                    calls[(calls[:, 0] >= a) & (calls[:, 0] < b)] for n, a, b in turns if n == name
                ]
                if sum(map(len, of_name)):
                    told(f"  {name}", np.concatenate(of_name), server)
            process.join()
            again = told("alone again", asyncio.run(measure(options.alone)), server)
            peak = server.memory_bytes("VmHWM")
    print("the hostile one got", ", ".join(f"{count} × {name}" for name, count in came.items()))
    alone = (alone + again) / 2
    grown = (peak - before) / MEBIBYTE
    print(
        f"p99 {beside / alone:.2f} times alone (goal {TAIL_MAX}), RAM {grown:.0f} MB more at most"
    )
    return int(beside > TAIL_MAX * alone or peak - before > RSS_MAX)


if __name__ == "__main__":
    raise SystemExit(main())
