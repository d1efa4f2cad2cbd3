"""The times that heads and tuning take: writes beside statistics, fits, decisions, a tuning.

Each line has its ratio to the same without a head in the same run. Decisions in a row and single
writes are repeated, and these are medians. Vectors are random points around a centre for each
label, in a folder in RAM, so that no disk is measured.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import own_client, seconds

from visual_memory import Client, Memory
from visual_memory.options import Head

AT_ONCE = 10_000
REPEATS = 64
Rows = NDArray[np.float32]
Timed = tuple[str, float]


def crowd(count: int, dimension: int, labels: int, seed: int) -> tuple[Rows, list[str]]:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((labels, dimension), dtype=np.float32)
    codes = np.arange(count) % labels
    rows = centres[codes] + 2.0 * rng.standard_normal((count, dimension), dtype=np.float32)
    return rows, [f"label {code:04}" for code in codes.tolist()]


def filled(client: Client, name: str, count: int, dimension: int, labels: int) -> Memory:
    memory = client.create_memory(name, dimension=dimension)
    rows, of_row = crowd(count, dimension, labels, 0)
    for start in range(0, count, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        memory.insert(vectors=rows[part], labels=of_row[part])
    return memory


def median(act: Callable[[int], object], repeats: int = REPEATS) -> float:
    return statistics.median(seconds(partial(act, at)) for at in range(repeats))


def report(head: str, found: Mapping[str, float], plain: Mapping[str, float]) -> None:
    for what, took in found.items():
        print(f"{head}: {what}: {1000 * took:.1f} ms, {took / plain[what]:.2f} of no head")


def measure(memory: Memory, rows: Rows, of_row: Sequence[str], head: Head) -> Iterator[Timed]:
    """Yield medians of decisions and of single writes, with one of HEADS."""

    def decide(count: int) -> None:
        memory.classify(vectors=rows[:count], neighbors=0, head=head)

    def insert(at: int) -> None:
        memory.insert(vectors=rows[[at]], labels=[of_row[at]], ids=[f"new {at}"])

    yield "the first decision, which counts all entries", seconds(partial(decide, 1))
    yield "a decision", median(lambda _: decide(1))
    yield "64 decisions in one call", median(lambda _: decide(64))
    yield "an insert of one entry", median(insert)
    yield "a delete of one entry", median(lambda at: memory.delete([f"new {at}"]))
    insert(0)
    yield "the decision after a write, which fits anew", seconds(partial(decide, 1))
    memory.delete(["new 0"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--tuned", type=int, default=10_000, help="entries of the memory to tune")
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--labels", type=int, default=1000)
    arguments = parser.parse_args()
    sizes = arguments.dimension, arguments.labels
    print(f"{arguments.entries:,} entries, {sizes[0]} dimensions, {sizes[1]:,} labels")
    print(processor())
    with own_client() as client:
        memory = filled(client, "crowd", arguments.entries, *sizes)
        rows, of_row = crowd(REPEATS, *sizes, seed=1)
        plain = dict(measure(memory, rows, of_row, "none"))
        report("no head", plain, plain)
        for head in ("means", "discriminants"):
            report(head, dict(measure(memory, rows, of_row, head)), plain)
        client.delete_memory("crowd")
        tuned = filled(client, "tuned", arguments.tuned, *sizes)
        print(f"a tuning by {arguments.tuned:,} entries: {seconds(tuned.tune):.1f} s")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
