"""Cost of many memories on one server: RAM, open files, start and stop, calls to idle ones.

Each has one entry, and all but those that stay open are closed until asked. What they cost is
compared with a server that has one memory.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from served import Served, folder, seconds, served

import visual_memory

MEBIBYTE = 1 << 20
CALLS = 200


def make(data: Path, memories: int, dimension: int) -> float:
    """Make memories of one entry each in a data folder; return the seconds that each took."""
    rng = np.random.default_rng(0)
    with served(data) as server, visual_memory.connect(server.address) as client:

        def one(number: int) -> None:
            client.create_memory(name := f"m{number:06}", dimension=dimension)
            vector = rng.standard_normal((1, dimension)).astype(np.float32)
            client.memory(name).insert(vectors=vector, labels=["a"], ids=["a"])

        def all_of_them() -> None:
            for number in range(memories):
                one(number)

        return seconds(all_of_them) / memories


def stop(server: Served) -> float:
    """End a server, and return the seconds until it has ended."""
    began = time.perf_counter()
    os.kill(server.pid, signal.SIGTERM)
    while state(server) != "Z":
        time.sleep(0.005)
    return time.perf_counter() - began


def state(server: Served) -> str:
    return Path(f"/proc/{server.pid}/stat").read_text().rpartition(") ")[2][0]


def measure(data: Path, memories: int, dimension: int, settle: float) -> dict[str, float]:
    """Return what a server of a folder takes, in seconds, bytes and files."""
    query = np.ones((1, dimension), np.float32)
    with served(data) as server, visual_memory.connect(server.address) as client:
        found = {"start, s": server.seconds}

        def ask(number: int) -> float:
            memory = client.memory(f"m{number:06}")
            return 1000 * seconds(lambda: memory.classify(vectors=query, k=1))

        ask(memories - 1)
        time.sleep(settle)  # each is opened, checked and closed again
        found["RAM, MB"] = server.memory_bytes("VmRSS") / MEBIBYTE
        found["open files"] = len(os.listdir(f"/proc/{server.pid}/fd"))
        asked = random.Random(0).sample(range(memories), min(CALLS, memories))
        found["call to a closed one, ms"] = statistics.median(map(ask, asked))
        found["call to an open one, ms"] = statistics.median(map(ask, asked))
        found["list all, s"] = seconds(lambda: list(client.memories()))
        found["stop, s"] = stop(server)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=2000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--settle", type=float, default=60.0, help="seconds after the start")
    flags = parser.parse_args()
    with folder() as work:
        took = {}
        for count in (1, flags.memories):
            data = work / str(count)
            print(f"{count} made, {1000 * make(data, count, flags.dimension):.1f} ms each")
            took[count] = measure(data, count, flags.dimension, flags.settle)
    one, many = took[1], took[flags.memories]
    print(f"{'':30}{'1':>10}{flags.memories:>10}{'each more':>12}")
    for name, value in many.items():
        each = (value - one[name]) / (flags.memories - 1)
        print(f"{name:30}{one[name]:10.2f}{value:10.2f}{each:12.4f}")
    goals = [
        many["RAM, MB"] - one["RAM, MB"] <= 0.1 * flags.memories,
        many["start, s"] < 3,
        many["stop, s"] < 3,
    ]
    sys.exit(not all(goals))


if __name__ == "__main__":
    main()
