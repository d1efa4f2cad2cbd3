"""ImageNet-C (Hendrycks and Dietterich 2019): fifteen corruptions and four for validation.

They take images in [0, 1] and do not clip: ``picture.shown`` does. Snow, frost, fog and spatter
are in ``weather``.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_benchmarks.distortions import filters
from visual_memory_benchmarks.distortions.picture import Floats, Picture, shown, unit


def gaussian_noise(image: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    return image + np.float32(deviation) * filters.normals(rng, image.shape)


def speckle_noise(image: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    """Add to each value the value times normal noise of standard deviation ``deviation``."""
    return image + image * np.float32(deviation) * filters.normals(rng, image.shape)


def shot_noise(image: Floats, photons: float, rng: np.random.Generator) -> Floats:
    """Add shot noise: light counted in photons, ``photons`` of them where the image is white."""
    return (rng.poisson(image * photons) / photons).astype(np.float32)


def impulse_noise(image: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Set a random share of the values, drawn for each channel by itself, to 0 or 1."""
    drawn = rng.random(image.shape, np.float32)
    return np.where(drawn < share, (drawn < share / 2).astype(np.float32), image)


def defocus_blur(image: Floats, radius: int, softness: float) -> Floats:
    """Blur each point to a disk, whose edge is softened by a Gaussian of sigma ``softness``.

    As published, the edge is softened inside a square, mirrored at its border. A disk that fills
    the square gets a kernel that sums to more than 1, and brightens the picture.
    """
    reach, taps = (8, 1) if radius <= 8 else (radius, 2)
    places = np.arange(-reach, reach + 1)
    inside = np.add.outer(places**2, places**2) <= radius**2
    weights = filters.gaussian_weights(softness, taps / softness)
    softened = filters.convolve(
        (inside / inside.sum()).astype(np.float32), np.outer(weights, weights), "reflect"
    )
    return filters.convolve(image, softened, "reflect")


def glass_blur(
    image: Floats, sigma: float, shift: int, times: int, rng: np.random.Generator
) -> Floats:
    """Blur, shift pixels ``times`` times by up to ``shift``, and blur again.

    As in the published code, pixels are copied, not swapped: from the last to the first, each takes
    the value of a pixel −shift to shift − 1 rows and columns away. So a value can travel far.
    """
    blurred = unit(shown(filters.gaussian(image, sigma, "edge")))
    return filters.gaussian(shifted(blurred, shift, times, rng), sigma, "edge")


def shifted(image: Floats, shift: int, times: int, rng: np.random.Generator) -> Floats:
    """Shift pixels as ``glass_blur`` does."""
    height, width = image.shape[:2]
    rows = np.arange(shift + 1, height - shift + 1)[:, np.newaxis]
    columns = np.arange(shift + 1, width - shift + 1)
    pixels = rows * width + columns
    values = image.reshape(height * width, 3)
    for _ in range(times):
        down, across = rng.integers(-shift, shift, (2, *pixels.shape))
        source = np.arange(height * width)
        source[pixels] += down * width + across
        moved = np.zeros(height * width, bool)
        moved[pixels] = True
        values = values[_followed(source, moved)]
    return values.reshape(image.shape)


def _followed(source: NDArray[np.intp], moved: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each pixel the pixel whose initial value it gets; the last pixel is set first.

    Each pixel takes the value of its ``source``. All chains of sources are followed at once, in
    steps that double, until each ends at a pixel that had not been set yet.
    """
    goes_on = moved[source] & (source > np.arange(len(source)))
    while goes_on.any():
        source, goes_on = (
            np.where(goes_on, source[source], source),
            goes_on & goes_on[source],
        )
    return source


def motion_blur(image: Floats, radius: int, sigma: float, rng: np.random.Generator) -> Floats:
    """Blur each point to a streak at a random angle within 45° of horizontal.

    The streak is 2 · ``radius`` pixels long and fades as a Gaussian of ``sigma``.
    """
    kernel = filters.motion_kernel(radius, sigma, rng.uniform(-45, 45))
    return filters.convolve(image, kernel, "edge")


def zoom_factors(end: float, step: float) -> list[float]:
    """Return ``np.arange(1, end, step)``, as published: rounding lets one level include its end."""
    factors: list[float] = np.arange(1, end, step).tolist()
    return factors


def zoom_blur(image: Floats, end: float, step: float) -> Floats:
    """Return the mean of the image and of its centre enlarged by each of ``zoom_factors``."""
    factors = zoom_factors(end, step)
    total = image.copy()
    for factor in factors:
        total += filters.zoomed(image, factor)
    mean: Floats = total / np.float32(len(factors) + 1)
    return mean


def brightness(image: Floats, more: float) -> Floats:
    """Raise value (the largest channel) by ``more``, keeping hue and saturation."""
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + np.float32(more), 1)
    scaled: Floats = np.where(value > 0, image * (raised / np.maximum(value, 1e-6)), raised)
    return scaled


def saturate(image: Floats, factor: float, more: float) -> Floats:
    """Set saturation to ``factor`` times itself + ``more``, keeping hue (grey: red) and value."""
    value = image.max(axis=2, keepdims=True)
    spread = value - image.min(axis=2, keepdims=True)
    before = spread / np.maximum(value, 1e-6)
    after = np.clip(before * factor + more, 0, 1).astype(np.float32)
    red = np.array([0, 1, 1], np.float32)
    distances = np.where(spread > 0, (value - image) / np.maximum(spread, 1e-6), red)
    saturated: Floats = value * (1 - after * distances)
    return saturated


def contrast(image: Floats, factor: float) -> Floats:
    """Scale contrast around the mean of each channel."""
    means = image.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    scaled: Floats = (image - means) * np.float32(factor) + means
    return scaled


def elastic_transform(image: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Move pixels by ``strength`` times noise up to 0.5 % of the side, blurred by sigma 1 %."""
    height, width = image.shape[:2]
    side = min(height, width)
    noise = (2 * rng.random((2, height, width), np.float32) - 1) * np.float32(0.005 * side)
    down, across = (
        np.float32(strength) * filters.gaussian(axis, 0.01 * side, "symmetric", truncate=3)
        for axis in noise
    )
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    return filters.sample(image, rows[:, np.newaxis] + down, columns + across)


def pixelate(picture: Picture, scale: float) -> Picture:
    """Shrink both sides to ``scale`` times by means over boxes, and enlarge again by repetition."""
    image = Image.fromarray(picture)
    small = (int(image.width * scale), int(image.height * scale))
    pixels = image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
    return np.array(pixels)


def jpeg_compression(picture: Picture, quality: int) -> Picture:
    """Compress as JPEG with Pillow."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.array(image)


def gaussian_blur(image: Floats, sigma: float) -> Floats:
    return filters.gaussian(image, sigma, "edge")
