"""Latency of decisions while a memory is backed up, beside clients of all kinds."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ratios import DIMENSION, K, unit
from served import folder, served

import visual_memory
import visual_memory.aio

ROWS, BATCH, BATCHES_MAX = 100_000, 16, 50
SECONDS = 20.0
GOAL = 3.0

Span = tuple[float, float]  # when something began and ended


class Clients:
    """Four clients that classify, and one each that searches, inserts, deletes and relabels."""

    def __init__(self, memory: visual_memory.aio.Memory, queries: NDArray[np.float32]) -> None:
        self._memory, self._queries = memory, queries
        self._inserted: list[list[str]] = []
        self._number = 0

    async def ask(self, seconds: float) -> list[Span]:
        """Send calls back to back from each client; return start and end of each classification."""
        decisions: list[Span] = []
        end = time.perf_counter() + seconds

        async def repeat(act: Callable[[], Awaitable[object]], noted: list[Span]) -> None:
            while (began := time.perf_counter()) < end:
                await act()
                noted.append((began, time.perf_counter()))

        await asyncio.gather(
            *(repeat(self._classify, decisions) for _ in range(4)),
            *(repeat(act, []) for act in (self._search, self._insert, self._delete, self._relabel)),
        )
        return decisions

    async def _classify(self) -> None:
        self._number += 1
        query = self._queries[self._number % len(self._queries)]
        await self._memory.classify(vectors=query[None], k=K)

    async def _search(self) -> None:
        await self._memory.search(vectors=self._queries[:1], k=10)

    async def _insert(self) -> None:
        self._number += 1
        batch = f"batch {self._number}"
        await self._memory.insert(
            vectors=self._queries[:BATCH],
            ids=[f"{batch}, {at}" for at in range(BATCH)],
            labels=["new"] * BATCH,
            metadata=[{"batch": batch}] * BATCH,
        )
        self._inserted.append([f"{batch}, {at}" for at in range(BATCH)])

    async def _delete(self) -> None:
        if len(self._inserted) > BATCHES_MAX:
            await self._memory.delete(self._inserted.pop(0))
        else:
            await asyncio.sleep(0.01)

    async def _relabel(self) -> None:
        self._number += 1
        await self._memory.update("00000000", label=f"label {self._number % 7}")


def back_up(address: str, path: Path, pipe: Connection) -> None:
    """Back up to ``path`` again and again, from one message on ``pipe`` to the next.

    A message through ``pipe`` says before that all is ready, and the start and end of each backup
    are sent after that.
    """
    spans: list[Span] = []
    with visual_memory.connect(address) as client:
        client.server_info()
        pipe.send("ready")
        pipe.recv()
        while not pipe.poll():
            began = time.perf_counter()
            client.backup("bench", path, overwrite=True)
            spans.append((began, time.perf_counter()))
    pipe.send(spans)


async def measure(address: str, path: Path, seconds: float) -> tuple[list[Span], ...]:
    """Return start and end of each decision before and during backups, and of each backup.

    Decisions are calls of Classify to the server at ``address``, for ``seconds`` before backups
    begin and for as long beside them, or longer, until a backup has ended; backups are written to
    ``path``.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=back_up, args=(address, path, theirs))
    process.start()
    theirs.close()  # if the process dies, there is nothing to wait for
    await asyncio.to_thread(ours.recv)
    async with visual_memory.aio.connect(address) as client:
        clients = Clients(client.memory("bench"), unit(200, DIMENSION, 2))
        await clients.ask(seconds / 10)
        before = await clients.ask(seconds)
        ours.send("begin")
        beside = await clients.ask(seconds)
        while process.is_alive() and not path.exists():
            beside += await clients.ask(seconds)
    ours.send("end")
    backups: list[Span] = await asyncio.to_thread(ours.recv)
    process.join()
    return before, beside, backups


def p99(spans: list[Span]) -> float:
    """Return the 99th percentile of the durations in milliseconds."""
    return float(np.percentile([1000 * (end - began) for began, end in spans], 99))


def during(spans: list[Span], others: list[Span]) -> list[Span]:
    """Return the ``spans`` that overlap any of ``others``."""
    return [span for span in spans if any(a < span[1] and span[0] < b for a, b in others)]


def halves(client: visual_memory.Client, path: Path) -> int:
    """Restore the backup at ``path``; count the batches inserted of which it has only a part."""
    restored = client.restore(path, name="restored").info.name
    entries = client.memory(restored).entries('label = "new"')
    sizes = Counter(entry.metadata["batch"] for entry in entries)
    print(f"{len(sizes)} batches of the clients are in the last backup")
    return sum(size != BATCH for size in sizes.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    vectors, ids = unit(options.rows, DIMENSION, 1), [f"{at:08}" for at in range(options.rows)]
    with (
        folder() as work,
        served(work / "data") as server,
        visual_memory.connect(server.address, timeout=600) as client,
    ):
        memory = client.create_memory("bench", dimension=DIMENSION)
        memory.insert(vectors=vectors, labels=[f"label {id[-2:]}" for id in ids], ids=ids)
        path = work / "bench.vmb"
        before, beside, backups = asyncio.run(measure(server.address, path, options.seconds))
        size, torn = path.stat().st_size, halves(client, path)
    beside = during(beside, backups)
    quiet, busy = p99(before), p99(beside)
    took = float(np.median([end - began for began, end in backups]))
    ok = busy <= GOAL * quiet and not torn
    print(f"{options.rows} × {DIMENSION}, 8 clients, {len(backups)} backups of {size / 1e6:.0f} MB")
    print(f"a backup takes {took:.1f} s; {torn} batches are in it by halves")
    print(
        f"p99 of Classify during a backup / before: {busy:.0f} / {quiet:.0f} ms = "
        f"{busy / quiet:.2f} of {len(beside)} / {len(before)}, goal ≤ {GOAL:g}, "
        f"{'ok' if ok else 'MISSED'}"
    )
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
