"""Exact search by this service's index beside other exact scans on the CPU, all in one run.

Prints milliseconds of a batch of queries, medians, and how many times as fast as FAISS's flat
index, with its threshold for BLAS lowered, each is. ``read`` reads the upper halves of all codes
once: no scan of them can be faster. ``exact`` is the time of the exact distances of the candidates
within ``ours``: an answer by the codes alone could save no more. With ``--served`` the entries are
in a running server too, and asked for over gRPC. Every answer has to be FAISS's, up to rounding.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TypeAlias

import faiss
import numpy as np
from disk import reading
from numpy.typing import NDArray
from ratios import ask_together, import_messages, packed, stub
from served import folder, median, seconds, served
from usearch.index import search as usearch_search
from vectors import KINDS, make

from visual_memory.v1 import service_pb2 as pb
from visual_memory_index import ScannedIndexes
from visual_memory_index.codes.groups import INSTRUCTIONS
from visual_memory_index.rows.distances import exact_distances

Vectors = NDArray[np.float32]
ROUNDING = 1e-5  # of float32 distances
OTHERS_MAX = 16  # queries that the slower scans are given
FLAT, OURS, SERVED = "faiss flat", "ours", "ours over gRPC"

Scan: TypeAlias = Callable[[Vectors], NDArray[np.intp]]


class Ours:
    """The index of a memory, with the exact distances that decide."""

    def __init__(self, vectors: Vectors) -> None:
        self._index = ScannedIndexes().new(vectors.shape[1])
        self._index.append(vectors)
        self.candidates = self.exact_seconds = 0.0

    def search(self, queries: Vectors, k: int) -> NDArray[np.intp]:
        """Return the k nearest rows of each query."""
        nothing = np.empty(0, dtype=np.intp)
        found = self._index.candidates(queries, [k] * len(queries), [nothing] * len(queries))
        self.candidates = sum(map(len, found)) / len(found)
        nearest, began = [], time.perf_counter()
        for number, rows in enumerate(found):
            distances = self._index.distances(queries, np.full_like(rows, number), rows)
            nearest.append(rows[np.argsort(distances, kind="stable")[:k]])
        self.exact_seconds = time.perf_counter() - began
        return np.array(nearest)


def numpy_search(vectors: Vectors, queries: Vectors, k: int) -> NDArray[np.intp]:
    """Return the k nearest rows of each query by a product of matrices."""
    scores = queries @ vectors.T
    return np.argpartition(-scores, k, axis=1)[:, :k]


def usearch_all(vectors: Vectors, queries: Vectors, k: int) -> NDArray[np.intp]:
    """Return the k nearest rows of each query by usearch."""
    found = usearch_search(vectors, queries, k, "ip", exact=True)
    return np.asarray(found.keys, dtype=np.intp).reshape(len(queries), k)


def check(
    found: NDArray[np.intp], expected: NDArray[np.intp], vectors: Vectors, queries: Vectors
) -> None:
    """Compare how near the rows found are. Raises SystemExit if they are farther than expected."""
    for rows, others, query in zip(found, expected, queries, strict=True):
        one, other = (np.sort(exact_distances(query, vectors[each])) for each in (rows, others))
        if (one > other + ROUNDING).any():
            raise SystemExit("a scan found rows that are farther than those of faiss flat")


def timed(
    scans: Mapping[str, Scan], vectors: Vectors, batches: Sequence[Vectors]
) -> dict[str, list[float]]:
    """Return the seconds that each scan takes for each of ``batches``; slow ones take few."""
    times: dict[str, list[float]] = {name: [] for name in scans}
    for queries in batches:
        expected = scans[FLAT](queries)
        for name, scan in scans.items():
            if len(queries) <= OTHERS_MAX or name in (FLAT, OURS, SERVED):
                began = time.perf_counter()
                found = scan(queries)
                times[name].append(time.perf_counter() - began)
                check(found, expected, vectors, queries)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--kind", choices=KINDS, default="clustered")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--others", action="store_true", help="also NumPy, usearch and Panorama")
    parser.add_argument("--served", action="store_true", help="also over gRPC")
    options = parser.parse_args()
    k, dimension = options.k, options.dimension
    most = max(options.batches)
    vectors = make(options.kind, options.rows + most, dimension).vectors
    vectors, queries = vectors[: options.rows], vectors[options.rows :]
    faiss.cvar.distance_compute_blas_threshold = 1
    flat, ours = faiss.IndexFlatIP(dimension), Ours(vectors)
    flat.add(vectors)
    with ExitStack() as until:
        read = until.enter_context(reading(options.rows, dimension))
        scans: dict[str, Scan] = {
            FLAT: lambda some: flat.search(some, k)[1],
            OURS: partial(ours.search, k=k),
        }
        if options.others:
            panorama = faiss.IndexFlatIPPanorama(dimension, 8)
            panorama.add(vectors)
            scans["faiss Panorama"] = lambda some: panorama.search(some, k)[1]
            scans["numpy"] = partial(numpy_search, vectors, k=k)
            scans["usearch"] = partial(usearch_all, vectors, k=k)
        if options.served:
            data = until.enter_context(folder())
            server = until.enter_context(served(data / "data"))
            calls = stub(server)
            calls.CreateMemory(pb.CreateMemoryRequest(name="bench", dimension=dimension))
            for _ in calls.ImportEntries(import_messages(vectors)):
                pass

            def ask(some: Vectors) -> NDArray[np.intp]:
                request = pb.ClassifyRequest(memory="bench", vectors=packed(some), k=k)
                decisions = calls.Classify(request).decisions
                return np.array([[int(each.id) for each in one.neighbors] for one in decisions])

            scans[SERVED] = ask
        print(f"{options.rows:,} × {dimension}, {options.kind}, k = {k}, {INSTRUCTIONS}")
        print(f"{'queries':>8}{'':18}{'ms':>9}{'faiss / it':>12}{'candidates':>12}{'exact':>9}")
        print(f"{'':8}{'read':18}{1000 * median(read, options.repeat):9.1f}")
        for batch in options.batches:
            rolled = (np.roll(queries, -number, axis=0) for number in range(options.repeat))
            times = timed(scans, vectors, [some[:batch] for some in rolled])
            for name, took in times.items():
                if took:
                    middle = statistics.median(took)
                    share = statistics.median(times[FLAT]) / middle
                    left = ""
                    if name == OURS:
                        left = f"{ours.candidates:12.0f}{1000 * ours.exact_seconds:9.1f}"
                    print(f"{batch:8}  {name:16}{1000 * middle:9.1f}{share:12.2f}{left}")
        if options.served:
            together, bare = [], []
            for _ in range(options.repeat):
                bare.append(len(queries) / seconds(lambda: flat.search(queries, k)))
                together.append(asyncio.run(ask_together(server.address, queries, 5)))
            shares = [one / other for one, other in zip(together, bare, strict=True)]
            print(
                f"{len(queries)} clients: {statistics.median(together):.0f} queries/s, faiss flat "
                f"in batches {statistics.median(bare):.0f}: {statistics.median(shares):.2f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
