"""Accuracy on pictures of other domains, asked of photographs, with and without centring."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from served import own_client

from visual_memory import Memory

EMBEDDER = "efficientnet-lite0"
SUFFIXES = {".jpg", ".png"}
OTHERS = ("cue_conflict", "edges", "filled_silhouettes")
SEEDS = range(5)
SAMPLES = (10, 32)  # pictures of a domain, without labels, that give its mean
RULES: dict[str, dict[str, Any]] = {
    "votes, k = 50": {},
    "votes, k = 10": {"k": 10},
    "class means": {"head": "means", "blend": 1.0},
    "discriminants": {"head": "discriminants", "blend": 1.0},
}

Vectors = NDArray[np.float32]


def embedded(memory: Memory, folder: Path) -> tuple[Vectors, NDArray[np.str_]]:
    """Return the vectors of all pictures below a folder, and the names of their folders."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return memory.embed(files), np.array([path.parent.name for path in files])


def measure(memory: Memory, vectors: Vectors, labels: NDArray[np.str_], seed: int) -> Vectors:
    """Return the accuracy of each of RULES, plain and for each of SAMPLES.

    The most pictures that give a mean are left out of all of it.
    """
    order = np.random.default_rng(seed).permutation(len(vectors))
    drawn, asked = order[: max(SAMPLES)], order[max(SAMPLES) :]
    means = [None, *(vectors[drawn[:count]].mean(axis=0) for count in SAMPLES)]
    found = []
    for rule in RULES.values():
        for mean in means:
            decisions = memory.classify(
                vectors=vectors[asked], domain_mean=mean, neighbors=0, **rule
            )
            found.append(np.mean([each.label for each in decisions] == labels[asked]))
    return np.array(found).reshape(len(RULES), len(means))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        photographs, labels = embedded(embedding, data / "natural16")
        found: dict[str, list[Vectors]] = {}
        whole = client.create_memory("whole", dimension=photographs.shape[1])
        whole.insert(vectors=photographs, labels=labels.tolist())
        for name in OTHERS:
            asked = embedded(embedding, data / name)
            found[name] = [measure(whole, *asked, seed) for seed in SEEDS]
        for seed in SEEDS:
            order = np.random.default_rng(seed).permutation(len(photographs))
            known, held = order[: len(order) // 2], order[len(order) // 2 :]
            half = client.create_memory(f"half-{seed}", dimension=photographs.shape[1])
            half.insert(vectors=photographs[known], labels=labels[known].tolist())
            right = measure(half, photographs[held], labels[held], seed)
            found.setdefault("natural16", []).append(right)
    for name, of_seeds in found.items():
        for rule, row in zip(RULES, np.mean(of_seeds, axis=0), strict=True):
            print(f"{name:18} {rule:14}", *(f"{accuracy:.3f}" for accuracy in row))


if __name__ == "__main__":
    main()
