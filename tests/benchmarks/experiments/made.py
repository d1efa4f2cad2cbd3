"""Generated datasets, and an embedder that reads their colours."""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_benchmarks.stimuli.embeddings import Picture
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet, load

KNOWN = ("bear", "bird", "boat", "car")
NEW = ("crab", "lotus", "ewer")

CELLS, CELL = 4, 8
Cells = NDArray[np.float64]  # 4 × 4 × 3 colours, in [−1, 1]


class Cellular:
    """An embedder whose vectors are the colours of 4 × 4 cells; grey is 0."""

    def __init__(self, name: str = "cells", gain: float = 1.0) -> None:
        self.spec: Mapping[str, Any] = {"name": name, "gain": gain}
        self._gain = gain

    def of(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        rows = []
        for picture in pictures:
            assert not isinstance(picture, bytes)
            image = Image.open(picture) if isinstance(picture, Path) else Image.fromarray(picture)
            small = np.array(image.convert("RGB").resize((CELLS, CELLS), Image.Resampling.BOX))
            row = small.ravel() / 127.5 - 1
            rows.append(np.sign(row) * abs(row) ** self._gain)
        return np.array(rows, np.float32).reshape(-1, CELLS * CELLS * 3)


def pattern(name: str) -> Cells:
    """Return the pattern of a category or other name, equal for equal names."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.choice([-0.6, 0.6], (CELLS, CELLS, 3))


def noise(seed: int, width: float = 0.2) -> Cells:
    return np.random.default_rng(seed).uniform(-width, width, (CELLS, CELLS, 3))


def drawn(cells: Cells) -> bytes:
    """Return the cells as a PNG of 32 × 32 pixels."""
    pixels = np.clip((cells + 1) * 127.5, 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((CELL, CELL, 1), np.uint8))).save(data, "PNG")
    return data.getvalue()


def to_set(
    folder: Path, name: str, pictures: Mapping[str, tuple[Cells, Mapping[str, str]]]
) -> StimulusSet:
    """Write a set of pictures, named CATEGORY/NAME.png, with their attributes in the manifest."""
    place = folder / name
    rows = []
    for file, (cells, attributes) in pictures.items():
        path = place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn(cells))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        category = file.split("/")[0]
        rows.append({"file": file, "category": category, "sha256": digest, **attributes})
    with (place / "manifest.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return load(name, place)


def photographs(
    folder: Path, name: str, categories: Sequence[str], count: int, *, width: float = 0.2
) -> StimulusSet:
    """Make photographs of each category, a third of them in the split ``test``."""
    return to_set(
        folder,
        name,
        {
            f"{category}/{category}_{at:02}.png": (
                pattern(category) + noise(zlib.crc32(f"{name} {category} {at}".encode()), width),
                {"split": "train" if at < 2 * count / 3 else "test"},
            )
            for category in categories
            for at in range(count)
        },
    )


def conflicts(folder: Path, categories: Sequence[str], *, items: int = 4) -> StimulusSet:
    """Combine every shape item with two textures of each category; textures are stronger."""
    return to_set(
        folder,
        "cue_conflict",
        {
            f"{shape}/{shape}{i}-{texture}{j}.png": (
                0.3 * pattern(shape) + 0.7 * pattern(texture) + noise(31 * i + j, 0.1),
                {
                    "texture_category": texture,
                    "shape_source": f"{shape}{i}",
                    "texture_source": f"{texture}{j}",
                },
            )
            for shape in categories
            for i in range(1, items + 1)
            for texture in categories
            for j in (1, 2)
        },
    )


def drawings(folder: Path, name: str, categories: Sequence[str], *, items: int = 4) -> StimulusSet:
    """Make a pale picture of every shape item."""
    return to_set(
        folder,
        name,
        {
            f"{shape}/{shape}{i}.png": (0.3 * pattern(shape) + noise(i, 0.05), {})
            for shape in categories
            for i in range(1, items + 1)
        },
    )
