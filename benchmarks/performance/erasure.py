"""The price of erasure from RAM, by comparison with a server that erases from files alone."""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import grpc
import numpy as np
from ratios import DIMENSION, K, question
from served import Served, folder, seconds, served

import visual_memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1 import service_pb2_grpc
from visual_memory_service.config import ERASURES, FILES, FILES_AND_MEMORY

CALLERS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=40, help="2 or more")
    parser.add_argument("--calls", type=int, default=200, help="to each server in a round")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((options.rows, DIMENSION), dtype=np.float32)
    queries = rng.standard_normal((options.calls, DIMENSION), dtype=np.float32)
    with ExitStack() as stack:
        work = stack.enter_context(folder())
        servers = {
            erasure: stack.enter_context(served(work / erasure, "--erasure", erasure))
            for erasure in ERASURES
        }
        for server in servers.values():
            fill(server, rows)
        messages = [question(query) for query in queries]
        rates: dict[str, list[float]] = {erasure: [] for erasure in ERASURES}
        worked = dict.fromkeys(ERASURES, 0.0)
        for number in range(options.rounds + 1):  # the first warms up
            for erasure in ERASURES if number % 2 else ERASURES[::-1]:
                before = servers[erasure].processor_seconds()
                rate = calls_per_second(servers[erasure], messages)
                if number:
                    rates[erasure].append(rate)
                    worked[erasure] += servers[erasure].processor_seconds() - before
        unlearned = {erasure: unlearning_seconds(server) for erasure, server in servers.items()}
    gains = [
        files / both for files, both in zip(rates[FILES], rates[FILES_AND_MEMORY], strict=True)
    ]
    count = options.rounds * options.calls
    print(f"{options.rows} × {DIMENSION}, k = {K}, {CALLERS} callers, {options.rounds} rounds")
    for erasure in ERASURES:
        print(
            f"{erasure:14}{statistics.median(rates[erasure]):8.0f} Classify calls/s"
            f"{1000 * worked[erasure] / count:8.3f} ms of processor time each"
            f"{unlearned[erasure]:8.2f} s for an unlearning"
        )
    low, middle, high = statistics.quantiles(gains, n=4)
    print(f"gain of files  {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
    return 0


def fill(server: Served, rows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("bench", dimension=DIMENSION)
        labels = [f"label {at % 100}" for at in range(len(rows))]
        memory.insert(
            vectors=rows, labels=labels, ids=[f"entry {at:06}" for at in range(len(rows))]
        )


def calls_per_second(server: Served, messages: Sequence[pb.ClassifyRequest]) -> float:
    """Return Classify calls per second, with CALLERS calls under way at a time."""
    with grpc.insecure_channel(server.address) as channel:
        classify = service_pb2_grpc.VisualMemoryStub(channel).Classify
        classify(messages[0])
        flying = deque[Any]()
        began = time.perf_counter()
        for message in messages:
            if len(flying) == CALLERS:
                flying.popleft().result()
            flying.append(classify.future(message))
        for answer in flying:
            answer.result()
        return len(messages) / (time.perf_counter() - began)


def unlearning_seconds(server: Served) -> float:
    """Return the seconds to unlearn one entry, until the certificate."""
    with visual_memory.connect(server.address) as client:
        return seconds(partial(client.memory("bench").unlearn, ids=["entry 000000"]))


if __name__ == "__main__":
    raise SystemExit(main())
