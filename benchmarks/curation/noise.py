"""Accuracy with wrong labels, before and after pruning, measured on a server."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from served import own_client
from taxonomy import EMBEDDER, Vectors, data_folder, pictures

from visual_memory import Client, Memory
from visual_memory.options import Reliability

NOISE = (0.0, 0.05, 0.1, 0.2, 0.4)
K = 20  # of the counts: natural16 has about 26 pictures of a label in half of it
THRESHOLD = K // 2
METHODS = ("none", "soft", "mend", "hard", "value", "prototype", "random")


def flipped(labels: NDArray[np.str_], share: float, rng: np.random.Generator) -> NDArray[np.str_]:
    """Replace a random ``share`` of the labels, each by another label drawn evenly."""
    names = np.unique(labels)
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    noisy = labels.copy()
    for at in wrong:
        noisy[at] = rng.choice(names[names != labels[at]])
    return noisy


def edit(memory: Memory, method: str, share: float) -> str:
    """Edit a memory by a method of METHODS; return the operation, or "" if there is nothing to do.

    ``share`` is what the hard prune takes of the entries, and all other prunes take as much.
    """
    match method:
        case "mend":  # not advised: every proposal is taken unseen
            proposals = {each.id: each.proposed for each in memory.assess().suspects}
            return memory.relabel(proposals, apply=True).operation if proposals else ""
        case "hard":
            return memory.prune(method="hard", k=K, threshold=THRESHOLD, apply=True).operation
        case "value" | "prototype" | "random" if share:
            return memory.prune(method=method, fraction=share, apply=True).operation
        case _:
            return ""


def accuracy(
    memory: Memory, method: str, share: float, queries: Vectors, labels: NDArray[np.str_]
) -> float:
    """Return the accuracy on ``queries`` after ``edit``, which is then undone."""
    operation = edit(memory, method, share)
    reliability: Reliability = "soft" if method == "soft" else "none"
    decisions = memory.classify(vectors=queries, neighbors=0, reliability=reliability)
    if operation:
        memory.undo(operation)
    return float(np.mean([d.label == label for d, label in zip(decisions, labels, strict=True)]))


def interval(values: list[float]) -> str:
    """Format a mean with half the width of its 95 % interval over five seeds."""
    half = 2.776 * np.std(values, ddof=1) / 5**0.5  # Student's t with 4 degrees of freedom
    return f"{np.mean(values):.3f} ± {half:.3f}"


def compare(client: Client, name: str, vectors: Vectors, labels: NDArray[np.str_]) -> None:
    columns = ("pruned", *METHODS)
    print(f"{name:10} {'noise':>5}  " + "  ".join(f"{column:>13}" for column in columns))
    for noise in NOISE:
        found: dict[str, list[float]] = {column: [] for column in columns}
        for seed in range(5):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(vectors))
            known, queries = order[: len(order) // 2], order[len(order) // 2 :]
            memory = client.create_memory("noisy", dimension=vectors.shape[1])
            ids = [f"{number:05}" for number in known]
            noisy = flipped(labels[known], noise, rng).tolist()
            memory.insert(vectors=vectors[known], labels=noisy, ids=ids)
            share = len(memory.prune(method="hard", k=K, threshold=THRESHOLD).ids) / len(known)
            found["pruned"].append(share)
            for method in METHODS:
                right = accuracy(memory, method, share, vectors[queries], labels[queries])
                found[method].append(right)
            client.delete_memory("noisy")
        print(f"{'':10} {noise:5.2f}  " + "  ".join(map(interval, found.values())), flush=True)


def main() -> None:
    data = data_folder(__doc__)
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        for name in ("natural16", "caltech20"):
            files, labels = pictures(data / name)
            compare(client, name, embedding.embed(files), np.array(labels))


if __name__ == "__main__":
    main()
