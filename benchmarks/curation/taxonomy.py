"""Parents of decisions by a taxonomy of natural16, for labels that the memory does not hold."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from served import own_client

from visual_memory import Client

EMBEDDER = "efficientnet-lite0"
SUFFIXES = {".jpg", ".jpeg", ".png"}
GROUPS = {
    "animals": "bear bird cat dog elephant",
    "vehicles": "airplane bicycle boat car truck",
    "household": "bottle chair clock keyboard knife oven",
}
PARENTS = {label: group for group, labels in GROUPS.items() for label in labels.split()}

Vectors = NDArray[np.float32]


def data_folder(description: str | None) -> Path:
    """Parse the command line; return --data, the folder that has natural16 and caltech20.

    ``description`` is the text of --help.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data: Path = parser.parse_args().data
    return data


def pictures(root: Path) -> tuple[list[Path], list[str]]:
    files = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)
    return files, [path.parent.name for path in files]


def parents(client: Client, vectors: Vectors, labels: NDArray[np.str_]) -> None:
    """Leave each category out in turn; print how often its pictures get its parent in PARENTS."""
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
    data = data_folder(__doc__)
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        files, labels = pictures(data / "natural16")
        parents(client, embedding.embed(files), np.array(labels))


if __name__ == "__main__":
    main()
