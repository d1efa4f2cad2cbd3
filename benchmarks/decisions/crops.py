"""Unit vectors of the pictures of splits.py and of their crops, by a server, kept in a file."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from served import own_client
from splits import CROPS, SETS, Item, pictures

from visual_memory import Client, EmbedderSpec

EMBEDDERS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
SIDE = 0.7  # of a crop, as a part of the picture's
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # of crops 1 to 4: 0 is left or top, 1 right or bottom
AT_ONCE = 320  # images of one call

assert len(CORNERS) == CROPS


class Vectors:
    """Unit vectors, float32 (n, d), of items: the whole pictures and all their crops."""

    def __init__(self, items: Sequence[Item], vectors: NDArray[np.float32]) -> None:
        self.items, self.vectors = items, vectors
        self._rows = {item: row for row, item in enumerate(items)}

    def of_items(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Return the vectors (m, d) of some of the items, in their order."""
        return self.vectors[[self._rows[item] for item in items]]

    def reduced(self, dimension: int) -> Vectors:
        """Return unit vectors of principal components, those of all whole pictures."""
        whole = self.of_items([item for item in self.items if item.crop == 0]).astype(np.float64)
        centre = whole.mean(axis=0)
        _, _, axes = np.linalg.svd(whole - centre, full_matrices=False)
        few = (self.vectors - centre) @ axes[:dimension].T
        few /= np.linalg.norm(few, axis=1, keepdims=True)
        return Vectors(self.items, few.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write an .npz with the arrays paths, crops, labels and vectors, as a whole or not."""
        part = path.with_suffix(".part.npz")
        part.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            part,
            paths=np.array([item.picture for item in self.items]),
            crops=np.array([item.crop for item in self.items]),
            labels=np.array([item.label for item in self.items]),
            vectors=self.vectors,
        )
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Vectors:
        """Read a file that ``save`` wrote."""
        with np.load(path) as file:
            columns = (file[name].tolist() for name in ("paths", "crops", "labels"))
            items = [Item(*each) for each in zip(*columns, strict=True)]
            return cls(items, file["vectors"])


def box(width: int, height: int, crop: int) -> tuple[int, int, int, int]:
    """Return the box of a crop, 0 for the whole picture, in pixels: left, top, right, bottom."""
    if crop == 0:
        return 0, 0, width, height
    across, down = CORNERS[crop - 1]
    wide, high = max(1, round(SIDE * width)), max(1, round(SIDE * height))
    left, top = across * (width - wide), down * (height - high)
    return left, top, left + wide, top + high


def cut(path: Path, crop: int) -> Image.Image:
    """Return a crop of the picture at ``path``, or with 0 the whole picture."""
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file)
        return picture.crop(box(*picture.size, crop))


def items(data: Path) -> Iterator[Item]:
    """Yield the pictures of all sets below ``data``, each followed by its crops."""
    for label, paths in pictures(data, "both").items():
        for path in paths:
            for crop in range(CROPS + 1):
                yield Item(path, crop, label)


def key(data: Path, spec: EmbedderSpec) -> str:
    """Return a hash of all that determines the vectors: embedder, pictures and boxes."""
    manifests = [(data / part / "manifest.csv").read_bytes() for part in SETS["both"]]
    network = (spec.name, spec.weights_sha256, spec.preprocessing)
    parts = [json.dumps([network, SIDE, CORNERS]).encode(), *manifests]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def embedded(client: Client, embedder: str, data: Path, work: Path) -> Vectors:
    """Return the vectors by ``embedder`` of all ``items``, from ``work`` where they were found."""
    name = f"crops-{embedder}"
    memory = client.create_memory(name, embedder=embedder)
    spec = memory.info().embedder
    assert spec is not None
    path = work / "crops" / f"{embedder}-{key(data, spec)[:16]}.npz"
    if not path.exists():
        wanted = list(items(data))
        rows = []
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            rows.append(memory.embed([cut(data / item.picture, item.crop) for item in part]))
        Vectors(wanted, np.concatenate(rows)).save(path)
    client.delete_memory(name)
    return Vectors.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--copies", type=Path, help="a folder for a copy of each file")
    arguments = parser.parse_args()
    with own_client() as client:
        for embedder in EMBEDDERS:
            found = embedded(client, embedder, arguments.data, arguments.work)
            print(f"{embedder}: {len(found.items)} vectors of dimension {found.vectors.shape[1]}")
            if arguments.copies is not None:
                found.save(arguments.copies / f"{embedder.rpartition('-')[2]}.npz")


if __name__ == "__main__":
    main()
