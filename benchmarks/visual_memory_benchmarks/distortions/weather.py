"""Snow, frost, fog and spatter of ImageNet-C, drawn from noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions import filters, frost
from visual_memory_benchmarks.distortions.fractal import plasma
from visual_memory_benchmarks.distortions.picture import Floats

WATER = np.array([175, 238, 238], np.float32) / 255
MUD = np.array([63, 42, 20], np.float32) / 255
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # as OpenCV makes pictures grey
FURTHEST = 20  # pixels from the outline of a drop over which its light changes
_BOX = np.full((3, 3), 1 / 9, np.float32)
_EMBOSS = np.array([[2, 1, 0], [1, 1, -1], [0, -1, -2]], np.float32)


def _noise(image: Floats, mean: float, deviation: float, rng: np.random.Generator) -> Floats:
    return np.float32(mean) + np.float32(deviation) * filters.normals(rng, image.shape[:2])


@dataclass(frozen=True, slots=True)
class Snow:
    """Parameters of snow: mean, deviation and zoom of noise, threshold, and blur of its flakes.

    ``kept`` is the weight of the picture against a whitened copy of it.
    """

    mean: float
    deviation: float
    zoom: float
    threshold: float
    radius: int
    sigma: float
    kept: float


def snow(image: Floats, weather: Snow, rng: np.random.Generator) -> Floats:
    """Whiten the picture, and add flakes blurred along a fall within 45° of straight down."""
    noise = _noise(image, weather.mean, weather.deviation, rng)
    flakes = filters.zoomed(noise[..., np.newaxis], weather.zoom)[..., 0]
    flakes = np.clip(np.where(flakes < weather.threshold, 0, flakes), 0, 1)
    kernel = filters.motion_kernel(weather.radius, weather.sigma, rng.uniform(-135, -45))
    blurred = np.clip(filters.convolve(flakes, kernel, "edge"), 0, 1)
    flakes = np.rint(blurred * 255) / np.float32(255)
    white = np.maximum(image, (image * LUMA).sum(axis=2, keepdims=True) * 1.5 + 0.5)
    kept = np.float32(weather.kept)
    whitened: Floats = kept * image + (1 - kept) * white
    whitened += (flakes + np.rot90(flakes, 2))[..., np.newaxis]
    return whitened


def frosted(image: Floats, kept: float, weight: float, rng: np.random.Generator) -> Floats:
    """Return ``kept`` · image + ``weight`` · generated frost.

    Published results used photographs of frost instead.
    """
    crystals = frost.crystals(image.shape[0], image.shape[1], rng)
    return np.float32(kept) * image + np.float32(weight) * crystals


def fog(image: Floats, strength: float, decay: float, rng: np.random.Generator) -> Floats:
    """Add ``strength`` · plasma, smoother for a larger ``decay``; scale down to the old maximum."""
    mist = plasma(image.shape[0], image.shape[1], decay, rng)[..., np.newaxis]
    amount, brightest = np.float32(strength), image.max()
    foggy: Floats = (image + amount * mist) * (brightest / (brightest + amount))
    return foggy


@dataclass(frozen=True, slots=True)
class Spatter:
    """Parameters of drops of water or, if ``mud``, of mud, cut from blurred noise at a threshold.

    ``strength`` is the light of water drops, or the blur of mud.
    """

    mean: float
    deviation: float
    sigma: float
    threshold: float
    strength: float
    mud: bool


def spatter(image: Floats, weather: Spatter, rng: np.random.Generator) -> Floats:
    """Draw drops of water or of mud on the lens."""
    noise = _noise(image, weather.mean, weather.deviation, rng)
    liquid = filters.gaussian(noise, weather.sigma, "edge")
    liquid[liquid < weather.threshold] = 0
    if not weather.mud:
        return image + _drops(liquid, weather.strength)[..., np.newaxis] * WATER
    drops = filters.gaussian((liquid > 0).astype(np.float32), weather.strength, "edge")
    drops[drops < 0.8] = 0
    return image * (1 - drops[..., np.newaxis]) + drops[..., np.newaxis] * MUD


def _drops(liquid: Floats, strength: float) -> Floats:
    """Return the light of water drops, at most ``strength``, where ``liquid`` is above 0.

    It is brighter away from the drops' outline, and embossed as if lit from the side.
    """
    wet = liquid > 0
    depth = np.minimum(distance(wet & ~_eroded(wet), FURTHEST), FURTHEST)
    levels = (filters.convolve(depth, _BOX, "reflect") + 1e-3).astype(np.uint8)
    relief = np.clip(filters.convolve(_equalised(levels), _EMBOSS, "reflect"), 0, 255)
    light = liquid * filters.convolve(relief, _BOX, "reflect")
    return light * np.float32(strength / max(light.max(), 1e-6))


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without the pixels that have one of four neighbours outside of it."""
    padded = np.pad(mask, 1, mode="edge")
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def distance(mask: NDArray[np.bool_], furthest: int) -> Floats:
    """Return each pixel's distance to the mask in pixels: exact up to ``furthest``, more beyond."""
    height, width = mask.shape
    far = 2 * furthest
    down = np.where(mask, 0, far).astype(np.float32)
    for row in range(1, height):
        np.minimum(down[row], down[row - 1] + 1, out=down[row])
    for row in range(height - 2, -1, -1):
        np.minimum(down[row], down[row + 1] + 1, out=down[row])
    squares = np.pad(down**2, [(0, 0), (furthest, furthest)], constant_values=far**2)
    nearest = np.full(mask.shape, far**2, np.float32)
    for across in range(-furthest, furthest + 1):
        left = furthest + across
        np.minimum(nearest, squares[:, left : left + width] + across**2, out=nearest)
    distances: Floats = np.sqrt(nearest)
    return distances


def _equalised(levels: NDArray[np.uint8]) -> Floats:
    """Equalise the histogram of ``levels``; return the new levels 0 to 255 as float32."""
    below = np.cumsum(np.bincount(levels.ravel(), minlength=256))
    least = below[below > 0][0]
    spread = (below - least) / max(levels.size - least, 1) * 255
    table: Floats = np.rint(spread).astype(np.float32)
    return table[levels]
