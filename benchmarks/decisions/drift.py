"""Drifts that a server tells: by chance among photographs, and for pictures of other domains."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import own_client
from splits import SETS, Item, pictures, split

from visual_memory import Client, Memory

EMBEDDER = "efficientnet-lite0"
SUFFIXES = {".jpg", ".png"}
OTHERS = ("cue_conflict", "edges", "filled_silhouettes")
SPLITS, WINDOWS = 50, 200  # windows of each split, so 10,000 in all
WINDOW = 20
ORDERS = ("one by one", "by label")
K = 5

Vectors = NDArray[np.float32]


def embedded(client: Client, data: Path) -> dict[str, dict[str, Vectors]]:
    """Return the vector of each picture of each set, by its path below ``data``."""
    memory = client.create_memory("embedding", embedder=EMBEDDER)
    found = {}
    for name in (*SETS["both"], *OTHERS):
        files = sorted(path for path in (data / name).rglob("*") if path.suffix in SUFFIXES)
        paths = [path.relative_to(data).as_posix() for path in files]
        found[name] = dict(zip(paths, memory.embed(files), strict=True))
    client.delete_memory("embedding")
    return found


def calibrated(
    client: Client, entries: list[Item], held: list[Item], vectors: dict[str, Vectors]
) -> Iterator[tuple[str, Memory]]:
    """Yield a memory of ``entries`` calibrated by the ``held`` queries, then by its entries."""
    memory = client.create_memory("asked", dimension=len(next(iter(vectors.values()))))
    memory.insert(vectors=rows(entries, vectors), labels=[each.label for each in entries])
    memory.calibrate(k=K, vectors=rows(held, vectors), labels=[each.label for each in held])
    yield "other pictures", memory
    memory.calibrate(k=K)
    yield "entries", memory
    client.delete_memory("asked")


def rows(items: list[Item], vectors: dict[str, Vectors]) -> Vectors:
    return np.array([vectors[each.picture] for each in items])


def raised(memory: Memory, queries: Vectors) -> bool:
    """Ask ``queries`` and return True if the memory drifts after them."""
    memory.classify(vectors=queries, k=K, calibrated=True, neighbors=0)
    drift = memory.info().drift
    return drift is not None and drift.drifting


def measure(client: Client, name: str, sets: dict[str, dict[str, Vectors]], data: Path) -> None:
    """Print the shares of windows of each kind in which a drift is told."""
    vectors = {path: row for each in sets.values() for path, row in each.items()}
    of_label, found = pictures(data, name), dict[tuple[str, str], list[bool]]()
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        cut = split(of_label, seed, per_label=100, ratio=1, noise="none", share=0.0, nearest={})
        entries = [each for each in cut.entries if not each.crop]
        order = [cut.queries[at] for at in rng.permutation(len(cut.queries))]
        held, asked = order[: len(order) // 2], order[len(order) // 2 :]
        by_label = sorted(asked, key=lambda item: item.label)
        for way, memory in calibrated(client, entries, held, vectors):
            for _ in range(WINDOWS):
                drawn = [asked[at] for at in rng.permutation(len(asked))[:WINDOW]]
                told = raised(memory, rows(drawn, vectors))
                found.setdefault((way, "photographs"), []).append(told)
            for kind, ordered in zip(ORDERS, (asked, by_label), strict=True):
                told_each = [raised(memory, rows([item], vectors)) for item in ordered]
                found.setdefault((way, kind), []).extend(told_each)
            for other in OTHERS:
                others = np.array(list(sets[other].values()))
                for _ in range(WINDOWS // 10):
                    drawn_rows = others[rng.permutation(len(others))[:WINDOW]]
                    found.setdefault((way, other), []).append(raised(memory, drawn_rows))
    for (way, kind), windows in sorted(found.items()):
        begun = sum(now > before for before, now in pairwise([False, *windows]))
        print(
            f"{name:10} by {way:15} {kind:18} {np.mean(windows):7.4f} of {len(windows):6,}"
            + (f", begun {begun:3} times" if kind in ORDERS else ""),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    with own_client() as client:
        sets = embedded(client, data)
        for name in SETS:
            measure(client, name, sets, data)


if __name__ == "__main__":
    main()
