"""What one call costs, in processor time of server and client, beside a bare gRPC call."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from ratios import DIMENSION, K, packed
from served import ENDS_WITH_PARENT, Served, folder, served
from vectors import KINDS, make

import visual_memory
import visual_memory.aio
from visual_memory.v1 import service_pb2 as pb

ROUNDS, CALLS = 15, 100
LABELS = 100
BARE_CALLS_MAX = 3  # that a call may cost
BARE = """
import asyncio, sys, grpc

async def main():
    answer = bytes(int(sys.argv[1]))

    async def call(request, context):
        return answer

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(call)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(main())
"""

Call = Callable[[], Awaitable[object]]


@contextmanager
def bare_server(answer_bytes: int) -> Iterator[Served]:
    """Run a server of gRPC alone that answers so many bytes, until the block ends."""
    with subprocess.Popen(
        [*ENDS_WITH_PARENT, sys.executable, "-c", BARE, str(answer_bytes)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().strip(), process.pid, 0.0)
        finally:
            process.kill()


async def cost(server: Served, call: Call) -> tuple[float, float, float]:
    """Return milliseconds a call: of wall time, of the server's processor, of this process's."""
    began = time.perf_counter(), server.processor_seconds(), time.process_time()
    for _ in range(CALLS):
        await call()
    ended = time.perf_counter(), server.processor_seconds(), time.process_time()
    wall, theirs, own = (1000 * (b - a) / CALLS for a, b in zip(began, ended, strict=True))
    return wall, theirs, own


async def measure(
    ours: Served, count: int, kind: str
) -> list[tuple[str, list[tuple[float, float, float]]]]:
    """Return the costs of each kind of call, round by round, all kinds in each round."""
    stored, (query, _) = make(kind, count + 1, DIMENSION, LABELS).split(count)
    with visual_memory.connect(ours.address) as client:
        memory = client.create_memory("bench", dimension=DIMENSION)
        memory.insert(vectors=stored.vectors, labels=stored.labels)
        request = pb.ClassifyRequest(memory="bench", vectors=packed(query), k=K)
        body = request.SerializeToString()
        async with (
            visual_memory.aio.connect(ours.address) as waiting,
            grpc.aio.insecure_channel(ours.address) as channel,
        ):
            raw: Any = channel.unary_unary("/visual_memory.v1.VisualMemory/Classify")
            answer = await raw(body)
            with bare_server(len(answer)) as bare:
                async with grpc.aio.insecure_channel(bare.address) as bare_channel:
                    nothing: Any = bare_channel.unary_unary("/nothing/at.all")

                    async def blocking() -> object:
                        return memory.classify(vectors=query, k=K)

                    kinds: list[tuple[str, Served, Call]] = [
                        ("bare asyncio call", bare, lambda: nothing(body)),
                        ("Classify, bytes", ours, lambda: raw(body)),
                        (
                            "Classify, aio client",
                            ours,
                            lambda: waiting.memory("bench").classify(vectors=query, k=K),
                        ),
                        ("Classify, client", ours, blocking),
                    ]
                    rounds = [
                        [await cost(server, call) for _, server, call in kinds]
                        for _ in range(ROUNDS + 1)
                    ][1:]
        print(f"{len(body)} bytes asked, {len(answer)} answered")
    return [(name, [each[at] for each in rounds]) for at, (name, *_) in enumerate(kinds)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kind", choices=KINDS, default="clustered")
    options = parser.parse_args()
    with folder() as work, served(work / "data") as server:
        costs = asyncio.run(measure(server, options.rows, options.kind))
    print(
        f"{options.rows} × {DIMENSION}, k = {K}; medians of {ROUNDS} × {CALLS} calls, one at a time"
    )
    print(
        f"{'milliseconds a call':24}{'wall':>8}{'server':>8}{'× bare':>8}{'client':>8}{'× bare':>8}"
    )
    missed = False
    for name, each in costs:
        wall, theirs, own = (statistics.median(column) for column in zip(*each, strict=True))
        ratios = [
            statistics.median(
                one[at] / base[at] for one, base in zip(each, costs[0][1], strict=True)
            )
            for at in (1, 2)
        ]
        mark = "ok" if max(ratios) <= BARE_CALLS_MAX else "MISSED"
        missed |= mark != "ok"
        print(
            f"{name:24}{wall:8.2f}{theirs:8.2f}{ratios[0]:8.2f}{own:8.2f}{ratios[1]:8.2f}  {mark}"
        )
    print(f"goal: at most {BARE_CALLS_MAX} bare calls")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
