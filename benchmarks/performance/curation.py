"""Ratios of counting, valuing and pruning to their underlying operations, each pair in one run."""

from __future__ import annotations

import argparse
import statistics
import threading
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from served import folder, seconds, served

import visual_memory
from visual_memory.options import Reliability
from visual_memory_index import Entry, Memory, ScannedIndexes, Valuation, unit_rows
from visual_memory_index.rows.blocks import Blocks
from visual_memory_index.scan.ranking import rank_all
from visual_memory_index.store.store import new_identity

ROWS, DIMENSION, LABELS = 50_000, 256, 100
K, VALUE_K, QUERIES = 100, 5, 1000
EDITS = 12

Vectors = NDArray[np.float32]


def clusters(rows: int, seed: int) -> tuple[Vectors, NDArray[np.int64]]:
    """Return unit vectors (rows, DIMENSION) scattered around one centre per label, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((LABELS, DIMENSION))
    labels = rng.integers(0, LABELS, rows)
    noisy = 0.6 * centres[labels] + rng.standard_normal((rows, DIMENSION))
    return unit_rows(noisy.astype(np.float32)), labels


def line(name: str, value: str, goal: str, ok: bool) -> None:
    print(f"{name:58} {value:>18}  {goal:10} {'ok' if ok else 'MISSED'}")


def counting(work: Path, vectors: Vectors, labels: NDArray[np.int64]) -> None:
    identity = new_identity("counts", DIMENSION, None)
    memory = Memory.create(work / "counts.sqlite", identity, indexes=ScannedIndexes(2))
    entries = [Entry(f"{at:06}", str(label)) for at, label in enumerate(labels)]
    memory.insert(entries, vectors)
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)

    def search_all() -> None:
        for start in range(0, len(vectors), 1024):
            index.search(vectors[start : start + 1024], K + 1)

    bare = seconds(search_all)
    first = seconds(lambda: memory.misleading_counts(K))
    line("first counts / bare FAISS search", f"{first / bare:.2f}", "≤ 1.3", first <= 1.3 * bare)
    fresh, fresh_labels = clusters(EDITS, 9)
    took = []
    for at in range(EDITS):
        match at % 3:
            case 0:
                memory.insert([Entry(f"new {at}", str(fresh_labels[at]))], fresh[[at]])
            case 1:
                memory.delete([f"{at:06}"])
            case _:
                memory.update(f"{at:06}", label="0")
        took.append(seconds(lambda: memory.misleading_counts(K)))
    slowest = first / max(took)
    value = f"{first / statistics.median(took):.0f} ({slowest:.0f})"
    line("first counts / edit and read, median (slowest)", value, "≥ 50", slowest >= 50)
    memory.close()


def valuing(vectors: Vectors, labels: NDArray[np.int64]) -> None:
    ids = np.array([f"{at:06}" for at in range(len(vectors))], dtype=object)
    names = labels.astype(str).astype(object)
    queries, wanted = clusters(QUERIES, 5)

    rows = Blocks(vectors.shape[1])
    rows.append(vectors)

    def ours() -> None:
        valuation = Valuation(names, VALUE_K)
        for start in range(0, QUERIES, 256):
            part = slice(start, start + 256)
            valuation.add(
                rank_all(queries[part], rows, ids.__getitem__),
                wanted[part].astype(str).tolist(),
            )

    def reference() -> None:
        wide = vectors.astype(np.float64)
        places = np.arange(1, len(vectors))
        totals = np.zeros(len(vectors))
        for start in range(0, QUERIES, 100):
            part = slice(start, start + 100)
            order = np.argsort(-(queries[part].astype(np.float64) @ wide.T), axis=1)
            right = (labels[order] == wanted[part, np.newaxis]).astype(np.float64)
            steps = (right[:, :-1] - right[:, 1:]) / VALUE_K * np.minimum(VALUE_K, places) / places
            values = np.empty_like(right)
            values[:, -1] = right[:, -1] / len(vectors)
            values[:, :-1] = values[:, -1:] + np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
            for rows, each in zip(order, values, strict=True):
                totals[rows] += each

    pairs = [(seconds(ours), seconds(reference)) for _ in range(3)]
    ratio = statistics.median(one / other for one, other in pairs)
    line(f"{QUERIES} queries' Shapley values / NumPy", f"{ratio:.2f}", "≤ 2", ratio <= 2)


def serving(work: Path, vectors: Vectors, labels: NDArray[np.int64]) -> None:
    queries, _ = clusters(200, 7)
    with served(work / "data") as server, visual_memory.connect(server.address) as client:
        memory = client.create_memory("bench", dimension=DIMENSION)
        memory.insert(vectors=vectors, labels=labels.astype(str).tolist())
        memory.misleading_counts(10)

        def ask(reliability: Reliability) -> list[float]:
            return [
                seconds(lambda: memory.classify(vectors=query[None], reliability=reliability))  # noqa: B023
                for query in queries
            ]

        ask("none"), ask("soft")
        pairs = [(statistics.median(ask("soft")), statistics.median(ask("none"))) for _ in range(5)]
        ratio = statistics.median(soft / plain for soft, plain in pairs)
        line("soft votes / plain votes, one query", f"{ratio:.2f}", "≤ 1.1", ratio <= 1.1)
        quiet = np.percentile(ask("none"), 99)
        running = threading.Thread(target=lambda: memory.prune(method="hard", threshold=60))
        running.start()
        busy: list[float] = []
        while running.is_alive():
            busy += ask("none")
        value = f"{1000 * np.percentile(busy, 99):.0f} / {1000 * quiet:.0f} ms"
        longest = f"{1000 * max(busy):.0f} ms"
        print(f"{'p99 of Classify during a dry run / before':58} {value:>18}  longest {longest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    vectors, labels = clusters(options.rows, 1)
    print(f"{options.rows} × {DIMENSION}, K = {K}")
    with folder() as work:
        counting(work, vectors, labels)
        valuing(vectors, labels)
        serving(work, vectors, labels)


if __name__ == "__main__":
    main()
