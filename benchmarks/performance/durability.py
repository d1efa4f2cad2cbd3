"""Costs of durable writes, deletions and unlearning, each against a reference of the same run.

The reference of a write is the very same message sent once more: the server receives, checks,
scales and hashes it and gives it to the one writer as before, but answers with the result that was
kept and syncs nothing, as strace shows. A message that is refused would be a worse reference: a
refusal comes before most of this work, or costs more than an answer. The reference of a deletion is
that of one row by SQLite and a call that does nothing; that of an erasure is to delete the rows,
fold the log into the file and search the file for one vector.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
from ratios import (
    DIMENSION,
    bare_insert,
    connect_bare,
    import_messages,
    packed,
    stub,
    unit,
)
from served import QUIET, Served, folder, seconds, served, started

import visual_memory
from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

ROWS, WRITERS, WRITES, ROUNDS, DELETIONS = 100_000, 16, 100, 5, 300
UNLEARN_SHARES = (100_000, 1000, 10)  # rows of which one is unlearned
SHORT_SECONDS, LONG_SECONDS = 60, 600  # timeouts of calls
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
# With seccomp strace stops the server at the traced calls alone, but must start it: attached later
# it would stop every call, and the slow server would group twice as many writes.
STRACE = (
    *("strace", "-D", "-f", "-qq", "-ttt", "--seccomp-bpf"),
    *("-e", "signal=none", "-e", "trace=fsync,fdatasync"),
)
READ_AT_ONCE = 1 << 24

Messages = Sequence[Sequence[pb.InsertEntriesRequest]]  # of each writer, one after another


class Answered(NamedTuple):
    """A number of messages, and when the first was sent and the last answered (Unix seconds)."""

    messages: int
    began: float
    ended: float

    @property
    def rate(self) -> float:
        """Return answers per second."""
        return self.messages / (self.ended - self.began)


def line(
    name: str, ours: str, reference: str, ratio: str, goal: str = "", *, ok: bool = True
) -> bool:
    mark = ("ok" if ok else "MISSED") if goal else ""
    print(f"{name:32}{ours:>10}{reference:>11}{ratio:>8}  {goal:20}{mark}".rstrip(), flush=True)
    return ok


def single_entries(name: str, writers: int, each: int) -> Messages:
    """Return the messages of each writer, ``each`` of them, which insert one entry each.

    Ids begin with ``name``.
    """
    vectors = unit(writers * each, DIMENSION, 2)
    messages = [
        pb.InsertEntriesRequest(
            memory="written",
            request_id=f"{name} {at}",
            batch=pb.EntryBatch(
                entries=[entry_pb2.Entry(id=f"{name} {at}", label=f"label {at % 1000}")],
                vectors=packed(vectors[[at]]),
            ),
        )
        for at in range(len(vectors))
    ]
    return [messages[writer::writers] for writer in range(writers)]


def write_together(address: str, messages: Messages) -> Answered:
    """Send each writer's messages one after another, all writers at once; return count and times.

    Each writer has a connection of its own.
    """

    async def write(calls: Any, own: Sequence[pb.InsertEntriesRequest]) -> None:
        for message in own:
            await calls.InsertEntries(message, timeout=SHORT_SECONDS)

    async def write_all() -> Answered:
        async with AsyncExitStack() as connected:
            stubs = []
            for _ in messages:
                channel = grpc.aio.insecure_channel(address, OWN_CONNECTION)
                await connected.enter_async_context(channel)
                calls: Any = service_pb2_grpc.VisualMemoryStub(channel)
                await calls.GetServerInfo(pb.GetServerInfoRequest())
                stubs.append(calls)
            began = time.time()
            await asyncio.gather(*map(write, stubs, messages))
            return Answered(sum(map(len, messages)), began, time.time())

    return asyncio.run(write_all())


def writing(work: Path, each: int) -> bool:
    """Print the rate of writes and of the same requests sent again.

    Return True if the ratio of the two meets the goal.
    """
    pairs = []
    with served(work / "writing") as server:
        stub(server).CreateMemory(pb.CreateMemoryRequest(name="written", dimension=DIMENSION))
        for number in range(ROUNDS):
            messages = single_entries(f"{number}", WRITERS, each)
            ours = write_together(server.address, messages)
            pairs.append((ours.rate, write_together(server.address, messages).rate))
    ours, again = (statistics.median(side) for side in zip(*pairs, strict=True))
    share = statistics.median(a / b for a, b in pairs)
    return line(
        f"{WRITERS} writers, repeating: writes/s",
        f"{ours:.0f}",
        f"{again:.0f}",
        f"{share:.2f}",
        "≥ .60",
        ok=share >= 0.6,
    )


def syncing(work: Path, each: int) -> bool:
    """Print writes per fsync of all writers and of one; return True if the goal for all is met.

    Raises RuntimeError if messages that are sent once more are synced.
    """
    log = work / "syncs"
    data = str(work / "syncing")
    with started("serve", "--data", data, *QUIET, under=(*STRACE, "-o", str(log))) as server:
        stub(server).CreateMemory(pb.CreateMemoryRequest(name="written", dimension=DIMENSION))
        messages = single_entries("together", WRITERS, each)
        together = write_together(server.address, messages)
        again = write_together(server.address, messages)
        alone = write_together(server.address, single_entries("alone", 1, each))
    begun = [float(call.split()[1]) for call in log.read_text().splitlines() if "sync(" in call]

    def syncs(answered: Answered) -> int:
        return sum(answered.began <= moment <= answered.ended for moment in begun)

    if syncs(again):
        raise RuntimeError("A repeated message was synced, so it cannot be compared with a write.")
    ours, one = (answered.messages / syncs(answered) for answered in (together, alone))
    return line(
        f"{WRITERS} writers, one: writes/fsync",
        f"{ours:.1f}",
        f"{one:.1f}",
        f"{ours / one:.1f}",
        "≥ 4 writes/fsync",
        ok=ours >= 4,
    )


def deletion(server: Served, bare: sqlite3.Connection, ids: Sequence[str]) -> bool:
    """Print the time to delete one entry, beside that of a row of SQLite plus an empty call.

    Return True if the goal is met.
    """
    calls = stub(server)
    ours, theirs, empty = [], [], []
    for id in ids:
        request = pb.DeleteEntriesRequest(memory="bench", ids=[id], request_id=f"delete {id}")
        ours.append(seconds(partial(calls.DeleteEntries, request, timeout=SHORT_SECONDS)))
        theirs.append(seconds(partial(bare.execute, "DELETE FROM entries WHERE id = ?", (id,))))
        empty.append(seconds(partial(calls.GetServerInfo, pb.GetServerInfoRequest())))
    one, row, call = (1000 * statistics.median(side) for side in (ours, theirs, empty))
    allowed = row + call + 1
    return line(
        "one deleted, SQLite + a call: ms",
        f"{one:.2f}",
        f"{row:.2f}+{call:.2f}",
        f"{one / allowed:.2f}",
        "≤ 1 (after 1 ms)",
        ok=one <= allowed,
    )


class Unlearned(NamedTuple):
    """Seconds to delete entries, then to search the files, then to search RAM and sign."""

    deleting: float
    files: float
    ram: float


def unlearn(server: Served, client: visual_memory.Client, ids: Sequence[str]) -> Unlearned:
    """Time the stages of unlearning entries, until the certificate is signed.

    The time of the deletion is read from the audit log. Files have been searched when the first
    WaitOperation returns, as the server then closes its connections, or the operation ends.
    """
    memory = client.memory("bench")
    began = time.time()
    operation = memory.unlearn(ids, wait=False)
    waiting = pb.WaitOperationRequest(name=operation.name)
    try:
        stub(server).WaitOperation(waiting, timeout=LONG_SECONDS)
    except grpc.RpcError as problem:
        if problem.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
    searched = time.time()
    client.wait(operation.name)
    client.certificate(operation.name)
    ended = time.time()
    deleted = [each.time for each in memory.audit_events() if each.call == "UnlearnEntries"][-1]
    at = deleted.timestamp()
    return Unlearned(at - began, searched - at, ended - searched)


def bare_erase(path: Path, bare: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Delete rows by SQLite alone, checkpoint its WAL, and search its file for one of the vectors.

    ``path`` is the database of the connection ``bare``. Raises RuntimeError if the vector is found.
    """
    find = "SELECT vector FROM entries WHERE id = ?"
    vector = bare.execute(find, ids[:1]).fetchone()[0]
    bare.execute("BEGIN IMMEDIATE")
    bare.executemany("DELETE FROM entries WHERE id = ?", [(id,) for id in ids])
    bare.execute("COMMIT")
    bare.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("rb") as file:
        kept = b""
        while read := file.read(READ_AT_ONCE):
            if vector in kept + read:
                raise RuntimeError("SQLite left a vector in its file.")
            kept = read[-len(vector) :]


def unlearning(
    server: Served, path: Path, bare: sqlite3.Connection, ids: Sequence[str], counts: Sequence[int]
) -> None:
    """Print the times to unlearn entries, and to erase the same ids in bare SQLite, for each count.

    ``ids`` are taken in order, each once; ``bare`` is a connection to the database at ``path``.
    """
    with visual_memory.connect(server.address, timeout=LONG_SECONDS) as client:
        client.server_info()
        for count in counts:
            own, ids = ids[:count], ids[count:]
            ours = unlearn(server, client, own)
            theirs = seconds(partial(bare_erase, path, bare, own))
            line(
                f"{len(own)} unlearned, bare: s",
                f"{sum(ours):.2f}",
                f"{theirs:.2f}",
                f"{sum(ours) / theirs:.1f}",
            )
            print(
                f"    {ours.deleting:.2f} s until they are deleted, {ours.files:.2f} s more until "
                f"the files are searched, {ours.ram:.2f} s more until RAM is, and it is signed"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--writes", type=int, default=WRITES, help="of each writer in each round")
    parser.add_argument("--deletions", type=int, default=DELETIONS)
    options = parser.parse_args()
    ids = [f"{at:08}" for at in np.random.default_rng(0).permutation(options.rows)]
    print(f"{options.rows} × {DIMENSION}")
    print(f"{'':32}{'ours':>10}{'reference':>11}{'ratio':>8}  goal")
    with folder() as work:
        met = []
        if shutil.which("strace"):
            met.append(syncing(work, options.writes))
        else:
            print("strace is not installed: fsyncs not counted")
        met.append(writing(work, options.writes))
        vectors = unit(options.rows, DIMENSION, 1)
        path = work / "bare.sqlite"
        bare_insert(path, vectors)
        with served(work / "data") as server, closing(connect_bare(path)) as bare:
            calls = stub(server)
            calls.CreateMemory(pb.CreateMemoryRequest(name="bench", dimension=DIMENSION))
            list(calls.ImportEntries(import_messages(vectors), timeout=LONG_SECONDS))
            met.append(deletion(server, bare, ids[: options.deletions]))
            counts = [max(1, options.rows // share) for share in UNLEARN_SHARES]
            unlearning(server, path, bare, ids[options.deletions :], counts)
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
