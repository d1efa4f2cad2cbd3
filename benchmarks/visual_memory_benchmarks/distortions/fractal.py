"""Plasma: fractal noise, stronger at coarser scales, by midpoint displacement."""

from __future__ import annotations

import numpy as np

from visual_memory_benchmarks.distortions.picture import Floats


def plasma(height: int, width: int, decay: float, rng: np.random.Generator) -> Floats:
    """Return fractal noise (height, width), cut from a square that is scaled to [0, 1].

    The square's side is the next power of two. As published, the noise shrinks by the *square* of
    ``decay`` from one scale to the next.
    """
    step = 1 << (max(height, width) - 1).bit_length()
    plane = np.zeros((step, step), np.float32)
    amplitude = 1.0
    while step > 1:
        half = step // 2
        corners = plane[::step, ::step]
        pairs = corners + _next(corners, 0)
        centres = _between(pairs + _next(pairs, 1), amplitude, rng)
        plane[half::step, half::step] = centres
        # The middle of an edge lies between two corners and two centres. Opposite borders meet.
        over = corners + _next(corners, 1) + centres + np.roll(centres, 1, axis=0)
        beside = pairs + centres + np.roll(centres, 1, axis=1)
        plane[::step, half::step] = _between(over, amplitude, rng)
        plane[half::step, ::step] = _between(beside, amplitude, rng)
        step, amplitude = half, amplitude / decay**2
    plane -= plane.min()
    plane /= plane.max()
    return plane[:height, :width]


def _next(plane: Floats, axis: int) -> Floats:
    return np.roll(plane, -1, axis)


def _between(sums: Floats, amplitude: float, rng: np.random.Generator) -> Floats:
    """Return the means of four points from their ``sums``, plus noise of up to ± ``amplitude``."""
    displaced: Floats = sums / 4 + np.float32(amplitude) * (
        2 * rng.random(sums.shape, np.float32) - 1
    )
    return displaced
