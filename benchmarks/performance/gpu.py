"""Searches and pictures a second on a GPU and on the processor, with the same answers.

Ends at once where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pictures import pictures_of
from served import median
from vectors import Vectors, make

from visual_memory_embedders import BUILT_IN, Device, ImageLimits, build
from visual_memory_index import ScannedIndexes
from visual_memory_index.device.indexes import DeviceIndexes
from visual_memory_index.scan.vectors import VectorIndex
from visual_memory_service.demo.pictures import CALTECH

K, ROUNDS, THREADS = 50, 7, 2
BATCHES = (1, 8, 64)
DEVICES: tuple[Device, ...] = ("cpu", "cuda")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=768)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU: nothing is measured")
        return 0
    print(torch.cuda.get_device_name(), flush=True)
    compare(options.rows, options.dimension, "cuda:0")
    for device in DEVICES:
        print(f"pictures a second, {device}: {pictures(device):,.0f}", flush=True)
    return 0


def compare(count: int, dimension: int, device: str) -> None:
    """Print the searches a second on the processor and on a device. Raises if they differ."""
    rows, queries = make("clustered", count + max(BATCHES), dimension).split(count)
    indexes = [each.new(dimension) for each in (ScannedIndexes(), DeviceIndexes(device=device))]
    for index in indexes:
        index.append(rows.vectors)
    for size in BATCHES:
        some = queries.vectors[:size]
        np.testing.assert_equal(nearest(indexes[0], some), nearest(indexes[1], some))
        here, there = (size / median(partial(nearest, index, some), ROUNDS) for index in indexes)
        print(f"{size} queries: {here:,.0f} a second here, {there:,.0f} on {device}", flush=True)


def nearest(index: VectorIndex, queries: Vectors) -> list[list[float]]:
    """Return the distances of the nearest to each query."""
    found = []
    excluded = [np.empty(0, np.intp)] * len(queries)
    for number, rows in enumerate(index.candidates(queries, [K] * len(queries), excluded)):
        distances = index.distances(queries, np.full(len(rows), number), rows)
        found.append(np.sort(distances)[:K].tolist())
    return found


def pictures(device: Device) -> float:
    """Return the pictures a second that the default network embeds."""
    images = pictures_of(CALTECH, 224)
    with tempfile.TemporaryDirectory() as cache, ThreadPoolExecutor(THREADS) as workers:
        embedder = build(
            BUILT_IN[0], cache=Path(cache), workers=workers, limits=ImageLimits(), device=device
        )
        embedder.embed(images[:64])
        return len(images) / median(lambda: embedder.embed(images), ROUNDS)


if __name__ == "__main__":
    sys.exit(main())
