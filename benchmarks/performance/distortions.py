"""Pictures of 224 × 224 that a distortion makes per second on one thread, at its slowest level.

Nearly all make more than 20. Eidolons are slower: for each picture they draw and transform 24 (I,
III) or 48 (II) planes of 512 × 512 normal numbers, as the stimuli of the experiments had them. The
50,000 lines of the first level of vertical lines are drawn one by one, by Pillow as published.
"""

from __future__ import annotations

import os

# Before NumPy is imported: threads would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import time

import numpy as np

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.distortions.registry import DISTORTIONS, distort

SIDE, TIMES, TILES = 224, 5, 600
GOAL = 20


def picture(rng: np.random.Generator) -> Picture:
    """Make a random picture whose neighbouring pixels are alike, as in photographs."""
    walks = rng.normal(0, 8, (2, SIDE, SIDE, 3))
    levels = 128 + walks[0].cumsum(0) + walks[1].cumsum(1)
    clipped: Picture = np.clip(levels, 0, 255).astype(np.uint8)
    return clipped


def seconds(name: str, level: str, clean: Picture, materials: Materials) -> float:
    """Return the shortest time of TIMES distortions in seconds, after one that fills the caches."""
    times = []
    for at in range(TIMES + 1):
        began = time.perf_counter()
        distort(clean, name, level, seed=1, picture_id=str(at), materials=materials)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(DISTORTIONS), metavar="NAME")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    clean = picture(rng)
    bank = Bank(picture(rng) for _ in range(TILES))
    materials = Materials(bank, mean_amplitudes([clean]))
    print(f"{'distortion':36} {'slowest level':>14} {'pictures/s':>11}")
    for name in options.names:
        slowest, level = max(
            (seconds(name, level, clean, materials), level) for level in DISTORTIONS[name].levels
        )
        rate = 1 / slowest
        print(f"{name:36} {level:>14} {rate:11.0f}{'' if rate >= GOAL else '  slow'}")


if __name__ == "__main__":
    main()
