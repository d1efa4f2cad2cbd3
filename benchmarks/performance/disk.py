"""A memory whose vectors are on disk, as large as it may be: RAM, start, decisions, deletions.

Inserts the entries over gRPC, unless the folder ``--work`` has them from an earlier run. Starts the
server anew, and asks it. The answers to ``--audited`` queries are compared, ids and distances, with
all distances in float64. ``read`` reads as many bytes as the upper halves of all codes, once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from ratios import BATCH, packed, stub
from served import median, seconds, served

from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub
from visual_memory_index import unit_rows
from visual_memory_index.codes.groups import INSTRUCTIONS
from visual_memory_index.rows.distances import exact_distances

Vectors = NDArray[np.float32]
Answer: TypeAlias = tuple[list[str], list[float]]  # ids and distances of neighbours
PART = 50_000  # rows that are made at a time
CLASSES, SPREAD = 1000, 0.8
ROUNDING = 1e-9  # of float64 products
DELETED, PARTS_DELETED = 100, 20


def parts(count: int, dimension: int, stream: int = 1) -> Iterator[Vectors]:
    """Yield ``count`` unit vectors in parts, around 1,000 centres, of a spectrum that decays.

    Equal parts come each time; each ``stream`` has its own.
    """
    for number, start in enumerate(range(0, count, PART)):
        yield part_of(number, min(PART, count - start), dimension, stream)


def part_of(number: int, size: int, dimension: int, stream: int = 1) -> Vectors:
    spectrum = 1 / np.sqrt(1 + np.arange(dimension, dtype=np.float32))
    centres = np.random.default_rng(0).standard_normal((CLASSES, dimension), np.float32)
    rng = np.random.default_rng([stream, number])
    rows = rng.standard_normal((size, dimension), np.float32) * np.float32(SPREAD)
    rows += centres[rng.integers(CLASSES, size=size)]
    return unit_rows(np.multiply(rows, spectrum, out=rows))


def batch_of(numbers: Sequence[int], rows: Vectors) -> pb.EntryBatch:
    """Return the entries of these ``numbers``, which are their ids."""
    entries = [entry_pb2.Entry(id=f"{n:026}", label=f"label {n % CLASSES}") for n in numbers]
    return pb.EntryBatch(entries=entries, vectors=packed(rows))


def some_entries(count: int, dimension: int) -> pb.EntryBatch:
    """Return entries from all over the memory, of parts that nothing has read lately."""
    rng, several = np.random.default_rng(4), -(-count // PART)
    numbers, rows = list[int](), list[Vectors]()
    for part in rng.choice(several, min(several, PARTS_DELETED), replace=False).tolist():
        size = min(PART, count - part * PART)
        chosen = rng.choice(size, min(size, -(-DELETED // PARTS_DELETED)), replace=False)
        numbers += (part * PART + chosen).tolist()
        rows.append(part_of(part, size, dimension)[chosen])
    return batch_of(numbers, np.concatenate(rows))


def imported(count: int, dimension: int) -> Iterator[pb.ImportEntriesRequest]:
    """Yield the messages that insert all entries; ids are their numbers."""
    yield pb.ImportEntriesRequest(start=pb.ImportStart(memory="bench", request_id="bench"))
    offset, began = 0, time.perf_counter()
    for part in parts(count, dimension):
        for start in range(0, len(part), BATCH):
            rows = part[start : start + BATCH]
            numbers = range(offset, offset + len(rows))
            batch = batch_of(numbers, rows)
            yield pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=offset, batch=batch))
            offset += len(rows)
        if not offset % (20 * PART):
            print(f"{offset:,} inserted, {time.perf_counter() - began:.0f} s", flush=True)


@contextmanager
def reading(rows: int, dimension: int) -> Iterator[Callable[[], object]]:
    """Yield a function that reads as many bytes as the upper halves of codes, in two threads."""
    data = np.ones(rows * dimension // 2 // 8, np.uint64)
    halves = np.array_split(data, 2)
    with ThreadPoolExecutor(2) as threads:
        yield lambda: list(threads.map(np.max, halves))


def ask(calls: VisualMemoryStub, k: int, queries: Vectors) -> list[Answer]:
    """Return ids and distances of the neighbours that the server names to each query."""
    request = pb.ClassifyRequest(memory="bench", vectors=packed(queries), k=k)
    return [
        ([each.id for each in one.neighbors], [each.distance for each in one.neighbors])
        for one in calls.Classify(request).decisions
    ]


def nearest(queries: Vectors, count: int, dimension: int, k: int) -> list[Answer]:
    """Return ids and distances of the k nearest of all entries to each query, by float64 alone."""
    wide = queries.astype(np.float64)
    found: list[list[tuple[float, str]]] = [[] for _ in queries]
    start = 0
    for part in parts(count, dimension):
        products = wide @ part.T.astype(np.float64)
        for number, scores in enumerate(products):
            kth = found[number][-1][0] if len(found[number]) == k else 2.0
            rows = np.flatnonzero(1 - scores <= kth + ROUNDING)
            if len(rows) > k:
                lowest = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
                rows = rows[scores[rows] >= lowest - ROUNDING]
            exact = exact_distances(queries[number], part[rows]).tolist()
            came = [(each, f"{start + row:026}") for each, row in zip(exact, rows, strict=True)]
            found[number] = sorted([*found[number], *came])[:k]
        start += len(part)
    return [([id for _, id in each], [distance for distance, _ in each]) for each in found]


def times(act: Callable[[int], object], count: int) -> list[float]:
    """Return the seconds that each of ``count`` calls takes."""
    return [seconds(partial(act, number)) for number in range(count)]


def shown(name: str, took: Sequence[float]) -> str:
    """Return a line on times: their median, and the 95th percentile."""
    late = sorted(took)[int(0.95 * len(took))]
    return f"{name}: {1000 * statistics.median(took):.1f} ms, 95 of 100 within {1000 * late:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--audited", type=int, default=200)
    parser.add_argument("--work", type=Path, required=True, help="keeps the memory for later runs")
    options = parser.parse_args()
    count, dimension, k = options.rows, options.dimension, options.k
    data, flags = options.work / f"{count}x{dimension}", ("--originals", "disk")
    if not data.exists():
        with served(data, *flags) as server:
            calls = stub(server)
            calls.CreateMemory(pb.CreateMemoryRequest(name="bench", dimension=dimension))
            took = seconds(lambda: list(calls.ImportEntries(imported(count, dimension))))
            print(f"inserted: {count / took:,.0f} entries/s", flush=True)
    queries = next(parts(options.audited, dimension, 2))
    print(f"{count:,} × {dimension}, k = {k}, {INSTRUCTIONS}")
    with served(data, *flags) as server:
        calls = stub(server)
        first = seconds(lambda: ask(calls, k, queries[:1]))
        info = calls.GetMemory(pb.GetMemoryRequest(name="bench"))
        print(f"start: {server.seconds:.1f} s; first answer {first:.2f} s later")
        print(f"file: {info.disk_bytes / 1e9:.1f} GB, {info.count:,} entries, on {info.originals}")
        with reading(count, dimension) as read:
            print(f"read: {1000 * median(read, 7):.1f} ms")
        answers = list[Answer]()
        took_each = times(
            lambda at: answers.extend(ask(calls, k, queries[at : at + 1])), options.audited
        )
        print(shown("one query", took_each))
        some = [np.roll(queries, at, axis=0)[:64] for at in range(5)]
        print(shown("64 in a call", times(lambda at: ask(calls, k, some[at]), len(some))))
        gone = some_entries(count, dimension)
        erase = [pb.DeleteEntriesRequest(memory="bench", ids=[each.id]) for each in gone.entries]
        try:
            print(shown("delete one", times(lambda at: calls.DeleteEntries(erase[at]), len(erase))))
        finally:
            calls.InsertEntries(pb.InsertEntriesRequest(memory="bench", batch=gone))
        print(f"RAM: {server.memory_bytes('VmRSS') / 1e9:.2f} GB", end=", ")
        print(f"at most {server.memory_bytes('VmHWM') / 1e9:.2f} GB", flush=True)
    expected = nearest(queries, count, dimension, k)
    wrong = sum(one != other for one, other in zip(answers, expected, strict=True))
    print(f"of {len(queries)} answers {wrong} differ from those by all distances in float64")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
