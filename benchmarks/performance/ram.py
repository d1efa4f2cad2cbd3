"""RAM and times of ids, labels and keys: in arrays, as a memory has them, and as Python objects.

Each way and size has a process of its own, with the environment of a server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from served import seconds

from visual_memory_index.ram.columns import Columns, size_of
from visual_memory_index.rows import row_kernels
from visual_memory_index.rows.rows import Rows, moves
from visual_memory_service.erasure.environment import OTHERS, OVERWRITING, TUNABLES

LABELS, BATCH, TIMES = 1000, 64, 500


class Objects:
    """The same columns as objects of Python, with a dict of rows by id."""

    def __init__(self) -> None:
        self.keys, self.ids, self.labels = (np.empty(1024, kind) for kind in (np.int64, "O", "O"))
        self.row_of: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.same: dict[str, str] = {}

    def reserve(self, count: int, size: int) -> None:
        while len(self.row_of) + count > len(self.keys):
            self.keys, self.ids, self.labels = (
                np.concatenate([column, np.empty_like(column)])
                for column in (self.keys, self.ids, self.labels)
            )

    def append(self, keys: Sequence[int], ids: Sequence[str], labels: Sequence[str]) -> None:
        start, end = len(self.row_of), len(self.row_of) + len(ids)
        self.keys[start:end], self.ids[start:end] = keys, ids
        self.labels[start:end] = [self.same.setdefault(label, label) for label in labels]
        self.counts.update(labels)
        self.row_of.update(zip(ids, range(start, end), strict=True))

    def rows_of_ids(self, ids: Sequence[str]) -> Rows:
        return np.array([self.row_of[id] for id in ids], np.intp)

    def remove(self, rows: Rows) -> None:
        count = len(self.row_of)
        start, end = moves(count, rows)
        for id in self.ids[rows]:
            del self.row_of[id]
        self.counts.subtract(self.labels[rows].tolist())
        for column in (self.keys, self.ids, self.labels):
            column[end] = column[start]
        self.row_of.update(zip(self.ids[end].tolist(), end.tolist(), strict=True))
        left = slice(count - len(rows), count)
        self.keys[left], self.ids[left], self.labels[left] = 0, None, None


WAYS: dict[str, Callable[[], Columns | Objects]] = {"arrays": Columns, "objects": Objects}


def resident() -> int:
    """Return the RAM of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def name(number: int) -> str:
    """Return an id of 26 characters that are not in the order of the numbers."""
    return f"{number * 0x9E3779B97F4A7C15 % (1 << 64):026}"


def measure(way: str, entries: int) -> dict[str, float]:
    """Return what one way takes, in bytes an entry, seconds and microseconds."""
    row_kernels.compile_loops()
    columns, took = WAYS[way](), {}
    before = resident()

    def add(start: int, end: int) -> None:
        ids = [name(number) for number in range(start, end)]
        labels = [f"label {number % LABELS}" for number in range(start, end)]
        columns.reserve(len(ids), size_of(ids))
        columns.append(range(start, end), ids, labels)

    def remove(ids: Sequence[str]) -> None:
        columns.remove(np.sort(columns.rows_of_ids(ids)))

    def load() -> None:
        for start in range(0, entries, BATCH):
            add(start, min(entries, start + BATCH))

    def one(act: Callable[[int], object]) -> float:
        return 1e6 * statistics.median(seconds(partial(act, at)) for at in range(TIMES))

    took["load, s"] = seconds(load)
    took["bytes an entry"] = (resident() - before) / entries
    took["insert one, µs"] = one(lambda at: add(entries + at, entries + at + 1))
    took["delete one, µs"] = one(lambda at: remove([name(entries + at)]))
    took["look up one, µs"] = one(lambda at: columns.rows_of_ids([name(7 * at)]))
    gone = [name(number) for number in random.Random(0).sample(range(entries), entries // 2)]
    held = resident()
    took["delete half, s"] = seconds(partial(remove, gone))
    took["given back, bytes an entry"] = (held - resident()) / (entries // 2)
    return took


def in_own_process(way: str, entries: int) -> dict[str, float]:
    ran = subprocess.run(
        [sys.executable, __file__, "--way", way, "--entries", str(entries)],
        env={**os.environ, **OTHERS, TUNABLES: OVERWRITING},
        check=True,
        stdout=subprocess.PIPE,
    )
    took: dict[str, float] = json.loads(ran.stdout)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--way", choices=WAYS, help="one way in this process, as JSON")
    flags = parser.parse_args()
    if flags.way:
        print(json.dumps(measure(flags.way, *flags.entries)))
        return
    for entries in flags.entries:
        took = {way: in_own_process(way, entries) for way in WAYS}
        print(f"{f'{entries:,} entries':30}" + "".join(f"{way:>12}" for way in WAYS))
        for what in took["arrays"]:
            print(f"{what:30}" + "".join(f"{took[way][what]:12.2f}" for way in WAYS))


if __name__ == "__main__":
    main()
