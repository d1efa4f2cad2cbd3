"""One engine at one size: everything that is measured of it, in a process of its own, as JSON.

The folder must be empty. First the entries are inserted in batches of 256 by one client; then all
workloads are asked, each for some seconds; then entries are deleted one at a time, and what is left
of one of them is sought in the files; last a new process opens the folder and answers once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any, NamedTuple

import faiss
import numpy as np
from engines import ENGINES, Engine, Ids, Vectors, Where, matching
from vectors import make

BATCH, QUERIES, DELETIONS, SMALL_ROWS = 256, 512, 100, 100
RECALLED, RECALL_MIN = 32, 0.999  # queries, and what an approximate engine has to reach
SOUGHT_BYTES = 64  # of a vector, in files
READ_AT_ONCE = 1 << 24
MEBIBYTE = 1 << 20


class Workload(NamedTuple):
    """Queries as they are asked: ``batch`` of them at a time, by each of some ``clients``."""

    name: str
    k: int = 10
    batch: int = 1
    clients: int = 1
    where: Where = None


BASE, MANY = Workload("base"), Workload("16 clients", clients=16)
WHOLE = (100_000, 768)  # where all workloads are asked
WORKLOADS = (
    BASE,
    Workload("k = 1", k=1),
    Workload("k = 50", k=50),
    Workload("k = 100", k=100),
    Workload("batches of 8", batch=8),
    Workload("batches of 64", batch=64),
    MANY,
    Workload("64 clients", clients=64),
    Workload("filter 1 %", where=("percent", 7)),
    Workload("filter 10 %", where=("tenth", 3)),
)


def nearest(vectors: Vectors, queries: Vectors, k: int, where: Where) -> Ids:
    """Return the ids of the exact neighbours: int64 (n, k)."""
    ids = np.flatnonzero(matching(np.arange(len(vectors)), where))
    faiss.cvar.distance_compute_blas_threshold = 1
    chosen = vectors if where is None else vectors[ids]
    _, rows = faiss.knn(queries, chosen, k, metric=faiss.METRIC_INNER_PRODUCT)
    found: Ids = ids[rows]
    return found


def recall(found: Ids, truth: Ids) -> float:
    """Return the share of the exact neighbours that were found."""
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len(np.intersect1d(one, other)) / len(other) for one, other in pairs]))


def ask(engine: Engine, work: Workload, queries: Vectors, seconds: float) -> dict[str, float]:
    """Ask for some seconds; return the rate, calls, and percentiles of the milliseconds a call.

    Each client has asked once before the clock starts, for all of them at once.
    """
    turn, ready = count(), Barrier(work.clients)
    batches = [queries[at : at + work.batch] for at in range(0, len(queries), work.batch)]

    def client(_: int) -> tuple[float, list[float], float]:
        engine.tune(work.batch, work.clients)
        engine.search(batches[0], work.k, work.where)
        ready.wait()
        began, took = time.perf_counter(), list[float]()
        while (asked := time.perf_counter()) < began + seconds:
            engine.search(batches[next(turn) % len(batches)], work.k, work.where)
            took.append(time.perf_counter() - asked)
        return began, took, time.perf_counter()

    with ThreadPoolExecutor(work.clients) as threads:
        began, took, ended = zip(*threads.map(client, range(work.clients)), strict=True)
    calls = [each for part in took for each in part]
    return rates(calls, len(calls) * work.batch / (max(ended) - min(began)))


def rates(took: Sequence[float], rate: float) -> dict[str, float]:
    """Return a rate with the number of calls and percentiles of the milliseconds they took."""
    p50, p95, p99 = 1000 * np.percentile(took, (50, 95, 99))
    return {"qps": rate, "calls": len(took), "p50": p50, "p95": p95, "p99": p99}


def least_effort(engine: Engine, work: Workload, queries: Vectors, truth: Ids) -> int:
    """Set an approximate engine to the least effort that finds enough, or all it can; return it."""
    for effort in engine.efforts:
        engine.set_effort(effort)
        found = engine.search(queries, work.k, work.where)
        if recall(found, truth) >= RECALL_MIN:
            break
    return effort


def mix(engine: Engine, vectors: Vectors, queries: Vectors, seconds: float) -> dict[str, float]:
    """Ask by one client, of whose calls a tenth insert an entry and a tenth delete it again."""
    took = list[float]()
    engine.tune(BASE.batch, BASE.clients)
    began = time.perf_counter()
    for turn in count():
        if (start := time.perf_counter()) >= began + seconds:
            break
        id = 10_000_000 + turn // 10
        if turn % 10 == 3:
            engine.insert(id, vectors[id % len(vectors)][None])
        elif turn % 10 == 8:
            engine.delete([id])
        else:
            engine.search(queries[turn % len(queries)][None], BASE.k)
        took.append(time.perf_counter() - start)
    return rates(took, len(took) / (time.perf_counter() - began))


def measure_small(
    name: str, folder: Path, collections: int, dimension: int, seconds: float
) -> dict[str, Any]:
    """Return what is measured of many small collections, of 100 entries each."""
    vectors = make("clustered", SMALL_ROWS, dimension).vectors
    engine = ENGINES[name](folder, dimension)
    empty = resident([os.getpid()])
    engine.open()
    began = time.perf_counter()
    small = [engine.another(f"small{number}") for number in range(collections)]
    for each in small:
        each.insert(0, vectors)
        each.settle()
    found: dict[str, Any] = {"version": engine.version}
    found["made"] = 1000 * (time.perf_counter() - began) / collections
    choose, took = Random(0), list[float]()
    began = time.perf_counter()
    while (start := time.perf_counter()) < began + seconds:
        choose.choice(small).search(vectors[choose.randrange(SMALL_ROWS)][None], BASE.k)
        took.append(time.perf_counter() - start)
    found |= rates(took, len(took) / (time.perf_counter() - began))
    own = [os.getpid()] == engine.pids()
    found["ram"] = resident(engine.pids()) - (empty if own else 0)
    found["files"] = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in engine.pids())
    for each in small:
        if each.folder != engine.folder:
            each.close()
    engine.close()
    found["disk"] = on_disk(folder) / MEBIBYTE
    return found


def resident(pids: Sequence[int]) -> float:
    """Return the RAM of processes in MiB, what they share counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def on_disk(folder: Path) -> int:
    """Return the bytes that the files of a folder take."""
    files = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum(512 * each.st_blocks for each in files)


def is_in_files(folder: Path, vector: Vectors) -> bool:
    """Return True if the beginning of a vector is in a file of a folder, as float32."""
    piece = vector.astype("<f4").tobytes()[:SOUGHT_BYTES]
    return any(
        piece in data for path in folder.rglob("*") if path.is_file() for data in parts(path)
    )


def parts(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in parts that overlap."""
    with path.open("rb") as file:
        before = b""
        while data := file.read(READ_AT_ONCE):
            yield before + data
            before = data[-SOUGHT_BYTES:]


def first_answer(engine: Engine, query: Vectors) -> None:
    engine.open()
    engine.search(query, BASE.k)


def measure(name: str, folder: Path, rows: int, dimension: int, seconds: float) -> dict[str, Any]:
    """Return what is measured of an engine at a size."""
    made, asked = make("clustered", rows + QUERIES, dimension).split(rows)
    vectors, queries = made.vectors, asked.vectors
    engine = ENGINES[name](folder, dimension)
    empty = resident([os.getpid()])
    engine.open()
    try:
        found = served(engine, vectors, queries, seconds)
        if engine.pids() == [os.getpid()]:
            found["ram"] -= empty
    finally:
        engine.close()
    found["disk"] = on_disk(folder) / MEBIBYTE
    if engine.deletes:
        found["residue"] = is_left(folder, vectors)
    if engine.compacts:
        engine.open()
        engine.compact()
        engine.close()
        found["residue compacted"] = is_left(folder, vectors)
    return found


def served(engine: Engine, vectors: Vectors, queries: Vectors, seconds: float) -> dict[str, Any]:
    """Return what is measured of an engine that is open."""
    found: dict[str, Any] = {"version": engine.version}
    began = time.perf_counter()
    for first in range(0, len(vectors), BATCH):
        engine.insert(first, vectors[first : first + BATCH])
    found["inserts"] = len(vectors) / (time.perf_counter() - began)
    began = time.perf_counter()
    engine.settle()
    engine.index_fields()
    found["settled"] = time.perf_counter() - began
    whole = vectors.shape == WHOLE
    works = WORKLOADS if whole else [each for each in WORKLOADS if each in (BASE, MANY)]
    asked = queries if engine.efforts else queries[:RECALLED]
    found["workloads"] = {}
    for work in works:
        if work.where and not engine.filters:
            continue
        engine.tune(len(asked), 1)
        truth = nearest(vectors, asked, work.k, work.where)
        result = dict[str, float]()
        if engine.efforts:
            result["effort"] = least_effort(engine, work, asked, truth)
        result |= ask(engine, work, queries, seconds)
        result["recall"] = recall(engine.search(asked, work.k, work.where), truth)
        found["workloads"][work.name] = result
        if work is BASE:
            found["ram"] = resident(engine.pids())
        print(engine.name, *vectors.shape, work.name, json.dumps(result), flush=True)
    if engine.deletes:
        if whole:
            found["mixed"] = mix(engine, vectors, queries, seconds)
        began = time.perf_counter()
        for id in range(DELETIONS):
            engine.delete([id])
        found["deletes"] = DELETIONS / (time.perf_counter() - began)
    return found


def is_left(folder: Path, vectors: Vectors) -> bool | None:
    """Return True if a deleted vector is in the files, None if those that are kept are not."""
    kept = is_in_files(folder, vectors[DELETIONS])
    return is_in_files(folder, vectors[0]) if kept else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--start", action="store_true", help="open the folder and answer once")
    parser.add_argument("--batches", type=int, default=0, help="of 256 entries to insert, alone")
    parser.add_argument("--small", type=int, default=0, help="collections of 100 entries, alone")
    flags = parser.parse_args()
    if flags.batches:
        vectors = make("clustered", BATCH, flags.dimension).vectors
        engine = ENGINES[flags.engine](flags.folder, flags.dimension)
        engine.open()
        for number in range(flags.batches):
            engine.insert(BATCH * number, vectors)
        engine.close()
        return
    if flags.small:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, 2 * (resource.getrlimit(resource.RLIMIT_NOFILE)[1],)
        )
        found = measure_small(
            flags.engine, flags.folder, flags.small, flags.dimension, flags.seconds
        )
        print(json.dumps(found))
        return
    if flags.start:
        query = make("clustered", 1, flags.dimension).vectors
        engine = ENGINES[flags.engine](flags.folder, flags.dimension)
        began = time.perf_counter()
        first_answer(engine, query)
        print(json.dumps(time.perf_counter() - began))
        engine.close()
        return
    found = measure(flags.engine, flags.folder, flags.rows, flags.dimension, flags.seconds)
    command = [sys.executable, *sys.argv, "--start"]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found["start"] = json.loads(ran.stdout.splitlines()[-1])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
