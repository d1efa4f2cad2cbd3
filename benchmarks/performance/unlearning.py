"""How long unlearning takes in a large memory, and how long decisions take meanwhile.

Inserts the entries over gRPC, then unlearns one, and ``--many``, each with the search of files and
RAM and the certificate, while another process asks for one decision after the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
from disk import imported, parts
from ratios import stub
from served import folder, served

import visual_memory
from visual_memory.v1 import service_pb2 as pb

K = 50
ALONE_SECONDS = 10.0


def keep_asking(address: str, dimension: int, results: Connection) -> None:
    """Ask for decisions until a message comes, then send when each began and how long it took.

    By the client, since an erasure ends connections: it asks again.
    """
    queries = next(parts(64, dimension, stream=2))
    times, number = list[tuple[float, float]](), 0
    with visual_memory.connect(address) as client:
        memory = client.memory("bench")
        while not results.poll():
            began = time.time()
            memory.classify(vectors=queries[number % 64 : number % 64 + 1], k=K)
            times.append((began, time.time() - began))
            number += 1
    results.send(times)


def shown(times: Sequence[float]) -> str:
    """Return median, 99th percentile and maximum of decisions."""
    late = np.quantile(times, 0.99)
    return (
        f"{len(times):,} decisions, median {1000 * statistics.median(times):.1f} ms, "
        f"99 of 100 within {1000 * late:.1f}, slowest {1000 * max(times):.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--many", type=int, default=1_000)
    parser.add_argument("--originals", choices=["ram", "disk"], default="ram")
    options = parser.parse_args()
    count, dimension = options.rows, options.dimension
    ids = [f"{number:026}" for number in range(0, count, max(1, count // options.many))]
    spans = dict[str, tuple[float, float]]()
    with folder() as work, served(work / "data", "--originals", options.originals) as server:
        calls = stub(server)
        calls.CreateMemory(pb.CreateMemoryRequest(name="bench", dimension=dimension))
        list(calls.ImportEntries(imported(count, dimension)))
        ours, theirs = multiprocessing.Pipe()
        asking = multiprocessing.get_context("spawn").Process(
            target=keep_asking, args=(server.address, dimension, theirs)
        )
        asking.start()
        theirs.close()  # so that it is known here if it ends without results
        time.sleep(ALONE_SECONDS)
        spans["alone"] = time.time() - ALONE_SECONDS / 2, time.time()
        with visual_memory.connect(server.address, timeout=3600) as client:
            memory = client.memory("bench")
            for some in (ids[1:2], ids[2 : options.many + 2]):
                began = time.time()
                certificate = memory.unlearn(some)
                spans[f"{len(some):,} unlearned, {certificate.looked_for:,} traces searched"] = (
                    began,
                    time.time(),
                )
        ours.send("over")
        times = ours.recv()
        asking.join()
    print(f"{count:,} × {dimension}, k = {K}, vectors in {options.originals}")
    for name, (first, last) in spans.items():
        during = [took for began, took in times if first <= began <= last]
        print(f"{name}: {last - first:.2f} s; {shown(during)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
