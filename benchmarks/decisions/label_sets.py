"""Coverage and size of label sets, by votes and by heads, over all queries and over each label's.

Half of the pictures are entries. Calibrated by a quarter of them, or by the entries, each of which
leaves itself out, the memory is asked about the other quarter.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from crops import Vectors, embedded
from served import own_client
from splits import SETS, Item, pictures

from visual_memory import Client, Memory
from visual_memory.options import CoverageBy

EMBEDDER = "efficientnet-lite0"
FEW = 10  # dimensions of hard vectors
SEEDS = range(10)
COVERAGES = (0.8, 0.9, 0.95)
COVERED_BY: tuple[CoverageBy, ...] = ("all", "label")
RULES: Mapping[str, Mapping[str, Any]] = {
    "votes": {},
    "0.3 of means, balance 1": {"head": "means", "blend": 0.3, "balance": 1.0},
    "means": {"head": "means", "blend": 1.0},
    "discriminants, ridge 10": {"head": "discriminants", "ridge": 10.0, "blend": 1.0},
}
HEADINGS = ("pictures", "decided by", "calibrated by", "over", "wanted", "covered", "worst", "size")


@dataclass(slots=True)
class Sets:
    """Of the label sets of each split, the share that held the right label, and the mean size."""

    covered: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    of_label: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(self, sets: Sequence[Sequence[str]], queries: Sequence[Item]) -> None:
        hits = [item.label in each for item, each in zip(queries, sets, strict=True)]
        self.covered.append(float(np.mean(hits)))
        self.sizes.append(float(np.mean([len(each) for each in sets])))
        for item, hit in zip(queries, hits, strict=True):
            self.of_label[item.label].append(hit)

    def columns(self) -> tuple[str, str, str]:
        error = np.std(self.covered, ddof=1) / np.sqrt(len(self.covered))
        return (
            f"{np.mean(self.covered):.3f} ± {error:.3f}",
            f"{min(np.mean(hits) for hits in self.of_label.values()):.2f}",
            f"{np.mean(self.sizes):.2f}",
        )


def parted(of_label: Mapping[str, Sequence[str]], seed: int) -> list[list[Item]]:
    """Return half of the pictures of each label, a quarter, and the rest."""
    rng = np.random.default_rng(seed)
    parts: list[list[Item]] = [[], [], []]
    for label, paths in of_label.items():
        order = [Item(paths[at], 0, label) for at in rng.permutation(len(paths))]
        ends = [0, len(order) // 2, len(order) * 3 // 4, len(order)]
        for part, start, end in zip(parts, ends, ends[1:], strict=False):
            part.extend(order[start:end])
    return parts


def ask(
    memory: Memory, vectors: Vectors, held: list[Item], queries: list[Item]
) -> dict[tuple[str, ...], list[list[str]]]:
    """Return the sets of ``queries`` by rule, calibration, what is covered, and coverage."""
    found: dict[tuple[str, ...], list[list[str]]] = {}
    for (rule, how), way in product(RULES.items(), ("pictures", "entries")):
        if way == "pictures":
            labels = [each.label for each in held]
            memory.calibrate(vectors=vectors.of_items(held), labels=labels, **how)
        else:
            memory.calibrate(**how)
        for by, coverage in product(COVERED_BY, COVERAGES):
            decisions = memory.classify(
                vectors=vectors.of_items(queries),
                coverage=coverage,
                coverage_by=by,
                neighbors=0,
                **how,
            )
            sets = [list(each.label_set or ()) for each in decisions]
            found[rule, way, by, f"{coverage:.0%}"] = sets
    return found


def measure(client: Client, title: str, vectors: Vectors, of_label: dict[str, list[str]]) -> None:
    """Print a line of a table for each rule, calibration and coverage."""
    found: dict[tuple[str, ...], Sets] = defaultdict(Sets)
    for seed in SEEDS:
        entries, held, queries = parted(of_label, seed)
        rows = vectors.of_items(entries)
        memory = client.create_memory("asked", dimension=rows.shape[1])
        memory.insert(vectors=rows, labels=[each.label for each in entries])
        for key, sets in ask(memory, vectors, held, queries).items():
            found[key].add(sets, queries)
        client.delete_memory("asked")
    for key, each in found.items():
        print("|", " | ".join([title, *key, *each.columns()]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    arguments = parser.parse_args()
    print("|", " | ".join(HEADINGS), "|")
    print("|", " | ".join("---" for _ in HEADINGS), "|")
    with own_client() as client:
        vectors = embedded(client, EMBEDDER, arguments.data, arguments.work)
        for name in SETS:
            measure(client, name, vectors, pictures(arguments.data, name))
        hard = vectors.reduced(FEW)
        measure(client, f"both, {FEW} dimensions", hard, pictures(arguments.data, "both"))


if __name__ == "__main__":
    main()
