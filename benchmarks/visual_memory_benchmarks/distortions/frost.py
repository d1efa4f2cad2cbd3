"""Frost on a window, generated rather than photographed: fern-like crystals over a haze of ice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions import filters
from visual_memory_benchmarks.distortions.fractal import plasma
from visual_memory_benchmarks.distortions.picture import Floats

DENSITY = 56 / 224**2  # ferns for each pixel
STEM = (40.0, 120.0)  # pixels
DARK, ICE = np.array([0.10, 0.17, 0.27], np.float32), np.array([0.86, 0.94, 1.0], np.float32)
BRANCHING = np.deg2rad(60)  # water freezes into hexagons


@dataclass(frozen=True, slots=True)
class _Needles:
    """Straight needles of ice: their starts, directions and lengths."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    angles: NDArray[np.float64]
    lengths: NDArray[np.float64]

    def along(self, parts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return rows and columns of points at these fractions of each needle: needles × parts."""
        reach = self.lengths[:, np.newaxis] * parts
        angles = self.angles[:, np.newaxis]
        return (
            self.rows[:, np.newaxis] + reach * np.sin(angles),
            self.columns[:, np.newaxis] + reach * np.cos(angles),
        )

    def branches(self, pairs: int, share: float, rng: np.random.Generator) -> _Needles:
        """Return ``pairs`` pairs of branches on each needle, shorter towards its tip.

        At the foot of the needle they are at most about ``share`` as long as the needle.
        """
        parts = np.repeat((np.arange(pairs) + 0.5) / pairs, 2)
        rows, columns = self.along(parts)
        sides = np.tile([-BRANCHING, BRANCHING], pairs)
        angles = self.angles[:, np.newaxis] + sides + rng.normal(0, 0.08, rows.shape)
        lengths = share * self.lengths[:, np.newaxis] * (1.05 - parts)
        lengths = lengths * rng.uniform(0.5, 1, rows.shape)
        return _Needles(rows.ravel(), columns.ravel(), angles.ravel(), lengths.ravel())


def crystals(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Draw a frosted window of h × w × 3 in [0, 1]."""
    count = max(1, round(DENSITY * height * width))
    stems = _Needles(
        rng.uniform(-0.1 * height, 1.1 * height, count),
        rng.uniform(-0.1 * width, 1.1 * width, count),
        rng.uniform(0, 2 * np.pi, count),
        rng.uniform(*STEM, count),
    )
    branches = stems.branches(16, 0.4, rng)
    twigs = branches.branches(6, 0.35, rng)
    ice = np.zeros((height, width), np.float32)
    for needles, points, weight in ((stems, 160, 0.9), (branches, 32, 0.5), (twigs, 8, 0.35)):
        ice += np.float32(weight) * _drawn(needles, points, height, width)
    haze = plasma(height, width, 1.5, rng)
    growth = 0.4 + 1.2 * haze  # frost is thick in some places and thin in others
    fine = filters.gaussian(ice, 0.6, "edge") * growth
    halo = filters.gaussian(ice, 4.0, "edge") * growth
    cover = 1 - np.exp(-(1.3 * fine + 0.6 * halo + 0.5 * haze))
    window: Floats = DARK + cover[..., np.newaxis] * (ICE - DARK)
    return window


def _drawn(needles: _Needles, points: int, height: int, width: int) -> Floats:
    """Return the approximate length of the needles inside each pixel: (height, width).

    Each needle is counted by ``points`` points at equal distances.
    """
    rows, columns = needles.along((np.arange(points) + 0.5) / points)
    weights = np.broadcast_to((needles.lengths / points)[:, np.newaxis], rows.shape)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = rows[inside].astype(np.intp) * width + columns[inside].astype(np.intp)
    drawn = np.bincount(pixels, weights[inside], height * width)
    return drawn.reshape(height, width).astype(np.float32)
