"""Many clients that ask, insert and delete for long: latency, growth, and every answer audited.

Each client keeps a ledger of the entries that it has inserted and deleted. A decision asks with
the vector of an entry that is stored: that entry must come first, and none that this client has
deleted may come at all. At the end the memory must hold just what the ledgers say.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray
from served import Served, folder, served
from vectors import Made, make

import visual_memory.aio

DIMENSION, K, SHOWN = 768, 50, 5
CLASSIFY, INSERT, DELETED_AT_ONCE = 0.80, 0.95, 3  # as many are deleted as are inserted
WARM_SHARE = 6  # growth is that after a sixth of the time
TAIL_MAX = 5  # of the median
BYTES_OF_ENTRY = 5 * DIMENSION + 200
BYTES_OF_WRITE = 500  # on the disk: its event in the audit log, and the answer that is kept
SLACK_BYTES = 64 << 20
MEBIBYTE = 1 << 20


class Worker:
    """One client, with its connection and its ledger: what it has stored, and what it deleted.

    The milliseconds of its calls go to ``took``, by kind. Ids are never used twice.
    """

    def __init__(
        self,
        number: int,
        memory: visual_memory.aio.Memory,
        base: Made,
        own: Made,
        took: dict[str, list[float]],
    ) -> None:
        self._choose, self._memory, self._base, self._took = Random(number), memory, base, took
        self._own, self._labels = own.vectors, own.labels
        self._names = (f"{number}-{count}" for count in itertools.count())
        self._free = [*range(len(own.vectors))]
        self.stored: dict[str, int] = {}  # rows by id
        self._deleted: set[str] = set()

    async def run(self, until: float) -> None:
        """Call after call until that moment of ``time.perf_counter``."""
        while (began := time.perf_counter()) < until:
            kind = self._kind()
            await {"classify": self._classify, "insert": self._insert, "delete": self._delete}[
                kind
            ]()
            self._took[kind].append(1000 * (time.perf_counter() - began))

    def _kind(self) -> str:
        chance = self._choose.random()
        if chance < CLASSIFY:
            return "classify"
        wants_more = chance < INSERT
        return "insert" if self._free and (wants_more or not self.stored) else "delete"

    async def _classify(self) -> None:
        if self.stored and self._choose.random() < 0.5:
            id = self._choose.choice([*self.stored])
            vector = self._own[self.stored[id]]
        else:
            row = self._choose.randrange(len(self._base.vectors))
            id, vector = f"base-{row}", self._base.vectors[row]
        (decision,) = await self._memory.classify(vectors=vector[None], k=K, neighbors=SHOWN)
        ids = [neighbor.id for neighbor in decision.neighbors]
        assert ids[0] == id, f"{id} is not the nearest to itself: {ids}"
        assert not self._deleted & {*ids}, f"what was deleted is found: {ids}"

    async def _insert(self) -> None:
        row, id = self._free.pop(), next(self._names)
        vector, label = self._own[row], self._labels[row]
        await self._memory.insert(vectors=vector[None], labels=[label], ids=[id])
        self.stored[id] = row

    async def _delete(self) -> None:
        ids = self._choose.sample([*self.stored], min(DELETED_AT_ONCE, len(self.stored)))
        await self._memory.delete(ids)
        self._free += [self.stored.pop(id) for id in ids]
        self._deleted.update(ids)


async def measure(server: Served, flags: argparse.Namespace) -> bool:
    """Run the clients, print what was measured, and return True if all goals are met."""
    clients, took = flags.clients, defaultdict[str, list[float]](list)
    base, rest = make("clustered", flags.rows + clients * flags.own, DIMENSION).split(flags.rows)
    async with visual_memory.aio.connect(server.address) as client:
        memory = await client.create_memory("bench", dimension=DIMENSION)
        ids = [f"base-{row}" for row in range(flags.rows)]
        await memory.insert(vectors=base.vectors, labels=base.labels, ids=ids)
        connections = [visual_memory.aio.connect(server.address) for _ in range(clients)]
        workers = []
        for number, connection in enumerate(connections):
            own, rest = rest.split(flags.own)
            await connection.__aenter__()
            workers.append(Worker(number, connection.memory("bench"), base, own, took))
        began = time.perf_counter()
        work = [asyncio.create_task(each.run(began + flags.seconds)) for each in workers]
        await asyncio.sleep(flags.seconds / WARM_SHARE)
        early = await state(server, memory)
        await asyncio.gather(*work)
        late = await state(server, memory)
        for connection in connections:
            await connection.close()
        stored = {id for worker in workers for id in worker.stored} | {*ids}
        same = stored == {entry.id async for entry in memory.entries()}
        check = await memory.check()
        await memory.verify_audit_log()
    return told(took, early, late, flags.seconds) & same & (check.entry_count == len(stored))


async def state(server: Served, memory: visual_memory.aio.Memory) -> NDArray[np.float64]:
    """Return the RAM, the bytes on disk and the number of entries of the server."""
    info = await memory.info()
    return np.array([server.memory_bytes("VmRSS"), info.disk_bytes, info.count], float)


def told(
    took: dict[str, list[float]],
    early: NDArray[np.float64],
    late: NDArray[np.float64],
    seconds: float,
) -> bool:
    tails: Sequence[float] = []
    for kind, milliseconds in sorted(took.items()):
        p50, p95, p99, most = np.percentile(milliseconds, (50, 95, 99, 100))
        tails = [*tails, p99 / p50]
        print(
            f"{kind:10}{len(milliseconds) / seconds:8.0f}/s  p50 {p50:6.1f} ms  p95 {p95:6.1f}  "
            f"p99 {p99:6.1f}  slowest {most:6.0f}  p99/p50 {p99 / p50:5.1f}"
        )
    ram, disk, entries = late - early
    print(f"RAM {early[0] / MEBIBYTE:.0f} to {late[0] / MEBIBYTE:.0f} MB, ", end="")
    print(f"disk {early[1] / MEBIBYTE:.0f} to {late[1] / MEBIBYTE:.0f} MB, ", end="")
    print(f"entries {early[2]:.0f} to {late[2]:.0f}")
    grown = max(0.0, entries) * BYTES_OF_ENTRY + SLACK_BYTES
    logged = BYTES_OF_WRITE * sum(len(took[kind]) for kind in ("insert", "delete"))
    return max(tails) <= TAIL_MAX and ram <= grown and disk <= grown + logged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--own", type=int, default=2000, help="vectors of each client")
    flags = parser.parse_args()
    with folder() as work, served(work / "data") as server:
        sys.exit(not asyncio.run(measure(server, flags)))


if __name__ == "__main__":
    main()
