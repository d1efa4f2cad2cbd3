"""Opponent colours: each colour's complement of equal luminance, on the experiments' monitor."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions.picture import Floats, Picture

Floats64: TypeAlias = NDArray[np.float64]

# Light of the monitor at every 16th of 256 values, and at the last.
_VALUES = np.append(np.arange(0, 256, 16), 255).astype(np.float64)
_LIGHT = np.array(
    [
        *(0.0, 0.00101, 0.00722, 0.0207, 0.04412, 0.07786, 0.12391, 0.17802, 0.24409),
        *(0.31664, 0.39816, 0.49194, 0.59044, 0.69121, 0.80422, 0.92076, 1.0),
    ]
)
TO_CONES = np.array(
    [
        [0.1619982647, 0.2080492640, 0.0389347448],
        [0.0330275785, 0.2496504557, 0.0618343518],
        [0.0015524055, 0.0198861001, 0.1890224274],
    ]
)
BACKGROUND = np.array([0.20449114, 0.17225619, 0.10523047])  # cones, for a grey of half the light
TO_OPPONENT = np.array(  # luminance, L – M, S – luminance
    [
        [9.27590805, 9.27590805, 0.0],
        [7.86421647, -9.33587662, 0.0],
        [-3.39709047, -3.39709047, 12.16230246],
    ]
)


def _monotone(points: Floats64, heights: Floats64, at: Floats64) -> Floats64:
    """Interpolate ``heights``, given at ``points``, to the places ``at`` without overshoot.

    The interpolation is cubic, with Fritsch and Butland's harmonic slopes.
    """
    steps, slopes = np.diff(points), np.diff(heights) / np.diff(points)
    early, late = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    inner = (early + late) / (early / slopes[:-1] + late / slopes[1:])
    tangents = np.concatenate([[slopes[0]], inner, [slopes[-1]]])
    piece = np.clip(np.searchsorted(points, at, side="right") - 1, 0, len(steps) - 1)
    step = steps[piece]
    t = (at - points[piece]) / step
    heights_at: Floats64 = (
        (1 + 2 * t) * (1 - t) ** 2 * heights[piece]
        + t * (1 - t) ** 2 * step * tangents[piece]
        + t**2 * (3 - 2 * t) * heights[piece + 1]
        - t**2 * (1 - t) * step * tangents[piece + 1]
    )
    return heights_at


MONITOR = _monotone(_VALUES, _LIGHT, np.arange(256.0)).astype(np.float32)
_HALFWAY = (MONITOR[1:] + MONITOR[:-1]) / 2

_TO_COLOUR = TO_OPPONENT @ TO_CONES
_CHANGE = np.linalg.solve(_TO_COLOUR, np.diag([1.0, -1.0, -1.0]) @ _TO_COLOUR)
_GREY = np.linalg.solve(TO_CONES, BACKGROUND)
_KEPT = (_GREY - _CHANGE @ _GREY).astype(np.float32)


def opponents(light: Floats) -> Floats:
    """Negate the channels L – M and S – luminance of light (…, 3). Not clipped; its own inverse."""
    changed: Floats = np.einsum("...c,dc->...d", light, _CHANGE.astype(np.float32)) + _KEPT
    return changed


def opponent_colours(picture: Picture) -> Picture:
    """Return the picture in opponent colours, clipped to the monitor's range."""
    light = np.clip(opponents(MONITOR[picture]), 0, 1)
    return np.searchsorted(_HALFWAY, light).astype(np.uint8)
