"""Ratios of decisions with a filter to decisions without one, the first time and again.

Then half of all entries are relabelled, labelled as before, pruned, brought back and purged, and
the slowest decision meanwhile is told. Threads of Python take turns as in a server.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import folder, seconds

from visual_memory_index import Entry, Filter, Memory, Query, ScannedIndexes, parse, unit_rows
from visual_memory_index.records.operation import Operation
from visual_memory_index.records.steps import to_json
from visual_memory_index.store.store import new_identity
from visual_memory_service.commands.serve import TURN_SECONDS

ROWS, DIMENSION, K = 100_000, 64, 50
THOUSAND = 1000  # labels, and values of the key "part"
BATCH = 4096
TIMES = 21
FIRST_MAX = 5.0
SLACK = 1.1  # of two equal times


def shares(field: str) -> Mapping[str, str]:
    """Return filters on a field with texts from 000 to 999 by the share that they admit.

    Of each, ``{0}`` may be any letter, and the filter admits the same.
    """
    return {
        ".1 %": f'{field} = "017"',
        "10 %": f'{field} < "099{{0}}"',
        "50 %": f'{field} < "499{{0}}"',
        "99.9 %": f'{field} < "998{{0}}"',
    }


def filled(path: Path, rows: int, dimension: int) -> Memory:
    """Return a memory of random entries with a label and three keys of metadata each."""
    identity = new_identity("filters", dimension, None)
    memory = Memory.create(path, identity, indexes=ScannedIndexes())
    rng = np.random.default_rng(0)
    for start in range(0, rows, BATCH):
        numbers = range(start, min(rows, start + BATCH))
        parts = rng.integers(0, THOUSAND, (len(numbers), 2))
        entries = [
            Entry(
                f"{number:026}",
                f"{label:03}",
                metadata={
                    "part": f"{part:03}",
                    "user": f"user {number % 5000}",
                    "path": f"folder {number % 97}/picture {number}.jpg",
                },
            )
            for number, (label, part) in zip(numbers, parts.tolist(), strict=True)
        ]
        memory.insert(entries, vectors(rng, len(numbers), dimension))
    return memory


def vectors(rng: np.random.Generator, rows: int, dimension: int) -> NDArray[np.float32]:
    return unit_rows(rng.standard_normal((rows, dimension)).astype(np.float32))


def letters() -> Iterator[str]:
    """Yield letters and words of letters that no one has had before."""
    return (f"a{number}" for number in count())


def parsed(text: str) -> Filter:
    filter = parse(text)
    assert filter is not None
    return filter


def measure(memory: Memory, dimension: int) -> None:
    rng, unused = np.random.default_rng(1), letters()

    def ask(text: str | None) -> float:
        query = Query(vectors(rng, 1, dimension), K, parsed(text) if text else None)
        return seconds(lambda: memory.nearest([query]))

    def first(text: str) -> float:
        if "{0}" in text:
            return ask(text.format(next(unused)))
        memory.unlearning.drop_caches()
        memory.entries(limit=1)  # which opens a connection
        return ask(text)

    for _ in range(3):
        ask(None)
    for field in ("label", "metadata.part"):
        for share, text in shares(field).items():
            kept = text.format("kept")
            ask(kept)
            times = [(ask(None), first(text), ask(kept)) for _ in range(TIMES)]
            plain = statistics.median(none for none, _, _ in times)
            firsts = statistics.median(first / none for none, first, _ in times)
            again = statistics.median(again / none for none, _, again in times)
            verdict = "ok" if firsts <= FIRST_MAX and again <= SLACK else "MISSED"
            print(
                f"{field:14} {share:>6}: none {1000 * plain:6.1f} ms, first × {firsts:5.2f}, "
                f"again × {again:5.2f}   {verdict if share == '10 %' else ''}",
                flush=True,
            )


def change_half(memory: Memory, dimension: int) -> None:
    """Change half of the entries, and print how long decisions took meanwhile."""
    half = parsed('metadata.part < "500"')
    ids, operations = memory.would_purge(half), memory.operations
    pruned = operations.begin("prune").operation.name
    labels, relabelled = dict.fromkeys(ids, "new"), list[Operation]()
    works: Mapping[str, Callable[[], object]] = {
        "relabelled": lambda: relabelled.append(operations.relabel(labels, result=listed)),
        "labelled as before": lambda: operations.undo(relabelled[0].name),
        "pruned": lambda: operations.prune(ids, operation=pruned, result=listed),
        "brought back": lambda: operations.undo(pruned),
        "purged": lambda: memory.purge(half),
    }
    for name, work in works.items():
        meanwhile(memory, dimension, f"{len(ids):,} {name}", work)


def listed(ids: Sequence[str]) -> str:
    return f'{{"ids": {to_json(ids)}, "applied": true}}'


def meanwhile(memory: Memory, dimension: int, name: str, work: Callable[[], object]) -> None:
    """Ask for decisions while ``work`` is done; print how long each took."""
    rng, times = np.random.default_rng(2), list[float]()
    queries = [Query(vectors(rng, 1, dimension), K) for _ in range(THOUSAND)]
    with ThreadPoolExecutor(1) as thread:
        asks = [partial(memory.nearest, [query]) for query in queries]
        alone = statistics.median(map(seconds, asks[:TIMES]))
        working = thread.submit(work)
        began = time.perf_counter()
        while not working.done():
            times.append(seconds(asks[len(times) % THOUSAND]))
        took = time.perf_counter() - began
    working.result()
    print(
        f"{name} in {took:.1f} s; {len(times):,} decisions meanwhile, "
        f"median {1000 * statistics.median(times):.1f} ms, slowest {1000 * max(times):.0f} ms; "
        f"alone {1000 * alone:.1f} ms",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    options = parser.parse_args()
    gc.freeze()
    sys.setswitchinterval(TURN_SECONDS)
    goals = f"of 10 % first ≤ {FIRST_MAX:.0f}, again ≤ {SLACK}"
    print(f"{options.rows:,} × {options.dimension}, k = {K}, one query; {goals}")
    with folder() as work:
        memory = filled(work / "filters.sqlite", options.rows, options.dimension)
        measure(memory, options.dimension)
        change_half(memory, options.dimension)
        memory.close(keep=False)


if __name__ == "__main__":
    main()
