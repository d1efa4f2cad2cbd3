"""Ratios of this service to the bare libraries below it, each pair in one run."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import grpc
import numpy as np
from numpy.typing import NDArray
from served import Served, folder, seconds, served
from vectors import KINDS, make

from visual_memory.protocol import MESSAGE_BYTES
from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

DIMENSION, K, BATCH, CLIENTS = 768, 50, 256, 64
FEW, LARGE, FEW_ROUNDS = 16, 256, 40
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A line of the report: this service's figure, the bare library's, and their ratio ``value``.

    ``ok`` is True if the ratio meets ``goal``.
    """

    name: str
    ours: str
    bare: str
    value: str
    goal: str
    ok: bool


def of_rates(name: str, rates: Sequence[tuple[float, float]], *, least: float) -> Ratio:
    """Return the report's line on pairs of rates, this service's and the bare library's.

    It has the medians of both, and the median of their ratios, which has to be at least ``least``.
    """
    ours, bare = (statistics.median(side) for side in zip(*rates, strict=True))
    share = statistics.median(one / other for one, other in rates)
    goal = f"≥ {least:.2f}"
    return Ratio(name, f"{ours:.0f}", f"{bare:.0f}", f"{share:.2f}", goal, share >= least)


def unit(count: int, dimension: int, seed: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    units: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def stub(server: Served) -> service_pb2_grpc.VisualMemoryStub:
    options = [("grpc.max_receive_message_length", -1)]
    return service_pb2_grpc.VisualMemoryStub(grpc.insecure_channel(server.address, options))


def packed(rows: Vectors) -> entry_pb2.Vectors:
    return entry_pb2.Vectors(rows=len(rows), data=rows.astype("<f4").tobytes())


def import_messages(vectors: Vectors) -> Iterator[pb.ImportEntriesRequest]:
    start = pb.ImportStart(memory="bench", request_id="bench")
    yield pb.ImportEntriesRequest(start=start)
    for offset in range(0, len(vectors), BATCH):
        rows = vectors[offset : offset + BATCH]
        entries = [
            entry_pb2.Entry(id=f"{offset + at:08}", label=f"label {(offset + at) % 1000}")
            for at in range(len(rows))
        ]
        batch = pb.EntryBatch(entries=entries, vectors=packed(rows))
        yield pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=offset, batch=batch))


def connect_bare(path: Path, page_bytes: int = 16384) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA secure_delete = ON")
    return db


def bare_insert(path: Path, vectors: Vectors) -> None:
    db = connect_bare(path)
    db.execute(
        "CREATE TABLE entries (key INTEGER PRIMARY KEY, id TEXT UNIQUE, label TEXT, vector BLOB)"
    )
    for offset in range(0, len(vectors), BATCH):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO entries (id, label, vector) VALUES (?, ?, ?)",
            [
                (f"{offset + at:08}", f"label {(offset + at) % 1000}", row.tobytes())
                for at, row in enumerate(vectors[offset : offset + BATCH])
            ],
        )
        db.execute("COMMIT")
    db.close()


def bare_read(path: Path, count: int) -> None:
    db = connect_bare(path)
    out = np.empty((count, DIMENSION), np.float32)
    ids, labels = [], []
    rows = db.execute("SELECT id, label, vector FROM entries")
    for at, (id, label, vector) in enumerate(rows):
        ids.append(id)
        labels.append(label)
        out[at] = np.frombuffer(vector, "<f4")
    db.close()


def insertion(work: Path, data: Path, vectors: Vectors) -> Ratio:
    with served(data) as server:
        calls = stub(server)
        calls.CreateMemory(pb.CreateMemoryRequest(name="bench", dimension=DIMENSION))
        ours = seconds(lambda: list(calls.ImportEntries(import_messages(vectors))))
    bare = seconds(lambda: bare_insert(work / "bare.sqlite", vectors))
    rates = [(len(vectors) / ours, len(vectors) / bare)]
    return of_rates("durable inserts, rows/s", rates, least=0.5)


def restart(work: Path, data: Path, vectors: Vectors) -> list[Ratio]:
    starts = []
    for _ in range(3):
        with served(data) as server:
            stub(server).GetMemory(pb.GetMemoryRequest(name="bench"))
            starts.append(server.seconds)
            resident = server.memory_bytes("VmRSS")
    ours = statistics.median(starts)
    bare = statistics.median(
        seconds(lambda: bare_read(work / "bare.sqlite", len(vectors))) for _ in range(3)
    )
    allowed_bytes = 1.5 * vectors.nbytes + 400e6
    return [
        Ratio(
            "restart, s",
            f"{ours:.2f}",
            f"{bare:.2f}",
            f"{(ours - 2) / bare:.2f}",
            "≤ 3 (after 2 s)",
            ours <= 2 + 3 * bare,
        ),
        Ratio(
            "RAM, MB",
            f"{resident / 1e6:.0f}",
            f"{vectors.nbytes / 1e6:.0f}",
            f"{allowed_bytes / 1e6:.0f} allowed",
            "≤ 1.5 × + 400",
            resident <= allowed_bytes,
        ),
    ]


def question(query: Vectors) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(memory="bench", vectors=packed(query[np.newaxis]), k=K)


async def ask_together(address: str, queries: Vectors, rounds: int) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        calls: Any = service_pb2_grpc.VisualMemoryStub(channel)
        requests = [question(query) for query in queries]

        async def client(request: pb.ClassifyRequest) -> None:
            for _ in range(rounds):
                await calls.Classify(request, metadata=announced(request))

        await asyncio.gather(*(client(request) for request in requests))
        began = time.perf_counter()
        await asyncio.gather(*(client(request) for request in requests))
        return len(queries) * rounds / (time.perf_counter() - began)


def announced(request: pb.ClassifyRequest) -> tuple[tuple[str, str]]:
    """Return the metadata in which a client says how large its message is."""
    return ((MESSAGE_BYTES, str(request.ByteSize())),)


async def slowest_of_few(address: str, queries: Vectors, *, beside: Vectors | None) -> float:
    """Return the 99th percentile of the seconds of calls with one query, of FEW clients.

    Meanwhile another client asks all queries ``beside`` in one message, again and again.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        calls: Any = service_pb2_grpc.VisualMemoryStub(channel)
        took = list[float]()

        async def ask(request: pb.ClassifyRequest) -> float:
            began = time.perf_counter()
            await calls.Classify(request, metadata=announced(request))
            return time.perf_counter() - began

        async def client(request: pb.ClassifyRequest) -> None:
            await ask(request)
            took.extend([await ask(request) for _ in range(FEW_ROUNDS)])

        async def large() -> None:
            assert beside is not None
            request = pb.ClassifyRequest(memory="bench", vectors=packed(beside), k=K)
            while not over.is_set():
                await ask(request)

        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            if beside is not None:
                group.create_task(large())
            await asyncio.gather(*(client(question(query)) for query in queries))
            over.set()
    return float(np.percentile(took, 99))


def searching(data: Path, vectors: Vectors, queries: Vectors) -> list[Ratio]:
    faiss.cvar.distance_compute_blas_threshold = 1
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    index.search(queries, K)
    together, apart, few = [], [], []
    with served(data) as server:
        calls = stub(server)
        calls.Classify(question(queries[0]))
        for _ in range(5):
            some = queries[:CLIENTS]
            bare = statistics.median(seconds(partial(index.search, some, K)) for _ in range(5))
            ours = asyncio.run(ask_together(server.address, queries[:CLIENTS], 5))
            together.append((ours, CLIENTS / bare))
            alone, crowded = (
                asyncio.run(slowest_of_few(server.address, queries[:FEW], beside=beside))
                for beside in (None, queries)
            )
            few.append((1000 * crowded, 1000 * alone))
        for query in queries[:40]:
            apart.append(
                (
                    seconds(partial(calls.Classify, question(query))),
                    seconds(partial(index.search, query[np.newaxis], K)),
                )
            )
    crowded, alone = (statistics.median(side) for side in zip(*few, strict=True))
    slower = statistics.median(one / other for one, other in few)
    one, one_bare = (statistics.median(side) * 1000 for side in zip(*apart, strict=True))
    return [
        of_rates(f"{CLIENTS} clients, queries/s", together, least=1.0),
        Ratio(
            f"p99 of {FEW} beside {LARGE}, ms",
            f"{crowded:.0f}",
            f"{alone:.0f}",
            f"{slower:.2f}",
            "≤ 2 (of theirs alone)",
            slower <= 2,
        ),
        Ratio(
            "one query, ms",
            f"{one:.1f}",
            f"{one_bare:.1f}",
            f"{(one - 1) / one_bare:.2f}",
            "≤ 1.5 (after 1 ms)",
            one <= 1.5 * one_bare + 1,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kind", choices=KINDS, default="clustered")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    made = make(options.kind, options.rows + LARGE, DIMENSION).vectors
    vectors, queries = made[: options.rows], made[options.rows :]
    ratios: list[Ratio] = []
    with folder() as work:
        data = work / "data"
        ratios.append(insertion(work, data, vectors))
        ratios += restart(work, data, vectors)
        ratios += searching(data, vectors, queries)
    print(f"{options.rows} × {DIMENSION}, {options.kind}, k = {K}")
    print(f"{'':28}{'ours':>10}{'bare':>10}{'ratio':>16}  goal")
    for ratio in ratios:
        mark = "ok" if ratio.ok else "MISSED"
        print(
            f"{ratio.name:28}{ratio.ours:>10}{ratio.bare:>10}{ratio.value:>16}  "
            f"{ratio.goal:20}{mark}"
        )
    if options.json:
        rows = [{name: getattr(r, name) for name in Ratio.__slots__} for r in ratios]
        options.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(ratio.ok for ratio in ratios) else 1


if __name__ == "__main__":
    raise SystemExit(main())
