"""Accuracy with wrong labels, before and after pruning, measured on a server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from served import own_client
from taxonomy import EMBEDDER, Vectors, data_folder, pictures

from visual_memory import Client, Memory

NOISE = (0.05, 0.1, 0.2, 0.4)
K = 20  # of the counts: natural16 has about 26 pictures of a label in half of it
HARD: dict[str, Any] = {"k": K, "threshold": K // 2}
BY_FRACTION: dict[str, dict[str, Any]] = {"value": {}, "prototype": {"keep": "easy"}, "random": {}}
METHODS = ("none", "soft", "mend", "hard", "value", "prototype", "random")


def flipped(labels: NDArray[np.str_], share: float, rng: np.random.Generator) -> NDArray[np.str_]:
    """Replace a random ``share`` of the labels, each by another label drawn evenly."""
    names = np.unique(labels)
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    noisy = labels.copy()
    for at in wrong:
        noisy[at] = rng.choice(names[names != labels[at]])
    return noisy


def accuracy(memory: Memory, method: str, queries: Vectors, labels: NDArray[np.str_]) -> float:
    """Return the accuracy on ``queries`` after a method of METHODS, such as pruning; then undo it.

    All prunes take as many entries as the hard prune.
    """
    operation = None
    if method == "hard":
        operation = memory.prune(method=method, apply=True, **HARD).operation
    if method in BY_FRACTION:
        size = len(memory.prune(method="hard", **HARD).ids)
        how = {"fraction": max(size, 1) / memory.info().count, **BY_FRACTION[method]}
        operation = memory.prune(method=method, apply=True, **how).operation
    if method == "mend":  # not advised: every proposal is taken unseen
        proposals = {each.id: each.proposed for each in memory.assess().suspects}
        operation = memory.relabel(proposals, apply=True).operation
    reliability = "soft" if method == "soft" else "none"
    decisions = memory.classify(vectors=queries, neighbors=0, reliability=reliability)
    if operation:
        memory.undo(operation)
    return float(np.mean([d.label == label for d, label in zip(decisions, labels, strict=True)]))


def compare(client: Client, name: str, vectors: Vectors, labels: NDArray[np.str_]) -> None:
    print(f"{name:10} {'noise':>5}  " + "  ".join(f"{method:>13}" for method in METHODS))
    for share in NOISE:
        found: dict[str, list[float]] = {method: [] for method in METHODS}
        for seed in range(5):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(vectors))
            known, queries = order[: len(order) // 2], order[len(order) // 2 :]
            memory = client.create_memory("noisy", dimension=vectors.shape[1])
            ids = [f"{number:05}" for number in known]
            noisy = flipped(labels[known], share, rng).tolist()
            memory.insert(vectors=vectors[known], labels=noisy, ids=ids)
            for method in METHODS:
                found[method].append(accuracy(memory, method, vectors[queries], labels[queries]))
            client.delete_memory("noisy")
        # Half the width of a 95 % interval over five seeds: Student's t with 4 degrees of freedom.
        cells = [
            f"{np.mean(each):.3f} ± {2.776 * np.std(each, ddof=1) / 5**0.5:.3f}"
            for each in found.values()
        ]
        print(f"{'':10} {share:5.2f}  " + "  ".join(cells))


def main() -> None:
    data = data_folder(__doc__)
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        for name in ("natural16", "caltech20"):
            files, labels = pictures(data / name)
            compare(client, name, embedding.embed(files), np.array(labels))


if __name__ == "__main__":
    main()
