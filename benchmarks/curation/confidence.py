"""Coverage, calibration, rejection and taxonomy on natural16, measured on a server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import own_client

from visual_memory import Client, Decision
from visual_memory_benchmarks.laboratory.questions import classify_by_others

EMBEDDER = "efficientnet-lite0"
SUFFIXES = {".jpg", ".jpeg", ".png"}
GROUPS = {
    "animals": "bear bird cat dog elephant",
    "vehicles": "airplane bicycle boat car truck",
    "household": "bottle chair clock keyboard knife oven",
}
PARENTS = {label: group for group, labels in GROUPS.items() for label in labels.split()}
RULES = (("lac", True), ("lac", False), ("aps", False), ("randomized_aps", True))

Vectors = NDArray[np.float32]


def pictures(root: Path) -> tuple[list[Path], list[str]]:
    files = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)
    return files, [path.parent.name for path in files]


def coverages(client: Client, vectors: Vectors, labels: NDArray[np.str_], splits: int) -> None:
    """Store half of the pictures, calibrate on a quarter, classify a quarter."""
    found: dict[tuple[str, bool, float], list[tuple[float, float]]] = {}
    errors = []
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(vectors))
        half, three = len(order) // 2, 3 * len(order) // 4
        known, held, queries = order[:half], order[half:three], order[three:]
        made = client.create_memory(f"split-{split}", dimension=vectors.shape[1])
        made.insert(vectors=vectors[known], labels=labels[known].tolist())
        made.calibrate(vectors=vectors[held], labels=labels[held].tolist())
        for rule, empty in RULES:
            for alpha in (0.1, 0.2):
                decisions = made.classify(
                    vectors=vectors[queries],
                    coverage=1 - alpha,
                    conformal=rule,
                    allow_empty=empty,
                    calibrated=True,
                    neighbors=0,
                )
                sets = [decision.label_set or [] for decision in decisions]
                inside = [label in held for label, held in zip(labels[queries], sets, strict=True)]
                pair = (float(np.mean(inside)), float(np.mean([len(each) for each in sets])))
                found.setdefault((rule, empty, alpha), []).append(pair)
        right = np.array([decision.label for decision in decisions]) == labels[queries]
        errors.append((error(decisions, right, False), error(decisions, right, True)))
        client.delete_memory(made.name)
    print(f"{splits} splits     coverage  set size")
    for (rule, empty, alpha), pairs in found.items():
        coverage, size = np.mean(pairs, axis=0)
        note = "allow_empty" if empty else ""
        print(f"{rule:15} {1 - alpha:.1f}  {coverage:.3f}  {size:.2f}  {note}")
    before, after = np.mean(errors, axis=0)
    print(f"calibration error before {before:.4f}, after {after:.4f}")


def error(decisions: Sequence[Decision], right: NDArray[np.bool_], calibrated: bool) -> float:
    """Return the expected calibration error in 15 equal bins."""
    confidences = np.array(
        [(d.calibrated_confidence or 0.0) if calibrated else d.confidence for d in decisions]
    )
    bins = np.clip(np.ceil(confidences * 15).astype(int), 1, 15)
    gaps = [
        abs(right[inside].mean() - confidences[inside].mean()) * inside.mean()
        for inside in (bins == each for each in np.unique(bins))
    ]
    return float(sum(gaps))


def rejection(client: Client, vectors: Vectors, labels: Sequence[str], unknown: Vectors) -> None:
    """Query pictures of other classes in a memory of all."""
    made = client.create_memory("all", dimension=vectors.shape[1])
    ids = [f"{number:05}" for number in range(len(vectors))]
    made.insert(vectors=vectors, labels=labels, ids=ids)
    made.calibrate()
    others = classify_by_others(made, ids, vectors=vectors, k=100, neighbors=100)
    near = [each.neighbors.distances for each in others]
    far = [each.distances for each in made.search(vectors=unknown, k=100)]
    for name, score in (("nearest", lambda d: d[0]), ("mean", np.mean), ("median", np.median)):
        known, other = (np.array([score(each) for each in side]) for side in (near, far))
        limit = np.sort(known)[int(np.ceil(0.95 * len(known))) - 1]
        below = (known[:, np.newaxis] < other).mean() + (known[:, np.newaxis] == other).mean() / 2
        print(f"{name:8} AUROC {below:.4f}  FPR95 {(other <= limit).mean():.4f}")
    decisions = made.classify(vectors=unknown, calibrated=True, neighbors=0)
    print(f"rejected of unknown pictures {np.mean([d.rejected for d in decisions]):.4f}")


def parents(client: Client, vectors: Vectors, labels: NDArray[np.str_]) -> None:
    """Leave each category out in turn; count how often its pictures get the right parent."""
    shares = []
    for left_out in sorted(set(labels)):
        rest, queries = labels != left_out, labels == left_out
        made = client.create_memory("rest", dimension=vectors.shape[1])
        made.insert(vectors=vectors[rest], labels=labels[rest].tolist())
        made.set_taxonomy(PARENTS)
        decisions = made.classify(vectors=vectors[queries], level=0, neighbors=0)
        right = [d.node is not None and d.node.name == PARENTS[left_out] for d in decisions]
        shares.append(np.mean(right))
        print(f"{left_out:10} {np.mean(right):.3f}")
        client.delete_memory("rest")
    print(f"{'mean':10} {np.mean(shares):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--splits", type=int, default=50)
    options = parser.parse_args()
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        files, names = pictures(options.data / "natural16")
        others, _ = pictures(options.data / "caltech20")
        vectors, unknown = embedding.embed(files), embedding.embed(others)
        labels = np.array(names)
        coverages(client, vectors, labels, options.splits)
        rejection(client, vectors, names, unknown)
        parents(client, vectors, labels)


if __name__ == "__main__":
    main()
